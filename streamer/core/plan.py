"""What one event does to one person: fold, filter, decide.

Every function here changes the `Person` it is given and nothing else; the owner writes the person to the changelog
and then does what the record says. Read after `decide`; before `handling`, which calls it.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from msgspec import Struct

from streamer.core import consent, delivery, once, parking
from streamer.core.decide import Case, is_erased, verdict
from streamer.core.delivery import Decision, Origin, masked
from streamer.core.event_filters import Taken
from streamer.core.gate import Standing
from streamer.core.hop import HOPS_MAX
from streamer.core.profile import Update, fold, overlaid, values
from streamer.core.rules import Rule, RuleSet
from streamer.core.sends import COLLECTING, INCOMPLETE, POLICIES, Parked, Send, parked_bytes, send_bytes
from streamer.core.state import DUE_BYTES_MAX, DUE_MAX, WAITING_BYTES_MAX, Person, place_of
from streamer.core.suppressions import EMPTY, Suppressions
from streamer.errors import BadRecord

SEND_BYTES_MAX: Final = 32 * 1024  # of a send with the longest text, media, variables and alternatives, and its event
TOO_MANY_HELD: Final = "too_many_held"
FULL: Final = f"over {WAITING_BYTES_MAX >> 10} KB of this person's wait"
_HELD: Final = POLICIES - {COLLECTING}  # of what waits these have been decided but for the time
_AT_ONCE: Final = f"over {DUE_MAX} sends or {DUE_BYTES_MAX >> 10} KB of this person's at once"


class Applied(Struct, frozen=True):
    """What an event did: whether the person must be written, the ids of the mappings that matched, and which of the
    send ids were decided before, to be published again (`repeated`); `rejected` says why something it said of its
    person was left out, `taken` why no mapping saw the event.
    """

    is_changed: bool
    matched: tuple[str, ...] = ()
    repeated: tuple[bytes, ...] = ()
    rejected: str = ""
    taken: str = ""


class Passage(Struct, frozen=True):
    """How a record came to its person: forwarded so often, whether it was handled before and may only repeat, and
    whether it passed here before and may have been decided elsewhere. `key` is the person's, "" if it is the origin's;
    `stops` are those who said STOP by then.
    """

    hops: int = 0
    is_repeat: bool = False
    is_back: bool = False
    key: str = ""
    stops: Suppressions = EMPTY


DIRECT: Final = Passage()


def apply_event(
    person: Person, event: dict[str, Any], origin: Origin, rules: RuleSet, now_ms: int, passage: Passage = DIRECT
) -> Applied:
    """Fold the event into the person, decide what waited for it, and decide it for every mapping that matches.

    A send id whose outcome was published is repeated, one that waits or is being published is left alone, and one that
    was decided and forgotten is never decided again (one that has a key in `once` was); where that can't be told, it is
    suppressed.
    """
    place = place_of(origin, passage.hops)
    turn = Turn(person, now_ms, rules, passage)
    is_learnt, rejected = False, ""
    if not (passage.is_repeat or is_erased(person, origin.event_ms)):
        is_learnt, rejected = learn(person, event, origin, rules)
        is_agreed, refused = _agree(person, event, origin, rules)
        if (is_learnt or is_agreed) and person.parked:
            turn.decide_parked()
        is_learnt, rejected = is_learnt or is_agreed, rejected or refused
    seen = _seen(person, event, origin, rules)
    if isinstance(seen, Taken):
        is_changed = turn.close() or is_learnt
        if is_changed:
            person.note_seen(place, origin.offset)
        return Applied(is_changed, rejected=rejected, taken=seen.reason)
    rules_of_it, scope = seen
    matched: list[str] = []
    repeated: list[bytes] = []
    unpublished = set(person.out)
    message_id, own = event.get("messageId") or "", consent.preferences(event)
    for rule in rules_of_it:
        if not rule.when(scope):
            continue
        matched.append(rule.id)
        send_id = delivery.send_id(rule.id, origin, message_id)
        if send_id in person.decided:
            if send_id not in unpublished:  # else its write or its event is on its way, and perhaps not safe yet
                repeated.append(send_id)
        elif not (passage.is_repeat or person.is_waiting(send_id) or send_id in person.once):
            proof = _proof(person, rule.id, place, origin, passage)
            if proof != _FORGOTTEN:
                case = Case(rule, send_id, origin, message_id, now_ms, proof == _NEW, own=own, key=passage.key)
                turn.decide(scope, case)
    is_changed = turn.close() or is_learnt
    if passage.is_repeat:
        return Applied(is_changed=False, matched=tuple(matched), repeated=tuple(repeated))
    if is_changed or (matched and not person.may_have_seen(place, origin.offset)):
        person.note_seen(place, origin.offset)  # a client's repeat too: its decision may be evicted one day
        is_changed = True
    return Applied(is_changed, tuple(matched), tuple(repeated), rejected)


def learn(person: Person, event: Mapping[str, Any], origin: Origin, rules: RuleSet) -> tuple[bool, str]:
    """Fold what an event says of its person; whether anything changed, and why some was left out ("": nothing)."""
    traits = event.get("traits") if event["type"] == "identify" else None
    own = _own_traits(event) if rules.people.updates_from_context else None
    if own:
        traits = {**own, **(traits or {})}
    if not traits:
        return False, ""
    update_id = event.get("messageId") or f"{origin.topic}/{origin.partition}/{origin.offset}"
    folded = fold(person.traits, Update(origin.event_ms, update_id, traits))
    is_changed = folded.updates is not person.traits
    person.traits = folded.updates
    return is_changed, folded.left_out


def _agree(person: Person, event: Mapping[str, Any], origin: Origin, rules: RuleSet) -> tuple[bool, str]:
    """Note what an event states of its person's consent; whether anything changed, and why some was refused."""
    said = consent.statements_of(event, rules.people.consent)
    if not (said.statements or said.refused):
        return False, ""
    is_changed, refused = consent.apply(person.consent, said.statements, origin.event_ms)
    return is_changed, refused or next(iter(said.refused), "")


