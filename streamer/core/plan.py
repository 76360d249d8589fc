"""What one event does to one person: fold, filter, decide. And what an answer does to an open send.

Every function here changes the `Person` it is given and nothing else; the owner writes the person to the changelog
and then does what the record says. Read after `state` and `delivery`; before `handling`, which calls it.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from streamer.core import delivery, parking
from streamer.core.action import Draft, Unsendable
from streamer.core.delivery import Accepted, Answer, Decision, Origin, Refused, Unknown, masked
from streamer.core.event_filters import Taken
from streamer.core.hop import HOPS_MAX
from streamer.core.links import ERASED, target_at
from streamer.core.profile import Update, fold, overlaid, values
from streamer.core.retry import RetryPolicy, delay_s
from streamer.core.rules import Rule, RuleSet
from streamer.core.state import (
    DETAIL_BYTES_MAX,
    DUE_BYTES_MAX,
    DUE_MAX,
    SCHEDULED,
    WAITING_BYTES_MAX,
    Parked,
    Person,
    Send,
    place_of,
    send_bytes,
)

# Twilio holds a message for more than 5 minutes and at most 35 days.
SCHEDULE_MIN_S: Final = 300
SCHEDULE_MARGIN_S: Final = 10  # more, when the request leaves: the longest it may take to get there
SCHEDULE_MAX_S: Final = 3_024_000
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
    """How a record came to its person: forwarded so often, and whether it was handled before and may only repeat."""

    hops: int = 0
    is_repeat: bool = False


DIRECT: Final = Passage()


def apply_event(
    person: Person, event: dict[str, Any], origin: Origin, rules: RuleSet, now_ms: int, passage: Passage = DIRECT
) -> Applied:
    """Fold the event into the person, decide what waited for it, and decide it for every mapping that matches.

    A send id whose outcome was published is repeated, one that waits or is being published is left alone, and one that
    was decided and forgotten is never decided again; where that can't be told, it is suppressed.
    """
    place = place_of(origin, passage.hops)
    turn = Turn(person, now_ms)
    is_learnt, rejected = False, ""
    if not (passage.is_repeat or is_erased(person, origin.event_ms)):
        is_learnt, rejected = learn(person, event, origin, rules)
        if is_learnt and person.parked:
            turn.decide_parked(rules)
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
    message_id = event.get("messageId") or ""
    for rule in rules_of_it:
        if not rule.when(scope):
            continue
        matched.append(rule.id)
        send_id = delivery.send_id(rule.id, origin, message_id)
        if send_id in person.decided:
            if send_id not in unpublished:  # else its write or its event is on its way, and perhaps not safe yet
                repeated.append(send_id)
        elif not (passage.is_repeat or person.is_waiting(send_id)):
            proof = _proof(person, rule.id, place, origin, passage)
            if proof != _FORGOTTEN:
                turn.decide(scope, Case(rule, send_id, origin, message_id, now_ms, proof == _NEW))
    is_changed = turn.close() or is_learnt
    if passage.is_repeat:
        return Applied(is_changed=False, matched=tuple(matched), repeated=tuple(repeated))
    if is_changed or (matched and not person.may_have_seen(place, origin.offset)):
        person.note_seen(
            place, origin.offset
        )  # a client's repeat too: once its decision is evicted, nothing else tells
        is_changed = True
    return Applied(is_changed, tuple(matched), tuple(repeated), rejected)


def is_erased(person: Person, event_ms: int) -> bool:
    """Whether what happened then was forgotten on demand."""
    if person.erased_ms and event_ms <= person.erased_ms:
        return True
    return bool(person.links) and target_at(person.links, event_ms) == ERASED


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
    return {**event, "profile": {"traits": traits}}


_UNWANTED: Final = Taken("")
_NEW: Final = "new"
_FORGOTTEN: Final = "forgotten"
_UNPROVEN: Final = "unproven"


def _proof(person: Person, mapping: str, place: str, origin: Origin, passage: Passage) -> str:
    """Whether a record that stands nowhere is new for a mapping, was decided and evicted, or can't be told.

    What was decided of somebody who was erased since is not kept, but that it was is.
    A record of two hops may have been overtaken by one of a shorter way, so its place proves nothing; and one that ends
    at a pointer may have been decided there before the record's state moved on.
    """
    if is_erased(person, origin.event_ms) and person.was_seen(place, origin.offset):
        return _FORGOTTEN
    if person.links and origin.received_ms <= person.moved and passage.hops >= HOPS_MAX:
        return _UNPROVEN
    if person.was_forgotten(mapping, place, origin.offset):
        return _FORGOTTEN if passage.hops < 2 else _UNPROVEN
    return _NEW if person.can_prove_new(mapping, place, origin.event_ms) else _UNPROVEN


class Case(Struct, frozen=True):
    """One (event, mapping) that is being decided. `until_ms` is the deadline of one that was parked before."""

    rule: Rule
    send_id: bytes
    origin: Origin
    message_id: str
    now_ms: int
    is_new: bool = True
    until_ms: int = 0

    def suppressed(self, reason: str, detail: str = "", to: str = "") -> Decision:
        """The decision not to send; `to` is masked."""
        return Decision(
            send_id=self.send_id,
            mapping=self.rule.id,
            mapping_version=self.rule.version,
            origin=self.origin,
            message_id=self.message_id,
            outcome=delivery.SUPPRESSED,
            reason=reason,
            decided_ms=self.now_ms,
            detail=detail.encode()[:DETAIL_BYTES_MAX].decode(errors="ignore"),
            channel=self.rule.action.channel,
            to=to,
            sender=self.rule.action.sender,
        )


class Turn:
    """What one record makes of a person: verdicts find their place at once, outcomes are stored by `close`."""

    __slots__ = ("_decided", "_due_bytes", "_is_changed", "_person", "now_ms")

    def __init__(self, person: Person, now_ms: int) -> None:
        self.now_ms = now_ms
        self._person = person
        self._decided: list[Decision] = []
        self._due_bytes = -1  # not counted yet
        self._is_changed = False

    def close(self) -> bool:
        """Store the outcomes; whether anything changed.

        Without one nothing may be evicted: it would not be written, and perhaps is to be repeated now.
        """
        if self._decided:
            self._person.decide(*self._decided)
        return self._is_changed

    def decide(self, scope: Mapping[str, Any], case: Case) -> None:
        """Decide one (event, mapping): it is due, held, parked, or has its outcome."""
        self._is_changed = True
        person = self._person
        match _verdict(person, scope, case):
            case Decision() as decision:
                self._decided.append(decision)
            case Parked() as parked:
                self.park(parked, case.rule)
            case (send, size):
                if send.until_ms:
                    self._schedule(send, size, case)
                else:
                    self._make_due(send, size, case)

    def decide_parked(self, rules: RuleSet) -> None:
        """Decide again, in event order, all that waited for the profile; what still lacks something waits on."""
        person, now_ms = self._person, self.now_ms
        waiting, person.parked = sorted(person.parked, key=parking.in_event_order), []
        for parked in waiting:
            rule = rules.by_id.get(parked.mapping)
            if rule is None or rule.reads_hash != parked.reads:
                self.suppress([parked], parking.CHANGED, rule)
                continue
            scope = scope_of(parking.event_of(parked), person, rules)
            case = Case(rule, parked.id, parked.origin, parked.message_id, now_ms, until_ms=parked.until_ms)
            self.decide(scope, case)

    def suppress(self, gone: Iterable[Parked], reason: str, rule: Rule | None = None) -> None:
        """End parked events; what they lacked is said."""
        for parked in gone:
            self._is_changed = True
            known = rule if rule is not None and rule.id == parked.mapping else None
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
                    detail=parked.lacks,
                    channel=known.action.channel if known else "",
                    sender=known.action.sender if known else "",
                )
            )

    def park(self, parked: Parked, rule: Rule | None = None) -> None:
        """Have an event wait for the profile, whatever must go for it."""
        self._is_changed = True
        self.suppress(parking.park(self._person, parked), parking.OVERFLOW, rule)

    def end(self, decision: Decision) -> None:
        """Take an outcome that was decided elsewhere."""
        self._is_changed = True
        self._decided.append(decision)

    def _make_due(self, send: Send, size: int, case: Case) -> None:
        person = self._person
        if self._due_bytes < 0:
            self._due_bytes = sum(map(send_bytes, person.due))
        if len(person.due) < DUE_MAX and self._due_bytes + size <= DUE_BYTES_MAX:
            self._due_bytes += size
            person.due.append(send)
        else:
            self._decided.append(case.suppressed("too_many_at_once", _AT_ONCE, masked(send.message.to)))

    def _schedule(self, send: Send, size: int, case: Case) -> None:
        """Hold a send until its time; events that wait for the profile make room for it."""
        person = self._person
        surplus_bytes = person.waiting_bytes() + size - WAITING_BYTES_MAX
        if surplus_bytes > 0:
            self.suppress(parking.make_room(person, surplus_bytes), parking.OVERFLOW)
            surplus_bytes = person.waiting_bytes() + size - WAITING_BYTES_MAX
        if surplus_bytes > 0:
            detail = f"over {WAITING_BYTES_MAX >> 10} KB of this person's wait"
            self._decided.append(case.suppressed("too_many_scheduled", detail))
        else:
            person.held.append(send)


def give_up(person: Person, rules: RuleSet, handled_ms: int, now_ms: int) -> bool:
    """End the parked events whose deadline everything handled has passed; True if there were any."""
    turn = Turn(person, now_ms)
    for parked in parking.overdue(person, handled_ms):
        turn.suppress([parked], parking.INCOMPLETE, rules.by_id.get(parked.mapping))
    return turn.close()


def _verdict(person: Person, scope: Mapping[str, Any], case: Case) -> Decision | Parked | tuple[Send, int]:
    """What is decided and can be stored; a send with its encoded size."""
    try:
        verdict = decide(person, scope, case)
        return (verdict, send_bytes(verdict)) if isinstance(verdict, Send) else verdict
    except Exception as exc:  # noqa: BLE001  # plan's boundary: a defect of ours costs a message, not its partition
        return case.suppressed("undecidable", type(exc).__name__)


def decide(person: Person, scope: Mapping[str, Any], case: Case) -> Decision | Parked | Send:
    """The suppression, or the send, of one matched (event, mapping); a send that waits for its time has `until_ms`.

    One that lacks something of the profile is parked for it. Changes nothing. Costs: 8 µs with a plain text and a
    number seen lately.
    """
    rule, now_ms = case.rule, case.now_ms
    if person.is_suppressed or is_erased(person, case.origin.event_ms):
        return case.suppressed("forgotten")
    if not case.is_new:
        return case.suppressed("cannot_prove_new")
    age_ms = int(rule.max_age_s * 1000)
    if now_ms > case.origin.event_ms + age_ms:
        return case.suppressed("too_old")
    draft = rule.action.draft(scope)
    if isinstance(draft, Unsendable):
        return _parked(scope, case, draft) if draft.lacks else case.suppressed(draft.reason, draft.detail, draft.to)
    # What is wished for later ages from then on.
    send = _send(case, draft, max(case.origin.event_ms, draft.send_at_ms) + age_ms)
    wait_s = (draft.send_at_ms - now_ms) / 1000
    if wait_s <= 0:
        return send
    if wait_s > SCHEDULE_MAX_S:
        return case.suppressed("send_at_too_far", f"more than {SCHEDULE_MAX_S // 86_400} days ahead")
    if draft.message.service_sid and wait_s > SCHEDULE_MIN_S:
        return replace(send, message=replace(draft.message, send_at_ms=draft.send_at_ms))
    return replace(send, until_ms=draft.send_at_ms, reason=SCHEDULED)


def _parked(scope: Mapping[str, Any], case: Case, unsendable: Unsendable) -> Parked | Decision:
    """The event, waiting for what its mapping lacks; or suppressed at once, where it is not to wait."""
    rule = case.rule
    lacks = unsendable.lacks.encode()[:DETAIL_BYTES_MAX].decode(errors="ignore")
    if not rule.wait_s:
        return case.suppressed(parking.INCOMPLETE, lacks, unsendable.to)
    return Parked(
        id=case.send_id,
        mapping=rule.id,
        reads=rule.reads_hash,
        origin=case.origin,
        message_id=case.message_id,
        event=parking.pruned(scope, rule.reads),
        lacks=lacks,
        until_ms=case.until_ms or case.now_ms + int(rule.wait_s * 1000),
    )


def _send(case: Case, draft: Draft, expires_ms: int) -> Send:
    return Send(
        id=case.send_id,
        mapping=case.rule.id,
        mapping_version=case.rule.version,
        origin=case.origin,
        message_id=case.message_id,
        message=draft.message,
        sender=draft.sender,
        parts=draft.parts,
        decided_ms=case.now_ms,
        expires_ms=expires_ms,
    )


def begin(person: Person, now_ms: int) -> Send | None:
    """Mark the first due send as posting its next attempt; None if it expired first and has its outcome now.

    A send that Twilio was to hold, and that waited so long that Twilio would refuse it, is returned held instead.
    """
    send = person.due[0]
    if now_ms > send.expires_ms:
        person.decide(end_of(send, now_ms, delivery.SUPPRESSED, "too_old"))
        del person.due[0]
        return None
    if send.message.send_at_ms:
        send = _due_time(send, now_ms)
        if send.until_ms:
            del person.due[0]
            person.held.append(send)
            return send
    posting = replace(send, attempt=send.attempt + 1, is_posting=True, posted_ms=now_ms)
    person.due[0] = posting
    return posting


def _due_time(send: Send, now_ms: int) -> Send:
    """A send that Twilio is to hold, as it can still be done: so, held by us, or at once."""
    at_ms = send.message.send_at_ms
    if (at_ms - now_ms) / 1000 > SCHEDULE_MIN_S + SCHEDULE_MARGIN_S:
        return send
    message = replace(send.message, send_at_ms=0)
    return (
        replace(send, message=message)
        if at_ms <= now_ms
        else replace(send, message=message, until_ms=at_ms, reason=SCHEDULED)
    )


def unbegin(person: Person) -> None:
    """Take back `begin` for a request that never left."""
    send = person.due[0]
    person.due[0] = replace(send, attempt=send.attempt - 1, is_posting=False, posted_ms=0)


def settle(person: Person, answer: Answer, now_ms: int, jitter: float) -> Send | None:
    """Give the posting send its outcome; or hold it for the next attempt, and then return it."""
    send = person.due[0]  # it goes only once what follows it is stored
    held: Send | None = None
    match answer:
        case Accepted(sid, _, said_parts):
            person.decide(replace(end_of(send, now_ms, delivery.ACCEPTED, "accepted", said_parts), sid=sid))
        case Unknown(reason, http_status):
            person.decide(replace(end_of(send, now_ms, delivery.UNKNOWN, reason), detail=_http(http_status)))
        case Refused(reason, code, http_status, is_retryable, retry_after_s):
            until_ms = now_ms + int(delay_s(send.attempt, RetryPolicy(), jitter, retry_after_s) * 1000)
            if is_retryable and until_ms <= send.expires_ms:
                held = replace(send, is_posting=False, posted_ms=0, until_ms=until_ms, reason=reason)
                person.held.append(held)
            else:
                failed = end_of(send, now_ms, delivery.FAILED, reason)
                person.decide(replace(failed, code=code, detail=_http(http_status)))
    del person.due[0]
    return held


def release(person: Person, now_ms: int, handled_ms: int) -> bool:
    """Move held sends whose time has come to the due ones, in event order; True if any moved.

    A retry waits for the wall's time, a send for its `send_at` until everything before it is handled.
    """
    ready = [send for send in person.held if send.until_ms <= (handled_ms if send.reason == SCHEDULED else now_ms)]
    if not ready:
        return False
    ids = {send.id for send in ready}
    person.held = [send for send in person.held if send.id not in ids]
    first = person.due[:1] if person.due and person.due[0].is_posting else []
    waiting = [*person.due[len(first) :], *(replace(send, until_ms=0, reason="") for send in ready)]
    person.due = first + sorted(waiting, key=lambda send: (send.origin.event_ms, send.origin.offset))
    return True


def interrupted(person: Person, now_ms: int) -> bool:
    """After a crash a posting send is unknown: its request may have left. True if there was one."""
    if not (person.due and person.due[0].is_posting):
        return False
    person.decide(end_of(person.due[0], now_ms, delivery.UNKNOWN, "interrupted"))
    del person.due[0]
    return True


def _http(status: int) -> str:
    return f"HTTP {status}" if status else ""


def end_of(send: Send, now_ms: int, outcome: str, reason: str, parts: int = 0) -> Decision:
    """The decision that ends a send."""
    return Decision(
        send_id=send.id,
        mapping=send.mapping,
        mapping_version=send.mapping_version,
        origin=send.origin,
        message_id=send.message_id,
        outcome=outcome,
        reason=reason,
        decided_ms=send.decided_ms,
        attempt=send.attempt,
        channel=send.message.channel,
        to=masked(send.message.to),
        sender=send.sender,
        parts=parts or send.parts,
        posted_ms=send.posted_ms,
        answered_ms=now_ms,
    )
