"""The life of an open send: due, held for its turn, posting, refused and held for another attempt, and its outcome.

Every function changes the `Person` it is given and nothing else; the owner writes the person before it does what the
record says. Read after `plan`, which decides what is due; before `leaving`, and
`following`, about what comes after an outcome.
"""

from collections.abc import Callable, Collection
from functools import cache
from typing import Final

import phonenumbers
from msgspec import Struct
from msgspec.structs import replace

from streamer.core import away, delivery, limits, outcomes, sends, state
from streamer.core.delivery import Accepted, Answer, Decision, Refused, Unknown, masked
from streamer.core.fair import Group
from streamer.core.gate import OF_NUMBER, OF_SENDER, OWN, Standing
from streamer.core.identity import is_number_key, is_persons_key, is_sender_key, person_of
from streamer.core.plan import FULL, TOO_MANY_HELD, Passage
from streamer.core.retry import SCHEDULES, RetryPolicy, later_at_ms, retry_at_ms
from streamer.core.rules import Rule, RuleSet
from streamer.core.sends import EVENT_KIND, LATER, POLICIES, SUPPRESSION_KIND, Outgoing, Send, send_bytes
from streamer.core.state import Person
from streamer.core.suppressions import BY_OPT_OUT, EMPTY, Suppression, Suppressions, encode, is_key, key_of

CALLBACK_WAIT_MS: Final = 30_000  # for a callback with our token, before the gateway's list is asked
UNSENT: Final = RetryPolicy(tries_max=2**31)  # a connection that never opened is no try: an outage ends only by max_age
SOON_MS: Final = 60_000  # a Retry-After may ask for an hour


class Moment(Struct, frozen=True):
    """What the life of a send depends on beside the person: whose record it is, the rules, the time, a jitter draw from
    [0, 1), and who said STOP by then.
    """

    key: str
    rules: RuleSet
    now_ms: int
    jitter: float = 0.5
    stops: Suppressions = EMPTY

    def rule(self, send: Send) -> Rule | None:
        """The mapping of a send, if it still exists."""
        return self.rules.by_id.get(send.mapping)

    @property
    def passage(self) -> Passage:
        """As what a record of this key's own is decided."""
        return Passage(key=self.key, stops=self.stops)

    @property
    def standing(self) -> Standing:
        """What a message is asked by before it leaves this record."""
        whose = OF_SENDER if is_sender_key(self.key) else OF_NUMBER if is_number_key(self.key) else OWN
        return Standing(self.rules, self.stops, self.now_ms, whose)


def give_back(person: Person, moment: Moment, reason: str) -> None:
    """End the first due send, which can't be posted."""
    stop(person, moment, person.due.pop(0), reason)


def expire(person: Person, moment: Moment) -> None:
    """End the first due send, which became too old before its request left: failed, if one was refused before."""
    unbegin(person)
    stop(person, moment, person.due.pop(0), "too_old")


def stop(person: Person, moment: Moment, send: Send, reason: str, detail: str = "") -> None:
    """End a send of which no further attempt is made: failed, if one was refused before, with the gateway's code."""
    outcome = delivery.FAILED if send.attempt else delivery.SUPPRESSED
    ended = end_of(send, moment.now_ms, outcome, reason)
    conclude(person, moment, send, replace(ended, code=send.code, detail=detail))


def unbegin(person: Person) -> None:
    """Take back `begin` for a request that never left."""
    send = person.due[0]
    if send.is_posting:
        limits.give_back(person.counted, send.mapping, send.posted_ms)
    person.due[0] = unposted(send)


def unposted(send: Send) -> Send:
    """A send as it was before its attempt began."""
    return replace(send, attempt=send.attempt - 1, is_posting=False, posted_ms=0) if send.is_posting else send


def hold(person: Person, moment: Moment, reason: str) -> Send | None:
    """Hold the first due send for its turn (`sends.QUEUED`); None if too much waits, and it has its outcome."""
    send = replace(person.due.pop(0), until_ms=0, reason=reason)
    if not has_room(person, send):
        stop(person, moment, send, TOO_MANY_HELD, FULL)
        return None
    person.held.append(send)
    return send


