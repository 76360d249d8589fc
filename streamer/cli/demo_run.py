"""The demo itself: a broker, a fake Twilio, the real service as a process of its own, a shop's day, and the check.

What the service did is read from outside, as any user can: its topics, its groups' offsets, its metrics, its exit.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord, TopicPartition
from msgspec import Struct

from streamer.cli.demo_service import LOG_NAME, LOOK_EVERY_S, Service, running
from streamer.cli.demo_summary import Summary, Times, dead_letters, not_sent
from streamer.cli.demo_view import Progress, View
from streamer.cli.schemas import FOLDER, pointed, write_schemas
from streamer.config_document import CONFIG
from streamer.core.documents_mapping import MAPPING
from streamer.core.hop import EVENT
from streamer.errors import StreamerError
from streamer.kafka.topics import TopicSpec, ensure_topics
from streamer.testing.fake_twilio import FakeTwilio
from streamer.testing.fake_twilio_api import Setup
from streamer.testing.fake_twilio_faults import Faults
from streamer.testing.shop import IDENTIFY, SHOP_NUMBERS, TRACK, Item, Shop, generate
from streamer.testing.shop_ledger import Found, Letter, Sms, audit, pairs

EXAMPLE: Final = Path(__file__).resolve().parents[1] / "examples" / "shop"
INPUT_PARTITIONS: Final = 4  # other than by-user's, as in life
LATENCY_S: Final = (0.02, 0.06)  # Twilio's own is 50 to 300 ms; the demo should not take long
TOO_MANY_SHARE: Final = 0.01
STALL_S: Final = 15.0  # without any progress: three times the longest pause of a busy machine


class Settings(Struct, frozen=True):
    """What to play, where the files go, and on which broker; `is_own`: started for the demo; `is_kept`: they stay."""

    events: int
    seed: int
    folder: Path
    bootstrap: str
    is_own: bool
    is_kept: bool


class Names(Struct, frozen=True):
    """The group and the topics; on a broker that others use they have a prefix of their own."""

    group: str
    prefix: str
    inputs: dict[str, str]

    @classmethod
    def of(cls, *, is_own: bool) -> "Names":
        """As in the example shop, or with a random prefix."""
        prefix = "" if is_own else f"demo-{secrets.token_hex(4)}."
        inputs = {stream: f"{prefix}events.{stream}" for stream in (TRACK, IDENTIFY)}
        return cls(f"{prefix}shop", f"{prefix}streamer.", inputs)


async def play(settings: Settings, view: View) -> Summary:
    """Run the demo once and say what became of it. Raises: StreamerError, if the service can't run."""
    shop = generate(settings.events, settings.seed, time.time_ns() // 1_000_000)
    faults = Faults(latency_s=LATENCY_S, too_many_share=TOO_MANY_SHARE, refused_numbers=shop.refused)
    opt_outs = frozenset((number, sender) for number in shop.opted_out for sender in SHOP_NUMBERS)
    async with FakeTwilio(Setup(faults=faults, seed=settings.seed, opt_outs=opt_outs)) as twilio:
        view.step("a fake Twilio", twilio.base_url)
        demo = _Demo(settings, view, shop, twilio)
        try:
            return await demo.run()
        finally:
            await demo.clean_up()


class _Demo:
    """One run: what is being played, what has been found of it, and what is wrong."""

    def __init__(self, settings: Settings, view: View, shop: Shop, twilio: FakeTwilio) -> None:
        self.settings = settings
        self.view = view
        self.shop = shop
        self.twilio = twilio
        self.names = Names.of(is_own=settings.is_own)
        self.found = Found()
        self.pairs = len(pairs(shop))
        self.faults: list[str] = []
        self.partitions = self.produced = self.read = 0
        self.began_s = self.ready_s = self.done_s = time.monotonic()
        self.is_made = self.is_final = False

    async def run(self) -> Summary:
        await self._make_topics()
        self._write_config()
        try:
            async with running(self.settings.folder, self.twilio.account) as service:
                await service.until_ready()
                self.ready_s = time.monotonic()
                self.view.step("streamer run", f"{service.url}, ready after {self.ready_s - self.began_s:.1f} s")
                async with self._consumer() as self.consumer:
                    await self._work(service)
        except* (aiohttp.ClientError, KafkaError, TimeoutError) as errors:
            fault = f"the service or its broker does not answer; its log is {self.settings.folder / LOG_NAME}"
            raise StreamerError(fault) from errors
        return self._summary()

    async def clean_up(self) -> None:
        """Leave a broker that others use as it was."""
        if self.is_made and not self.settings.is_own:
            names = ("by-user", "state", "deliveries", "dead-letters", "suppressions")
            own = [f"{self.names.prefix}{name}" for name in names]
            admin = AIOKafkaAdminClient(bootstrap_servers=self.settings.bootstrap)
            try:
                await admin.start()
                await admin.delete_topics([*self.names.inputs.values(), *own])
            finally:
                await admin.close()

    async def _make_topics(self) -> None:
        """The inputs only: the service makes its own topics."""
        specs = [TopicSpec(name, INPUT_PARTITIONS, 1, {}) for name in self.names.inputs.values()]
        await ensure_topics({"bootstrap_servers": self.settings.bootstrap}, specs, [])
        self.is_made = True

    def _write_config(self) -> None:
        """The example shop with the addresses of this run, and the schemas that its files name."""
        folder = self.settings.folder
        write_schemas(folder / FOLDER, (CONFIG, MAPPING))
        (folder / "mappings").mkdir(parents=True)
        for file in (EXAMPLE / "mappings").iterdir():
            mapping = pointed(file.read_text(encoding="utf-8"), MAPPING, f"../{FOLDER}")
            (folder / "mappings" / file.name).write_text(mapping, encoding="utf-8")
        config: dict[str, Any] = yaml.safe_load((EXAMPLE / "streamer.yaml").read_text(encoding="utf-8"))
        config["kafka"] |= {"bootstrap_servers": self.settings.bootstrap, "group": self.names.group}
        if self.settings.is_own:
            # The embedded broker has no idempotent producer, and gives a group its partitions after half a session.
            config["kafka"] |= {"enable_idempotence": False, "session_timeout": "2s"}
        self.partitions = config["topics"]["partitions"]
        config["topics"] |= {"events": list(self.names.inputs.values()), "prefix": self.names.prefix}
        config["accounts"]["main"]["base_url"] = self.twilio.base_url
        config["http"] = {"listen": "127.0.0.1:0"}
        config["defaults"]["identify_wait"] = "0s"  # what is not known by now is an outcome now: a demo ends
        text = "# streamer/examples/shop/streamer.yaml with the addresses of one run of `streamer demo`\n"
        text = pointed(text + yaml.safe_dump(config, sort_keys=False), CONFIG, FOLDER)
        (folder / "streamer.yaml").write_text(text, encoding="utf-8")

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        """A reader of the service's topics from their start, in no group."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.settings.bootstrap, enable_auto_commit=False, auto_offset_reset="earliest"
        )
        try:
            await consumer.start()
            topics = [f"{self.names.prefix}{name}" for name in ("by-user", "deliveries", "dead-letters")]
            consumer.assign([TopicPartition(topic, number) for topic in topics for number in range(self.partitions)])
            yield consumer
        finally:
            await consumer.stop()

    async def _work(self, service: Service) -> None:
        """Produce the day, wait until the service is through with it, have it stop, read what it left."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._observe(), name="demo.observer")
            for phase in self.shop.phases:
                await self._produce(phase)
                await self._until(self._is_read, service)
            await self._until(self._has_all, service)
            self.done_s = time.monotonic()
            if not self.faults:
                self.view.step(
                    "every outcome is there", f"after {self.done_s - self.ready_s:.1f} s; now the last commits"
                )
            await self._until(self._is_committed, service)
            code = await service.stop()
            self.is_final = True
        self.view.step("streamer run stopped", f"on SIGTERM, with exit code {code}")
        if code:
            self.faults.append(f"the service ended with exit code {code}")
        if not await self._is_committed():
            self.faults.append("the service has not completed every record that it read")
        if _has_number(service.log(), self.shop):
            self.faults.append("a whole phone number is in the service's log")
        await self._read_to_end()
        self.found.messages = [
            Sms(each.sid, each.order.to, each.order.sender or "", each.order.body) for each in self.twilio.messages
        ]

    async def _produce(self, items: Iterable[Item]) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.settings.bootstrap, linger_ms=5)
        try:
            await producer.start()
            acks = [(item, await producer.send(self.names.inputs[item.stream], item.value, item.key)) for item in items]
            for item, ack in acks:
                at = await ack
                self.produced += 1
                if item.junk:
                    self.found.junk[at.topic, at.partition, at.offset] = item
        finally:
            await producer.stop()

    async def _until(self, is_done: Callable[[], Awaitable[bool]], service: Service) -> None:
        """Return when `is_done`, or when nothing has moved for STALL_S: then the check says what is missing."""
        seen, moved_s = self._progress(), time.monotonic()
        while not self.faults and not await is_done():
            service.check_alive()
            self.read = await service.records_read()
            now, now_s = self._progress(), time.monotonic()
            self.view.show(now, now_s - self.ready_s)
            if now != seen:
                seen, moved_s = now, now_s
            elif now_s - moved_s > STALL_S:
                self.faults.append(f"nothing moved for {STALL_S:.0f} s")
            await asyncio.sleep(LOOK_EVERY_S)

    async def _is_read(self) -> bool:
        return self.read >= self.produced

    async def _has_all(self) -> bool:
        found = self.found
        return len(found.deliveries) >= self.pairs and len(found.letters) >= len(found.junk)

    async def _is_committed(self) -> bool:
        """Both groups have committed up to their topics' ends: nothing is left to do."""
        by_user = f"{self.names.prefix}by-user"
        own = [place for place in self.consumer.assignment() if place.topic == by_user]
        inputs = [
            TopicPartition(topic, number) for topic in self.names.inputs.values() for number in range(INPUT_PARTITIONS)
        ]
        admin = AIOKafkaAdminClient(bootstrap_servers=self.settings.bootstrap)
        try:
            await admin.start()
            for role, places in (("router", inputs), ("owner", own)):
                committed = await admin.list_consumer_group_offsets(f"{self.names.group}.{role}", partitions=places)
                ends = await self.consumer.end_offsets(places)
                if any(place not in committed or committed[place].offset < ends[place] for place in places):
                    return False
        finally:
            await admin.close()
        return True

    async def _observe(self) -> None:
        while not self.is_final:
            self._take(await self.consumer.getmany(timeout_ms=100))

    async def _read_to_end(self) -> None:
        places = list(self.consumer.assignment())
        ends = await self.consumer.end_offsets(places)
        while any([await self.consumer.position(place) < ends[place] for place in places]):
            self._take(await self.consumer.getmany(timeout_ms=100))

    def _take(self, batches: dict[TopicPartition, list[ConsumerRecord]]) -> None:
        for place, records in batches.items():
            name = place.topic.removeprefix(self.names.prefix)
            for record in records:
                if name == "by-user" and dict(record.headers).get("kind") != EVENT.encode():
                    continue  # a link, or a record that moves: what they do shows in the outcomes
                if name == "by-user":
                    self.found.by_user.setdefault(place.partition, []).append(record.value)
                elif name == "deliveries":
                    self.found.add_delivery(record.value)
                else:
                    self.found.letters.append(_letter(record))

    def _progress(self) -> Progress:
        stats, outcomes = self.twilio.stats, self.found.outcomes
        return Progress(
            total=len(self.shop.items),
            read=self.read,
            expected=self.pairs,
            accepted=outcomes["accepted"],
            suppressed=outcomes["suppressed"],
            failed=outcomes["failed"],
            in_flight=stats.requests - stats.created - sum(stats.refused.values()),
        )

    def _summary(self) -> Summary:
        found, shop = self.found, self.shop
        rows, letters = not_sent(shop, found), dead_letters(found.letters)
        faults = self.faults + audit(shop, found)
        accepted = found.outcomes["accepted"]
        if accepted + sum(row.count for row in rows) != self.pairs:
            faults.append(f"the outcomes don't add up to the {self.pairs} that matched")
        items = [item for item in shop.items if not item.junk]
        return Summary(
            is_right=not faults,
            faults=faults,
            seed=self.settings.seed,
            produced_events=self.produced,
            read_events=self.read,
            usable_events=self.read - len(found.letters),
            repeated_events=len(items) - len({item.value for item in items}),
            matched=self.pairs,
            accepted=accepted,
            twilio_messages=len(found.messages),
            twilio_busy=self.twilio.stats.refused.get(20429, 0),
            not_sent=rows,
            dead_letters=letters,
            times=Times(self.ready_s - self.began_s, self.done_s - self.ready_s, time.monotonic() - self.began_s),
            folder=str(self.settings.folder) if faults or self.settings.is_kept else "",
        )


def _has_number(log: bytes, shop: Shop) -> bool:
    return any(number[1:].encode() in log for number in shop.numbers.values())


def _letter(record: ConsumerRecord) -> Letter:
    headers = {name: value.decode() for name, value in record.headers}
    place = (headers["topic"], int(headers["partition"]), int(headers["offset"]))
    return Letter(place, headers["reason"], headers["detail"], record.value)
