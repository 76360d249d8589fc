"""What one event does to one person: fold, filter, decide. And what an answer does to an open send.

Every function here changes the `Person` it is given and nothing else; the owner writes the person to the changelog
and then does what the record says. Read after `state` and `delivery`.
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from streamer.core import delivery
from streamer.core.action import Draft, Unsendable
from streamer.core.delivery import Accepted, Answer, Decision, Origin, Refused, Unknown, masked
from streamer.core.event_filters import Taken
from streamer.core.profile import TRAITS_MAX, fold, values
from streamer.core.retry import RetryPolicy, delay_s
from streamer.core.rules import Rule, RuleSet
from streamer.core.state import (
    DETAIL_BYTES_MAX,
    DUE_BYTES_MAX,
    DUE_MAX,
    SCHEDULED,
    SCHEDULED_BYTES_MAX,
    TRAITS_BYTES_MAX,
    Person,
    Send,
    send_bytes,
    traits_bytes,
)

# Twilio holds a message for more than 5 minutes and at most 35 days.
SCHEDULE_MIN_S: Final = 300
SCHEDULE_MARGIN_S: Final = 10  # more, when the request leaves: the longest it may take to get there
SCHEDULE_MAX_S: Final = 3_024_000
_AT_ONCE: Final = f"over {DUE_MAX} sends or {DUE_BYTES_MAX >> 10} KB of this person's at once"


class Applied(Struct, frozen=True):
    """What an event did: whether the person must be written, the ids of the mappings that matched, and which of the
    send ids were decided before, to be published again (`repeated`); the sends now `held` for their time; `rejected`
    says why traits were left out, `taken` why no mapping saw the event.
    """

    is_changed: bool
    matched: tuple[str, ...] = ()
    repeated: tuple[bytes, ...] = ()
    held: tuple[Send, ...] = ()
    rejected: str = ""
    taken: str = ""


def apply_event(person: Person, event: dict[str, Any], origin: Origin, rules: RuleSet, now_ms: int) -> Applied:
    """Fold the event into the person and decide it for every mapping whose filter matches.

    A send id whose outcome was published is repeated, one that waits or is being published is left alone, and one that
    was decided and forgotten is never decided again; where that can't be told, it is suppressed. Traits over
    TRAITS_BYTES_MAX are left as they were.
    """
    is_changed, rejected = False, ""
    if event["type"] == "identify":
        is_changed, rejected = _fold(person, event.get("traits") or {}, origin.event_ms)
    seen = _seen(person, event, origin, rules)
    if isinstance(seen, Taken):
        if is_changed:
            person.note_seen(origin)
        return Applied(is_changed, rejected=rejected, taken=seen.reason)
    rules_of_it, scope = seen
    matched: list[str] = []
    repeated: list[bytes] = []
    decided: list[Decision] = []
    held_before, unpublished = len(person.held), set(person.out)
    due_bytes = sum(map(send_bytes, person.due))
    message_id = event.get("messageId") or ""
    for rule in rules_of_it:
        if not rule.when(scope):
            continue
        matched.append(rule.id)
        send_id = delivery.send_id(rule.id, origin, message_id)
        if send_id in person.decided:
            if send_id not in unpublished:  # else its write or its event is on its way, and perhaps not safe yet
                repeated.append(send_id)
        elif not (person.is_waiting(send_id) or person.was_forgotten(rule.id, origin)):
            case = Case(rule, send_id, origin, message_id, now_ms)
            verdict, size = _verdict(person, scope, case)
            if isinstance(verdict, Send) and not verdict.until_ms:
                if len(person.due) < DUE_MAX and due_bytes + size <= DUE_BYTES_MAX:
                    due_bytes += size
                    person.due.append(verdict)
                else:
                    decided.append(case.suppressed("too_many_at_once", _AT_ONCE, masked(verdict.message.to)))
            elif isinstance(verdict, Send):
                person.held.append(verdict)
            else:
                decided.append(verdict)
            is_changed = True
    if decided:  # else nothing may be evicted: it would not be written, and perhaps is to be repeated now
        person.decide(*decided)
    if is_changed or (matched and not person.may_have_seen(origin)):
        person.note_seen(origin)  # a client's repeat too: once its decision is evicted, nothing else tells it from new
        is_changed = True
    held = tuple(person.held[held_before:])
    return Applied(is_changed, tuple(matched), tuple(repeated), held, rejected)


def _seen(
    person: Person, event: dict[str, Any], origin: Origin, rules: RuleSet
) -> tuple[tuple[Rule, ...], dict[str, Any]] | Taken:
    """The mappings that may match, and what they see: the event with its person's `profile`; or why nothing."""
    candidates = rules.candidates(event["type"], event.get("event"))
    if not candidates:
        return candidates, event
    scope = scope_of(event, person)
    seen = rules.filters.apply(scope, f"{origin.topic}/{origin.partition}/{origin.offset}")
    return seen if isinstance(seen, Taken) else (candidates, seen)


def scope_of(event: dict[str, Any], person: Person) -> dict[str, Any]:
    """What filters and fields read: the event's own keys, and the profile of its person."""
    return {**event, "profile": {"traits": values(person.traits)}}


