"""The open sends that the changelog holds: those that are wanted, or those of some ids, with why another isn't one."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Final, NamedTuple

from streamer.app import connection
from streamer.cli.kafka_access import require
from streamer.cli.profile_find import find
from streamer.cli.profile_scan import READINGS, Kept, people_of
from streamer.cli.progress import progress_bar
from streamer.cli.tables import iso, plain
from streamer.config_model import Config
from streamer.core import delivery
from streamer.core.open_sends import (
    DUE,
    HELD,
    POSTING,
    RECALLED,
    RESOLVABLE,
    SCHEDULED,
    WATCHED,
    OpenSend,
    Wanted,
    open_sends,
)
from streamer.core.state import Link, has_business
from streamer.kafka.inspection import Inspector, Span
from streamer.ports import Partition

_WHY_NOT: Final = {
    WATCHED: "was accepted; there is nothing to resolve",
    SCHEDULED: "was accepted, and the gateway holds it; there is nothing to resolve",
    RECALLED: "was accepted, and the gateway is asked not to send it; that settles itself",
    POSTING: "is at the gateway now; look again once it is answered",
    DUE: "goes next, by itself; only a send whose outcome is unknown is resolved",
    HELD: "is only held, and goes by itself; only a send whose outcome is unknown is resolved",
}


class Target(NamedTuple):
    """An unknown send, and the epoch and the links of the record that it was found in."""

    send: OpenSend
    epoch: int
    links: Sequence[Link]


class Found(NamedTuple):
    """What was found, why the others can't be resolved, and up to where each partition was read."""

    targets: list[Target]
    faults: list[str]
    ends: dict[Partition, int]


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


async def by_wish(config: Config, wanted: Wanted) -> Found:
    """Every unknown send that is wanted. Raises: BrokerUnusable, StateUnreadable."""
    await require(config, config.topics.by_user, config.topics.state)
    async with Inspector(connection(config.kafka)) as inspector:
        spans = await spans_of(inspector, config)
        targets = [
            Target(send, kept.epoch, kept.person.links)
            async for kept in people_with(inspector, spans, has_business)
            for send in open_sends(kept.key, kept.person)
            if wanted.takes(send) and send.state in RESOLVABLE
        ]
    return Found(targets, [], {place: span.end for place, span in spans.items()})


async def by_id(config: Config, send_ids: Sequence[bytes], key: str | None) -> Found:
    """The unknown sends of these ids; with a `key` only its person is looked at. Raises: as above."""
    await require(config, config.topics.by_user, config.topics.state)
    async with Inspector(connection(config.kafka)) as inspector:
        if key is not None:
            chain = await find(inspector, config, key)
            ends = {Partition(place.topic, place.partition): place.end for place in chain.places}
            found = _judged(send_ids, [chain.kept] if chain.kept else [])
            where = f"of {plain(key)}" if chain.kept else f"of {plain(key)}, of whom nothing is known"
        else:
            spans = await spans_of(inspector, config)
            ends = {place: span.end for place, span in spans.items()}
            found = await search(inspector, spans, send_ids)
            where = f"in {config.topics.state}"
    nowhere = (
        f"is not {where}: perhaps it is mistyped, or was resolved and forgotten since;"
        f" {config.topics.deliveries} says what became of it"
    )
    targets = [each for each in found.values() if isinstance(each, Target)]
    faults = [
        f"{sent.hex()} {found.get(sent, nowhere)}" for sent in send_ids if not isinstance(found.get(sent), Target)
    ]
    return Found(targets, faults, ends)


async def search(
    inspector: Inspector, spans: Mapping[Partition, Span], send_ids: Sequence[bytes]
) -> dict[bytes, Target | str]:
    """What everybody's records say of these ids; ends once all are found."""

    def names_any(value: bytes) -> bool:
        return any(sent in value for sent in send_ids)

    found: dict[bytes, Target | str] = {}
    async with aclosing(people_with(inspector, spans, names_any)) as people:
        async for kept in people:
            for sent, judged in _judged(send_ids, [kept]).items():
                if not isinstance(found.get(sent), Target):
                    found[sent] = judged
            if sum(isinstance(each, Target) for each in found.values()) == len(send_ids):
                break
    return found


def _judged(send_ids: Sequence[bytes], people: Sequence[Kept]) -> dict[bytes, Target | str]:
    """Of those ids that these people's records name: the unknown send, or why it can't be resolved."""
    found = {sent: _judge(sent, kept) for kept in people for sent in send_ids}
    return {sent: judged for sent, judged in found.items() if judged}


def _judge(sent: bytes, kept: Kept) -> Target | str:
    """The unknown send of that id, or why it can't be resolved; "" if the record doesn't name it."""
    for send in open_sends(kept.key, kept.person):
        if send.send_id == sent.hex():
            if send.state in RESOLVABLE:
                return Target(send, kept.epoch, kept.person.links)
            return f"of {plain(kept.key)} {_WHY_NOT[send.state]}"
    if any(parked.id == sent for parked in kept.person.parked):
        return f"of {plain(kept.key)} waits for the profile, and was not sent yet"
    decision = kept.person.decision(sent)
    if decision is None:
        return ""
    if decision.outcome == delivery.UNKNOWN and decision.sender in kept.person.homes:
        return (
            f"of {plain(kept.key)} was sent for a sender that has one owner, and lies under a key of that sender's,"
            ' where it is found without --key; or was resolved since, as the "… Resolved" event with this send_id says'
        )
    if decision.outcome == delivery.UNKNOWN:
        return (
            f"of {plain(kept.key)} is not open any more: its outcome unknown, of {iso(decision.answered_ms)}, was"
            ' resolved since; the "… Resolved" event with this send_id says how'
        )
    return f"of {plain(kept.key)} is not unknown: its outcome is {decision.outcome}, of {iso(decision.decided_ms)}"
