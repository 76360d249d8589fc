"""The least code that does each scenario's work and promises nothing: what `streamer` is measured against.

Each is a process of its own: `python -m bench.baselines send --bootstrap … --topic … --url …`. It reads the topic from
its start to the end that it had at that moment, and prints one JSON line: events, seconds and CPU seconds from the
first record handled to the last (start-up excluded), and the peak memory of the process.

`route`    a bare `getmany` that counts; with `--decode` it decodes what a filter reads, and tests the name
`send`     filter by name, format the body, POST by aiohttp: one lane (task and queue) per user, so that a user's sends
           stay in order, and a semaphore of `--in-flight`. At most once: nothing is committed, stored or acked
`restore`  a bare `getmany` of a compacted topic into a dict
`fold`     decode each identify and update its user's traits in a dict; with `--store TOPIC` each profile that a read
           changed is also encoded and produced there, in batches by partition, all acked in the end
`park`     keep the tracks of the topic in a dict of lists; then for each identify in `<topic>.identify` post what its
           user has there, as `send` does
"""

import argparse
import asyncio
import base64
import json
import resource
import sys
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode
from zlib import crc32

import aiohttp
import msgspec
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from bench.workload import BODY, EVENT_SENT, PARTITIONS

ACCOUNT = "AC" + "0" * 32
PATH = f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
HEADERS = {
    "Authorization": "Basic " + base64.b64encode(b"SK" + b"0" * 32 + b":" + b"s" * 32).decode(),
    "Content-Type": "application/x-www-form-urlencoded",
}
POLL_RECORDS = 2_000  # as many as one turn of the loop may handle
PENDING_MAX = 10_000  # sends read and not yet posted; about 8 MB
TIMEOUT_S = 30.0


class Name(msgspec.Struct):
    """What a filter by name reads of an event."""

    type: str = ""
    event: str = ""


class Properties(msgspec.Struct):
    """What the message needs of the properties."""

    order_id: str
    phone: str
    first_name: str


class Event(Name):
    """What a send reads of an event; the properties are decoded only if it matches."""

    userId: str = ""  # noqa: N815 - Segment's name
    properties: msgspec.Raw = msgspec.Raw(b"{}")


class Identify(msgspec.Struct):
    """What a fold reads of an identify."""

    userId: str  # noqa: N815 - Segment's name
    traits: dict[str, Any]


class Meter:
    """Events, time, CPU and memory between the first record handled and the last."""

    def __init__(self) -> None:
        self.events = 0
        self._started_s: float | None = None
        self._cpu_started_s = 0.0

    def start(self) -> None:
        """The first records are here; again: nothing."""
        if self._started_s is None:
            self._started_s = time.perf_counter()
            self._cpu_started_s = _cpu_s()

    def result(self) -> dict[str, Any]:
        """The figures, as of now."""
        assert self._started_s is not None, "nothing was read"
        seconds, cpu_s = time.perf_counter() - self._started_s, _cpu_s() - self._cpu_started_s
        return {"events": self.events, "seconds": seconds, "cpu_s": cpu_s, "rss_mb": rss_max_mb()}


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def rss_max_mb() -> float:
    """The peak resident memory of this process."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


@asynccontextmanager
async def reading(bootstrap: str, topic: str) -> AsyncIterator[Callable[[], Coroutine[Any, Any, list[Any]]]]:
    """A function that returns the topic's next records; none once it has been read to its end of now."""
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()  # without a group it has every partition at once
    try:
        partitions = consumer.assignment()
        ends = await consumer.end_offsets(partitions)
        left = {partition for partition in partitions if ends[partition] > 0}

        async def read() -> list[Any]:
            while left:
                batches = await consumer.getmany(timeout_ms=1_000, max_records=POLL_RECORDS)
                records = [record for batch in batches.values() for record in batch]
                for partition in batches:
                    if await consumer.position(partition) >= ends[partition]:
                        left.discard(partition)
                if records:
                    return records
            return []

        yield read
    finally:
        await consumer.stop()


