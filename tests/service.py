"""The real service as a real process, between a real Kafka and the fake Twilio: what its tests start, feed and count.

A `World` is one test's own corner of the shared broker: topics, groups, a configuration folder and a fake Twilio.
Waiting is always for a condition, asked for again until it holds or its deadline is over; `audit` is the ledger that
every test of a promise ends with.
"""

import asyncio
import json
import os
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

import aiohttp
import yaml
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import ConsumerRecord, RecordMetadata, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from streamer.core.delivery import ATTEMPT_TAG, Origin
from streamer.core.hop import headers_of
from streamer.core.identity import RESERVED, partition_of
from streamer.core.state import Person, decode, epoch_of
from streamer.testing.brokers import Broker
from streamer.testing.fake_twilio import FakeTwilio
from streamer.testing.fake_twilio_api import Setup
from streamer.testing.fake_twilio_faults import Faults
from streamer.testing.fake_twilio_model import StoredMessage

T = TypeVar("T")

ANSWER_S = 40.0  # a start takes 2 s on an idle machine; this one is shared
POLL_S = 0.1
CHECKOUT = Path(__file__).resolve().parents[1]
SECRET = "TWILIO_SECRET"  # the variable that the configuration names
SENDER = "+15550006789"
PARTITIONS = 4
INPUTS = {"events": 3}
SENT = re.compile(r"#(\S+)/(\S+)$")  # every body ends with the message id and the mapping it came from
SHORT_SESSION = {"session_timeout": "1500ms"}  # a killed member is missed sooner; on a busy machine a living one too
# Where two live at once: one that is missed though it lives works beside its successor, and sends are doubled.
SHARED_SESSION = {"session_timeout": "5s"}
ORDER_SHIPPED = 'type = "track" and event = "Order Shipped"'
MAPPINGS: dict[str, dict[str, Any]] = {
    "shipped": {
        "when": ORDER_SHIPPED,
        "send": {"body": "Hi {{profile.traits.first_name}}! #{{messageId}}/shipped"},
    },
}


class Send(NamedTuple):
    """What identifies one send from outside: the event's message id and the mapping."""

    message_id: str
    mapping: str = "shipped"


class Delivery(NamedTuple):
    """One record of the deliveries topic."""

    record: ConsumerRecord
    event: dict[str, Any]

    @property
    def said(self) -> dict[str, Any]:
        return self.event["properties"]

    @property
    def send(self) -> Send:
        return Send(self.said["source_message_id"], self.said["mapping"])

    @property
    def outcome(self) -> str:
        return self.said["outcome"]


