"""Writing Kafka behind the `RecordSink` port: per partition one batch in flight, in order, acks=all.

Measured (2 cores): `send()` a record 8 µs of CPU, batches by partition 1.9 µs; so this builds batches itself, and one
producer is never used both ways. `send_batch` is not first-in-first-out when two of one partition wait: there is never
a second one. After a batch failed for good, the producer looks alive but may be unusable for that partition: a new one
is built and what was not acked is sent again in order. All our records may be written twice (they have ids).
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streamer.errors import BrokerUnusable
from streamer.kafka.told import told
from streamer.ports import Partition
from streamer.telemetry import logger

BATCH_BYTES_MAX: Final = 256 * 1024
# Without it the worst state record would not fit into a message: `core.state`. aiokafka's lz4 is of level 9: 2.8 µs a
# state record of 290 B and 4.8 µs an event of 800 B, where zstd takes 0.4 and 0.8 and leaves half; both read alike.
COMPRESSION: Final = "zstd"
LINGER_S: Final = 0.005  # measured at 64 in flight, sink 0 ms: 8 % more sends than 0; longer gains no more
REBUILDS_MAX: Final = 5  # for one partition, without a batch of it acked between: then the process stops
REBUILD_PAUSE_S: Final = 0.5
STOP_S: Final = 5.0

log = logger(__name__)


class _Item(NamedTuple):
    key: bytes
    value: bytes | None
    headers: list[tuple[str, bytes]] | None
    on_ack: Callable[[int], None] | None


class BatchSink:
    """A producer that batches by partition per turn of the loop. `connection` holds aiokafka's own arguments."""

    def __init__(self, connection: Mapping[str, Any], *, is_idempotent: bool) -> None:
        self._arguments = {
            **connection,
            "acks": "all",
            "enable_idempotence": is_idempotent,
            "compression_type": COMPRESSION,
            "max_batch_size": BATCH_BYTES_MAX,
            "linger_ms": 0,
        }
        self._producer: AIOKafkaProducer | None = None
        self._waiting: dict[Partition, deque[_Item]] = {}
        self._in_flight: dict[Partition, list[_Item]] = {}
        self._ready: set[Partition] = set()  # partitions with something waiting and nothing in flight
        self._records_pending = 0
        self._bytes_pending = 0
        self._failures: dict[Partition, int] = {}  # in a row, by partition
        self._failure: BaseException | None = None
        self._defect: Exception | None = None
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._is_stopped = False

    @property
    def records_pending(self) -> int:
        """Records appended and not yet acked."""
        return self._records_pending

    @property
    def bytes_pending(self) -> int:
        """Their keys and values."""
        return self._bytes_pending

    def append(
        self,
        partition: Partition,
        key: bytes,
        value: bytes | None,
        headers: list[tuple[str, bytes]] | None = None,
        on_ack: Callable[[int], None] | None = None,
    ) -> None:
        """Queue one record; `on_ack(offset)` runs once it is safe (-1: the broker did not say where)."""
        waiting = self._waiting.get(partition)
        if waiting is None:
            waiting = self._waiting[partition] = deque()
        waiting.append(_Item(key, value, headers, on_ack))
        self._records_pending += 1
        self._bytes_pending += len(key) + len(value or b"")
        self._empty.clear()
        if partition not in self._in_flight:
            self._ready.add(partition)
            self._wake.set()

    async def flush(self) -> None:
        """Return when nothing is pending."""
        await self._empty.wait()

    async def run(self) -> None:
        """Write what is appended until `stop`. Raises: BrokerUnusable."""
        try:
            while True:
                await self._wake.wait()
                # Beside batches under way more gathers, for fewer and fuller requests; else one turn of the loop.
                await asyncio.sleep(LINGER_S if self._in_flight else 0)
                self._wake.clear()
                if self._defect is not None:
                    raise self._defect
                if self._is_stopped:
                    return
                if self._failure is not None:
                    await self._rebuild()
                producer = self._producer or await self._build()
                for partition in list(self._ready):
                    await self._send(producer, partition)
        finally:
            if self._producer is not None:
                await _stop(self._producer)

    async def stop(self) -> None:
        """End `run`; what is still pending is not written."""
        self._is_stopped = True
        self._wake.set()

    async def _build(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(**self._arguments)
        try:
            await producer.start()
        except KafkaError as error:
            await producer.stop()
            raise BrokerUnusable(f"cannot write to Kafka: {told(error)}") from error
        self._producer = producer
        return producer

    async def _rebuild(self) -> None:
        """Put what was in flight back in front, in order, and go on with a new producer."""
        failures = max(self._failures.values(), default=0)
        log.error("producer.failed", error=repr(self._failure), failures=failures)
        if failures > REBUILDS_MAX:
            raise BrokerUnusable(f"records can't be written, {REBUILDS_MAX} times in a row: {self._failure!r}")
        old, self._producer, self._failure = self._producer, None, None
        if old is not None:
            await _stop(old)
        for partition, items in self._in_flight.items():
            self._waiting[partition].extendleft(reversed(items))
            self._ready.add(partition)
        self._in_flight.clear()
        await asyncio.sleep(REBUILD_PAUSE_S)

    async def _send(self, producer: AIOKafkaProducer, partition: Partition) -> None:
        """Build one batch of what waits for the partition and hand it over; its end comes by callback."""
        self._ready.discard(partition)
        waiting = self._waiting[partition]
        items: list[_Item] = []
        batch = producer.create_batch()
        while waiting:
            item = waiting[0]
            if batch.append(timestamp=None, key=item.key, value=item.value, headers=item.headers or []) is None:
                break
            items.append(waiting.popleft())
        batch.close()
        self._in_flight[partition] = items
        try:
            sent = await producer.send_batch(batch, partition.topic, partition=partition.partition)
        except KafkaError as error:
            self._fail(partition, error)
            return
        sent.add_done_callback(partial(self._done, producer, partition))

    def _done(self, producer: AIOKafkaProducer, partition: Partition, sent: "asyncio.Future[Any]") -> None:
        """A batch ended: acknowledge its records in order, or have the producer rebuilt."""
        if producer is not self._producer:
            return  # sent again by the producer that followed
        if sent.cancelled() or sent.exception() is not None:
            self._fail(partition, sent.exception() if not sent.cancelled() else None)
            return
        self._failures.pop(partition, None)
        base: int = sent.result().offset
        items = self._in_flight.pop(partition)
        if self._waiting[partition]:
            self._ready.add(partition)
            self._wake.set()
        self._records_pending -= len(items)
        self._bytes_pending -= sum([len(item.key) + len(item.value or b"") for item in items])
        try:
            for index, item in enumerate(items):
                if item.on_ack is not None:
                    item.on_ack(base + index if base >= 0 else -1)
        except Exception as error:  # noqa: BLE001  # a future's callback would swallow it: `run` raises it
            self._defect = error
            self._wake.set()
        if not self._records_pending:
            self._empty.set()

    def _fail(self, partition: Partition, error: BaseException | None) -> None:
        self._failures[partition] = self._failures.get(partition, 0) + 1
        self._failure = error or BrokerUnusable("a batch was cancelled")
        self._wake.set()


async def _stop(producer: AIOKafkaProducer) -> None:
    """Close a producer; its flush never ends while the broker is away, so it is given up after STOP_S."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(STOP_S):
            await producer.stop()