def has_room(person: Person, send: Send) -> bool:
    """Whether a send may be held that may wait for long; one that is tried again soon always may."""
    if send.reason not in sends.LONG:
        return True
    return person.waiting_bytes() + send_bytes(send) <= state.WAITING_BYTES_MAX


def settle(person: Person, answer: Answer, moment: Moment) -> Send | None:
    """Give the posting send what its answer means; one that is held for another attempt is returned."""
    send = person.due[0]
    held: Send | None = None
    match answer:
        case Accepted(sid, status, said_parts):
            accept(person, moment, send, sid, said_parts, is_dry=status == delivery.DRY)
        case Unknown(reason, http_status, code):
            unknown = end_of(send, moment.now_ms, delivery.UNKNOWN, reason)
            lose(person, moment, send, replace(unknown, code=code, detail=_http(http_status)))
        case Refused():
            held = refuse(person, moment, send, answer)
    del person.due[0]  # only now: what follows it is stored
    return held


def accept(
    person: Person,
    moment: Moment,
    send: Send,
    sid: str,
    parts: int = 0,
    *,
    may_go_on: bool = True,
    is_dry: bool = False,
) -> None:
    """Note that the send's message exists; it is followed while the gateway holds it, and watched, where its mapping
    wants another attempt should it fail.

    No other send may be thought to have made it: where the outcome does not name its SID, that is remembered.
    """
    if send.told:
        adopt(person, sid)
    decision = end_of(send, moment.now_ms, delivery.ACCEPTED, delivery.DRY_RUN if is_dry else "accepted", parts)
    conclude(person, moment, send, replace(decision, sid=sid))
    rule = moment.rule(send)
    goes_on = may_go_on and rule is not None and rule.retries_accepted and moment.now_ms <= send.expires_ms
    answered = _answered(send, delivery.ACCEPTED)
    if sid and send.message.send_at_ms > moment.now_ms:
        follow(person, moment, _at_gateway(answered, sid, goes_on=goes_on))
    elif goes_on:
        follow(person, moment, replace(answered, until_ms=send.expires_ms, reason=sends.WATCHED))


def _at_gateway(send: Send, sid: str, *, goes_on: bool) -> Send:
    """A send whose message the gateway holds; of one that is attempted no more nothing is kept that it said."""
    held = replace(send, until_ms=send.message.send_at_ms, reason=sends.AT_GATEWAY, sid=sid)
    return held if goes_on else replace(held, message=delivery.bare(send.message), others=(), expires_ms=0)


def adopt(person: Person, sid: str) -> None:
    """Remember the SID of a message that is a send's of this person, the newest last."""
    if sid:
        person.adopted = [*(each for each in person.adopted if each != sid), sid][-state.ADOPTED_MAX :]


def lose(person: Person, moment: Moment, send: Send, decision: Decision) -> None:
    """Note that the send's message may exist, and have it looked for."""
    conclude(person, moment, send, decision)
    until_ms = moment.now_ms + CALLBACK_WAIT_MS
    follow(
        person, moment, replace(_answered(send, delivery.UNKNOWN), until_ms=until_ms, reason=sends.UNKNOWN, checks=0)
    )


def refuse(person: Person, moment: Moment, send: Send, refused: Refused) -> Send | None:
    """Hold a send whose message was definitely not created for its next attempt, or end it as failed.

    It is not counted any more.
    """
    limits.give_back(person.counted, send.mapping, send.posted_ms)
    if refused.kind == outcomes.OPTOUT:
        suppress(person, moment, send, refused.code)
    held = next_attempt(send, moment, refused)
    detail = _http(refused.http_status)
    if held is not None and (held.until_ms or moment.now_ms) <= send.expires_ms:
        if has_room(person, held):
            person.held.append(held)
            return held
        detail = FULL
    failed = end_of(send, moment.now_ms, delivery.FAILED, refused.reason)
    conclude(person, moment, send, replace(failed, code=refused.code, detail=detail))
    return None