async def until(what: str, ask: Callable[[], Awaitable[T]], timeout_s: float = ANSWER_S) -> T:
    """The first true answer. Raises: TimeoutError, naming `what`, when the deadline is over."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        if answer := await ask():
            return answer
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"not within {timeout_s:.0f} s: {what}")
        await asyncio.sleep(POLL_S)


def identify(key: str, *, at_ms: int | None = None, **traits: Any) -> dict[str, Any]:
    """An identify of `u:<userId>` or `a:<anonymousId>`; without `at_ms` it happens when Kafka gets it."""
    return {"type": "identify", **_person(key), "traits": traits, **_timestamp(at_ms)}


def track(key: str, message_id: str, event: str = "Order Shipped", at_ms: int | None = None, **properties: Any) -> Any:
    """A track alike."""
    named = {"type": "track", "event": event, "messageId": message_id, **_person(key)}
    return {**named, "properties": properties, **_timestamp(at_ms)}


def _person(key: str) -> dict[str, str]:
    return {"userId" if key.startswith("u:") else "anonymousId": key[2:]}


def _timestamp(at_ms: int | None) -> dict[str, str]:
    return {} if at_ms is None else {"timestamp": iso_of(at_ms)}


def iso_of(ms: int) -> str:
    """A time as events write it."""
    whole, rest = divmod(ms, 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{rest:03}Z"


class Metrics:
    """One answer of /metrics. A family may come once: Prometheus refuses the whole page otherwise."""

    def __init__(self, text: str) -> None:
        families = list(text_string_to_metric_families(text))
        twice = [name for name, count in Counter(family.name for family in families).items() if count > 1]
        assert not twice, f"metrics given twice: {twice}"
        self._samples = [sample for family in families for sample in family.samples]

    def sum(self, name: str, **labels: str) -> float:
        """The sum of the samples of that name with those labels; fails if there is none of that name."""
        named = [sample for sample in self._samples if sample.name == name]
        assert named, f"no metric {name}"
        return sum(sample.value for sample in named if labels.items() <= sample.labels.items())

    def counts(self, name: str, label: str) -> dict[str, int]:
        """The sums by one label, zeros left out."""
        found: Counter[str] = Counter()
        for sample in self._samples:
            if sample.name == name and sample.value:
                found[sample.labels[label]] += int(sample.value)
        return dict(found)


class Service:
    """One `python -m streamer run`, its log in a file. Made by `World.start`."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log
        self._port = 0

    @property
    def pid(self) -> int:
        return self._process.pid

    def log(self) -> str:
        """All it has written to stderr."""
        return self._log.read_text(errors="replace")

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log's events of that name so far."""
        lines = [line for line in self.log().splitlines(keepends=True) if line.startswith("{") and line.endswith("\n")]
        return [event for event in map(json.loads, lines) if event["event"] == name]

    async def logged(self, name: str, count: int = 1) -> list[dict[str, Any]]:
        """The log's events of that name once there are `count`."""

        async def ask() -> list[dict[str, Any]]:
            found = self.events(name)
            assert len(found) >= count or self._process.returncode is None, f"ended early:\n{self.log()}"
            return found if len(found) >= count else []

        return await until(f"{name} in the log", ask)

    async def get(self, path: str) -> tuple[int, str]:
        """GET from the operator's endpoints: status and body."""
        if not self._port:
            self._port = (await self.logged("http.listening"))[0]["port"]
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_S)) as session,
            session.get(f"http://127.0.0.1:{self._port}{path}") as answer,
        ):
            return answer.status, await answer.text()

    async def metrics(self) -> Metrics:
        """What /metrics says now."""
        status, text = await self.get("/metrics")
        assert status == 200
        return Metrics(text)

    async def ready(self) -> Self:
        """Return once /readyz says 200."""

        async def ask() -> bool:
            assert self._process.returncode is None, f"ended instead of getting ready:\n{self.log()}"
            return (await self.get("/readyz"))[0] == 200

        await until("/readyz 200", ask)
        return self

    def terminate(self) -> None:
        """SIGTERM."""
        self._process.terminate()

    async def kill(self) -> None:
        """SIGKILL, and wait for its end; nothing if it has ended."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def ended(self, timeout_s: float = ANSWER_S) -> int:
        """The exit code."""
        return await asyncio.wait_for(self._process.wait(), timeout_s)

    async def stop(self) -> None:
        """SIGTERM, which must drain and exit 0."""
        self.terminate()
        code = await self.ended()
        assert code == 0, f"exit code {code}:\n{self.log()}"


class Tail:
    """Reads one topic of `partitions` from its start, on and on, outside of any group."""

    def __init__(self, bootstrap: str, topic: str, partitions: int) -> None:
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest"
        )
        self._places = [TopicPartition(topic, number) for number in range(partitions)]
        self.records: list[ConsumerRecord] = []

    async def to_end(self) -> list[ConsumerRecord]:
        """All records below the end offsets of this moment."""
        if not self._consumer.assignment():
            await self._consumer.start()
            await until("the topic to read", self._is_there)
            self._consumer.assign(self._places)
        ends = await self._consumer.end_offsets(self._places)
        async with asyncio.timeout(ANSWER_S):
            while [place for place in self._places if await self._consumer.position(place) < ends[place]]:
                batches = await self._consumer.getmany(timeout_ms=200)
                self.records += [record for batch in batches.values() for record in batch]
        return self.records

    async def _is_there(self) -> bool:
        return self._places[0].topic in await self._consumer.topics()

    async def close(self) -> None:
        await self._consumer.stop()


class World:
    """One test's topics, groups, configuration folder and fake Twilio; made by `world`."""

    def __init__(
        self, broker: Broker, prefix: str, folder: Path, twilio: FakeTwilio, inputs: Mapping[str, int]
    ) -> None:
        self.bootstrap = broker.bootstrap
        self.prefix = prefix
        self.folder = folder
        self.twilio = twilio
        self.inputs = {prefix + name: count for name, count in inputs.items()}
        self.group = prefix + "group"
        self.partitions = PARTITIONS
        self._services: list[Service] = []
        self._tails: dict[str, Tail] = {}
        self._deliveries: list[Delivery] = []
        self._resolutions: list[Delivery] = []
        self._deliveries_read = 0
        self._producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, enable_idempotence=True)

    def configure(
        self,
        mappings: Mapping[str, Any] = MAPPINGS,
        *,
        account: Mapping[str, Any] | None = None,
        kafka: Mapping[str, Any] | None = None,
        topics: Mapping[str, Any] | None = None,
        store: Mapping[str, Any] | None = None,
        listen: str = "127.0.0.1:0",
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """Write the configuration folder anew; the arguments change what is in it by default, `more` any section, or
        any list.
        """
        fake = self.twilio.account
        document: dict[str, Any] = {
            "kafka": {"bootstrap_servers": self.bootstrap, "group": self.group},
            "topics": {
                "events": list(self.inputs),
                "start": "earliest",
                "prefix": self.prefix + "own.",
                "partitions": PARTITIONS,
            },
            "accounts": {
                "main": {
                    "account_sid": fake.account_sid,
                    "api_key_sid": fake.api_key_sid,
                    "api_key_secret": "${TWILIO_SECRET}",
                    "base_url": self.twilio.base_url,
                    "concurrency": 8,
                }
            },
            "senders": {"shop": {"from": SENDER}},
            "http": {"listen": listen},
            "store": dict(store or {}),
            "defaults": {"region": "US", "max_age": "1h", "identify_wait": "0s"},
        }
        document["kafka"].update(kafka or {})
        document["topics"].update(topics or {})
        document["accounts"]["main"].update(account or {})
        for name, section in (more or {}).items():
            document[name] = {**document.get(name, {}), **section} if isinstance(section, Mapping) else section
        self.partitions = document["topics"]["partitions"]
        folder = self.folder / "mappings"
        folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "streamer.yaml").write_text(yaml.safe_dump(document))
        for file in folder.iterdir():
            file.unlink()
        for name, mapping in mappings.items():
            (folder / f"{name}.yaml").write_text(yaml.safe_dump(mapping))

    async def start(self, *arguments: str, program: Sequence[str] = ("streamer",)) -> Service:
        """Start a service; it is killed with the world if it still lives then. `program`: a module, and what it is told
        before the command.
        """
        log = self.folder / f"service-{len(self._services)}.log"
        with log.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", *program, "run", "--config", str(self.folder), *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=stderr,
                cwd=CHECKOUT,
                env={**os.environ, SECRET: self.twilio.account.api_key_secret},
            )
        service = Service(process, log)
        self._services.append(service)
        return service

    async def put(self, *values: Any, topic: str = "events", headers: Any = None) -> list[RecordMetadata]:
        """Produce, in order: events as JSON under their person's id, and bytes or None as they are."""
        futures = []
        for value in values:
            raw = json.dumps(value).encode() if isinstance(value, dict) else value
            person = value.get("userId") or value.get("anonymousId") if isinstance(value, dict) else "junk"
            futures.append(await self._producer.send(self.prefix + topic, raw, key=person.encode(), headers=headers))
        return await asyncio.gather(*futures)

    async def records(self, name: str) -> list[ConsumerRecord]:
        """All records of one of the service's own topics, as of now."""
        tail = self._tails.get(name)
        if tail is None:
            count = 1 if name == "suppressions" else self.partitions
            tail = self._tails[name] = Tail(self.bootstrap, f"{self.prefix}own.{name}", count)
        return await tail.to_end()

    async def deliveries(self) -> list[Delivery]:
        """All delivery events that say an outcome, as of now."""
        records = await self.records("deliveries")
        read = [Delivery(each, json.loads(each.value)) for each in records[self._deliveries_read :]]
        for each in read:
            if "send_id" in each.said:
                (self._resolutions if each.said.get("status") else self._deliveries).append(each)
        self._deliveries_read = len(records)
        return self._deliveries

    async def resolutions(self) -> dict[Send, list[Delivery]]:
        """What became of sends after their outcomes, as of now, in order; each once, however often it was published."""
        await self.deliveries()
        found: dict[Send, dict[str, Delivery]] = defaultdict(dict)
        for each in self._resolutions:
            first = found[each.send].setdefault(each.event["messageId"], each)
            assert first.record.value == each.record.value, f"two of one fact: {first.event} and {each.event}"
        return {send: list(facts.values()) for send, facts in found.items()}

    async def tell(self, key: str, kind: str, value: bytes) -> None:
        """Produce a record to by-user, as what stands outside the owners does."""
        now_ms = int(time.time() * 1000)
        place = partition_of(key.encode(), self.partitions)
        headers = headers_of(kind, Origin(key, self.prefix + "own.by-user", place, 0, now_ms, now_ms))
        topic = f"{self.prefix}own.by-user"
        await self._producer.send_and_wait(topic, value, key=key.encode(), partition=place, headers=headers)

    async def decided(self, sends: Iterable[Send], timeout_s: float = ANSWER_S) -> dict[Send, Delivery]:
        """The delivery events by send, once each of `sends` has one."""
        missing = set(sends)

        async def ask() -> bool:
            missing.difference_update(delivery.send for delivery in await self.deliveries())
            return not missing

        with suppress(TimeoutError):
            await until("an outcome for each send", ask, timeout_s)
        assert not missing, f"{len(missing)} sends have no outcome after {timeout_s:.0f} s, such as {min(missing)}"
        return {delivery.send: delivery for delivery in await self.deliveries()}

    async def people(self) -> dict[str, Person]:
        """What the state topic holds, by identity key."""
        last: dict[bytes, tuple[int, bytes | None]] = {}
        for record in await self.records("state"):
            epoch = epoch_of(record.value, record.headers) if not record.key.startswith(RESERVED) else 0
            if epoch >= last.get(record.key, (0, None))[0]:
                last[record.key] = epoch, record.value
        return {
            key.decode(): decode(value)
            for key, (_, value) in last.items()
            if value is not None and not key.startswith(RESERVED)
        }

    async def lag(self) -> int:
        """How many records of the inputs and of by-user are not committed by their group."""
        by_user = {f"{self.prefix}own.by-user": self.partitions}
        return await self._lag("router", self.inputs) + await self._lag("owner", by_user)

    async def caught_up(self, timeout_s: float = ANSWER_S) -> None:
        """Return once nothing lags."""

        async def ask() -> bool:
            return await self.lag() == 0

        await until("lag 0", ask, timeout_s)

    async def rewind(self, role: str, topics: Mapping[str, int]) -> None:
        """Set the offsets of a group without members to the beginning, so that everything is redelivered."""
        async with self._consumer(f"{self.group}.{role}") as consumer:
            consumer.assign(places := _places(topics))
            await consumer.commit(dict.fromkeys(places, 0))

    async def _lag(self, role: str, topics: Mapping[str, int]) -> int:
        async with self._consumer(f"{self.group}.{role}") as consumer:
            consumer.assign(places := _places(topics))
            ends = await consumer.end_offsets(places)
            committed = {place: await consumer.committed(place) for place in places}
        return sum(end - (committed[place] or 0) for place, end in ends.items())

    @asynccontextmanager
    async def _consumer(self, group: str) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap, group_id=group, enable_auto_commit=False, auto_offset_reset="none"
        )
        await consumer.start()
        try:
            yield consumer
        finally:
            await consumer.stop()

    async def open(self) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(name, count, 1) for name, count in self.inputs.items()])

            async def are_there() -> bool:  # the broker answers the creation before its metadata know the topic
                return set(self.inputs) <= set(await admin.list_topics())

            await until("the input topics", are_there)
        finally:
            await admin.close()
        await self._producer.start()

    async def close(self) -> None:
        for service in self._services:
            await service.kill()
        for tail in self._tails.values():
            await tail.close()
        await self._producer.stop()


