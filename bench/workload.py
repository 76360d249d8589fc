"""What the bench reads: deterministic e-commerce events as Segment's spec writes them, and a fast producer of them.

Every track is about 800 bytes. `match_share` of them are "Order Shipped", and are to be sent as `BODY`; the rest are
"Product Viewed". `properties.order_id` is `<user>-<n>`, n counting that user's sends from 0, and it is in the body: so
the sink's ledger shows a repeat, a gap and a wrong order. The number is the user's, in event and identify alike.
"""

import argparse
import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import accumulate
from random import Random
from typing import Any, NamedTuple
from zlib import crc32

import msgspec
import uvloop
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

EVENT_SENT = "Order Shipped"
EVENT_OTHER = "Product Viewed"
BODY = "Hi {first_name}, order {order_id} has shipped."
ZIPF_EXPONENT = 1.1
PARTITIONS = 8  # of every topic here
BATCH_RECORDS = 500  # about 400 KB of events, 60 KB compressed: well under the broker's 1 MB
USER_AGENT = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"


# Encoded once: it is half of an event, and the same in all.
CONTEXT = msgspec.Raw(
    msgspec.json.encode(
        {
            "library": {"name": "analytics.js", "version": "2.11.1"},
            "ip": "203.0.113.7",
            "locale": "en-US",
            "userAgent": USER_AGENT,
            "page": {"path": "/orders", "url": "https://shop.example/orders", "title": "Your orders"},
        }
    )
)


class Workload(NamedTuple):
    """What to generate. `match_share` of the events are sent; users are drawn uniformly or by Zipf's law."""

    events: int
    users: int
    match_share: float = 1.0
    is_zipf: bool = False
    seed: int = 1


def user_id(user: int) -> str:
    """The user's id, which is the records' key too."""
    return f"user-{user:06d}"


def phone(user: int) -> str:
    """The user's number: a valid one in New York, E.164; at most 1 000 000 users."""
    return f"+1212{5_000_000 + user}"


def iso(at_ms: int) -> str:
    """A wall instant as events write it."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def users_of(work: Workload, random: Random) -> list[int]:
    """Whose event each one is; user 0 is the hottest under Zipf."""
    if not work.is_zipf:
        return random.choices(range(work.users), k=work.events)
    weights = accumulate(1 / rank**ZIPF_EXPONENT for rank in range(1, work.users + 1))
    return random.choices(range(work.users), cum_weights=list(weights), k=work.events)


def is_sent(work: Workload) -> Iterator[tuple[int, bool]]:
    """Of each event: whose it is, and whether it is to be sent."""
    random = Random(work.seed)
    for user in users_of(work, random):
        yield user, random.random() < work.match_share


def tracks(work: Workload, now_ms: int) -> Iterator[tuple[bytes, bytes]]:
    """(key, value) of each event; the same for the same workload and time."""
    sends: Counter[int] = Counter()
    at = iso(now_ms)
    encode = msgspec.json.Encoder().encode
    for number, (user, matches) in enumerate(is_sent(work)):
        order = f"{user}-{sends[user]}" if matches else f"{user}-x{number}"
        sends[user] += matches
        name = EVENT_SENT if matches else EVENT_OTHER
        event = {"type": "track", "event": name} | _rest(work, number, user, order, at)
        yield user_id(user).encode(), encode(event)


def _rest(work: Workload, number: int, user: int, order: str, at: str) -> dict[str, object]:
    return {
        "userId": user_id(user),
        "anonymousId": f"7e57{work.seed:04x}-0000-4000-8000-{user:012x}",
        "messageId": f"bench-{work.seed}-{number:09d}",
        "timestamp": at,
        "originalTimestamp": at,
        "sentAt": at,
        "receivedAt": at,
        "context": CONTEXT,
        "properties": {
            "order_id": order,
            "total": 20 + number % 180,
            "currency": "USD",
            "phone": phone(user),
            "first_name": "Alexandra",
            "products": [{"product_id": f"sku-{number % 997}", "price": 19.95, "quantity": 1 + number % 3}],
        },
    }


def identifies(users: int, now_ms: int) -> Iterator[tuple[bytes, bytes]]:
    """(key, value) of one identify a user, about 400 bytes."""
    at = iso(now_ms)
    encode = msgspec.json.Encoder().encode
    for user in range(users):
        traits = {
            "phone": phone(user),
            "first_name": "Alexandra",
            "last_name": "Jones",
            "email": f"alexandra.{user}@example.com",
            "address": {"city": "New York", "postalCode": "10001", "country": "US"},
            "plan": ("free", "plus", "family")[user % 3],
        }
        event = {
            "type": "identify",
            "userId": user_id(user),
            "messageId": f"bench-i-{user:09d}",
            "timestamp": at,
            "traits": traits,
        }
        yield user_id(user).encode(), encode(event)


def partition_of(key: bytes, partitions: int) -> int:
    """Where `fill` puts a record."""
    return crc32(key) % partitions


async def create_topic(bootstrap: str, topic: str, partitions: int, configs: dict[str, str] | None = None) -> None:
    """Create a topic of this bench. Raises: TopicAlreadyExistsError, for a second filling would falsify the counts."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=configs or {})])
    finally:
        await admin.close()


async def fill(bootstrap: str, topic: str, partitions: int, records: Iterable[tuple[Any, ...]]) -> int:
    """Write the records, each to partition crc32(key) mod `partitions`, in order, and return how many they were.

    A record is (key, value) or (key, value, headers).
    """
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, compression_type="lz4", max_batch_size=1 << 20
    )
    await producer.start()
    batches = [producer.create_batch() for _ in range(partitions)]
    acks: dict[int, asyncio.Future[object]] = {}
    count = 0

    async def flush(partition: int) -> None:
        if partition in acks:
            await acks[partition]  # one batch a partition at a time: two that wait may swap
        acks[partition] = await producer.send_batch(batches[partition], topic, partition=partition)
        batches[partition] = producer.create_batch()

    try:
        for key, value, *more in records:
            partition = partition_of(key, partitions)
            record = {"key": key, "value": value, "timestamp": None, "headers": more[0] if more else []}
            is_full = batches[partition].record_count() >= BATCH_RECORDS
            if is_full or batches[partition].append(**record) is None:
                await flush(partition)
                batches[partition].append(**record)
            count += 1
        for partition in range(partitions):
            if batches[partition].record_count():
                await flush(partition)
        await asyncio.gather(*acks.values())
    finally:
        await producer.stop()
    return count


async def _main(given: argparse.Namespace) -> None:
    now_ms = time.time_ns() // 1_000_000
    if given.identifies:
        records = identifies(given.users, now_ms)
    else:
        records = tracks(Workload(given.events, given.users, given.match_share, given.zipf, given.seed), now_ms)
    await create_topic(given.bootstrap, given.topic, given.partitions)
    started_s = time.perf_counter()
    count = await fill(given.bootstrap, given.topic, given.partitions, records)
    print(json.dumps({"events": count, "seconds": time.perf_counter() - started_s}))


def main() -> None:
    """Make one topic and fill it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--match-share", type=float, default=1.0)
    parser.add_argument("--zipf", action="store_true")
    parser.add_argument("--identifies", action="store_true", help="one identify a user, no tracks")
    parser.add_argument("--seed", type=int, default=1)
    uvloop.run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
