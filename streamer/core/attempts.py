"""The life of an open send: due, posting, held for another attempt, and its outcome.

Every function changes the `Person` it is given and nothing else; the owner writes the person before it does what the
record says. Read after `plan`, which decides what is due.
"""

from typing import Final

from msgspec.structs import replace

from streamer.core import delivery
from streamer.core.delivery import Accepted, Answer, Decision, Refused, Unknown, masked
from streamer.core.outcomes import RETRY
from streamer.core.plan import SCHEDULE_MIN_S
from streamer.core.retry import RetryPolicy, delay_s
from streamer.core.state import SCHEDULED, Person, Send

SCHEDULE_MARGIN_S: Final = 10  # more, when the request leaves: the longest it may take to get there


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


def give_back(person: Person, now_ms: int, reason: str) -> None:
    """End the first due send, which can't be posted."""
    person.decide(end_of(person.due[0], now_ms, delivery.SUPPRESSED, reason))
    del person.due[0]


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
        case Unknown(reason, http_status, code):
            unknown = end_of(send, now_ms, delivery.UNKNOWN, reason)
            person.decide(replace(unknown, code=code, detail=_http(http_status)))
        case Refused(reason, code, http_status, kind, retry_after_s=retry_after_s):
            until_ms = now_ms + int(delay_s(send.attempt, RetryPolicy(), jitter, retry_after_s) * 1000)
            if kind == RETRY and until_ms <= send.expires_ms:
                held = replace(send, is_posting=False, posted_ms=0, until_ms=until_ms, reason=reason)
                person.held.append(held)
            else:
                failed = end_of(send, now_ms, delivery.FAILED, reason)
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
