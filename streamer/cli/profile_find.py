"""The person that a key belongs to: its record, and those of the keys that its links lead to."""

from typing import NamedTuple

from msgspec import Struct

from streamer.cli.profile_scan import Kept, person_of
from streamer.cli.progress import progress_bar
from streamer.config_model import Config
from streamer.core.hop import HOPS_MAX
from streamer.core.identity import partition_of
from streamer.core.profile_view import owner_of
from streamer.kafka.inspection import Inspector
from streamer.ports import Partition


class Place(Struct, frozen=True):
    """Where a key was looked for, up to which offset (`end`), and where its latest record is (-1: there is none)."""

    key: str
    topic: str
    partition: int
    end: int
    offset: int = -1


class Chain(NamedTuple):
    """The last record that a key leads to (None: it has none), and the places that were read, the key's own first."""

    kept: Kept | None
    places: list[Place]


async def find(inspector: Inspector, config: Config, key: str) -> Chain:
    """Follow at most HOPS_MAX links from a key, as an event would go. Raises: BrokerUnusable, StateUnreadable."""
    place, kept = await _read(inspector, config, key)
    places = [place]
    while kept and (target := owner_of(kept.key, kept.person)) not in (kept.key, "") and len(places) <= HOPS_MAX:
        place, other = await _read(inspector, config, target)
        places.append(place)
        if other is None:
            break  # its move is on its way there
        kept = other
    return Chain(kept, places)


async def _read(inspector: Inspector, config: Config, key: str) -> tuple[Place, Kept | None]:
    """The record of a key. Costs: the reading of its whole partition, 600 000 records of 0.2 KB a second."""
    partition = Partition(config.topics.state, partition_of(key.encode(), config.topics.partitions))
    span = await inspector.span(partition)
    with progress_bar(f"reading {partition.topic}/{partition.partition}", span.end - span.start) as advance:
        kept = await person_of(inspector, partition, span, key, advance)
    return Place(key, *partition, end=span.end, offset=kept.offset if kept else -1), kept