def suppress(person: Person, moment: Moment, send: Send, code: int) -> None:
    """List the suppression of the number, which does not want what the send's group of senders sends."""
    key = key_of(send.message.to, moment.rules.stop_group(send.sender))
    if is_key(key):
        said = Suppression(moment.now_ms, str(code) if code else BY_OPT_OUT, send.id.hex())
        person.outgoing.append(Outgoing(key.decode(), SUPPRESSION_KIND, encode(said), send.origin.event_ms))


def next_attempt(send: Send, moment: Moment, refused: Refused) -> Send | None:
    """The send as held for another attempt, whose time is not checked; None where there is to be none.

    What its mapping has tried instead goes first, except that a request never processed is simply repeated for a while.
    """
    send = replace(send, is_posting=False, code=refused.code)
    instead = instead_of(send, refused.kind)
    if instead is not None and refused.kind != outcomes.RETRY:
        return replace(instead, until_ms=moment.now_ms, reason=delivery.RETRYING)
    if refused.kind == outcomes.RETRY:
        policy = UNSENT if refused.reason == "not_sent" else RetryPolicy()
        at_ms = retry_at_ms(send.tries + 1, moment.now_ms, moment.jitter, refused.retry_after_s, policy)
        if at_ms is None:
            return None if instead is None else replace(instead, until_ms=moment.now_ms, reason=delivery.RETRYING)
        # What waits for long must not hold up the person's next event, as what is tried again soon may.
        reason = refused.reason if at_ms - moment.now_ms <= SOON_MS else LATER
        return replace(send, tries=send.tries + 1, until_ms=at_ms, reason=reason)
    if refused.kind == outcomes.LATER and refused.schedule in SCHEDULES:
        at_ms = later_at_ms(refused.schedule, send.laters + 1, moment.now_ms, moment.jitter)
        return None if at_ms is None else replace(send, laters=send.laters + 1, until_ms=at_ms, reason=LATER)
    if refused.kind == outcomes.STOP:
        return replace(send, until_ms=0, reason=sends.BREAKER)
    return None


def instead_of(send: Send, kind: str) -> Send | None:
    """The send with what its mapping has tried after a refusal of this kind; None if there is nothing."""
    for at, other in enumerate(send.others):
        if kind in other.on and other.message is not None:
            left = send.others[at + 1 :]
            message, sender, parts = other.message, other.sender, other.parts
            return replace(send, message=message, sender=sender, parts=parts, others=left, tries=0, laters=0)
    return None


def _answered(send: Send, outcome: str) -> Send:
    """A send whose attempt has been answered, and of which `outcome` is out unless another was before."""
    return replace(send, is_posting=False, told=send.told or outcome)


def release(person: Person, now_ms: int, handled_ms: int, accounts: Collection[str] | None = None) -> bool:
    """Move held sends whose time has come to the due ones, in event order; True if any moved.

    A next attempt is due at its time; a scheduled send once all that came before its time is handled too. Of what waits
    for a turn only that is which has none any more: with an account that is none of `accounts`.
    """

    def is_ready(send: Send) -> bool:
        if send.reason in sends.QUEUED:
            return accounts is not None and send.message.account not in accounts
        return send.until_ms <= (handled_ms if send.reason in POLICIES else now_ms)

    return _make_due(person, is_ready)


def release_queued(person: Person, account: str, sender: str, group: Group) -> bool:
    """Have the oldest send be due that waits for its turn there; False if there is none."""
    waiting = [
        each
        for each in person.held
        if each.reason in sends.QUEUED
        and (each.message.account, each.sender, group_of(each)) == (account, sender, group)
    ]
    if not waiting:
        return False
    first = min(waiting, key=in_event_order)
    return _make_due(person, lambda send: send is first)


def release_one(person: Person, send_id: bytes, now_ms: int, *, is_forced: bool) -> bool:
    """Have the held send of this id be due, if it waits for a time; `is_forced`: whatever hours and limits say."""
    for at, send in enumerate(person.held):
        if send.id == send_id and send.reason not in sends.QUEUED:
            person.held[at] = replace(send, until_ms=now_ms, is_released=send.is_released or is_forced)
            return _make_due(person, lambda each: each.id == send_id)
    return False


def release_for(person: Person, senders: Collection[str]) -> bool:
    """Have all sends that wait for their turn with these senders be due, since their turn is elsewhere now."""
    return _make_due(person, lambda send: send.reason in sends.QUEUED and send.sender in senders)


