"""What a consumer group has committed, with the text beside each offset, which aiokafka shows to an admin only.

Where partitions end is told to a consumer only; it is made when first asked, and belongs to no group.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from streamer.errors import BrokerUnusable
from streamer.kafka.told import told
from streamer.ports import Committed, Partition

READ_S: Final = 5.0  # for a few small requests; with the broker away they never end
CLOSE_S: Final = 1.0


class GroupReader:
    """One client of each kind, kept while they work, and made anew after any failure. One call at a time.

    `connection` holds aiokafka's own connection and security arguments.
    """

    def __init__(self, connection: Mapping[str, Any]) -> None:
        self._connection = connection
        self._admin: AIOKafkaAdminClient | None = None
        self._consumer: AIOKafkaConsumer | None = None

    async def read(self, group: str, topics: Sequence[str]) -> Mapping[Partition, Committed | None]:
        """Of every partition of `topics` what `group` has committed, or None. Raises: BrokerUnusable.

        Costs: three requests (the topics' partitions, which may grow, the group's coordinator, its offsets).
        """
        async with self._asking(f"the offsets of group {group}"):
            return await self._read(group, topics)

    async def ends(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """Where each ends, up to where it can be read; asked of the broker after the call. Raises: BrokerUnusable.

        Costs: one request to each of the partitions' leaders.
        """
        async with self._asking("the partitions' ends"):
            if self._consumer is None:
                self._consumer = AIOKafkaConsumer(**self._connection, isolation_level="read_committed")
                await self._consumer.start()
            found = await self._consumer.end_offsets([TopicPartition(*each) for each in partitions])
        return {Partition(*place): offset for place, offset in found.items()}

    async def close(self) -> None:
        """Close the connections."""
        admin, self._admin = self._admin, None
        consumer, self._consumer = self._consumer, None
        with contextlib.suppress(TimeoutError, KafkaError):
            async with asyncio.timeout(CLOSE_S):
                if admin is not None:
                    await admin.close()
                if consumer is not None:
                    await consumer.stop()

    @contextlib.asynccontextmanager
    async def _asking(self, what: str) -> AsyncIterator[None]:
        """Bound what is asked, and begin anew after a failure."""
        try:
            async with asyncio.timeout(READ_S):
                yield
        except TimeoutError as error:
            await self.close()
            raise BrokerUnusable(f"{what} can't be read within {READ_S} s") from error
        except KafkaError as error:
            await self.close()
            raise BrokerUnusable(f"{what} can't be read: {told(error)}") from error

    async def _read(self, group: str, topics: Sequence[str]) -> Mapping[Partition, Committed | None]:
        if self._admin is None:
            self._admin = AIOKafkaAdminClient(**self._connection)
        await self._admin.start()  # nothing, once it has
        described = await self._admin.describe_topics(list(topics))
        places = [
            TopicPartition(topic["topic"], each["partition"]) for topic in described for each in topic["partitions"]
        ]
        unknown = set(topics) - {place.topic for place in places}
        if unknown:
            raise BrokerUnusable(f"the broker does not describe {', '.join(sorted(unknown))}")
        found = await self._admin.list_consumer_group_offsets(group, partitions=places)
        committed: dict[Partition, Committed | None] = {}
        for place in places:
            at = found.get(place)  # -1 where there is none; left out if the coordinator has moved
            is_known = at is not None and at.offset >= 0
            committed[Partition(*place)] = Committed(at.offset, at.metadata or "") if is_known else None
        return committed
