"""Input topics on a broker that was started to try things out."""

import asyncio
from collections.abc import Sequence
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from streamer.errors import BrokerUnusable

PARTITIONS: Final = 4  # other than the service's own 8, as in life
KNOWN_S: Final = 20.0  # Kafka answers a creation before its metadata know the topic; measured up to 0.3 s
POLL_S: Final = 0.05


def create_topics(bootstrap: str, names: Sequence[str]) -> None:
    """Make those that are not there, with PARTITIONS each; returns once the broker knows them all.

    Raises: BrokerUnusable.
    """
    try:
        asyncio.run(_create(bootstrap, names))
    except (KafkaError, TimeoutError) as error:
        raise BrokerUnusable(f"the topics {', '.join(names)} can't be created: {error!r}") from error


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