def _own_traits(event: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The traits that an event brings of its person, in `context.traits`."""
    context = event.get("context")
    own = context.get("traits") if isinstance(context, dict) else None
    return own if isinstance(own, dict) else None


def _seen(
    person: Person, event: dict[str, Any], origin: Origin, rules: RuleSet
) -> tuple[tuple[Rule, ...], dict[str, Any]] | Taken:
    """The mappings that may match, and what they see: the event with its person's `profile`; or why nothing."""
    candidates = rules.candidates(event["type"], event.get("event"))
    if not candidates:
        return _UNWANTED
    scope = scope_of(event, person, rules)
    seen = rules.filters.apply(scope, f"{origin.topic}/{origin.partition}/{origin.offset}")
    return seen if isinstance(seen, Taken) else (candidates, seen)


def scope_of(event: Mapping[str, Any], person: Person, rules: RuleSet) -> dict[str, Any]:
    """What filters and fields read: the event's own keys, and the profile of its person.

    Traits that the event brings itself lie over the profile's, unless they are folded into it.
    """
    traits = values(person.traits)
    if not rules.people.updates_from_context and (own := _own_traits(event)):
        traits = overlaid(traits, own)
    return {**event, "profile": {"traits": traits, "consent": consent.view(person.consent)}}


_UNWANTED: Final = Taken("")
_NEW: Final = "new"
_FORGOTTEN: Final = "forgotten"
_UNPROVEN: Final = "unproven"


def _proof(person: Person, mapping: str, place: str, origin: Origin, passage: Passage) -> str:
    """Whether a record that stands nowhere is new for a mapping, was decided and evicted, or can't be told.

    What was decided of somebody who was erased since is not kept, but that it was is; and what a record handled that
    ever moved or passed events on may have been decided elsewhere.
    A record of two hops may have been overtaken by one of a shorter way, so its place proves nothing; and one that ends
    at a pointer may have been decided there before the record's state moved on.
    """
    if passage.is_back or (person.links and origin.received_ms <= person.moved and passage.hops >= HOPS_MAX):
        return _UNPROVEN
    may_have_left = person.moved or is_erased(person, origin.event_ms)
    if may_have_left and passage.hops < 2 and person.was_seen(place, origin.offset):
        return _FORGOTTEN
    if person.was_forgotten(mapping, place, origin.offset):
        return _FORGOTTEN if passage.hops < 2 else _UNPROVEN
    return _NEW if person.can_prove_new(mapping, place, origin.event_ms) else _UNPROVEN


class Turn:
    """What one record makes of a person: verdicts find their place at once, outcomes are stored by `close`."""

    __slots__ = ("_decided", "_due_bytes", "_is_changed", "_key", "_person", "_rules", "_standing", "now_ms")

    def __init__(self, person: Person, now_ms: int, rules: RuleSet, passage: Passage = DIRECT) -> None:
        self.now_ms = now_ms
        self._person = person
        self._rules = rules
        self._key = passage.key
        self._standing = Standing(rules, passage.stops, now_ms)
        self._decided: list[Decision] = []
        self._due_bytes = -1  # not counted yet
        self._is_changed = False

    def close(self) -> bool:
        """Store the outcomes; whether anything changed.

        Without one nothing may be evicted: it would not be written, and perhaps is to be repeated now.
        """
        if self._decided:
            self._person.decide(*self._decided)
        if self._is_changed and self._person.once:
            once.expire(self._person.once, self.now_ms)
        return self._is_changed

    def decide(self, scope: Mapping[str, Any], case: Case) -> None:
        """Decide one (event, mapping): it is due, held, parked, or has its outcome."""
        self._is_changed = True
        person = self._person
        match verdict(person, scope, case, self._standing):
            case Decision() as decision:
                self._decided.append(decision)
                return
            case Parked() as parked:
                is_placed = self._wait(parked, case) and parked.reason in _HELD
            case (send, size):
                is_placed = self._make_due(send, size, case)
        if is_placed and case.rule.once is not None:
            _take_key(person, scope, case, case.rule.once)

    def decide_parked(self) -> None:
        """Decide again, in event order, all that waited for something that may be there now; the rest waits on."""
        person = self._person
        waiting = [each for each in person.parked if each.reason != COLLECTING]
        if waiting:
            person.parked = [each for each in person.parked if each.reason == COLLECTING]
            self.decide_again(sorted(waiting, key=parking.in_event_order))

    def decide_again(self, waited: Iterable[Parked], *, is_released: bool = False, is_forced: bool = False) -> None:
        """Decide what waited, and was taken out, with the person as they are now; the flags are those of a Case.

        What only waited for a time waits on where nothing more may be due at once.
        """
        for parked in waited:
            if parked.reason in POLICIES and not self._has_room():
                self._person.parked.append(parked)
                continue
            rule = self._rules.by_id.get(parked.mapping)
            if rule is None or rule.reads_hash != parked.reads:
                self.suppress([parked], parking.CHANGED)
                continue
            try:
                event = parking.event_of(parked)
            except BadRecord as bad:
                self.suppress([parked], "undecidable", bad.detail)
                continue
            case = Case(
                rule,
                parked.id,
                parked.origin,
                parked.message_id,
                self.now_ms,
                until_ms=parked.until_ms if parked.reason == INCOMPLETE else 0,
                own=consent.preferences(event),
                key=self._key,
                reason=parked.reason,
                held_for=parked.held_for,
                burst=parking.burst_of(parked) if parked.group else None,
                waited=parked,
                is_released=is_released,
                is_forced=is_forced,
            )
            self.decide(scope_of(event, self._person, self._rules), case)

    def suppress(self, gone: Iterable[Parked], reason: str, detail: str = "") -> None:
        """End parked events; what they lacked is said, unless there is something else to say."""
        for parked in gone:
            self._is_changed = True
            known = self._rules.by_id.get(parked.mapping)
            self._decided.append(
                Decision(
                    send_id=parked.id,
                    mapping=parked.mapping,
                    mapping_version=known.version if known else "",
                    origin=parked.origin,
                    message_id=parked.message_id,
                    outcome=delivery.SUPPRESSED,
                    reason=reason,
                    decided_ms=self.now_ms,
                    detail=detail or parked.lacks,
                    channel=known.action.channel if known else "",
                    sender=known.action.sender if known else "",
                    held_for=parked.held_for,
                )
            )

    def park(self, parked: Parked) -> None:
        """Have an event wait that waited before, whatever must go for it: in another record, say."""
        self._is_changed = True
        rule = self._rules.by_id.get(parked.mapping)
        if parked.group and rule is not None and self._join(parked, rule):
            return
        self.suppress(parking.park(self._person, parked), parking.OVERFLOW)

    def _wait(self, parked: Parked, case: Case) -> bool:
        """Have an event wait; False where it has its outcome at once. What waits for the profile makes room."""
        person = self._person
        if parked.reason == INCOMPLETE:
            self.suppress(parking.park(person, parked), parking.OVERFLOW)
            return True
        if parked.reason == COLLECTING and self._join(parked, case.rule):
            return True
        surplus_bytes = person.waiting_bytes() + parked_bytes(parked) - WAITING_BYTES_MAX
        if surplus_bytes > 0:
            self.suppress(parking.make_room(person, surplus_bytes), parking.OVERFLOW)
            surplus_bytes = person.waiting_bytes() + parked_bytes(parked) - WAITING_BYTES_MAX
        if surplus_bytes > 0:
            self._decided.append(case.suppressed(TOO_MANY_HELD, FULL))
            return False
        person.parked.append(parked)
        return True

    def _join(self, parked: Parked, rule: Rule) -> bool:
        """Have an event join the burst of which it is, as long as that waits; False if there is none."""
        collapse, waiting = rule.policies.collapse, self._person.parked
        at = next((at for at, each in enumerate(waiting) if each.group == parked.group != b""), None)
        if collapse is None or at is None:
            return False
        one, gone = parking.joined(waiting[at], parked, collapse.keep)
        more_bytes = parked_bytes(one) - parked_bytes(waiting[at])
        if more_bytes > 0 and self._person.waiting_bytes() + more_bytes > WAITING_BYTES_MAX:
            one, gone = parking.counted(waiting[at], parked), parked  # there is room for no more of it than the number
        waiting[at] = one
        self.suppress([gone], parking.COLLAPSED, one.id.hex())
        return True

    def _has_room(self) -> bool:
        """Whether another send may be due, however large."""
        if self._due_bytes < 0:
            self._due_bytes = sum(map(send_bytes, self._person.due))
        return len(self._person.due) < DUE_MAX and self._due_bytes <= DUE_BYTES_MAX - SEND_BYTES_MAX

    def end(self, decision: Decision) -> None:
        """Take an outcome that was decided elsewhere."""
        self._is_changed = True
        self._decided.append(decision)

    def _make_due(self, send: Send, size: int, case: Case) -> bool:
        """Have a send be due; False where there are too many of them."""
        person = self._person
        if self._due_bytes < 0:
            self._due_bytes = sum(map(send_bytes, person.due))
        if len(person.due) < DUE_MAX and self._due_bytes + size <= DUE_BYTES_MAX:
            self._due_bytes += size
            person.due.append(send)
            return True
        self._decided.append(case.suppressed("too_many_at_once", _AT_ONCE, masked(send.message.to)))
        return False


def ring(person: Person, rules: RuleSet, handled_ms: int, now_ms: int, passage: Passage = DIRECT) -> bool:
    """Give up the events that have waited for the profile until their deadline, and decide again those whose time has
    come, by all that was handled; True if there were any.

    As many as may be due at once: the others keep their time, and the person is to be rung again.
    """
    handled_ms = min(handled_ms, now_ms)  # a clock that was set back: what is decided by it would wait again at once
    if not any(parked.until_ms <= handled_ms for parked in person.parked):
        return False
    turn = Turn(person, now_ms, rules, passage)
    given_up, again = parking.overdue(person, handled_ms)
    turn.suppress(given_up, INCOMPLETE)
    turn.decide_again(again)
    return turn.close()


def _take_key(person: Person, scope: Mapping[str, Any], case: Case, per: once.OncePer) -> None:
    """Note the key of a send that was placed: `decide` found that it has one and that it is free."""
    key = once.hash_of(per, case.rule.id, scope)
    assert key is not None
    person.once[case.send_id] = once.taken_by(per, key, case.origin.event_ms, case.rule.max_age_s)