@asynccontextmanager
async def world(
    broker: Broker,
    prefix: str,
    folder: Path,
    faults: Faults | None = None,
    seed: int = 0,
    inputs: Mapping[str, int] | None = None,
) -> AsyncIterator[World]:
    """A world with its input topics and its default configuration; whatever it started ends with it."""
    async with AsyncExitStack() as stack:
        twilio = await stack.enter_async_context(FakeTwilio(Setup(faults=faults or Faults(), seed=seed)))
        made = World(broker, prefix, folder, twilio, inputs or INPUTS)
        stack.push_async_callback(made.close)
        await made.open()
        made.configure()
        yield made


def _places(topics: Mapping[str, int]) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for topic, count in topics.items() for number in range(count)]


def sent_by(message: StoredMessage) -> Send:
    """The send that a message at the fake belongs to, read from its body."""
    found = SENT.search(message.order.body)
    assert found, "a body that no mapping of the test makes"
    return Send(found[1], found[2])


def attempt_of(message: StoredMessage) -> int:
    """The number of the attempt that a message was created for, read from its tag."""
    return int((message.order.tags or {})[ATTEMPT_TAG].rpartition("-")[2])


def attempts_of(messages: Iterable[StoredMessage]) -> dict[Send, list[StoredMessage]]:
    """The messages by send, as they were created. Fails if an attempt has two."""
    found: dict[Send, list[StoredMessage]] = defaultdict(list)
    for message in messages:
        found[sent_by(message)].append(message)
    for send, each in found.items():
        numbers = [attempt_of(message) for message in each]
        assert len(numbers) == len(set(numbers)), f"{send} has two messages of one attempt: {numbers}"
    return found


