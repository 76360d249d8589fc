"""One person's traits, folded from identify events: the last writer by event time wins, trait by trait.

A profile is a list of `Update`s: what is left of each identify, so that every trait can name the one that set it. The
order of arrival, and repeats, change nothing: the winner of a trait is the greatest (event time, id, value).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

TRAITS_MAX: Final = 300  # Segment rejects an identify with more; deleted ones count until an erasure
TRAITS_BYTES_MAX: Final = 24 * 1024
TOO_MANY: Final = "too_many_traits"
TOO_LARGE: Final = "traits_too_large"

# Segment's reserved traits with two spellings: kept as the first, seen by filters and templates as both.
SPELLINGS: Final = (("firstName", "first_name"), ("lastName", "last_name"), ("createdAt", "created_at"))
_SNAKE: Final = frozenset(snake for _, snake in SPELLINGS)
_CAMEL_OF: Final = {snake: camel for camel, snake in SPELLINGS}
_encode: Final = msgspec.msgpack.Encoder().encode


class Update(Struct, frozen=True, array_like=True):
    """What one identify still says: its traits that nothing newer replaced; null for a deleted one.

    `event_ms` is its corrected event time, `id` its messageId or else its place ("topic/partition/offset").
    """

    event_ms: int
    id: str
    traits: dict[str, Any]


class Folded(NamedTuple):
    """A profile after an update: the same list if nothing changed; `left_out` says why some traits were ("": none)."""

    updates: list[Update]
    left_out: str


def fold(updates: list[Update], update: Update) -> Folded:
    """Write an identify's traits into a profile. Changes neither argument.

    A null deletes, and its time stays so that an older value cannot return. Nested traits replace whole. Beyond
    TRAITS_MAX new names are left out; an update that brings a profile over TRAITS_BYTES_MAX is left out whole.
    Costs: 1.6 µs for ten traits of a new profile, 2.6 over others.
    """
    update = _spelled(update)
    if not updates and 0 < len(update.traits) <= TRAITS_MAX:
        first = [update]
        return Folded(first, "") if size(first) <= TRAITS_BYTES_MAX else Folded(updates, TOO_LARGE)
    won = dict(update.traits)
    stamp = (update.event_ms, update.id)
    older: list[Update] = []
    newer: list[Update] = []
    count = 0
    for each in updates:
        count += len(each.traits)
        if (each.event_ms, each.id) < stamp:
            older.append(each)
        else:
            newer.append(each)
            _lose(won, each, stamp)
    if not won:
        return Folded(updates, "")
    kept = [left for each in older if (left := _without(each, won)) is not None]
    room = TRAITS_MAX - count
    left_out = ""
    if room < len(won):
        known = {name for each in updates for name in each.traits}
        fresh = [name for name in won if name not in known]
        for name in fresh[max(room, 0) :]:
            del won[name]
            left_out = TOO_MANY
        if not won:
            return Folded(updates, left_out)
    if newer and (newer[0].event_ms, newer[0].id) == stamp:
        same = newer[0]
        newer[0] = Update(update.event_ms, update.id, {**same.traits, **won})
    else:
        kept.append(Update(update.event_ms, update.id, won))
    kept += newer
    if size(kept) > TRAITS_BYTES_MAX:
        return Folded(updates, TOO_LARGE)
    return Folded(kept, left_out)


def unite(updates: list[Update], others: Iterable[Update]) -> Folded:
    """Two profiles as one; what has no room is left out, the oldest updates of `others` first to find some."""
    left_out = ""
    for update in others:
        updates, why = fold(updates, update)
        left_out = left_out or why
    return Folded(updates, left_out)


def kept_name(name: str) -> str:
    """The name that a trait is kept by, whichever way it is spelled."""
    return _CAMEL_OF.get(name, name)


def values(updates: Iterable[Update]) -> dict[str, Any]:
    """The traits as a filter or template sees them: name to value in both spellings, deleted ones absent."""
    seen = {name: value for each in updates for name, value in each.traits.items() if value is not None}
    for camel, snake in SPELLINGS:
        if camel in seen:
            seen[snake] = seen[camel]
    return seen


def trait_of(updates: Iterable[Update], name: str) -> Any:
    """One trait by the name that it is kept by, or None; 0.3 µs."""
    return next((each.traits[name] for each in updates if name in each.traits), None)


def overlaid(seen: dict[str, Any], traits: Mapping[str, Any]) -> dict[str, Any]:
    """What an event sees that brings traits of its own: those over its person's, a null hides."""
    merged = {**seen, **_spelled_traits(traits)}
    for camel, snake in SPELLINGS:
        if camel in merged:
            merged[snake] = merged[camel]
    return {name: value for name, value in merged.items() if value is not None}


def size(updates: Sequence[Update]) -> int:
    """The encoded size of a profile in bytes."""
    return len(_encode(updates))


def _lose(won: dict[str, Any], newer: Update, stamp: tuple[int, str]) -> None:
    """Take out of `won` what a newer update says too; one of the same stamp wins where its value is not smaller."""
    is_tie = (newer.event_ms, newer.id) == stamp
    for name in won.keys() & newer.traits.keys():
        if not is_tie or _encode(newer.traits[name]) >= _encode(won[name]):
            del won[name]


def _without(update: Update, won: Mapping[str, Any]) -> Update | None:
    """What is left of an update, None for nothing."""
    if update.traits.keys() <= won.keys():
        return None
    if update.traits.keys().isdisjoint(won):
        return update
    return Update(update.event_ms, update.id, {k: v for k, v in update.traits.items() if k not in won})


def _spelled(update: Update) -> Update:
    if _SNAKE.isdisjoint(update.traits):
        return update
    return Update(update.event_ms, update.id, _spelled_traits(update.traits))


def _spelled_traits(traits: Mapping[str, Any]) -> dict[str, Any]:
    """The traits under the names they are kept by; where both spellings stand, the first of SPELLINGS counts."""
    if _SNAKE.isdisjoint(traits):
        return dict(traits)
    spelled = {_CAMEL_OF.get(name, name): value for name, value in traits.items()}
    return spelled | {camel: traits[camel] for camel, _ in SPELLINGS if camel in traits}
