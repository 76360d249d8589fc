"""What one event does to one person: fold, filter, decide. And what an answer does to an open send.

Every function here changes the `Person` it is given and nothing else; the owner writes the person to the changelog
and then does what the record says. Read after `state` and `delivery`.
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from streamer.core import delivery
from streamer.core.delivery import Accepted, Answer, Decision, Message, Origin, Refused, Unknown, masked
from streamer.core.phone import BadPhone, normalise
from streamer.core.profile import TRAITS_MAX, fold, values
from streamer.core.retry import RetryPolicy, delay_s
from streamer.core.rules import Rule
from streamer.core.segments import parts
from streamer.core.state import TRAITS_BYTES_MAX, Person, Send, traits_bytes
from streamer.core.template import Missing

BODY_CHARS_MAX: Final = 1600  # Twilio's limit; more is refused with 21617
_DETAIL_CHARS_MAX: Final = 200


class Applied(Struct, frozen=True):
    """What an event did: whether the person must be written, the ids of the mappings that matched, and which of the
    send ids were decided before, to be published again (`repeated`); `rejected` says why traits were left out.
    """

    is_changed: bool
    matched: tuple[str, ...] = ()
    repeated: tuple[bytes, ...] = ()
    rejected: str = ""


def apply_event(
    person: Person, event: dict[str, Any], origin: Origin, mappings: tuple[Rule, ...], now_ms: int
) -> Applied:
    """Fold the event into the person and decide it for every mapping whose filter matches.

    A send id whose outcome was published is repeated, one that waits or is being published is left alone, and one that
    may have been decided and forgotten is never decided again. Traits over TRAITS_BYTES_MAX are left as they were.
    """
    is_changed, rejected = False, ""
    if event["type"] == "identify":
        is_changed, rejected = _fold(person, event.get("traits") or {}, origin.event_ms)
    matched: list[str] = []
    repeated: list[bytes] = []
    message_id = event.get("messageId") or ""
    for mapping in mappings:
        if not mapping.when(event):
            continue
        matched.append(mapping.id)
        send_id = delivery.send_id(mapping.id, origin, message_id)
        if send_id in person.decided:
            if send_id not in person.out:  # else its write or its event is on its way, and perhaps not safe yet
                repeated.append(send_id)
        elif not (person.is_waiting(send_id) or person.was_forgotten(mapping.id, origin)):
            _decide(person, event, _Case(mapping, send_id, origin, message_id, now_ms))
            is_changed = True
    if is_changed or (matched and not person.may_have_seen(origin)):
        person.note_seen(origin)  # a client's repeat too: once its decision is evicted, nothing else tells it from new
        is_changed = True
    return Applied(is_changed, tuple(matched), tuple(repeated), rejected)


class _Case(Struct, frozen=True):
    """One (event, mapping) that is being decided."""

    mapping: Rule
    send_id: bytes
    origin: Origin
    message_id: str
    now_ms: int

    def suppressed(self, reason: str, detail: str = "", to: str = "") -> Decision:
        return Decision(
            send_id=self.send_id,
            mapping=self.mapping.id,
            mapping_version=self.mapping.version,
            origin=self.origin,
            message_id=self.message_id,
            outcome=delivery.SUPPRESSED,
            reason=reason,
            decided_ms=self.now_ms,
            detail=detail[:_DETAIL_CHARS_MAX],
            channel=self.mapping.channel,
            to=to,
            sender=self.mapping.sender.name,
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


def _decide(person: Person, event: dict[str, Any], case: _Case) -> None:
    """One outcome or one due send for a matched (event, mapping)."""
    mapping = case.mapping
    expires_ms = case.origin.event_ms + int(mapping.max_age_s * 1000)
    if case.now_ms > expires_ms:
        person.decide(case.suppressed("too_old"))
        return
    scope = {**event, "profile": {"traits": values(person.traits)}}
    raw = mapping.to.render(scope)
    if isinstance(raw, Missing):
        person.decide(case.suppressed("no_phone", raw.path))
        return
    number = normalise(raw, mapping.region)
    if isinstance(number, BadPhone):
        person.decide(case.suppressed("bad_number", number.reason))
        return
    body = mapping.body.render(scope)
    if isinstance(body, Missing):
        person.decide(case.suppressed("missing_value", body.path, masked(number)))
        return
    if len(body) > BODY_CHARS_MAX:
        person.decide(case.suppressed("body_too_long", f"{len(body)} characters", masked(number)))
        return
    person.due.append(_send(case, number, body, expires_ms))


def _send(case: _Case, number: str, body: str, expires_ms: int) -> Send:
    sender = case.mapping.sender
    message = Message(sender.account, case.mapping.channel, number, body, sender.number, sender.service_sid)
    return Send(
        id=case.send_id,
        mapping=case.mapping.id,
        mapping_version=case.mapping.version,
        origin=case.origin,
        message_id=case.message_id,
        message=message,
        sender=sender.name,
        parts=parts(body),
        decided_ms=case.now_ms,
        expires_ms=expires_ms,
    )


def begin(person: Person, now_ms: int) -> Send | None:
    """Mark the first due send as posting its next attempt; None if it expired first and has its outcome now."""
    send = person.due[0]
    if now_ms > send.expires_ms:
        person.decide(_outcome(send, now_ms, delivery.SUPPRESSED, "too_old"))
        del person.due[0]
        return None
    posting = replace(send, attempt=send.attempt + 1, is_posting=True, posted_ms=now_ms)
    person.due[0] = posting
    return posting


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


def release(person: Person, now_ms: int) -> bool:
    """Move held sends whose time has come to the due ones, in event order; True if any moved."""
    ready = [send for send in person.held if send.until_ms <= now_ms]
    if not ready:
        return False
    person.held = [send for send in person.held if send.until_ms > now_ms]
    first = person.due[:1] if person.due and person.due[0].is_posting else []
    waiting = [*person.due[len(first) :], *(replace(send, until_ms=0, reason="") for send in ready)]
    person.due = first + sorted(waiting, key=lambda send: (send.origin.event_ms, send.origin.offset))
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
