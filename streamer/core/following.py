"""What comes after an outcome: an unknown send is looked for, a person decides, a message that was accepted fails.

An unknown send is settled by whatever tells first: a callback with our token, the answer that a former owner still got,
the gateway's list, or a person. What it becomes is told as a "Resolved" event; the outcome that is out stays as it was.
Source: ARCHITECTURE, "A send's life".
"""

from collections.abc import Sequence
from typing import Annotated, Final, NamedTuple, TypeVar

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from streamer.core import delivery, limits, recall
from streamer.core.attempts import (
    Moment,
    accept,
    adopt,
    conclude,
    end_of,
    give_up,
    has_room,
    next_attempt,
    refuse,
    suppress,
    tell,
)
from streamer.core.delivery import (
    AMBIGUOUS,
    ATTEMPT_TAG,
    NOT_CREATED,
    RETRYING,
    Accepted,
    Attempt,
    Found,
    Message,
    Refused,
)
from streamer.core.outcomes import OPTOUT, STOP
from streamer.core.sends import AT_GATEWAY, EXISTING, RECALLED, THERE, UNKNOWN, UNRESOLVED, WATCHED, Send
from streamer.core.state import Person
from streamer.errors import BadRecord

CHECKS_MS: Final = (135_000, 165_000)  # after the first miss, and the second: three misses take five minutes
LIST_RETRY_MS: Final = 30_000  # a list that could not be had is no miss
KEEP_MS: Final = 7 * 86_400_000  # how long a send waits for a person to decide
# The gateway's clock may be behind ours, and its dates have whole seconds. A tag tells however far it is; an equal
# body, which an earlier message may have too, only of what came since, by clocks that are a minute apart at most.
LIST_MARGIN_MS: Final = 15 * 60_000
BODY_MARGIN_MS: Final = 60_000
FAILED_STATUSES: Final = frozenset(("failed", "undelivered"))
CANCELED: Final = "canceled"  # as the gateway spells it

_Id = Annotated[bytes, Meta(min_length=16, max_length=16)]
_Attempt = Annotated[int, Meta(ge=1, le=2**31)]
_Short = Annotated[str, Meta(max_length=64)]
_Code = Annotated[int, Meta(ge=0, le=10**9)]


class Callback(Struct, frozen=True, array_like=True):
    """What a status callback says of one attempt."""

    send_id: _Id
    attempt: _Attempt
    sid: _Short
    status: Annotated[str, Meta(min_length=1, max_length=64)]
    code: _Code = 0


class LateAnswer(Struct, frozen=True, array_like=True):
    """The answer to one attempt's request, which came when its person had another owner."""

    send_id: _Id
    attempt: _Attempt
    answer: Accepted | Refused


class Resolution(Struct, frozen=True, array_like=True):
    """What a person decided of one attempt of an unknown send: `accepted` (with its SID, if known), `not_created`, or
    `resend`. Read again after the next attempt it decides nothing.
    """

    send_id: _Id
    attempt: _Attempt
    verdict: _Short
    sid: _Short = ""


VERDICTS: Final = (delivery.ACCEPTED, NOT_CREATED, "resend")
_T = TypeVar("_T")
_encoder: Final = msgspec.msgpack.Encoder()
_callback: Final = msgspec.msgpack.Decoder(Callback)
_answer: Final = msgspec.msgpack.Decoder(LateAnswer)
_resolution: Final = msgspec.msgpack.Decoder(Resolution)


def encode(said: Callback | LateAnswer | Resolution) -> bytes:
    """The value of the record that carries it."""
    return _encoder.encode(said)


