"""What `fold` reads, an owner's input: identifies of ten traits as a router hands them on; and what they must become.

Each identify of a person is later than the one before and sets all ten traits: the last one is the whole profile, and
the state topic must end with exactly that, its time and id included.
"""

import asyncio
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any, NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer

from bench.workload import Workload, iso, phone, user_id, users_of
from streamer.core import state
from streamer.core.delivery import Origin
from streamer.core.hop import EVENT, Headers, headers_of
from streamer.core.identity import RESERVED
from streamer.core.profile import Update

STARTED_MS = 1_767_225_600_000
INPUT, INPUT_PARTITIONS = "events.identify", 8  # where a router would have read them
PLANS = ("free", "plus", "family")
# What analytics.js adds; encoded once, it is the same in all.
CONTEXT = msgspec.Raw(
    msgspec.json.encode(
        {"library": {"name": "analytics.js", "version": "2.11.1"}, "ip": "203.0.113.7", "locale": "en-US"}
    )
)


class Written(NamedTuple):
    """A state topic at its end: whose record is not as it must be, how many writes it took, and their seconds."""

    wrong: int
    writes: int
    seconds: float


def traits(user: int, number: int) -> dict[str, Any]:
    """The ten traits of event `number`."""
    return {
        "phone": phone(user),
        "firstName": "Alexandra",
        "lastName": "Jones",
        "email": f"alexandra.{user}@example.com",
        "address": {"city": "New York", "postalCode": "10001", "country": "US"},
        "plan": PLANS[number % len(PLANS)],
        "age": 20 + number % 50,
        "orders": number,
        "isMember": number % 2 == 0,
        "createdAt": iso(STARTED_MS),
    }


def records(work: Workload) -> Iterator[tuple[bytes, bytes, Headers]]:
    """(key, value, headers) of each identify, about 660 bytes beside 70 of headers."""
    encode = msgspec.json.Encoder().encode
    for number, user in enumerate(users_of(work, Random(work.seed))):
        at_ms = STARTED_MS + number
        at = iso(at_ms)
        event = {
            "type": "identify",
            "userId": user_id(user),
            "anonymousId": f"7e57{work.seed:04x}-0000-4000-8000-{user:012x}",
            "messageId": message_id(work, number),
            "timestamp": at,
            "originalTimestamp": at,
            "sentAt": at,
            "receivedAt": at,
            "context": CONTEXT,
            "traits": traits(user, number),
        }
        place = divmod(number, INPUT_PARTITIONS)
        origin = Origin(f"u:{user_id(user)}", INPUT, place[1], place[0], at_ms, at_ms)
        yield origin.key.encode(), encode(event), headers_of(EVENT, origin)


def message_id(work: Workload, number: int) -> str:
    """The messageId of event `number`."""
    return f"bench-{work.seed}-{number:09d}"


def expected(work: Workload) -> dict[bytes, list[Update]]:
    """By key the profile that must be stored in the end."""
    last = {user: number for number, user in enumerate(users_of(work, Random(work.seed)))}
    return {
        f"u:{user_id(user)}".encode(): [Update(STARTED_MS + number, message_id(work, number), traits(user, number))]
        for user, number in last.items()
    }


async def written(bootstrap: str, topic: str, work: Workload) -> Written:
    """Read a state topic to its end and judge it. Its own timestamps say how long the writing took."""
    stored: dict[bytes, bytes] = {}
    times_ms: list[int] = []
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for batch in (await consumer.getmany(timeout_ms=1_000)).values():
                for record in batch:
                    if not record.key.startswith(RESERVED):
                        stored[record.key] = record.value
                        times_ms.append(record.timestamp)
    finally:
        await consumer.stop()
    return Written(wrong(stored, work), len(times_ms), (max(times_ms) - min(times_ms)) / 1000)


def wrong(stored: Mapping[bytes, bytes], work: Workload) -> int:
    """Of how many keys the record is not what it must be, is missing, or should not be there."""
    asked = expected(work)
    different = sum(key not in stored or state.decode(stored[key]).traits != asked[key] for key in asked)
    return different + len(stored.keys() - asked.keys())


def judge(bootstrap: str, topic: str, work: Workload) -> Written:
    """`written`, for who has no loop of its own."""
    return asyncio.run(written(bootstrap, topic, work))
