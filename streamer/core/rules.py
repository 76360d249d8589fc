"""A rule: one mapping file, compiled: which events it wants, and the message it makes of one.

`compile_rule` turns one document into a `Rule` or lists every fault in it. `RuleSet` holds those of a
service as one immutable value with a content hash, indexed so that an event costs two look-ups.
"""

import re
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from itertools import pairwise
from typing import Any, Final

import msgspec
from msgspec import Struct

from streamer.core.action import FIELDS, Action, compile_action
from streamer.core.action_fields import nearest, no_sender
from streamer.core.channels import Sender, unpaced
from streamer.core.consent import ANY, CONSENT_EVENT, category_fault
from streamer.core.duration import parse_duration_s
from streamer.core.event_filters import EventFilters
from streamer.core.filters import Filter, compile_filter
from streamer.core.limits import Counting
from streamer.core.mapping import MissingPolicy
from streamer.core.once import WITHIN_MAX_S, OncePer
from streamer.core.outcomes import LATER, MESSAGE, RECIPIENT, RETRY, STOP, Outcomes
from streamer.core.people import People
from streamer.core.phone_region import BY_DEFAULT, BY_MAPPING, Numbers, Region, region_fault
from streamer.core.policies import (
    COLLAPSE,
    WITH_PROFILE,
    CancelWhen,
    Common,
    Policies,
    check_keys,
    compile_policies,
    path_of,
)
from streamer.core.reads import EVERYTHING, Reads, reads_of
from streamer.core.records import TYPES
from streamer.errors import FilterError, MappingError

VERSION_BYTES: Final = 4
WAIT_MAX_S: Final = 14 * 86_400
MAPPINGS_MAX: Final = 1_000  # enabled: an event that all of them match has so many outcomes in its person's record

_OF_PEOPLE: Final = frozenset({"identify", "alias", "delete"})

_ITEMS: Final = "collapse.items"
_ID: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_KEYS: Final = (
    "enabled", "when", "category", "max_age", "identify_wait", "missing", "region", "strict_numbers", "once_per",
    "priority", "on_unknown", "retry_after_accepted", "limits", "quiet_hours", "holdout", "collapse", "cancel_when",
    "send", "else",
)  # fmt: skip
# Not in a version as they are written: what a mapping is asked after its decision, when it may be another one already;
# and `once_per`, which is hashed as it was compiled.
_LATER: Final = frozenset({"once_per", "priority", "on_unknown", "retry_after_accepted"})
OTHERS_MAX: Final = 5  # in an `else`
DEFAULT_ON: Final = (RECIPIENT, MESSAGE, STOP)  # of an `else` that does not say
ON: Final = (RECIPIENT, MESSAGE, STOP, LATER, RETRY)  # never what the person does not want, nor what may exist


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

    `wait_s` is how long an event waits for what it lacks of the profile; `reads` is what is kept of it meanwhile.
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
    a track what it may end; `stop_groups`: the group of each sender.
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
            version=_hash([[(m.id, m.version) for m in enabled], filters.version, people, *_said(common)]),
            rows={each: _row([m for m in enabled if m.when.types is None or each in m.when.types]) for each in types},
            others=_row([m for m in enabled if m.when.types is None]),
            needed=_needed(enabled),
            outcomes=outcomes or Outcomes({}, {}),
            common=common,
            counting=Counting.of(limit for m in enabled for limit in (*m.policies.limits, *m.policies.number_limits)),
            cancels=_cancellers(enabled),
            stop_groups=dict(stop_groups or {}),
        )

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


def compile_rule(
    mapping_id: str, document: dict[str, Any], senders: Mapping[str, Sender], defaults: RuleDefaults
) -> Rule:
    """Compile one mapping's document.

    Raises: MappingError with every fault; a fault's path is dotted, as in `send.body`; an empty one means the whole.
    """
    return _Compiler(senders, defaults).compile(mapping_id, document)


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


def _hash(value: object) -> str:
    """The 8 hexadecimal digits of a value's canonical JSON."""
    return blake2b(msgspec.json.encode(value, order="sorted"), digest_size=VERSION_BYTES).hexdigest()