def take_callback(person: Person, value: bytes, moment: Moment) -> bool:
    """Hear a status callback; whether anything changed. Raises: BadRecord."""
    said = _decoded(_callback, value)
    send = _followed(person, said.send_id)
    if send is not None and send.reason == RECALLED and (said.sid, said.status) == (send.sid, CANCELED):
        return recall.take_recall(person, send, True, moment)
    if send is not None and _is_watched(send, moment):
        return send.attempt == said.attempt and _heard_failure(person, send, said, moment)
    waiting = next((each for each in (send, *person.held, *person.due) if each and each.id == said.send_id), None)
    is_new = _created(person, said.send_id, said.attempt, said.sid, moment)
    if is_new and waiting is not None:
        _hear_if_failed(person, waiting, said, moment)
    return is_new


def take_answer(person: Person, value: bytes, moment: Moment) -> bool:
    """Hear a former owner's late answer; whether anything changed. Raises: BadRecord."""
    said = _decoded(_answer, value)
    if isinstance(said.answer, Accepted):
        return _created(person, said.send_id, said.attempt, said.answer.sid, moment)
    send = _followed(person, said.send_id)
    if send is None or send.reason in EXISTING or send.attempt != said.attempt:
        return False
    person.followed.remove(send)
    refuse(person, moment, send, said.answer)
    return True


def take_resolution(person: Person, value: bytes, moment: Moment) -> bool:
    """Do what a person decided of an unknown send; whether anything changed. Raises: BadRecord."""
    said = _decoded(_resolution, value)
    if said.verdict not in VERDICTS:
        raise BadRecord("bad_request", f"a resolution is one of {', '.join(VERDICTS)}")
    send = _followed(person, said.send_id)
    if send is None or send.reason in EXISTING or send.attempt != said.attempt:
        return False
    if said.verdict == delivery.ACCEPTED:
        return _created(person, said.send_id, send.attempt, said.sid, moment)
    person.followed.remove(send)
    if said.verdict == NOT_CREATED:
        person.once.pop(send.id, None)
        limits.give_back(person.counted, send.mapping, send.posted_ms)
        tell(person, moment, end_of(send, moment.now_ms, send.told, "decided"), NOT_CREATED)
    else:
        _again(person, send, moment)
    return True


def due_for_a_look(person: Person, handled_ms: int) -> list[Send]:
    """The unknown sends that the gateway's list is to be asked for now."""
    return [send for send in person.followed if send.reason == UNKNOWN and send.until_ms <= handled_ms]


def since_ms(send: Send) -> int:
    """From when on its message may have been created."""
    return send.posted_ms - LIST_MARGIN_MS


def look(person: Person, send: Send, listed: Sequence[Found] | None, moment: Moment) -> bool:
    """Judge an unknown send by the gateway's list; None: it could not be had. Whether anything changed."""
    if send not in person.followed:
        return False  # it was settled while the list was asked for
    now_ms = moment.now_ms
    if listed is None:
        _ask_again(person, send, moment)
        return True
    candidates = candidates_of(send, listed, person)
    if len(candidates.sure) == 1 and not candidates.doubtful:
        found = candidates.sure[0]
        _created(person, send.id, send.attempt, found.sid, moment)
        said = Callback(send.id, send.attempt, found.sid, found.status, found.error_code)
        _hear_if_failed(person, send, said, moment)
        return True
    if candidates.sure or candidates.doubtful:
        tell(person, moment, end_of(send, now_ms, send.told, "several_candidates"), AMBIGUOUS)
        _set(person, send, replace(send, reason=UNRESOLVED, until_ms=now_ms + KEEP_MS))
        return True
    if send.checks < len(CHECKS_MS):
        _set(person, send, replace(send, checks=send.checks + 1, until_ms=now_ms + CHECKS_MS[send.checks]))
        return True
    _missed(person, send, moment)
    return True


def leave(person: Person, send: Send, moment: Moment) -> None:
    """Leave an unknown send to a person: its account is no longer here to be asked."""
    _set(person, send, replace(send, reason=UNRESOLVED, until_ms=moment.now_ms + KEEP_MS))


def _ask_again(person: Person, send: Send, moment: Moment) -> None:
    """A list that could not be had is asked for soon, but not for ever: a key may lack the right to read it."""
    if moment.now_ms >= send.posted_ms + KEEP_MS:
        person.followed.remove(send)
        give_up(person, moment, send, "not_decided")
    else:
        _set(person, send, replace(send, until_ms=moment.now_ms + LIST_RETRY_MS))


