"""What a consumer group has committed, with the text beside each offset, which aiokafka shows to an admin only."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from streamer.errors import BrokerUnusable
from streamer.kafka.told import told
from streamer.ports import Committed, Partition

READ_S: Final = 5.0  # of three small requests; with the broker away they never end
CLOSE_S: Final = 1.0


class GroupReader:
    """One admin client, kept while it works, and made anew after any failure. One read at a time.

    `connection` holds aiokafka's own connection and security arguments.
    """

    def __init__(self, connection: Mapping[str, Any]) -> None:
        self._connection = connection
        self._admin: AIOKafkaAdminClient | None = None

    async def read(self, group: str, topics: Sequence[str]) -> Mapping[Partition, Committed | None]:
        """Of every partition of `topics` what `group` has committed, or None. Raises: BrokerUnusable.

        Costs: three requests (the topics' partitions, which may grow, the group's coordinator, its offsets).
        """
        try:
            async with asyncio.timeout(READ_S):
                return await self._read(group, topics)
        except TimeoutError as error:
            await self.close()
            raise BrokerUnusable(f"the offsets of group {group} can't be read within {READ_S} s") from error
        except KafkaError as error:
            await self.close()
            raise BrokerUnusable(f"the offsets of group {group} can't be read: {told(error)}") from error

    async def close(self) -> None:
        """Close the connections."""
        admin, self._admin = self._admin, None
        if admin is not None:
            with contextlib.suppress(TimeoutError, KafkaError):
                async with asyncio.timeout(CLOSE_S):
                    await admin.close()

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
