"""What the changelog holds of what a command looks for: all that is wanted, or what bears some ids."""

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

from streamer.app import connection
from streamer.cli.kafka_access import require
from streamer.cli.profile_find import find
from streamer.cli.profile_scan import READINGS, Kept, people_of
from streamer.cli.progress import progress_bar
from streamer.cli.tables import plain
from streamer.config_model import Config
from streamer.core.state import Link, has_business
from streamer.kafka.inspection import Inspector, Span
from streamer.ports import Partition

TARGETS_MAX: Final = 100_000  # of one command: 0.5 KB each in memory
_TOO_MANY: Final = f"over {TARGETS_MAX:,} are meant; these are the first: say it again for the others"


class Named(Protocol):
    """What has a send id, as 32 hex digits."""

    @property
    def send_id(self) -> str:
        """It."""


T = TypeVar("T", bound=Named)
U = TypeVar("U")
K = TypeVar("K")
Judge = Callable[[bytes, Kept], T | str]
"""Of an id and a record: what was looked for, or why it can't be had, "" if the record doesn't name it."""


class Target(NamedTuple, Generic[U]):
    """What was looked for, and the key, the epoch and the links of the record that it was found in."""

    send: U
    key: str
    epoch: int
    links: Sequence[Link]


class Found(NamedTuple, Generic[U]):
    """What was found, why the others can't be had, and up to where each partition was read."""

    targets: list[Target[U]]
    faults: list[str]
    ends: dict[Partition, int]


class Listing(Generic[U]):
    """The first `limit` of what is added, as `order` sorts it."""

    _SLACK: Final = 100  # so that a short one isn't sorted at each

    def __init__(self, limit: int, order: Callable[[U], Any]) -> None:
        self._limit = limit
        self._order = order
        self._kept: list[U] = []

    def add(self, each: U) -> None:
        """Keep it for now."""
        self._kept.append(each)
        if len(self._kept) >= 2 * self._limit + self._SLACK:
            self._kept = self.shown()

    def shown(self) -> list[U]:
        """The first ones, in order."""
        return sorted(self._kept, key=self._order)[: self._limit]


async def spans_of(inspector: Inspector, config: Config) -> dict[Partition, Span]:
    """What each partition of the changelog holds now. Raises: BrokerUnusable."""
    places = [Partition(config.topics.state, number) for number in range(config.topics.partitions)]
    return {place: await inspector.span(place) for place in places}


async def people_with(
    inspector: Inspector, spans: Mapping[Partition, Span], is_wanted: Callable[[bytes], bool]
) -> AsyncGenerator[Kept]:
    """The people of those partitions whose record is wanted by its value. Raises: BrokerUnusable, StateUnreadable.

    Costs: two readings, together 170 000 records of 0.2 KB a second, and the decoding of what is wanted.
    """
    topic = next(iter(spans)).topic
    total = READINGS * sum(span.end - span.start for span in spans.values())
    with progress_bar(f"reading {topic}", total) as advance:
        for place, span in spans.items():
            async for kept in people_of(inspector, place, span, advance, is_wanted):
                yield kept


async def each_with_business(config: Config, look: Callable[[Kept], None]) -> None:
    """Have everybody looked at who has something left to be done. Raises: BrokerUnusable, StateUnreadable."""
    await require(config, config.topics.state)
    async with Inspector(connection(config.kafka)) as inspector:
        async for kept in people_with(inspector, await spans_of(inspector, config), has_business):
            look(kept)


async def by_wish(config: Config, pick: Callable[[Kept], Iterable[T]]) -> Found[T]:
    """The first TARGETS_MAX that `pick` takes from people's records. Raises: BrokerUnusable, StateUnreadable."""
    await require(config, config.topics.by_user, config.topics.state)
    targets: list[Target[T]] = []
    async with Inspector(connection(config.kafka)) as inspector:
        spans = await spans_of(inspector, config)
        async with aclosing(people_with(inspector, spans, has_business)) as people:
            async for kept in people:
                targets += [target_of(each, kept) for each in pick(kept)]
                if len(targets) > TARGETS_MAX:
                    break
    ends = {place: span.end for place, span in spans.items()}
    faults = [_TOO_MANY] if len(targets) > TARGETS_MAX else []
    return Found(targets[:TARGETS_MAX], faults, ends)


async def by_id(
    config: Config, send_ids: Sequence[bytes], judge: Judge[T], key: str | None = None, nowhere: str = ""
) -> Found[T]:
    """What bears these ids; with a `key` only its person is looked at. `nowhere` says why one may not be found.

    Raises: as above.
    """
    await require(config, config.topics.by_user, config.topics.state)
    async with Inspector(connection(config.kafka)) as inspector:
        if key is not None:
            chain = await find(inspector, config, key)
            ends = {Partition(place.topic, place.partition): place.end for place in chain.places}
            found = _judged(send_ids, [chain.kept] if chain.kept else [], judge)
            where = f"of {plain(key)}" if chain.kept else f"of {plain(key)}, of whom nothing is known"
        else:
            spans = await spans_of(inspector, config)
            ends = {place: span.end for place, span in spans.items()}
            found = await search(inspector, spans, send_ids, judge)
            where = f"in {config.topics.state}"
    unknown = f"is not {where}: {nowhere}; {config.topics.deliveries} says what became of it"
    targets = [each for each in found.values() if isinstance(each, Target)]
    faults = [
        f"{sent.hex()} {found.get(sent, unknown)}" for sent in send_ids if not isinstance(found.get(sent), Target)
    ]
    return Found(targets, faults, ends)


async def search(
    inspector: Inspector, spans: Mapping[Partition, Span], send_ids: Sequence[bytes], judge: Judge[T]
) -> dict[bytes, Target[T] | str]:
    """What everybody's records say of these ids; ends once all are found."""

    def names_any(value: bytes) -> bool:
        return any(sent in value for sent in send_ids)

    found: dict[bytes, Target[T] | str] = {}
    async with aclosing(people_with(inspector, spans, names_any)) as people:
        async for kept in people:
            for sent, judged in _judged(send_ids, [kept], judge).items():
                if not isinstance(found.get(sent), Target):
                    found[sent] = judged
            if sum(isinstance(each, Target) for each in found.values()) == len(send_ids):
                break
    return found


def target_of(each: U, kept: Kept) -> Target[U]:
    """Something of a record, with what tells a later one of that record."""
    return Target(each, kept.key, kept.epoch, kept.person.links)


def _judged(send_ids: Sequence[bytes], people: Sequence[Kept], judge: Judge[T]) -> dict[bytes, Target[T] | str]:
    """Of those ids that these people's records name: what was looked for, or why it can't be had."""
    said = {sent: (judge(sent, kept), kept) for kept in people for sent in send_ids}
    return {
        sent: judged if isinstance(judged, str) else target_of(judged, kept)
        for sent, (judged, kept) in said.items()
        if judged
    }