class _Compiler:
    """Compiles one document, collecting `faults` on the way so that all are told at once.

    A part that is faulty yields None; the mapping is built only when there was no fault.
    """

    def __init__(self, senders: Mapping[str, Sender], defaults: RuleDefaults) -> None:
        self.senders = senders
        self.defaults = defaults
        self.faults: list[tuple[str, str]] = []

    def compile(self, mapping_id: str, document: object) -> Rule:
        """The mapping of `document`. Raises: MappingError."""
        if not _ID.fullmatch(mapping_id):
            self._fault("", f"{mapping_id[:80]!r} is not an id: at most 64 of a-z 0-9 . _ - and no sign at its start")
        if not isinstance(document, dict):
            self._fault("", "a mapping is an object with `when` and `send`")
            raise MappingError(self.faults)
        self._check_keys("", document, _KEYS, ("id",))
        enabled = self._flag("enabled", document.get("enabled", True))
        when = self._when(document.get("when"))
        category = self._category(document["category"]) if "category" in document else ""
        max_age_s = self._max_age_s(document.get("max_age"))
        wait_s = self._wait_s(document.get("identify_wait"))
        missing = self._missing(document.get("missing", "suppress"))
        numbers = self._numbers(document.get("region"), document.get("strict_numbers"))
        once = self._once(document["once_per"]) if "once_per" in document else None
        is_urgent = self._is_second("priority", document, ("normal", "high"))
        may_resend = self._is_second("on_unknown", document, ("hold", "resend"))
        retries_accepted = self._flag("retry_after_accepted", document.get("retry_after_accepted", False))
        policies = compile_policies(mapping_id, document, category, self.defaults.common, self._fault)
        action = self._action("send", document.get("send"), numbers, missing)
        others = self._others(document.get("else", []), document.get("send"), numbers, missing)
        # A None has left its fault; the type checker needs to be told.
        if self.faults or when is None or action is None:
            raise MappingError(self.faults)
        actions = (action, *(each.action for each in others))
        paths = [path for each in actions for path in each.paths]
        if policies.collapse is None and any(path.split(".")[0] == COLLAPSE for path in paths):
            raise MappingError([("send", "reads `collapse`, and the mapping has none: add collapse: {wait: 10m}")])
        reads: Reads = EVERYTHING
        if all(value.paths for each in actions for _, value in each.fields):
            reads = reads_of((*paths, *policies.paths, *((once.key.text,) if once else ())))
        senders = [self.senders[action.sender]] if action.sender else list(self.senders.values())
        said = {key: value for key, value in document.items() if key not in _LATER}
        which = (once.key.text, once.within_s) if once else ()
        return Rule(
            id=mapping_id,
            version=_hash([said, list(map(unpaced, senders)), numbers, max_age_s, wait_s, which]),
            enabled=enabled,
            when=when,
            action=action,
            max_age_s=max_age_s,
            wait_s=wait_s,
            reads=reads,
            reads_hash=int(_hash(reads), 16),
            category=category,
            once=once,
            is_urgent=is_urgent,
            may_resend=may_resend,
            retries_accepted=retries_accepted,
            policies=policies,
            others=others,
        )

    def _fault(self, path: str, text: str) -> None:
        self.faults.append((path, text))

    def _check_keys(
        self, path: str, document: dict[str, Any], known: tuple[str, ...], taken: tuple[str, ...] = ()
    ) -> None:
        """Note unknown keys. `taken` are keys of the file that are known and were taken out of the document before."""
        for key in document:
            if key not in known:
                name = str(key)[:80]
                self._fault(f"{path}.{name}" if path else name, f"unknown key; {nearest(name, (*known, *taken))}")

    def _flag(self, path: str, value: object) -> bool:
        if not isinstance(value, bool):
            self._fault(path, "must be true or false")
        return value is True

    def _is_second(self, key: str, document: dict[str, Any], choices: tuple[str, str]) -> bool:
        """Whether a key has the second of two words, of which the first is the default."""
        value = document.get(key, choices[0])
        if value not in choices:
            self._fault(key, f"must be {choices[0]} (the default) or {choices[1]}")
        return bool(value == choices[1])

    def _once(self, value: object) -> OncePer | None:
        if not isinstance(value, dict):
            self._fault("once_per", "must be an object, as in {key: properties.order_id, within: 24h}")
            return None
        self._check_keys("once_per", value, ("key", "within"))
        key = path_of(value.get("key"), "once_per.key", self._fault, WITH_PROFILE)
        within_s = self._within_s(value.get("within"))
        return None if key is None else OncePer(key, within_s)

    def _within_s(self, value: object) -> float:
        if value is None:
            self._fault("once_per.within", "a duration is required, as in 24h")
            return 0.0
        try:
            within_s = parse_duration_s(str(value))
        except ValueError as exc:
            self._fault("once_per.within", str(exc))
            return 0.0
        if not 0 < within_s <= WITHIN_MAX_S:
            self._fault("once_per.within", f"must be longer than nothing, and at most {WITHIN_MAX_S // 86_400} days")
        return within_s

    def _when(self, value: object) -> Filter | None:
        if not isinstance(value, str):
            self._fault("when", 'a filter is required, as in type = "track" and event = "Order Shipped"')
            return None
        try:
            return compile_filter(value)
        except FilterError as exc:
            self._fault("when", str(exc))
            return None

    def _category(self, value: object) -> str:
        if not isinstance(value, str):
            self._fault("category", "must be text, as in category: marketing; leave it out if there is none")
            return ""
        fault = "means every category; leave it out if there is none" if value == ANY else category_fault(value)
        if fault:
            self._fault("category", fault)
        return value

    def _max_age_s(self, value: object) -> float:
        if value is None:
            return self.defaults.max_age_s
        try:
            max_age_s = parse_duration_s(str(value))
        except ValueError as exc:
            self._fault("max_age", str(exc))
            return 0.0
        if max_age_s == 0:
            self._fault("max_age", "must be longer than nothing, or every event is too old")
        return max_age_s

    def _wait_s(self, value: object) -> float:
        if value is None:
            return self.defaults.wait_s
        try:
            wait_s = parse_duration_s(str(value))
        except ValueError as exc:
            self._fault("identify_wait", str(exc))
            return 0.0
        if wait_s > WAIT_MAX_S:
            self._fault(
                "identify_wait", f"at most {WAIT_MAX_S // 86_400} days: by then by-user has forgotten the event"
            )
        return wait_s

    def _missing(self, value: object) -> MissingPolicy:
        if value not in ("suppress", "empty"):
            self._fault("missing", "must be suppress (no message) or empty (nothing in its place)")
            return "suppress"
        return "suppress" if value == "suppress" else "empty"

    def _numbers(self, region: object, is_strict: object) -> Numbers:
        if region is not None and (fault := region_fault(region)):
            self._fault("region", fault)
        if not isinstance(is_strict, bool | None):
            self._fault("strict_numbers", "must be true or false")
        return Numbers(
            region=Region(self.defaults.region, BY_DEFAULT) if region is None else Region(str(region), BY_MAPPING),
            is_strict=self.defaults.strict_numbers if is_strict is None else is_strict is True,
        )

    def _others(self, value: object, send: object, numbers: Numbers, missing: MissingPolicy) -> tuple[Instead, ...]:
        """What is tried in place of a refused message; each goes to whom the message went unless it says otherwise."""
        if not isinstance(value, list) or len(value) > OTHERS_MAX:
            self._fault("else", f"must be a list of at most {OTHERS_MAX}, as in [{{send: {{from: shop, body: …}}}}]")
            return ()
        found = []
        to = {"to": send["to"]} if isinstance(send, dict) and "to" in send else {}
        for number, each in enumerate(value):
            path = f"else.{number}"
            if not isinstance(each, dict):
                self._fault(path, "must be an object with `send`, and perhaps `on`")
                continue
            check_keys(each, ("on", "send"), path, self._fault)
            on = each.get("on", list(DEFAULT_ON))
            if not isinstance(on, list) or not on or not all(kind in ON for kind in on):
                self._fault(f"{path}.on", f"must be a list of kinds of refusal, of {', '.join(ON)}")
            instead = each.get("send")
            action = self._action(
                f"{path}.send", {**to, **instead} if isinstance(instead, dict) else instead, numbers, missing
            )
            if action is not None and isinstance(on, list):
                found.append(Instead(tuple(map(str, on)), action))
        return tuple(found)

    def _action(self, at: str, send: object, numbers: Numbers, missing: MissingPolicy) -> Action | None:
        if not isinstance(send, dict):
            self._fault(at, "an object with `body` is required")
            return None
        self._check_keys(at, send, tuple(FIELDS))
        sender = send.get("from", self.defaults.sender)
        if sender == "" and len(self.senders) == 1:
            (sender,) = self.senders
        document = {name: value for name, value in send.items() if name in FIELDS} | {"from": sender}
        if sender == "":
            self._fault(f"{at}.from", no_sender("", self.senders))
            del document["from"]
        try:
            return compile_action(document, self.senders, numbers, missing)
        except MappingError as exc:
            before = at.removesuffix("send")
            self.faults += [(f"{before}{path}", text) for path, text in exc.faults]
            return None
