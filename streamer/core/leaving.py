"""A send as it is about to leave: asked once more whether it may, marked as posting and counted; or it waits, or ends.

Every function changes the `Person` it is given and nothing else. Read after `attempts`.
"""

from collections.abc import Collection
from typing import Final

from msgspec.structs import replace

from streamer.core import away, limits, outcomes, state
from streamer.core.attempts import Moment, expire, has_room, in_event_order, instead_of, stop, unbegin
from streamer.core.decide import CANCELLED, SCHEDULE_MIN_S, TOO_LATE, cancelled_by, is_erased
from streamer.core.gate import (
    OF_NUMBER,
    OF_SENDER,
    OWN,
    Bar,
    Standing,
    Wait,
    barred,
    closed,
    count_name,
    held_for,
    judge,
    quiet_of,
)
from streamer.core.identity import is_persons_key, number_key
from streamer.core.plan import FULL, TOO_MANY_HELD, Turn
from streamer.core.profile import trait_of
from streamer.core.rules import Rule
from streamer.core.sends import RATE, SCHEDULED, Other, Parked, Send, parked_bytes
from streamer.core.state import WAITING_BYTES_MAX, Person
from streamer.core.zones import zone_named

SCHEDULE_MARGIN_S: Final = 10  # more, when the request leaves: the longest it may take to get there
FRESH_MS: Final = 1_000  # a send decided so lately is not decided again before it leaves
_MANY_AWAY: Final = f"over {state.AWAY_BYTES_MAX >> 10} KB are noted of this person's sends that are away"


def begin(person: Person, moment: Moment) -> Send | None:
    """Mark the first due send as posting its next attempt; None if it may not leave now: it waits, or has its outcome.

    A send that Twilio was to hold, and that waited so long that Twilio would refuse it, is held by us instead.
    """
    return start(person, moment) if may_leave(person, moment) else None


def start(person: Person, moment: Moment) -> Send | None:
    """Mark the first due send as posting, which `may_leave` has just let; None if we hold it in the gateway's place."""
    send, now_ms = person.due[0], moment.now_ms
    if send.message.send_at_ms:
        send = _due_time(send, now_ms)
        if send.until_ms:
            del person.due[0]
            person.held.append(send)
            return None
    posting = replace(send, attempt=send.attempt + 1, is_posting=True, posted_ms=now_ms, event=b"")
    person.due[0] = posting
    _count(person, moment, posting, now_ms)
    return posting


def may_leave(person: Person, moment: Moment) -> bool:
    """Whether the first due send may leave now; else it waits by a policy, or has its outcome.

    One that was decided a while ago, and waited for its turn since, is decided again where a policy may have something
    to say: with the person as they are now.
    """
    send, now_ms, rule = person.due[0], moment.now_ms, moment.rule(person.due[0])
    if now_ms > send.expires_ms:
        expire(person, moment)
        return False
    if by := cancelled_by(person, send.cancel, send.origin, send.message_id):  # while it was looked for, say
        stop(person, moment, person.due.pop(0), CANCELLED, by)
        return False
    standing = moment.standing
    if rule is not None and now_ms - send.decided_ms > FRESH_MS and _is_still_its_event(send, rule, standing):
        _decide_again(person, moment, person.due.pop(0), rule)
        if not person.due or not _goes_alike(person.due[0], send):
            return False  # it waits, or goes another way: what was asked for it was asked for another
    if standing.whose == OWN and (rule is None or rule.policies.may_wait):
        person.due[0] = _where_they_are(person, person.due[0])
    found = judge(person, person.due[0], rule, standing)
    if found is not None:
        _keep_back(person, moment, person.due.pop(0), found)
    return found is None


def _goes_alike(send: Send, before: Send) -> bool:
    """Whether a send that was decided again is to the same number, by the same sender, and as dear."""
    is_same = send.id == before.id and send.sender == before.sender and send.parts == before.parts
    return is_same and send.message.to == before.message.to and send.message.account == before.message.account


def _keep_back(person: Person, moment: Moment, send: Send, found: Bar | Wait) -> None:
    """Have a send that is not due any more wait, or end.

    From a number's record it goes back to who knows its person; unless its outcome is out: nobody there waits for it.
    """
    if isinstance(found, Bar):
        stop(person, moment, send, *found)
    elif moment.standing.whose == OF_NUMBER and not send.told:
        away.return_order(person, send, *found)
    else:
        put_off(person, moment, send, found)


def confirm(person: Person, moment: Moment) -> bool:
    """Whether the posting send may still leave, right before its request: its intent may have been acked late.

    Else it has its outcome, or waits as it is for its person's day. What counts it already counts itself.
    """
    send, rule, standing = person.due[0], moment.rule(person.due[0]), moment.standing
    if moment.now_ms > send.expires_ms:
        expire(person, moment)
        return False
    found: Bar | Wait | None = barred(person, send, rule, standing)
    if found is None and not send.is_released:
        found = closed(send, quiet_of(rule, moment.rules), moment.now_ms)
    if found is None:
        return True
    unbegin(person)
    _keep_back(person, moment, person.due.pop(0), found)
    return False


