"""`streamer run --dry --seed`: fills a dry run's topics from those of the live service, which it only reads.

The order is what keeps anything from being lost, while live goes on. First the routers' committed offsets, from which
the dry routers will read: whatever lies below them is in by-user by then. Then the owners', and the end of the state:
whatever lies below them is in the state by then. Last the end of by-user. So each event is in the state that is copied,
in by-user's copy, or still to be read; one that is in two of them is known by its place and its send id.
The dry routers' offsets are set last, in one request: without them a seeding did not end (`app.dry_stage`).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import click

from streamer.app import BEGUN, NEW, connection, dry_stage, make_topics, way_out
from streamer.cli.kafka_access import require
from streamer.cli.profile_scan import READINGS, people_of
from streamer.cli.progress import progress_bar
from streamer.config_model import Config
from streamer.core.identity import is_persons_key
from streamer.core.seeding import seeded, seeded_record
from streamer.core.state import encode
from streamer.errors import BrokerUnusable
from streamer.kafka.groups import GroupReader
from streamer.kafka.inspection import Inspector, Span
from streamer.kafka.producer import BatchSink
from streamer.kafka.topics import begin_at
from streamer.ports import Committed, Partition

PENDING_BYTES_MAX: Final = 8 * 1024 * 1024  # beside one batch as it is read; then all of it is awaited
OFFSETS_TOLD: Final = 16  # of the summary; a line has room for no more
_KIND: Final = "kind"


class Places(NamedTuple):
    """Where the live service was: what its routers had committed, and what is copied of its own topics."""

    routed: dict[Partition, int]
    state: dict[Partition, Span]
    by_user: dict[Partition, Span]


class Seeded(NamedTuple):
    """What a seeding took: people, records of by-user, and from which offsets the dry routers read."""

    people: int
    records: int
    seconds: float
    routed: Mapping[Partition, int]


async def seed(live: Config, dry: Config) -> Seeded:
    """Fill the empty topics of a dry run. Raises: BrokerUnusable, StateUnreadable; UsageError where they hold anything.

    Measured (2 cores, a local broker, memory bounded by `people_of`): 40 000 people/s of 350 B, 53 000 records/s of
    by-user of 700 B; both are one core's.
    """
    kafka = connection(live.kafka)
    await require(live, live.topics.by_user, live.topics.state)
    async with Inspector(kafka) as inspector:
        places = await _places(live, inspector)
        await make_topics(dry)
        stage = await dry_stage(dry)
        if stage != NEW:
            what = (
                "are those of a run whose groups have offsets: run without --seed to go on"
                if stage == BEGUN
                else _UNENDED
            )
            raise click.UsageError(f"the topics {dry.topics.prefix}* {what}. {way_out(dry)}")
        began_s = time.monotonic()
        total = sum(READINGS * (span.end - span.start) for span in places.state.values())
        total += sum(span.end - span.start for span in places.by_user.values())
        with progress_bar("seeding", total) as advance:
            async with _writing(dry) as sink:
                people = await _copy_people(inspector, places.state, sink, dry.topics.state, advance)
                records = await _copy_by_user(inspector, places.by_user, sink, dry.topics.by_user, advance)
        await begin_at(kafka, f"{dry.kafka.group}.router", places.routed)
    return Seeded(people, records, time.monotonic() - began_s, places.routed)


_UNENDED: Final = "hold part of the live service's records: an earlier --seed did not end"


def told(taken: Seeded) -> str:
    """The summary, in a line."""
    offsets = [f"{place.topic}/{place.partition}:{offset}" for place, offset in sorted(taken.routed.items())]
    more = f" and {len(offsets) - OFFSETS_TOLD} more" if len(offsets) > OFFSETS_TOLD else ""
    return (
        f"seeded {taken.people} people and {taken.records} records of by-user in {taken.seconds:.1f} s;"
        f" reading from {' '.join(offsets[:OFFSETS_TOLD])}{more}"
    )


async def _places(live: Config, inspector: Inspector) -> Places:
    """Where the live service is, asked for in the order that the module's text explains. Raises: BrokerUnusable."""
    topics, group = live.topics, live.kafka.group
    groups = GroupReader(connection(live.kafka))
    try:
        routed = _known(await groups.read(f"{group}.router", topics.events), f"{group}.router")
        owned = _known(await groups.read(f"{group}.owner", [topics.by_user]), f"{group}.owner")
        state_ends = await groups.ends(_partitions(live, topics.state))
        by_user_ends = await groups.ends(_partitions(live, topics.by_user))
    finally:
        await groups.close()
    state = {place: Span((await inspector.span(place)).start, end) for place, end in state_ends.items()}
    by_user = {}
    for place, end in by_user_ends.items():
        start = (await inspector.span(place)).start
        if owned.get(place, start) < start:
            raise BrokerUnusable(
                f"group {group}.owner has not read what {place.topic} no longer holds: it lost records"
            )
        by_user[place] = Span(owned.get(place, start), end)
    return Places(routed, state, by_user)


def _partitions(config: Config, topic: str) -> list[Partition]:
    return [Partition(topic, number) for number in range(config.topics.partitions)]


def _known(committed: Mapping[Partition, Committed | None], group: str) -> dict[Partition, int]:
    """Where a group is, as far as it has begun. Raises: BrokerUnusable, where it has nowhere."""
    known = {place: at.offset for place, at in committed.items() if at is not None}
    if not known:
        raise BrokerUnusable(
            f"group {group} has no committed offsets: the live service has never run, or its offsets have expired."
            " Run without --seed, to begin at topics.start"
        )
    return known


@asynccontextmanager
async def _writing(dry: Config) -> AsyncIterator[BatchSink]:
    """A sink that writes; all of it is safe at the end."""
    sink = BatchSink(connection(dry.kafka), is_idempotent=dry.kafka.enable_idempotence)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sink.run(), name="seed.sink")
        try:
            yield sink
            await sink.flush()
        finally:
            await sink.stop()


async def _copy_people(
    inspector: Inspector,
    spans: Mapping[Partition, Span],
    sink: BatchSink,
    topic: str,
    advance: Callable[[int], None],
) -> int:
    """Copy the people; returns how many.

    No record that counts is compacted away meanwhile: one stays for an hour after a later of its key was written.
    """
    people = 0
    for place, span in spans.items():
        to = Partition(topic, place.partition)
        async for kept in people_of(inspector, place, span, advance):
            if not is_persons_key(kept.key):
                continue
            sink.append(to, kept.key.encode(), encode(seeded(kept.person)))
            people += 1
            if sink.bytes_pending > PENDING_BYTES_MAX:
                await sink.flush()
    return people


async def _copy_by_user(
    inspector: Inspector,
    spans: Mapping[Partition, Span],
    sink: BatchSink,
    topic: str,
    advance: Callable[[int], None],
) -> int:
    """Copy what the owners have not committed, with its headers; returns how many records."""
    copied = 0
    for place, span in spans.items():
        to, at = Partition(topic, place.partition), span.start
        async for records in inspector.records(place, span):
            for record in records:
                kind = (dict(record.headers).get(_KIND) or b"").decode(errors="replace")
                value = None if record.value is None else seeded_record(kind, record.value)
                if value is not None:
                    sink.append(to, record.key or b"", value, list(record.headers))
                    copied += 1
            if records:
                advance(records[-1].offset + 1 - at)
                at = records[-1].offset + 1
            if sink.bytes_pending > PENDING_BYTES_MAX:
                await sink.flush()
        advance(span.end - at)
    return copied