async def route(given: argparse.Namespace) -> dict[str, Any]:
    """Count the records, or those whose name matches."""
    meter = Meter()
    matched = 0
    decode = msgspec.json.Decoder(Name).decode
    async with reading(given.bootstrap, given.topic) as read:
        while records := await read():
            meter.start()
            meter.events += len(records)
            if given.decode:
                for record in records:
                    event = decode(record.value)
                    matched += event.type == "track" and event.event == EVENT_SENT
        return {**meter.result(), "matched": matched}


async def restore(given: argparse.Namespace) -> dict[str, Any]:
    """Read the latest value of each key into a dict."""
    meter = Meter()
    state: dict[bytes, bytes] = {}
    async with reading(given.bootstrap, given.topic) as read:
        while records := await read():
            meter.start()
            meter.events += len(records)
            for record in records:
                if record.value is None:
                    state.pop(record.key, None)
                else:
                    state[record.key] = record.value
        return {**meter.result(), "keys": len(state)}


async def fold(given: argparse.Namespace) -> dict[str, Any]:
    """Keep the traits of each user, and with `--store` have them on a topic too."""
    meter = Meter()
    profiles: dict[str, dict[str, Any]] = {}
    decode, encode = msgspec.json.Decoder(Identify).decode, msgspec.msgpack.Encoder().encode
    async with reading(given.bootstrap, given.topic) as read, storing(given.bootstrap, given.store) as store:
        while records := await read():
            meter.start()
            meter.events += len(records)
            touched = {}
            for record in records:
                event = decode(record.value)
                known = profiles.get(event.userId)
                if known is None:
                    profiles[event.userId] = event.traits
                else:
                    known.update(event.traits)
                touched[event.userId] = None
            if store is not None:
                await store((user.encode(), encode(profiles[user])) for user in touched)
        if store is not None:
            await store(())
        return {**meter.result(), "keys": len(profiles)}


Store = Callable[[Iterable[tuple[bytes, bytes]]], Coroutine[Any, Any, None]]


@asynccontextmanager
async def storing(bootstrap: str, topic: str | None) -> AsyncIterator[Store | None]:
    """A function that writes records, one batch a partition at a time; given none, it waits for every ack."""
    if topic is None:
        yield None
        return
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, compression_type="lz4", max_batch_size=1 << 20
    )
    await producer.start()
    acks: dict[int, asyncio.Future[object]] = {}

    async def store(records: Iterable[tuple[bytes, bytes]]) -> None:
        batches: dict[int, Any] = {}
        for key, value in records:
            partition = crc32(key) % PARTITIONS
            batch = batches.get(partition)
            if batch is None:
                batch = batches[partition] = producer.create_batch()
            assert batch.append(key=key, value=value, timestamp=None) is not None  # 2 000 profiles take 0.5 MB
        for partition in batches or acks:
            if partition in acks:
                await acks[partition]
        for partition, batch in batches.items():
            acks[partition] = await producer.send_batch(batch, topic, partition=partition)

    try:
        yield store
    finally:
        await producer.stop()


class Lanes:
    """One queue and one task per user with something to send; `in_flight` requests at a time over all."""

    def __init__(
        self, post: Callable[[Properties], Coroutine[Any, Any, None]], in_flight: int, tasks: asyncio.TaskGroup
    ) -> None:
        self._post = post
        self._slots = asyncio.Semaphore(in_flight)
        self._tasks = tasks
        self._lanes: dict[str, deque[Properties]] = {}
        self._pending = 0
        self._room = asyncio.Event()
        self._room.set()

    async def put(self, user: str, properties: Properties) -> None:
        """Queue one send; wait while `PENDING_MAX` are queued."""
        await self._room.wait()
        self._pending += 1
        if self._pending >= PENDING_MAX:
            self._room.clear()
        lane = self._lanes.get(user)
        if lane is None:
            self._lanes[user] = deque([properties])
            self._tasks.create_task(self._serve(user), name=f"lane {user}")
        else:
            lane.append(properties)

    async def _serve(self, user: str) -> None:
        lane = self._lanes[user]
        while lane:
            async with self._slots:
                await self._post(lane[0])
            lane.popleft()
            self._pending -= 1
            if self._pending < PENDING_MAX:
                self._room.set()
        del self._lanes[user]


