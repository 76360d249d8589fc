"""Our topics on the broker: created if missing, checked if present; and where a group starts at its first start."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import InvalidReplicationFactorError, KafkaError, TopicAlreadyExistsError, for_code
from aiokafka.structs import TopicPartition

from streamer.errors import BrokerUnusable
from streamer.kafka.told import told
from streamer.ports import Partition

DESCRIBE_S: Final = 20.0
DESCRIBE_EVERY_S: Final = 0.1
_DAY_MS: Final = 24 * 60 * 60 * 1000
POLICY: Final = "cleanup.policy"
DELETE_RETENTION: Final = "delete.retention.ms"
DELETE_RETENTION_MS: Final = _DAY_MS  # Kafka's own default, where we may not ask
COMPACTED: Final = {
    POLICY: "compact",
    "segment.bytes": str(64 * 1024 * 1024),
    "min.compaction.lag.ms": str(60 * 60 * 1000),
    # Kafka's own default is never: what somebody had before they were forgotten would stay for as long as few write.
    "max.compaction.lag.ms": str(7 * _DAY_MS),
    DELETE_RETENTION: str(7 * _DAY_MS),
}


@dataclass(frozen=True)
class TopicSpec:
    """One topic of ours and how it is kept."""

    name: str
    partitions: int
    replication: int
    config: dict[str, str]


def deleted_after(days: int) -> dict[str, str]:
    """The topic configuration that deletes records after `days`."""
    return {POLICY: "delete", "retention.ms": str(days * _DAY_MS)}


async def ensure_topics(
    connection: Mapping[str, Any], ours: Iterable[TopicSpec], inputs: Iterable[str]
) -> dict[str, int]:
    """Create what is missing of ours, check what is there; returns each topic's partition count.

    Raises: BrokerUnusable with one readable line.
    """
    admin = AIOKafkaAdminClient(**connection)
    try:
        await admin.start()
    except KafkaError as error:
        await admin.close()
        raise BrokerUnusable(
            f"no Kafka at {connection['bootstrap_servers']}: {told(error)}."
            " Check kafka.bootstrap_servers and its security"
        ) from error
    try:
        return await _ensure(admin, list(ours), list(inputs))
    except KafkaError as error:
        raise BrokerUnusable(f"the topics can't be created or described: {told(error)}") from error
    finally:
        await admin.close()


async def describe_changelog(connection: Mapping[str, Any], topic: str) -> tuple[str, int]:
    """The cluster's id, and for how many ms the topic keeps its tombstones. Raises: BrokerUnusable."""
    admin = AIOKafkaAdminClient(**connection)
    try:
        await admin.start()
        cluster = await admin.describe_cluster()
        answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    except KafkaError as error:
        raise BrokerUnusable(f"topic {topic} can't be described: {told(error)}") from error
    finally:
        await admin.close()
    settings = {entry[0]: entry[1] for answer in answers for resource in answer.resources for entry in resource[4]}
    return str(cluster["cluster_id"]), int(settings.get(DELETE_RETENTION) or DELETE_RETENTION_MS)


async def _ensure(admin: AIOKafkaAdminClient, ours: list[TopicSpec], inputs: list[str]) -> dict[str, int]:
    present = set(await admin.list_topics())
    absent = [name for name in inputs if name not in present]
    if absent:
        raise BrokerUnusable(f"no topic {', '.join(absent)} on the broker; create it, or correct topics.events")
    missing = [spec for spec in ours if spec.name not in present]
    if missing:
        answer = await admin.create_topics(
            [NewTopic(s.name, s.partitions, s.replication, topic_configs=s.config) for s in missing]
        )
        for topic, code, *rest in answer.topic_errors:
            error = for_code(code)
            if error is InvalidReplicationFactorError:
                raise BrokerUnusable(
                    f"topic {topic} can't be created: {rest[0] if rest else error.__name__}"
                    " Set topics.replication to at most the number of brokers"
                )
            if code and error is not TopicAlreadyExistsError:  # another process may have been quicker
                raise BrokerUnusable(f"topic {topic} can't be created: {error.__name__} {rest[0] if rest else ''}")
    counts = await _counts(admin, [*(spec.name for spec in ours), *inputs])
    for spec in ours:
        if counts[spec.name] != spec.partitions:
            raise BrokerUnusable(
                f"topic {spec.name} has {counts[spec.name]} partitions, and must have {spec.partitions}: as"
                " topics.partitions says, or one for who said STOP. The count is part of where each person lives:"
                " set it to the topic's, or start with a new prefix"
            )
    await _check_policies(admin, ours)
    return counts


