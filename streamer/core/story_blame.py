"""Why a message of a story never came: its mapping is not there, did its part, or missed every event it could see."""

from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from streamer.core.action_fields import nearest
from streamer.core.event_filters import Taken
from streamer.core.filters import Filter
from streamer.core.records import full
from streamer.core.rehearsal import TOPIC
from streamer.core.rules import Rule, RuleSet
from streamer.core.story_compare import Closest
from streamer.errors import BadRecord

EVENTS_MAX: Final = 100  # that one mapping is tried on
TRIES_MAX: Final = 10_000  # of all mappings, then no event is the closest: 1.6 s with ten conditions each


class Heard(Struct, frozen=True):
    """One event of a story: what it is called, and what the mappings made of it.

    `taken` says why no mapping saw it; `is_repeat`, that it is an earlier event again.
    """

    name: str
    at_ms: int
    matched: tuple[str, ...] = ()
    taken: str = ""
    is_repeat: bool = False


class Seen(Struct, frozen=True):
    """An event that could be read: its number, its record, and the traits that its person had then."""

    number: int
    value: bytes
    traits: dict[str, Any]


class Blame:
    """The answers for one story, each mapping's found once."""

    def __init__(self, rules: RuleSet, heard: Sequence[Heard], seen: Sequence[Seen]) -> None:
        self._heard = heard
        self._seen = seen
        self._filters = rules.filters
        self._rules: dict[str, Rule] = {rule.id: rule for rule in rules.mappings}
        self._scopes: list[tuple[int, dict[str, Any]]] | None = None
        self._tries = 0
        self._closest: dict[str, Closest | None] = {}

    def why(self, mapping: str) -> str:
        """What is known of why nothing came of a mapping."""
        if mapping not in self._rules:
            return f"no enabled mapping is called {mapping!r}; {nearest(mapping, self._rules)}"
        matching = self._matching(mapping)
        if matching:
            return f"it matched {_numbered(matching)}, and nothing more came of it{self._repeats()}"
        taken = [f"{each.taken} took event {number}" for number, each in enumerate(self._heard, 1) if each.taken]
        return f"its `when` matched none of the events{''.join(f'; {each}' for each in taken)}"

    def closest(self, mapping: str) -> Closest | None:
        """The event that a mapping came closest to matching; None, if it matched one, or there was none to match."""
        if mapping not in self._closest:
            rule = self._rules.get(mapping)
            is_blamed = rule is not None and not self._matching(mapping)
            self._closest[mapping] = self._found(rule.when) if rule is not None and is_blamed else None
        return self._closest[mapping]

    def _matching(self, mapping: str) -> list[int]:
        return [number for number, each in enumerate(self._heard, 1) if mapping in each.matched]

    def _found(self, when: Filter) -> Closest | None:
        """Of the events that are of a type and name that it asks for, else of all, the one that fails the fewest."""
        if self._scopes is None:
            self._scopes = [(each.number, scope) for each in self._seen if (scope := self._scope(each)) is not None]
        asked = [each for each in self._scopes if _is_asked_for(when, each[1])]
        events = (asked or self._scopes)[: min(EVENTS_MAX, TRIES_MAX - self._tries)]
        self._tries += len(events)
        tried = [Closest(number, when.failing(scope)) for number, scope in events]
        return min(tried, key=lambda each: len(each.failing), default=None)

    def _scope(self, seen: Seen) -> dict[str, Any] | None:
        """What a mapping could see of an event; None, if that was nothing."""
        try:
            event = full(seen.value)
        except BadRecord:  # which nobody noticed, as no mapping asks for its type and name
            return None
        scope = {**event, "profile": {"traits": seen.traits}}
        found = self._filters.apply(scope, f"{TOPIC}/0/{seen.number - 1}")
        return None if isinstance(found, Taken) else found

    def _repeats(self) -> str:
        repeats = [number for number, each in enumerate(self._heard, 1) if each.is_repeat]
        return f"; the messageId of {_numbered(repeats)} was there before" if repeats else ""


def _is_asked_for(when: Filter, scope: dict[str, Any]) -> bool:
    """Whether an event has a type and a name that a filter can match."""
    return (when.types is None or scope["type"] in when.types) and (
        when.names is None or scope.get("event") in when.names
    )


def _numbered(events: Sequence[int]) -> str:
    return f"event{'s' if len(events) > 1 else ''} {', '.join(map(str, events))}"