@asynccontextmanager
async def posting(given: argparse.Namespace) -> AsyncIterator[tuple[Lanes, Counter[int]]]:
    """Lanes that post to `--url`, and the answers by status; everything is posted when the context ends."""
    answers: Counter[int] = Counter()
    decode_answer = msgspec.json.decode
    url = given.url + PATH
    connector = aiohttp.TCPConnector(limit=given.in_flight)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:

        async def post(properties: Properties) -> None:
            body = BODY.format(first_name=properties.first_name, order_id=properties.order_id)
            form = urlencode({"To": properties.phone, "From": "+15550006789", "Body": body}).encode()
            async with session.post(url, data=form, headers=HEADERS, allow_redirects=False) as response:
                decode_answer(await response.read())["sid"]
                answers[response.status] += 1

        async with asyncio.TaskGroup() as tasks:
            yield Lanes(post, given.in_flight, tasks), answers


async def send(given: argparse.Namespace) -> dict[str, Any]:
    """Post one message for each event whose name matches."""
    meter = Meter()
    matched = 0
    decode, decode_properties = msgspec.json.Decoder(Event).decode, msgspec.json.Decoder(Properties).decode
    async with reading(given.bootstrap, given.topic) as read:
        async with posting(given) as (lanes, answers):
            while records := await read():
                meter.start()
                meter.events += len(records)
                for record in records:
                    event = decode(record.value)
                    if event.type == "track" and event.event == EVENT_SENT:
                        matched += 1
                        await lanes.put(event.userId, decode_properties(event.properties))
        return {**meter.result(), "matched": matched, "refused": answers.total() - answers[201]}


async def park(given: argparse.Namespace) -> dict[str, Any]:
    """Keep the tracks until their user's identify comes, then post them; the figures are those of the posting."""
    waiting: dict[str, list[Properties]] = {}
    decode, decode_properties = msgspec.json.Decoder(Event).decode, msgspec.json.Decoder(Properties).decode
    decode_identify = msgspec.json.Decoder(Identify).decode
    meter, parked, before_mb = Meter(), 0, rss_max_mb()
    async with reading(given.bootstrap, given.topic) as read:
        while records := await read():
            for record in records:
                event = decode(record.value)
                if event.type == "track" and event.event == EVENT_SENT:
                    parked += 1
                    waiting.setdefault(event.userId, []).append(decode_properties(event.properties))
    parked_b = (rss_max_mb() - before_mb) * 1e6 / parked
    async with reading(given.bootstrap, f"{given.topic}.identify") as read:
        async with posting(given) as (lanes, answers):
            while records := await read():
                meter.start()
                meter.events += len(records)
                for record in records:
                    identify = decode_identify(record.value)
                    for properties in waiting.pop(identify.userId, ()):
                        properties.phone = identify.traits["phone"]
                        await lanes.put(identify.userId, properties)
        refused = answers.total() - answers[201]
        return {**meter.result(), "matched": parked, "refused": refused, "parked_b": parked_b}


def main() -> None:
    """Parse the arguments, run one loop, print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("loop", choices=("route", "send", "restore", "fold", "park"))
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--url", help="the sink's, e.g. http://127.0.0.1:9000")
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--decode", action="store_true")
    parser.add_argument("--store", help="a topic for what was folded")
    given = parser.parse_args()
    loops = {"route": route, "send": send, "restore": restore, "fold": fold, "park": park}
    print(json.dumps(uvloop.run(loops[given.loop](given))))


if __name__ == "__main__":
    main()