def _make_due(person: Person, is_ready: Callable[[Send], bool]) -> bool:
    ready = [send for send in person.held if is_ready(send)]
    if not ready:
        return False
    person.held = [send for send in person.held if not is_ready(send)]
    posting = person.due[:1] if person.due and person.due[0].is_posting else []
    rest = [*person.due[len(posting) :], *(replace(send, until_ms=0, reason="") for send in ready)]
    person.due = posting + sorted(rest, key=in_event_order)
    return True


def in_event_order(send: Send) -> tuple[int, int]:
    """By what a person's sends are sorted."""
    return (send.origin.event_ms, send.origin.offset)


def interrupted(person: Person, moment: Moment) -> bool:
    """After a crash a posting send is unknown: its request may have left. True if there was one."""
    if not (person.due and person.due[0].is_posting):
        return False
    send = person.due[0]
    lose(person, moment, send, end_of(send, moment.now_ms, delivery.UNKNOWN, "interrupted"))
    del person.due[0]
    return True


def follow(person: Person, moment: Moment, send: Send) -> None:
    """Keep a send whose outcome is out; the oldest is given up where that is too much."""
    person.followed.append(send)
    while sum(map(send_bytes, person.followed)) > state.FOLLOWED_BYTES_MAX:
        give_up(person, moment, person.followed.pop(0), "too_many_followed")


def give_up(person: Person, moment: Moment, send: Send, reason: str) -> None:
    """Say of a send that is no longer followed that it stays what it is; of an accepted one there is nothing to say.

    Unless it was recalled: then what it was recalled for is said too.
    """
    given_up = replace(end_of(send, moment.now_ms, send.told, reason), code=send.code)
    if send.reason == sends.RECALLED:
        tell(person, moment, replace(given_up, sid=send.sid, detail=send.held_for), delivery.NOT_CANCELLED)
    elif send.reason not in sends.EXISTING:
        tell(person, moment, given_up, delivery.GIVEN_UP)


def conclude(person: Person, moment: Moment, send: Send, decision: Decision) -> None:
    """Store the outcome of a send; or, where it has had one, tell what became of it.

    The record of a sender key or a number reports it to the person's too.
    """
    if send.told:
        tell(person, moment, replace(decision, outcome=send.told), decision.outcome)
    elif is_persons_key(moment.key):
        person.decide(decision)
    else:
        decision = replace(decision, person=_whose(moment, decision))
        person.decide(decision)
        away.report(person, decision)


def _whose(moment: Moment, decision: Decision) -> str:
    """Whose a send of this record is: a number's record has those of many, which say so."""
    return decision.person if is_number_key(moment.key) else person_of(moment.key)


def tell(person: Person, moment: Moment, decision: Decision, status: str) -> None:
    """List the event that says what became of a send after its outcome."""
    if status in delivery.WITHOUT_MESSAGE:
        person.once.pop(decision.send_id, None)
    whose = _whose(moment, decision)
    event = delivery.resolved_event(whose, decision, status)
    person.outgoing.append(Outgoing(whose, EVENT_KIND, event, decision.origin.event_ms, status))
    if whose != moment.key:
        away.report(person, replace(decision, person=whose), status)


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
        person=send.person,
        held_for=send.held_for,
    )


@cache
def _calling_code(digits: str) -> str:
    """The country calling code at the start of at least three digits."""
    codes = phonenumbers.COUNTRY_CODE_TO_REGION_CODE
    return next((digits[:count] for count in (1, 2, 3) if int(digits[:count]) in codes), digits[:3])


def group_of(send: Send) -> Group:
    """With which others a send takes turns."""
    return Group(send.mapping, region_of(send.message.to))


def region_of(number: str) -> str:
    """The region that a gateway's geographic permission is about: the calling code, e.g. `44`.

    Where many countries share one code, the area code tells them: `1 876` is Jamaica.
    """
    digits = number[1:]
    if not digits.isdecimal() or len(digits) < 4:
        return ""
    code = _calling_code(digits[:3])
    return f"{code} {digits[1:4]}" if code in ("1", "7") else code