async def _check_policies(admin: AIOKafkaAdminClient, ours: list[TopicSpec]) -> None:
    """Refuse a topic of ours that somebody made with another cleanup policy: it would lose records silently."""
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, spec.name) for spec in ours])
    described = {resource[3]: resource[4] for answer in answers for resource in answer.resources}
    for spec in ours:
        policy = next((str(entry[1]) for entry in described.get(spec.name, ()) if entry[0] == POLICY), None)
        if policy is not None and policy != spec.config.get(POLICY, policy):
            raise BrokerUnusable(
                f"topic {spec.name} has cleanup.policy {policy}, and needs {spec.config[POLICY]}:"
                " alter it, or have streamer create the topic"
            )


async def _counts(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, int]:
    """The partition count of each topic, as soon as the broker tells it: a new topic is not known at once."""
    try:
        async with asyncio.timeout(DESCRIBE_S):
            while True:
                described = await admin.describe_topics(names)
                if all(topic["partitions"] for topic in described):
                    return {topic["topic"]: len(topic["partitions"]) for topic in described}
                await asyncio.sleep(DESCRIBE_EVERY_S)
    except TimeoutError:
        raise BrokerUnusable(f"the broker does not describe {', '.join(names)} within {DESCRIBE_S} s") from None


async def ensure_offsets(
    connection: Mapping[str, Any], group: str, inputs: Mapping[str, int], start: str | int, output: tuple[str, int]
) -> None:
    """Turn the first start of a group into commits for every partition of its inputs, before the first read.

    `inputs` and `output` are topics with their partition counts.

    A topic of which the group has committed nothing starts at `start` (earliest, latest or ms since the epoch); a
    partition added later, beside committed ones, starts at its beginning when it is opened.
    Raises: BrokerUnusable; also where the group has nothing committed though its `output` topic holds records: its
    offsets have expired (Kafka keeps those of an idle group for a week), and `start` would skip what came since.
    """
    consumer = AIOKafkaConsumer(**connection, group_id=group, enable_auto_commit=False, auto_offset_reset="none")
    try:
        await consumer.start()
        topics = [[TopicPartition(topic, number) for number in range(n)] for topic, n in inputs.items()]
        consumer.assign([place for places in topics for place in places])
        new = [places for places in topics if await _is_new(consumer, places)]
        if len(new) == len(topics) and start != "earliest" and await _holds_records(consumer, *output):
            raise BrokerUnusable(
                f"group {group} has no committed offsets, though {output[0]} holds records: they have expired, or the"
                " group is another. Set its offsets by hand where to go on, or start with a new prefix"
            )
        for places in new:
            await _begin(consumer, places, start)
    except KafkaError as error:
        raise BrokerUnusable(f"the first offsets of group {group} can't be set: {told(error)}") from error
    finally:
        await consumer.stop()


async def begin_at(connection: Mapping[str, Any], group: str, offsets: Mapping[Partition, int]) -> None:
    """Commit the first offsets of a group without members, all in one request. Raises: BrokerUnusable."""
    consumer = AIOKafkaConsumer(**connection, group_id=group, enable_auto_commit=False, auto_offset_reset="none")
    try:
        await consumer.start()
        consumer.assign([TopicPartition(*place) for place in offsets])
        await consumer.commit({TopicPartition(*place): offset for place, offset in offsets.items()})
    except KafkaError as error:
        raise BrokerUnusable(f"the first offsets of group {group} can't be set: {told(error)}") from error
    finally:
        await consumer.stop()


async def _is_new(consumer: AIOKafkaConsumer, places: list[TopicPartition]) -> bool:
    return all([await consumer.committed(place) is None for place in places])


async def _holds_records(consumer: AIOKafkaConsumer, topic: str, partitions: int) -> bool:
    places = [TopicPartition(topic, number) for number in range(partitions)]
    ends: dict[TopicPartition, int] = await consumer.end_offsets(places)
    return any(ends.values())


async def _begin(consumer: AIOKafkaConsumer, places: list[TopicPartition], start: str | int) -> None:
    try:
        await consumer.commit(await _offsets_at(consumer, places, start))
    except KafkaError:
        # Another process was quicker: once it has joined, the group takes no commits from outside.
        if await _is_new(consumer, places):
            raise


async def _offsets_at(
    consumer: AIOKafkaConsumer, places: list[TopicPartition], start: str | int
) -> dict[TopicPartition, int]:
    if start == "earliest":
        return dict(await consumer.beginning_offsets(places))
    ends: dict[TopicPartition, int] = dict(await consumer.end_offsets(places))
    if start == "latest":
        return ends
    found = await consumer.offsets_for_times(dict.fromkeys(places, int(start)))
    # None, or a timestamp of -1, where nothing is as late as that
    late = {place: at.offset for place, at in found.items() if at is not None and at.timestamp >= 0}
    return {place: late.get(place, ends[place]) for place in places}