def audit(
    expected: Iterable[Send], deliveries: Iterable[Delivery], messages: Iterable[StoredMessage], partitions: int
) -> dict[str, int]:
    """The exact ledger: fails unless every send has one outcome and at most one message, and the two agree.

    Returns how many sends had each outcome. `expected`: every matched (event, mapping).
    """
    outcomes = outcomes_of(deliveries, partitions)
    wanted = set(expected)
    created: dict[Send, list[str]] = defaultdict(list)
    for message in messages:
        created[sent_by(message)].append(message.sid)
    lost = wanted - outcomes.keys()
    unasked = outcomes.keys() - wanted
    doubled = {send for send, sids in created.items() if len(sids) > 1}
    assert not lost, f"{len(lost)} sends have no outcome, such as {min(lost)}"
    assert not unasked, f"{len(unasked)} outcomes belong to no event, such as {min(unasked)}"
    assert not doubled, f"{len(doubled)} sends have more than one message, such as {min(doubled)}"
    for send, delivery in outcomes.items():
        sids = created.get(send, [])
        if delivery.outcome == "accepted":
            assert [delivery.said["twilio_sid"]] == sids, f"{send} is accepted and has the messages {sids}"
        elif delivery.outcome != "unknown":
            assert not sids, f"{send} is {delivery.outcome} and has the messages {sids}"
    assert created.keys() <= outcomes.keys(), "a message without an outcome"
    return dict(Counter(delivery.outcome for delivery in outcomes.values()))


def outcomes_of(deliveries: Iterable[Delivery], partitions: int) -> dict[Send, Delivery]:
    """One delivery per send; the repeats must be the same to the byte, under their person's key and partition."""
    outcomes: dict[Send, Delivery] = {}
    send_ids: dict[str, Send] = {}
    for delivery in deliveries:
        record, event = delivery.record, delivery.event
        person = f"u:{event['userId']}" if "userId" in event else f"a:{event['anonymousId']}"
        assert record.key == person.encode()
        assert record.partition == partition_of(record.key, partitions)
        first = outcomes.setdefault(delivery.send, delivery)
        assert first.record.value == record.value, f"two outcomes: {first.event} and {event}"
        assert send_ids.setdefault(delivery.said["send_id"], delivery.send) == delivery.send, "a send id shared by two"
    return outcomes
