"""Input topics on a broker that was started to try things out: made, written to and read.

`python -m streamer.testing.topics put events.track` produces the events of standard input, one JSON object a line, each
keyed by its person; `… show streamer.deliveries` prints what a topic holds. With `--keyed` a line is a key, a space and
the value, and a key alone a tombstone, as in `+14155550100/shop {}`. Both speak to 127.0.0.1:9092 by default.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from streamer.errors import BrokerUnusable

PARTITIONS: Final = 4  # other than the service's own 8, as in life
KNOWN_S: Final = 20.0  # Kafka answers a creation before its metadata know the topic; measured up to 0.3 s
POLL_S: Final = 0.05
BOOTSTRAP: Final = "127.0.0.1:9092"
READ_S: Final = 10.0


def create_topics(bootstrap: str, names: Sequence[str]) -> None:
    """Make those that are not there, with PARTITIONS each; returns once the broker knows them all.

    Raises: BrokerUnusable.
    """
    try:
        asyncio.run(_create(bootstrap, names))
    except (KafkaError, TimeoutError) as error:
        raise BrokerUnusable(f"the topics {', '.join(names)} can't be created: {error!r}") from error


async def put(bootstrap: str, topic: str, lines: Iterable[bytes], *, is_keyed: bool = False) -> int:
    """Produce each line that isn't blank, keyed by its event's person as far as it has one; returns how many.

    `is_keyed`: each begins with its key, and has no value if it ends there.
    """
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        records = [_record(line.strip(), is_keyed=is_keyed) for line in lines if line.strip()]
        for key, value in records:
            await producer.send(topic, value, key=key)
        await producer.flush()
    finally:
        await producer.stop()
    return len(records)


async def show(bootstrap: str, topic: str, *, is_keyed: bool = False) -> list[bytes]:
    """The values of all records that a topic holds now, in order of time; `is_keyed`: behind their keys."""
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        places = sorted(consumer.assignment())
        ends = await consumer.end_offsets(places)
        records = []
        async with asyncio.timeout(READ_S):
            for place in places:
                while await consumer.position(place) < ends[place]:
                    batches = await consumer.getmany(place, timeout_ms=100)
                    records += batches.get(place, [])
    finally:
        await consumer.stop()
    records.sort(key=lambda record: record.timestamp)
    if is_keyed:
        return [b"%b %b" % (record.key or b"", record.value or b"") for record in records]
    return [record.value or b"" for record in records]


def _record(line: bytes, *, is_keyed: bool) -> tuple[bytes | None, bytes | None]:
    if not is_keyed:
        return _person(line), line
    key, *value = line.split(maxsplit=1)
    return key, value[0] if value else None


def _person(value: bytes) -> bytes | None:
    try:
        event: Any = json.loads(value)
    except ValueError:
        return None
    person = (event.get("userId") or event.get("anonymousId")) if isinstance(event, dict) else None
    return str(person).encode() if person else None


async def _create(bootstrap: str, names: Sequence[str]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        answer = await admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names])
        for topic, code, *_ in answer.topic_errors:
            if code and for_code(code) is not TopicAlreadyExistsError:
                raise BrokerUnusable(f"topic {topic} can't be created: {for_code(code).__name__}")
        async with asyncio.timeout(KNOWN_S):
            while True:
                if all(topic["partitions"] for topic in await admin.describe_topics(list(names))):
                    return
                await asyncio.sleep(POLL_S)
    finally:
        await admin.close()


def main() -> None:
    """Put or show."""
    parser = argparse.ArgumentParser(prog="python -m streamer.testing.topics", description=__doc__)
    parser.add_argument("what", choices=["put", "show"])
    parser.add_argument("topic")
    parser.add_argument("--bootstrap", default=BOOTSTRAP)
    parser.add_argument("--keyed", action="store_true", help="lines begin with the record's key")
    given = parser.parse_args()
    try:
        if given.what == "put":
            count = asyncio.run(put(given.bootstrap, given.topic, sys.stdin.buffer, is_keyed=given.keyed))
            sys.stderr.write(f"{count} records\n")
        else:
            for value in asyncio.run(show(given.bootstrap, given.topic, is_keyed=given.keyed)):
                sys.stdout.write(value.decode(errors="replace") + "\n")
    except (KafkaError, TimeoutError, OSError) as error:
        sys.exit(f"error: {given.bootstrap}: {error or type(error).__name__}")


if __name__ == "__main__":
    main()