class Candidates(NamedTuple):
    """The messages of a list that are this attempt's as far as can be told, and those of which it can't be told."""

    sure: list[Found]
    doubtful: list[Found]


def candidates_of(send: Send, listed: Sequence[Found], person: Person) -> Candidates:
    """The message whose tags name the attempt; or else those without tags, by their body, where it can be compared.

    One whose SID another send of this person holds is none.
    """
    attempt_id = Attempt(send.id, send.attempt, send.origin.key).id
    tagged = [each for each in listed if each.tags and each.tags.get(ATTEMPT_TAG) == attempt_id]
    if tagged:
        return Candidates(tagged[:1], [])
    taken = {decision.sid for send_id in person.decided if (decision := person.decision(send_id))}
    taken.update(person.adopted)
    created = [each for each in listed if not each.tags and each.created_ms >= send.posted_ms - BODY_MARGIN_MS]
    free = [each for each in created if each.sid not in taken and _is_from_us(each, send)]
    sure = [each for each in free if send.message.body and each.body.strip() == send.message.body.strip()]
    doubtful = [each for each in free if each not in sure] if _may_change(send.message) else []
    return Candidates(sure, doubtful)


def _may_change(message: Message) -> bool:
    """Whether the gateway may make another body of what was posted: of a template, or with links to shorten."""
    if message.service_sid and not message.content_sid:
        return not (message.shorten_urls is False and message.smart_encoded is False)
    return bool(message.content_sid or message.smart_encoded)


def _is_from_us(found: Found, send: Send) -> bool:
    """Whether its sender may be the send's; a service's message may not name the number that it is from yet."""
    message = send.message
    if message.service_sid and found.service_sid:
        return found.service_sid == message.service_sid
    is_other = found.sender_from and message.sender_from and found.sender_from.rpartition(":")[2] != message.sender_from
    return not is_other and not found.direction.startswith("inbound")


def end_overdue(person: Person, handled_ms: int, moment: Moment) -> bool:
    """Stop following what nobody decided in time, and what the gateway has sent; whether there was any."""
    asked = (UNKNOWN, RECALLED)
    over = [send for send in person.followed if send.reason not in asked and send.until_ms <= handled_ms]
    for send in over:
        if send.reason == AT_GATEWAY and _is_watched(send, moment):
            _set(person, send, replace(send, reason=WATCHED, until_ms=send.expires_ms))
        else:
            person.followed.remove(send)
            give_up(person, moment, send, "not_decided")
    return bool(over)


def _missed(person: Person, send: Send, moment: Moment) -> None:
    """The message does not exist, and counts no more: attempt it again where its mapping says so, else leave it to a
    person.
    """
    limits.give_back(person.counted, send.mapping, send.posted_ms)
    tell(person, moment, end_of(send, moment.now_ms, send.told, "not_listed"), NOT_CREATED)
    rule = moment.rule(send)
    if rule is not None and rule.may_resend:
        person.followed.remove(send)
        _again(person, send, moment)
    else:
        _set(person, send, replace(send, reason=UNRESOLVED, until_ms=moment.now_ms + KEEP_MS))


def _again(person: Person, send: Send, moment: Moment) -> None:
    """Have the next attempt made, unless it is too old for that."""
    if moment.now_ms > send.expires_ms:
        conclude(person, moment, send, end_of(send, moment.now_ms, delivery.FAILED, "too_old"))
    else:
        limits.give_back(person.counted, send.mapping, send.posted_ms)  # else a limit would have it wait for itself
        person.held.append(replace(send, until_ms=moment.now_ms, reason=RETRYING, checks=0))