class Case(Struct, frozen=True):
    """One (event, mapping) that is being decided."""

    rule: Rule
    send_id: bytes
    origin: Origin
    message_id: str
    now_ms: int

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


def _fold(person: Person, traits: Mapping[str, Any], event_ms: int) -> tuple[bool, str]:
    """Fold an identify; whether the traits changed, and why some or all of its were left out ("": none was)."""
    before = dict(person.traits)
    if not fold(person.traits, traits, event_ms):
        return False, _left_out(person, traits)
    if traits_bytes(person) > TRAITS_BYTES_MAX:
        person.traits = before
        return False, "traits_too_large"
    return True, _left_out(person, traits)


def _left_out(person: Person, traits: Mapping[str, Any]) -> str:
    is_full = len(person.traits) >= TRAITS_MAX
    return "too_many_traits" if is_full and any(name not in person.traits for name in traits) else ""


def _verdict(person: Person, scope: Mapping[str, Any], case: Case) -> tuple[Decision | Send, int]:
    """What is decided and can be stored, and a send's encoded size."""
    try:
        verdict = decide(person, scope, case)
        return (verdict, send_bytes(verdict)) if isinstance(verdict, Send) else (verdict, 0)
    except Exception as exc:  # noqa: BLE001  # plan's boundary: a defect of ours costs a message, not its partition
        return case.suppressed("undecidable", type(exc).__name__), 0


def decide(person: Person, scope: Mapping[str, Any], case: Case) -> Decision | Send:
    """The suppression, or the send, of one matched (event, mapping); a send that waits for its time has `until_ms`.

    Changes nothing. Costs: 8 µs with a plain text and a number seen lately.
    """
    rule, now_ms = case.rule, case.now_ms
    if not person.can_prove_new(rule.id, case.origin):
        return case.suppressed("cannot_prove_new")
    age_ms = int(rule.max_age_s * 1000)
    if now_ms > case.origin.event_ms + age_ms:
        return case.suppressed("too_old")
    draft = rule.action.draft(scope)
    if isinstance(draft, Unsendable):
        return case.suppressed(draft.reason, draft.detail, draft.to)
    # What is wished for later ages from then on.
    send = _send(case, draft, max(case.origin.event_ms, draft.send_at_ms) + age_ms)
    wait_s = (draft.send_at_ms - now_ms) / 1000
    if wait_s <= 0:
        return send
    if wait_s > SCHEDULE_MAX_S:
        return case.suppressed("send_at_too_far", f"more than {SCHEDULE_MAX_S // 86_400} days ahead")
    if draft.message.service_sid and wait_s > SCHEDULE_MIN_S:
        return replace(send, message=replace(draft.message, send_at_ms=draft.send_at_ms))
    held = replace(send, until_ms=draft.send_at_ms, reason=SCHEDULED)
    if person.scheduled_bytes() + send_bytes(held) > SCHEDULED_BYTES_MAX:
        return case.suppressed("too_many_scheduled", f"over {SCHEDULED_BYTES_MAX >> 10} KB of this person's wait")
    return held


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
        person.decide(_outcome(send, now_ms, delivery.SUPPRESSED, "too_old"))
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
            person.decide(replace(_outcome(send, now_ms, delivery.ACCEPTED, "accepted", said_parts), sid=sid))
        case Unknown(reason, http_status):
            person.decide(replace(_outcome(send, now_ms, delivery.UNKNOWN, reason), detail=_http(http_status)))
        case Refused(reason, code, http_status, is_retryable, retry_after_s):
            until_ms = now_ms + int(delay_s(send.attempt, RetryPolicy(), jitter, retry_after_s) * 1000)
            if is_retryable and until_ms <= send.expires_ms:
                held = replace(send, is_posting=False, posted_ms=0, until_ms=until_ms, reason=reason)
                person.held.append(held)
            else:
                failed = _outcome(send, now_ms, delivery.FAILED, reason)
                person.decide(replace(failed, code=code, detail=_http(http_status)))
    del person.due[0]
    return held


def release(person: Person, now_ms: int, handled_ms: int) -> bool:
    """Move held sends whose time has come to the due ones, in event order; True if any moved.

    A next attempt is due at its time; a scheduled send once all that came before its time is handled too.
    """
    ready: list[Send] = []
    waiting: list[Send] = []
    for send in person.held:
        is_ready = send.until_ms <= (handled_ms if send.reason == SCHEDULED else now_ms)
        (ready if is_ready else waiting).append(send)
    if not ready:
        return False
    person.held = waiting
    first = person.due[:1] if person.due and person.due[0].is_posting else []
    rest = [*person.due[len(first) :], *(replace(send, until_ms=0, reason="") for send in ready)]
    person.due = first + sorted(rest, key=lambda send: (send.origin.event_ms, send.origin.offset))
    return True


def interrupted(person: Person, now_ms: int) -> bool:
    """After a crash a posting send is unknown: its request may have left. True if there was one."""
    if not (person.due and person.due[0].is_posting):
        return False
    person.decide(_outcome(person.due[0], now_ms, delivery.UNKNOWN, "interrupted"))
    del person.due[0]
    return True


def _http(status: int) -> str:
    return f"HTTP {status}" if status else ""


def _outcome(send: Send, now_ms: int, outcome: str, reason: str, parts: int = 0) -> Decision:
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
