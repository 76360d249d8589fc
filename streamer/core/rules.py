"""A rule: one mapping file, compiled: which events it wants, and the message it makes of one.

`compile_rule` turns one document into a `Rule` or lists every fault in it. `RuleSet` holds those of a
service as one immutable value with a content hash, indexed so that an event costs two look-ups.
"""

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from itertools import pairwise
from typing import Final

import msgspec
from msgspec import Struct

from streamer.core.action import Action
from streamer.core.consent import CONSENT_EVENT
from streamer.core.event_filters import EventFilters
from streamer.core.filters import Filter
from streamer.core.limits import Counting
from streamer.core.once import OncePer
from streamer.core.outcomes import Outcomes
from streamer.core.people import People
from streamer.core.policies import (
    CancelWhen,
    Common,
    Policies,
)
from streamer.core.reads import Reads
from streamer.core.records import TYPES
from streamer.errors import MappingError

VERSION_BYTES: Final = 4
WAIT_MAX_S: Final = 14 * 86_400
MAPPINGS_MAX: Final = 1_000  # enabled: an event that all of them match has so many outcomes in its person's record

_OF_PEOPLE: Final = frozenset({"identify", "alias", "delete"})

_ITEMS: Final = "collapse.items"


class RuleDefaults(Struct, frozen=True):
    """What a mapping uses where it says nothing. An empty `sender` means: the only one there is."""

    region: str
    sender: str
    max_age_s: float
    wait_s: float = 600.0
    strict_numbers: bool = False
    common: Common = Common()


class Instead(Struct, frozen=True):
    """What is tried after a refusal of one of these kinds."""

    on: tuple[str, ...]
    action: Action


class Rule(Struct, frozen=True):
    """A compiled mapping. `version` changes whenever what it would send changes.

    `wait_s` is how long an event waits for what it lacks of the profile; `reads` is what is kept of it meanwhile, and
    `reads_hash` tells whether that is enough for the message.
    `category` is that of consent. `is_urgent` sends go before others; `may_resend`: one whose request had no answer is
    tried again once it is known not to exist; `retries_accepted`: so is one that failed after it was accepted.
    `others` are tried in place of a message that was refused, in order.
    """

    id: str
    version: str
    enabled: bool
    when: Filter
    action: Action
    max_age_s: float
    wait_s: float
    reads: Reads
    reads_hash: int
    category: str = ""
    once: OncePer | None = None
    is_urgent: bool = False
    may_resend: bool = False
    retries_accepted: bool = False
    policies: Policies = Policies()
    others: tuple[Instead, ...] = ()

    @property
    def reads_items(self) -> bool:
        """Whether its texts list the events of a burst."""
        return any(path.startswith(_ITEMS) for action in self.actions for path in action.paths)

    @property
    def actions(self) -> tuple[Action, ...]:
        """The message, and those that are tried in its place."""
        return (self.action, *(each.action for each in self.others))


class _Row(Struct, frozen=True):
    """The candidates among events of one type: by event name, and for every other name or none."""

    by_name: dict[str, tuple[Rule, ...]]
    others: tuple[Rule, ...]


class Canceller(Struct, frozen=True):
    """What a track of some name ends, and for how long that holds: what comes later, and came before it, is too old."""

    when: CancelWhen
    kept_s: float


