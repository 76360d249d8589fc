"""Sample events, as mappings would see them: what an event of some type and name has, and what people's traits are.

They pass the configuration's own `filters` first, save for `sample`, which takes events away by chance, not by kind.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import islice
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from streamer.core.event_filters import EventFilters, Taken
from streamer.core.filters import Filter
from streamer.core.identity import Identities

TRAIT_ROOTS: Final = ("profile", "traits")
NAMES_MAX: Final = 5_000  # keys or names looked at for a near miss
NAME_CHARS_MAX: Final = 80  # of a name that is compared; comparing is quadratic in it
PART_CHARS_MIN: Final = 4
_OF_A_LIST: Final = ("size", "first", "last")  # what Liquid reads off a list, or of a text's length


class Sample(NamedTuple):
    """One event with its person's `profile`; `label` says where it was read."""

    label: str
    scope: Mapping[str, Any]


class Samples:
    """Sample events by type and name, and every trait they show. Built once; `count` is of the events given."""

    def __init__(self, events: Sequence[tuple[str, Mapping[str, Any]]], filters: EventFilters) -> None:
        self.count = len(events)
        self.traits = [traits for _, event in events for traits in _all_traits(event)]
        self._by_kind: dict[tuple[str, str | None], list[Sample]] = {}
        people = _people(event for _, event in events)
        filters = replace(filters, actions=tuple(each for each in filters.actions if each.action != "sample"))
        for label, event in events:
            seen = filters.apply({**event, "profile": {"traits": _profile(event, people)}}, label)
            if not isinstance(seen, Taken):
                self._by_kind.setdefault(_kind(event), []).append(Sample(label, seen))

    def candidates(self, when: Filter) -> list[Sample]:
        """Those whose type and name a filter can match."""
        return [
            sample
            for (kind, name), samples in self._by_kind.items()
            if (when.types is None or kind in when.types) and (when.names is None or name in when.names)
            for sample in samples
        ]

    def matching(self, when: Filter) -> Iterator[Sample]:
        """Those that a filter matches."""
        return (sample for sample in self.candidates(when) if when(sample.scope))

    def names(self, types: frozenset[str] | None) -> set[str]:
        """The event names among some types."""
        return {name for kind, name in self._by_kind if name is not None and (types is None or kind in types)}


def first_unseen(values: Iterable[Any], keys: Sequence[str | int]) -> tuple[int, list[Any]] | None:
    """The first of `keys` that none of `values` has below the ones before, as its index, and what was reached so far.

    None: some value has them all. An index into a list means any of its items.
    """
    level = list(values)
    for at, key in enumerate(keys):
        below = [each for value in level for each in _step(value, key)]
        if not below:
            return at, level
        level = below
    return None


def near_key(name: str, values: Iterable[Any]) -> str:
    """The key of `values` that was perhaps meant by `name`, or ""."""
    return near(name, {key: None for value in values if isinstance(value, dict) for key in value})


def near(name: str, known: Iterable[str]) -> str:
    """The one of `known` that was perhaps meant, or "".

    It is the same but for case and signs, else the most alike, else the only one that is a part of the other.
    """
    plain = _plain(name)
    names = {each: _plain(each) for each in islice(known, NAMES_MAX)}
    same = [each for each, its_plain in names.items() if its_plain == plain]
    alike = same or get_close_matches(name[:NAME_CHARS_MAX], names, n=1, cutoff=0.7)
    if alike:
        return alike[0]
    parts = [
        each
        for each, other in names.items()
        if min(len(plain), len(other)) >= PART_CHARS_MIN and (plain in other or other in plain)
    ]
    return parts[0] if len(parts) == 1 else ""


def _plain(name: str) -> str:
    """`order_id`, `orderId` and `Order ID` are all `orderid`."""
    return "".join(c for c in name.lower() if c.isalnum())


def _step(value: Any, key: str | int) -> list[Any]:
    if isinstance(value, dict):
        return [value[key]] if key in value else []
    if isinstance(value, list) and isinstance(key, int):
        return value
    if isinstance(value, list | str) and key in _OF_A_LIST:
        return value if isinstance(value, list) else [value]
    return []


def _kind(event: Mapping[str, Any]) -> tuple[str, str | None]:
    name = event.get("event")
    return str(event.get("type")), name if isinstance(name, str) else None


def _all_traits(event: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """An identify's traits, and those that any event has in its context."""
    context = event.get("context")
    found = (
        event.get("traits") if event.get("type") == "identify" else None,
        context.get("traits") if isinstance(context, dict) else None,
    )
    return (each for each in found if isinstance(each, dict))


def _keys(event: Mapping[str, Any]) -> list[str]:
    """The identity keys of an event, the anonymous one first."""
    ids = event.get("anonymousId"), event.get("userId")
    anonymous, user = (each if isinstance(each, str) and each else None for each in ids)
    keys = (Identities().key(None, anonymous), Identities().key(user, None))
    return [key for key in keys if key is not None]


def _people(events: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The traits of each person, by identity key; of two identifies the later in the files wins."""
    people: dict[str, dict[str, Any]] = {}
    for event in events:
        traits = event.get("traits")
        if event.get("type") == "identify" and isinstance(traits, dict):
            for key in _keys(event):
                people.setdefault(key, {}).update(traits)
    return people


def _profile(event: Mapping[str, Any], people: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The traits of an event's person; a user's go before those of the anonymous visitor."""
    traits: dict[str, Any] = {}
    for key in _keys(event):
        traits.update(people.get(key, {}))
    return {name: value for name, value in traits.items() if value is not None}
