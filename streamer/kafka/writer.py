"""A few records written by a command: each is sent at once, and `flush` says when all are safe.

For the service's own volume there is `producer`.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streamer.errors import BrokerUnusable
from streamer.kafka.told import told

ACK_S: Final = 60.0  # aiokafka gives a request up after 40 s
STOP_S: Final = 5.0


class Writer:
    """A producer for the length of a command, acks=all. The caller bounds what it writes between two flushes."""

    def __init__(self, connection: Mapping[str, Any], *, is_idempotent: bool) -> None:
        self._arguments = {**connection, "acks": "all", "enable_idempotence": is_idempotent}
        self._producer: AIOKafkaProducer | None = None
        self._sent: list[asyncio.Future[Any]] = []

    async def __aenter__(self) -> Self:
        """Connect. Raises: BrokerUnusable."""
        self._producer = AIOKafkaProducer(**self._arguments)
        try:
            await self._producer.start()
        except KafkaError as error:
            await self._producer.stop()
            raise BrokerUnusable(f"cannot write to Kafka: {told(error)}") from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        assert self._producer is not None, "left only once entered"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                await self._producer.stop()

    async def write(
        self,
        topic: str,
        key: bytes,
        value: bytes,
        headers: list[tuple[str, bytes]] | None = None,
        partition: int | None = None,
    ) -> None:
        """Send one record. Without a `partition` its key tells, as with Java's default partitioner.

        Raises: BrokerUnusable.
        """
        assert self._producer is not None, "used within its context"
        try:
            sent = await self._producer.send(topic, value, key=key, headers=headers or [], partition=partition)
        except KafkaError as error:
            raise BrokerUnusable(f"a record can't be written to {topic}: {told(error)}") from error
        self._sent.append(sent)

    async def flush(self) -> None:
        """Return once all that was written is safe. Raises: BrokerUnusable, if any may not be."""
        sent, self._sent = self._sent, []
        try:
            async with asyncio.timeout(ACK_S):
                for each in sent:
                    await each
        except KafkaError as error:
            raise BrokerUnusable(f"records can't be written: {told(error)}") from error
        except TimeoutError:
            raise BrokerUnusable(
                f"records were not acknowledged within {ACK_S:.0f} s; they may be written yet"
            ) from None