class RuleSet(Struct, frozen=True):
    """The enabled mappings, sorted by id; build it with `of`. `version` is a hash of all their versions.

    `longest_age_s` is how old an event may be that still sends something. `outcomes`: what the gateway's codes mean.
    `common`: the policies that hold for all; `counting`: what of postings the limits ask for; `cancels`: by the name of
    a track what it may end; `stop_groups`: by sender those that share a STOP; a sender that isn't there is
    one by itself.
    """

    mappings: tuple[Rule, ...]
    by_id: dict[str, Rule]
    filters: EventFilters
    people: People
    longest_age_s: float
    version: str
    rows: dict[str, _Row]
    others: _Row
    needed: dict[
        str, frozenset[str | None]
    ]  # by type the names that owners need; a type that isn't there is needed whole
    outcomes: Outcomes = Outcomes({}, {})
    common: Common = Common()
    counting: Counting = Counting()
    cancels: dict[str, tuple[Canceller, ...]] = {}
    stop_groups: dict[str, str] = {}

    @classmethod
    def of(
        cls,
        mappings: Iterable[Rule],
        filters: EventFilters | None = None,
        people: People | None = None,
        outcomes: Outcomes | None = None,
        common: Common | None = None,
        stop_groups: Mapping[str, str] | None = None,
    ) -> "RuleSet":
        """The set of the enabled ones of `mappings`, behind `filters`, for `people`.

        Raises: MappingError, when two have one id, or when they are more than MAPPINGS_MAX.
        """
        filters, people, common = filters or EventFilters(), people or People(), common or Common()
        enabled = sorted((m for m in mappings if m.enabled), key=lambda m: m.id)
        twice = sorted({a.id for a, b in pairwise(enabled) if a.id == b.id})
        if twice:
            raise MappingError([("", f"two mappings have the id {each!r}") for each in twice])
        if len(enabled) > MAPPINGS_MAX:
            text = f"{len(enabled)} mappings are enabled; at most {MAPPINGS_MAX}: disable some, or join them"
            raise MappingError([("", text)])
        types = {each for m in enabled for each in m.when.types or ()}
        return cls(
            mappings=tuple(enabled),
            by_id={each.id: each for each in enabled},
            filters=filters,
            people=people,
            longest_age_s=max((each.max_age_s for each in enabled), default=0.0),
            version=hashed([[(m.id, m.version) for m in enabled], filters.version, people, *_said(common)]),
            rows={each: _row([m for m in enabled if m.when.types is None or each in m.when.types]) for each in types},
            others=_row([m for m in enabled if m.when.types is None]),
            needed=_needed(enabled),
            outcomes=outcomes or Outcomes({}, {}),
            common=common,
            counting=Counting.of(limit for m in enabled for limit in (*m.policies.limits, *m.policies.number_limits)),
            cancels=_cancellers(enabled),
            stop_groups=dict(stop_groups or {}),
        )

    def stop_group(self, sender: str) -> str:
        """The group that a STOP to a sender is about."""
        return self.stop_groups.get(sender, sender)

    def candidates(self, event_type: str, event_name: str | None) -> tuple[Rule, ...]:
        """The mappings whose filter may match an event of this type and name, in order of id; 0.1 µs."""
        row = self.rows.get(event_type, self.others)
        return row.by_name.get(event_name, row.others)  # type: ignore[arg-type]  # None is no key, which is the point

    def concerns(self, event_type: str, event_name: str | None) -> bool:
        """Whether an event of this type and name may match a mapping, or end what waits; 0.1 µs."""
        return bool(self.candidates(event_type, event_name)) or (event_type == "track" and event_name in self.cancels)

    def wants(self, event_type: str, event_name: str | None) -> bool:
        """Whether an owner needs an event of this type and name: all that a router drops by; 0.1 µs.

        What may match is needed; and what says who somebody is (identify, alias), what they agree to, and that they are
        to be forgotten.
        """
        names = self.needed.get(event_type)
        return names is None or event_name in names


def _needed(mappings: list[Rule]) -> dict[str, frozenset[str | None]]:
    needed: dict[str, frozenset[str | None]] = {}
    for each in TYPES - _OF_PEOPLE:
        matching = [m for m in mappings if m.when.types is None or each in m.when.types]
        names = [m.when.names for m in matching]
        if None not in names:
            needed[each] = frozenset((CONSENT_EVENT,)).union(*(known for known in names if known is not None))
    if "track" in needed:
        needed["track"] = needed["track"].union(_cancellers(mappings))
    return needed


def _cancellers(mappings: list[Rule]) -> dict[str, tuple[Canceller, ...]]:
    """By the name of a track the ways in which it ends something, each with the longest time that one of its mappings
    needs it for.
    """
    kept: dict[CancelWhen, float] = {}
    for rule in mappings:
        if rule.policies.cancel is not None:
            kept[rule.policies.cancel] = max(rule.max_age_s, kept.get(rule.policies.cancel, 0.0))
    found: dict[str, tuple[Canceller, ...]] = {}
    for when, kept_s in kept.items():
        found[when.event] = (*found.get(when.event, ()), Canceller(when, kept_s))
    return found


def _said(common: Common) -> list[object]:
    """What of the common policies changes what is sent, and when."""
    return [common.limits, common.quiet, common.exempt, common.timezone, common.allow_numbers]


def _row(mappings: list[Rule]) -> _Row:
    others = tuple(m for m in mappings if m.when.names is None)
    named: dict[str, list[Rule]] = {}
    for mapping in mappings:
        for name in mapping.when.names or ():
            named.setdefault(name, []).append(mapping)
    by_name = {name: tuple(sorted((*each, *others), key=lambda m: m.id)) for name, each in named.items()}
    return _Row(by_name, others)


def hashed(value: object) -> str:
    """The 8 hexadecimal digits of a value's canonical JSON."""
    return blake2b(msgspec.json.encode(value, order="sorted"), digest_size=VERSION_BYTES).hexdigest()