def _is_still_its_event(send: Send, rule: Rule, standing: Standing) -> bool:
    """Whether a send can be decided anew: what was kept of its event is what its mapping reads, of a person known here.

    The record of a sender key knows no profile, and of a number's it is not that of whose event it was.
    """
    is_known = standing.whose == OWN and rule.version == send.mapping_version
    return bool(send.event) and not send.attempt and is_known


def _where_they_are(person: Person, send: Send) -> Send:
    """A send whose message stays as it is, with the zone that its person is in by now."""
    zone = zone_named(trait_of(person.traits, "timezone"))
    return replace(send, zone=zone) if zone and zone != send.zone else send


def _decide_again(person: Person, moment: Moment, send: Send, rule: Rule) -> None:
    """Decide a send anew that has not left yet; it keeps its place among those that are due."""
    turn = Turn(person, moment.now_ms, moment.rules, moment.passage)
    turn.decide_again([_parked(send, rule)], is_released=True, is_forced=send.is_released)
    turn.close()
    person.due.sort(key=in_event_order)


def _parked(send: Send, rule: Rule) -> Parked:
    """A send that has not left yet as the event that it was made of."""
    return Parked(
        id=send.id,
        mapping=send.mapping,
        reads=rule.reads_hash,
        origin=send.origin,
        message_id=send.message_id,
        event=send.event,
        lacks="",
        until_ms=0,
        reason=send.reason or RATE,
        held_for=send.held_for,
        cancel=send.cancel,
    )


def put_off(person: Person, moment: Moment, send: Send, wait: Wait) -> None:
    """Have a send wait for a time: as its event, to be decided again, unless it was attempted, or began as a burst."""
    told = held_for(send.held_for, wait.reason, wait.detail)
    rule = moment.rule(send)
    held = replace(send, until_ms=wait.until_ms, reason=wait.reason, held_for=told)
    if wait.until_ms > send.expires_ms:
        stop(person, moment, send, wait.reason, f"{wait.detail}, which {TOO_LATE}")
    elif rule is not None and _is_still_its_event(send, rule, moment.standing):
        waiting = replace(_parked(send, rule), until_ms=wait.until_ms, reason=wait.reason, held_for=told)
        if person.waiting_bytes() + parked_bytes(waiting) <= WAITING_BYTES_MAX:
            person.parked.append(waiting)
        else:
            stop(person, moment, send, TOO_MANY_HELD, FULL)
    elif has_room(person, held):
        person.held.append(held)
    else:
        stop(person, moment, send, TOO_MANY_HELD, FULL)


def _count(person: Person, moment: Moment, send: Send, now_ms: int) -> bool:
    """Count a posting for the limits of whoever's record it is; whether it is counted."""
    rule, counting, whose = moment.rule(send), moment.rules.counting, moment.standing.whose
    if rule is None or not (counting.kept_ms and rule.policies.is_counted) or whose == OF_SENDER:
        return False
    if whose != OWN and not rule.policies.number_limits:
        return False
    limits.note(person.counted, count_name(rule), now_ms, counting)
    return True


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


def home_of(send: Send, moment: Moment, lone: Collection[str]) -> str:
    """Where a send has to leave from, as `away.order` names it: its sender's one owner, or its number's, where that is
    counted; "": from its person's record.
    """
    if not is_persons_key(moment.key):
        return ""
    if send.sender in lone:
        return send.sender
    rule = moment.rule(send)
    return number_key(send.message.to) if rule is not None and rule.policies.number_limits else ""


def send_away(person: Person, moment: Moment, home: str) -> None:
    """Order the first due send from its home, if it may leave; it ends if too many are away."""
    if not may_leave(person, moment):
        return
    send = person.due.pop(0)
    refused = [each for each in send.others if each.message is not None and _is_refused(person, moment, send, each)]
    if refused:  # nobody knows there what the person agreed to
        send = replace(send, others=tuple(each for each in send.others if each not in refused))
    away.expire(person, moment.now_ms)
    if away.has_room(person, send):
        is_counted = _count(person, moment, send, moment.now_ms)
        away.order(person, moment.key, send, home, moment.now_ms, is_counted=is_counted)
    else:
        stop(person, moment, send, TOO_MANY_HELD, _MANY_AWAY)


def take_returned(person: Person, value: bytes, moment: Moment) -> bool:
    """Have a send wait here that came back from its number's record; whether it did. Raises: BadRecord."""
    said, is_away = away.take_returned(person, value)
    send = said.send
    if is_away:
        put_off(person, moment, send, Wait(said.until_ms, said.reason, said.detail))
    elif is_erased(person, send.origin.event_ms) and not (person.is_waiting(send.id) or send.id in person.decided):
        stop(person, moment, send, "forgotten")  # while it was on its way back
    else:
        return False
    return True


def _is_refused(person: Person, moment: Moment, send: Send, other: Other) -> bool:
    """Whether what would be tried instead is by a channel that the person refused."""
    assert other.message is not None
    instead = replace(send, message=other.message, sender=other.sender)
    return barred(person, instead, moment.rule(send), moment.standing) is not None


def turn_aside(person: Person) -> bool:
    """Have the first due send, which stands behind a breaker, go as its mapping says of a stop; False: it can't."""
    instead = instead_of(person.due[0], outcomes.STOP)
    if instead is not None:
        person.due[0] = instead
    return instead is not None
