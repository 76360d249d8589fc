"""What waits in a person's record, as an operator reads it: for what, until when, and what a command can do about it.

Matched events that are not decided yet, and decided sends whose request has not left. Values alone: times are ms since
the epoch; never a number, a body or a trait. What a command does is in `holding`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct

from streamer.core import delivery, sends
from streamer.core.identity import person_of
from streamer.core.open_sends import shown_key
from streamer.core.rules import RuleSet
from streamer.core.sends import Parked, Send
from streamer.core.state import Person

RETRY: Final = "retry"  # refused, or never connected, and tried again in a moment; `detail` names the refusal
REASONS: Final = (
    sends.INCOMPLETE,
    sends.SCHEDULED,
    sends.QUIET,
    sends.LIMIT,
    sends.COLLECTING,
    sends.LATER,
    RETRY,
    sends.RATE,
    sends.BREAKER,
    sends.BUSY,
)
BY_REASON: Final = "reason"
BY_MAPPING: Final = "mapping"
BY_PERSON: Final = "person"
GROUPINGS: Final = (BY_REASON, BY_MAPPING, BY_PERSON)
GROUPS_MAX: Final = 100_000  # told apart, 0.2 KB each; what is of none of them is counted as OTHERS
OTHERS: Final = "(others)"
HOUR_MS: Final = 3_600_000
HOURS: Final = 24

# What became of one that a command named, as a later record of its person tells.
WAITS: Final = "waits"
GOES: Final = "goes"  # is due, with its request still to leave: it may come to wait again
LEFT: Final = "left"  # its request is on its way, or was answered
ENDED: Final = "ended"
MOVED: Final = "moved"  # lies in another record now, as its person was merged

_NOT_RELEASED: Final = {
    sends.INCOMPLETE: "lacks something of its person's profile: it goes once an identify brings that",
    sends.RATE: "waits for the pace of its sender or account, and goes by itself",
    sends.BREAKER: "waits behind a breaker, and goes by itself once its account, sender, region or mapping is mended",
    sends.BUSY: "waits for a free slot of its account, and goes by itself",
}


class Hold(Struct, frozen=True):
    """One that waits. `key` is whose record holds it, `person` whose message it is (a number's key is masked).

    `reason` is one of REASONS, `detail` what is known beside: what it lacks, by which policies it has waited so far,
    which refusal came. `since_ms` is its event's time; at `until_ms` it is decided again or attempted, one that lacks
    something given up; 0: at no time of its own. `is_decided`: it is a send, and no event any more. `count`: of how
    many events it is.
    """

    send_id: str
    key: str
    person: str
    mapping: str
    reason: str
    detail: str
    since_ms: int
    until_ms: int
    sender: str
    channel: str
    message_id: str
    is_decided: bool
    count: int = 1
    twilio_code: int = 0


class Sought(Struct, frozen=True):
    """Which are asked for: "" is any mapping or key; with `until_max_ms` those with a time of their own, up to then."""

    mapping: str = ""
    reasons: frozenset[str] = frozenset(REASONS)
    key: str = ""
    until_max_ms: int | None = None

    def takes(self, hold: Hold, key: str) -> bool:
        """Whether it is one of them; `key` is its record's own."""
        return (
            hold.reason in self.reasons
            and self.mapping in ("", hold.mapping)
            and self.key in ("", key, hold.person)
            and (self.until_max_ms is None or 0 < hold.until_ms <= self.until_max_ms)
        )


def holds_of(key: str, person: Person, rules: RuleSet) -> Iterator[Hold]:
    """Everything of a record that waits; of an event the `rules` tell by what it would be sent."""
    for parked in person.parked:
        yield _of_event(key, parked, rules)
    for send in person.held:
        yield _of_send(key, send)


def by_time(hold: Hold) -> tuple[bool, int, int, str]:
    """By what they are listed: what leaves first, and at the end what has no time of its own."""
    return not hold.until_ms, hold.until_ms, hold.since_ms, hold.send_id


def not_released(hold: Hold) -> str:
    """Why nobody can let it go, "" if it can be."""
    return _NOT_RELEASED.get(hold.reason, "")


def waiting(send_id: bytes, person: Person) -> Parked | Send | None:
    """What waits in a record under that id."""
    parked = next((each for each in person.parked if each.id == send_id), None)
    return parked or next((each for each in person.held if each.id == send_id), None)


def became(send_id: bytes, person: Person | None) -> str:
    """What a later record of its person (None: erased) says of one that waited."""
    if person is None:
        return ENDED
    if waiting(send_id, person) is not None:
        return WAITS
    due = next((each for each in person.due if each.id == send_id), None)
    if due is not None:
        return LEFT if due.is_posting else GOES
    if send_id in person.away or any(each.id == send_id for each in person.followed):
        return LEFT
    decision = person.decision(send_id)
    if decision is not None:
        return ENDED if decision.outcome in (delivery.SUPPRESSED, delivery.FAILED) else LEFT
    return MOVED if person.links else ENDED


class Row(Struct):
    """How many, with the first and the last `until` of those that have one, else 0."""

    count: int = 0
    first_ms: int = 0
    last_ms: int = 0

    def add(self, until_ms: int) -> None:
        """Count one."""
        self.count += 1
        if until_ms:
            self.first_ms = min(self.first_ms or until_ms, until_ms)
            self.last_ms = max(self.last_ms, until_ms)


class Tally:
    """How many wait for what: by reason and mapping, or as `by` (one of GROUPINGS) says; and when they leave.

    `hours` counts those that leave within HOURS by when the hour begins, the first at `first_ms`; `later` the rest,
    `untimed` what has no time of its own. `given_up` is what its profile must answer by then.
    """

    def __init__(self, by: str, now_ms: int) -> None:
        self.by = by
        self.first_ms = now_ms - now_ms % HOUR_MS
        self.total = 0
        self.rows: dict[tuple[str, ...], Row] = {}
        self.hours: Counter[int] = Counter()
        self.later = Row()
        self.given_up = Row()
        self.untimed = 0

    def add(self, hold: Hold) -> None:
        """Count one; what is overdue counts for this hour."""
        self.total += 1
        name = _name(hold, self.by)
        if name not in self.rows and len(self.rows) >= GROUPS_MAX:
            name = (OTHERS,) * len(name)
        self.rows.setdefault(name, Row()).add(hold.until_ms)
        if not hold.until_ms:
            self.untimed += 1
        elif hold.reason == sends.INCOMPLETE:
            self.given_up.add(hold.until_ms)
        elif hold.until_ms < self.first_ms + HOURS * HOUR_MS:
            self.hours[max(self.first_ms, hold.until_ms - hold.until_ms % HOUR_MS)] += 1
        else:
            self.later.add(hold.until_ms)


def people_in(holds: Iterable[Hold]) -> int:
    """Of how many people they are."""
    return len({each.person for each in holds})


def _name(hold: Hold, by: str) -> tuple[str, ...]:
    if by == BY_PERSON:
        return (hold.person,)
    return {BY_REASON: (hold.reason,), BY_MAPPING: (hold.mapping,)}.get(by, (hold.reason, hold.mapping))


def _of_event(key: str, parked: Parked, rules: RuleSet) -> Hold:
    rule = rules.by_id.get(parked.mapping)
    return Hold(
        send_id=parked.id.hex(),
        key=shown_key(key),
        person=shown_key(person_of(key)),
        mapping=parked.mapping,
        reason=parked.reason,
        detail=parked.lacks if parked.reason == sends.INCOMPLETE else _beside(parked.held_for, parked.reason),
        since_ms=parked.origin.event_ms,
        until_ms=parked.until_ms,
        sender=rule.action.sender if rule else "",
        channel=rule.action.channel if rule else "",
        message_id=parked.message_id,
        is_decided=False,
        count=parked.count,
    )


def _of_send(key: str, send: Send) -> Hold:
    is_retry = send.reason not in sends.LONG
    return Hold(
        send_id=send.id.hex(),
        key=shown_key(key),
        person=shown_key(send.person or person_of(key)),
        mapping=send.mapping,
        reason=RETRY if is_retry else send.reason,
        detail=send.reason if is_retry else _beside(send.held_for, send.reason),
        since_ms=send.origin.event_ms,
        until_ms=send.until_ms,
        sender=send.sender,
        channel=send.message.channel,
        message_id=send.message_id,
        is_decided=True,
        twilio_code=send.code,
    )


def _beside(held_for: str, reason: str) -> str:
    """By what else it waited, if by anything but what the reason says."""
    return "" if held_for == reason else held_for