def _created(person: Person, send_id: bytes, attempt: int, sid: str, moment: Moment) -> bool:
    """The message of an attempt exists after all: also where it was taken for lost, and another is about to be made.

    Where a later attempt has been made, both may exist: then no further one is.
    """
    for waiting in (person.followed, person.held, person.due):
        for send in waiting:
            if send.id != send_id or send.is_posting or send.attempt < attempt or _is_known(person, send, attempt, sid):
                continue
            waiting.remove(send)
            is_last = attempt == send.attempt
            accept(person, moment, replace(send, attempt=attempt), sid, may_go_on=is_last)
            return True
    return _exists_too(person, send_id, attempt, sid, moment)


def _exists_too(person: Person, send_id: bytes, attempt: int, sid: str, moment: Moment) -> bool:
    """A message came of a send that nothing follows any more: it was given up, or another attempt was answered."""
    decision = person.decision(send_id)
    waiting = (*person.followed, *person.held, *person.due)
    is_over = not any(send.id == send_id and send.reason not in THERE for send in waiting)
    if decision is None or decision.outcome != delivery.UNKNOWN or not (is_over and sid) or sid in person.adopted:
        return False
    adopt(person, sid)
    found = replace(decision, attempt=attempt, sid=sid, reason="accepted", detail="", answered_ms=moment.now_ms)
    tell(person, moment, found, delivery.ACCEPTED)
    return True


def _is_known(person: Person, send: Send, attempt: int, sid: str) -> bool:
    """Whether the message of an attempt is known to exist: also one that failed, for which another is to be made."""
    if not send.told or send.reason in EXISTING:
        return True
    is_awaited = attempt == send.attempt and send.reason in (UNKNOWN, UNRESOLVED, RETRYING)
    return not is_awaited and sid in person.adopted


def _hear_if_failed(person: Person, before: Send, said: Callback, moment: Moment) -> None:
    """The first word of a message may be that it failed; `before` is its send as it was without that word."""
    send = _followed(person, said.send_id)
    if send is not None and _is_watched(send, moment):
        _heard_failure(person, send, said, moment)
    elif said.status in FAILED_STATUSES and moment.rules.outcomes.of_code(said.code).kind == OPTOUT:
        suppress(person, moment, before, said.code)


def _is_watched(send: Send, moment: Moment) -> bool:
    """Whether another attempt is made should its message fail; one that the gateway holds may do so early."""
    return send.reason == WATCHED or (send.reason == AT_GATEWAY and moment.now_ms <= send.expires_ms)


def _heard_failure(person: Person, send: Send, said: Callback, moment: Moment) -> bool:
    """An accepted message of a mapping that wants another attempt then; a failure that no attempt can mend is final."""
    if said.status not in FAILED_STATUSES:
        return False
    verdict = moment.rules.outcomes.of_code(said.code)
    refused = Refused(verdict.kind, said.code, 0, verdict.kind, verdict.scope, verdict.schedule)
    if verdict.kind == OPTOUT:
        suppress(person, moment, send, said.code)
    # A stop by callback opens no breaker, and nothing says that the next message would fare better.
    held = None if verdict.kind == STOP else next_attempt(replace(send, sid=""), moment, refused)
    person.followed.remove(send)
    adopt(person, said.sid)
    decision = replace(end_of(send, moment.now_ms, send.told, verdict.kind), code=said.code, sid=said.sid)
    if held is None or (held.until_ms or moment.now_ms) > send.expires_ms or not has_room(person, held):
        tell(person, moment, decision, delivery.FAILED)
    else:
        tell(person, moment, decision, RETRYING)
        limits.give_back(person.counted, send.mapping, send.posted_ms)
        person.held.append(held)
    return True


def _followed(person: Person, send_id: bytes) -> Send | None:
    return next((send for send in person.followed if send.id == send_id), None)


def _set(person: Person, old: Send, new: Send) -> None:
    person.followed[person.followed.index(old)] = new


def _decoded(decoder: msgspec.msgpack.Decoder[_T], value: bytes) -> _T:
    try:
        return decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRecord("bad_request", f"not what an owner reads: {error}"[:200]) from None
