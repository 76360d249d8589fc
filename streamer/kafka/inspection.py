"""What a command sees of Kafka without being a member of any group: topics, and a partition's records up to its end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from streamer.errors import BrokerUnusable
from streamer.kafka.told import told
from streamer.ports import Partition, Record

POLL_TIMEOUT_MS: Final = 200
RECORDS_MAX: Final = 5_000  # of one turn: 15 ms of decoding
FETCH_BYTES: Final = 4 * 1024 * 1024
STALL_S: Final = 30.0  # without a record below the end: aiokafka itself would wait for ever
STOP_S: Final = 5.0


class Span(NamedTuple):
    """The offsets that a partition holds: from `start`, below `end`."""

    start: int
    end: int


async def partition_counts(connection: Mapping[str, Any], names: Iterable[str]) -> dict[str, int]:
    """How many partitions each of `names` has; one that isn't there is left out, and never made by asking.

    Raises: BrokerUnusable.
    """
    admin = AIOKafkaAdminClient(**connection)
    try:
        await admin.start()
        described = await admin.describe_topics()
    except KafkaError as error:
        raise BrokerUnusable(
            f"no Kafka at {connection['bootstrap_servers']}: {told(error)}."
            " Check kafka.bootstrap_servers and its security"
        ) from error
    finally:
        await admin.close()
    counts = {topic["topic"]: len(topic["partitions"]) for topic in described}
    return {name: counts[name] for name in names if counts.get(name)}


class Inspector:
    """Reads partitions one after the other, with one consumer outside any group; it commits nothing."""

    def __init__(self, connection: Mapping[str, Any]) -> None:
        self._arguments = {
            **connection,
            "enable_auto_commit": False,
            "auto_offset_reset": "earliest",  # where compaction has taken the first records meanwhile
            "max_partition_fetch_bytes": FETCH_BYTES,
        }
        self._consumer: AIOKafkaConsumer | None = None

    async def __aenter__(self) -> Self:
        """Connect. Raises: BrokerUnusable."""
        self._consumer = AIOKafkaConsumer(**self._arguments)
        try:
            await self._consumer.start()
        except KafkaError as error:
            await self._consumer.stop()
            raise BrokerUnusable(f"cannot read from Kafka: {told(error)}") from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                await self._reader.stop()

    async def span(self, partition: Partition) -> Span:
        """What a partition holds now. Raises: BrokerUnusable."""
        place = TopicPartition(*partition)
        try:
            async with asyncio.timeout(STALL_S):
                start = (await self._reader.beginning_offsets([place]))[place]
                end = (await self._reader.end_offsets([place]))[place]
        except (KafkaError, TimeoutError) as error:
            raise BrokerUnusable(f"the offsets of {_name(partition)} can't be read: {_why(error)}") from error
        return Span(start, end)

    async def records(self, partition: Partition, span: Span) -> AsyncIterator[Sequence[Record]]:
        """The records of a span in order, in batches of at most RECORDS_MAX. Raises: BrokerUnusable."""
        place = TopicPartition(*partition)
        try:
            self._reader.assign([place])
            self._reader.seek(place, span.start)
            while True:
                async with asyncio.timeout(STALL_S):
                    before = await self._reader.position(place)
                    if before >= span.end:
                        return
                    found: Sequence[Record] = ()
                    while not found and await self._reader.position(place) == before:
                        batches = await self._reader.getmany(timeout_ms=POLL_TIMEOUT_MS, max_records=RECORDS_MAX)
                        found = batches.get(place, ())
                yield [record for record in found if record.offset < span.end]
        except (KafkaError, TimeoutError) as error:
            raise BrokerUnusable(f"{_name(partition)} can't be read: {_why(error)}") from error

    @property
    def _reader(self) -> AIOKafkaConsumer:
        assert self._consumer is not None, "used within its context"
        return self._consumer


def _name(partition: Partition) -> str:
    return f"{partition.topic}/{partition.partition}"


def _why(error: KafkaError | TimeoutError) -> str:
    return told(error) if isinstance(error, KafkaError) else f"no answer within {STALL_S:.0f} s"
