"""What the commands share that look into Kafka or write a command to it, beside a service that runs or doesn't."""

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from streamer.app import connection
from streamer.config import load
from streamer.config_model import Config
from streamer.core.delivery import Origin
from streamer.core.hop import headers_of
from streamer.core.identity import partition_of
from streamer.errors import BrokerUnusable, ConfigError
from streamer.kafka.inspection import partition_counts
from streamer.kafka.writer import Writer

T = TypeVar("T")

COMMANDS_IN_FLIGHT: Final = 1_000  # 200 B each
_UNNEEDED: Final = ("accounts.", "senders.", "http.")  # sections whose secrets a command without messages does without


class Command(NamedTuple):
    """A record for a person's owner: `kind` and `value` as in `core.hop`; it happens at `at_ms`."""

    key: str
    kind: str
    value: bytes
    at_ms: int


def load_for_kafka(path: Path) -> Config:
    """The configuration, with the secrets of Kafka; those of Twilio may be missing. Raises: ConfigError."""
    try:
        return load(path, secrets=True)
    except ConfigError as error:
        if not error.faults or not all(each.text.startswith(_UNNEEDED) for each in error.faults):
            raise
    return load(path, secrets=False)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Have `work` done; what aiokafka logs of a failure is left out, as our errors say it in a line."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL + 1)
    return asyncio.run(work)


async def require(config: Config, *own: str) -> None:
    """Check that topics of ours are there, with the partitions that the configuration says. Raises: BrokerUnusable."""
    counts = await partition_counts(connection(config.kafka), own)
    for topic in own:
        count = counts.get(topic)
        if count is None:
            raise BrokerUnusable(
                f"no topic {topic} at {config.kafka.bootstrap_servers}: the service makes it at its first start;"
                " else correct topics.prefix"
            )
        if count != config.topics.partitions:
            raise BrokerUnusable(
                f"topic {topic} has {count} partitions, topics.partitions says {config.topics.partitions}."
                " The count is part of where each person lives: set it to the topic's"
            )


async def produce(config: Config, commands: Iterable[Command]) -> None:
    """Write commands to their people's partitions of `by-user`; all are safe when this returns. Raises: BrokerUnusable.

    The topic was checked by `require`.
    """
    topic, partitions = config.topics.by_user, config.topics.partitions
    async with Writer(connection(config.kafka), is_idempotent=config.kafka.enable_idempotence) as writer:
        for number, command in enumerate(commands, 1):
            key = command.key.encode()
            origin = Origin(command.key, "", 0, 0, command.at_ms, command.at_ms)
            headers = headers_of(command.kind, origin)
            await writer.write(topic, key, command.value, headers, partition_of(key, partitions))
            if number % COMMANDS_IN_FLIGHT == 0:
                await writer.flush()
        await writer.flush()
