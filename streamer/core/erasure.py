"""Forgetting somebody on demand: a `delete` event, or `streamer profiles forget`.

What is left is that it happened, and when: so that a replay of older events brings nobody back. That stays for as long
as a replayed event could still send something, then the record becomes a tombstone.
"""

from typing import Final

import msgspec
from msgspec import Struct

from streamer.core import delivery, links, merging
from streamer.core.attempts import Moment, conclude, end_of, give_up
from streamer.core.hop import FORGET
from streamer.core.identity import home_key, is_number_key
from streamer.core.plan import Turn
from streamer.core.recall import recall
from streamer.core.rules import RuleSet
from streamer.core.sends import EVENT_KIND, RECALLED, THERE, Outgoing
from streamer.core.state import Person, hidden, mark_of
from streamer.errors import BadRecord

REASON: Final = "forgotten"


class Forget(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A command to erase somebody. `by`: the key whose erasure caused this; `suppress`: never message them again."""

    by: str = ""
    suppress: bool = False


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Forget)


def encode_forget(forget: Forget) -> bytes:
    """The value of a record that erases its key."""
    return _encoder.encode(forget)


def forget_of(value: bytes) -> Forget:
    """The command in a record's value. Raises: BadRecord."""
    try:
        return _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRecord("bad_request", f"not a command to forget: {error}"[:200]) from None


def forget_of_event(event: dict[str, object]) -> Forget:
    """What a `delete` event asks for: `properties.suppress: true` asks for a suppression too."""
    properties = event.get("properties")
    return Forget(suppress=isinstance(properties, dict) and properties.get("suppress") is True)


def erase(person: Person, key: str, forget: Forget, event_ms: int, rules: RuleSet, now_ms: int) -> bool:
    """Erase what a record holds of the time up to `event_ms`; whether anything changed.

    What waits ends as suppressed. The keys that were merged into it, and the user that an aliased one is linked to, are
    listed to be erased too. No send may be due.
    """
    if forget.by:
        return _unlink(person, key, forget.by, event_ms, rules, now_ms)
    if event_ms <= person.erased_ms and person.is_suppressed >= forget.suppress:
        return False
    person.outgoing += [told(other, key, event_ms) for other in person.merged if not other.startswith("#")]
    above = encode_forget(Forget(suppress=forget.suppress))
    if key[0] == "u":
        person.outgoing += [Outgoing(other, FORGET, above, event_ms) for other in links.targets(person.links)]
    ended = _clear(person, key, event_ms, rules, now_ms)
    person.is_suppressed = person.is_suppressed or forget.suppress
    event = delivery.forgotten_event(key, event_ms, now_ms, ended, is_suppressed=person.is_suppressed)
    person.outgoing.append(Outgoing(key, EVENT_KIND, event, event_ms))
    return True


def told(other: str, key: str, event_ms: int) -> Outgoing:
    """The word to a key that was merged into `key`, that this one is erased up to `event_ms`."""
    return Outgoing(other, FORGET, encode_forget(Forget(by=key)), event_ms)


def _told_senders(person: Person, key: str, event_ms: int) -> list[Outgoing]:
    """The word to the records where this key's sends lie that left it."""
    value = encode_forget(Forget(by=key))
    homes = [home_key(home, key) for home in person.homes]
    homes += [home_key(each.home, each.key or key) for each in person.away.values()]
    return [Outgoing(home, FORGET, value, event_ms) for home in dict.fromkeys(homes)]


def erase_orders(person: Person, by: str, event_ms: int, moment: Moment) -> bool:
    """Erase what the record of a sender key, or a number's, holds of the time up to `event_ms`, of the person `by`;
    whether anything changed.

    The person's own record says that they were forgotten. No send may be due.
    """
    whose = by if is_number_key(moment.key) else ""
    held = [send for send in person.held if send.origin.event_ms <= event_ms and send.person == whose]
    followed = _unfollow(person, event_ms, moment, whose)
    decided = [
        sent
        for sent in person.decided
        if sent not in person.out and _event_ms(person, sent) <= event_ms and _is_of(person, sent, whose)
    ]
    person.held = [send for send in person.held if send not in held]
    for sent in decided:
        del person.decided[sent]
    for send in held:
        conclude(person, moment, send, end_of(send, moment.now_ms, delivery.SUPPRESSED, REASON))
    return bool(held or followed or decided)


def _is_of(person: Person, send_id: bytes, whose: str) -> bool:
    """Whether a decision of a number's record is about somebody; any other record is about one person."""
    decision = person.decision(send_id)
    return not whose or (decision is not None and decision.person == whose)


def _unfollow(person: Person, event_ms: int, moment: Moment, whose: str = "") -> int:
    """Give up what is followed of the time up to `event_ms`, or recall it where the gateway still holds its message;
    how many there were. What was recalled stays until that is answered.
    """
    old = [send for send in person.followed if send.origin.event_ms <= event_ms and send.reason != RECALLED]
    old = [send for send in old if send.person == whose]
    for send in old:
        if send.reason in THERE:
            recall(person, send, moment, REASON)
        else:
            person.followed.remove(send)
            give_up(person, moment, send, REASON)
    return len(old)


def _unlink(person: Person, key: str, by: str, event_ms: int, rules: RuleSet, now_ms: int) -> bool:
    """Erase what a key has to do with somebody who is erased; where it is another's too, their times stay theirs.

    A key that was linked to them again since tells them so: they forgot who belongs to them.
    """
    kept = links.erased(person.links, by, event_ms)
    if kept == person.links:
        return False
    is_first = person.links[0][1] == by  # theirs is what the key did before it was linked, and ordered
    if links.targets(kept):
        person.links = kept
        person.erased_ms = max(person.erased_ms, event_ms)  # no repeat of an older link is believed any more
        person.passed = {mark: links.GONE if to == by else to for mark, to in person.passed.items()}
        if is_first:
            person.outgoing += _told_senders(person, key, event_ms)
        if by in links.targets(kept):
            merging.announce(person, key, by, event_ms + 1)
    else:
        _clear(person, key, event_ms, rules, now_ms)
    return True


def _clear(person: Person, key: str, event_ms: int, rules: RuleSet, now_ms: int) -> int:
    """Leave of a record what is newer, what is not published, and that it was erased; how many sends it ended."""
    turn = Turn(person, now_ms, rules)
    held = [send for send in person.held if send.origin.event_ms <= event_ms]
    parked = [each for each in person.parked if each.origin.event_ms <= event_ms]
    person.held = [send for send in person.held if send.origin.event_ms > event_ms]
    person.parked = [each for each in person.parked if each.origin.event_ms > event_ms]
    person.traits = [update for update in person.traits if update.event_ms > event_ms]
    person.consent = {name: each for name, each in person.consent.items() if each[1] > event_ms}
    person.links = [link for link in person.links if link[0] > event_ms]
    person.once = {send_id: key for send_id, key in person.once.items() if key[1] > event_ms}
    person.cancels = {told: each for told, each in person.cancels.items() if each[0] > event_ms}
    person.counted = {}  # whoever they become may be written to anew
    person.merged = {source if source[0] == "#" else hidden(source): n for source, n in person.merged.items()}
    person.passed = {mark: to and links.GONE for mark, to in person.passed.items()}
    person.erased_ms = max(person.erased_ms, event_ms)
    person.keep_ms = now_ms + int(rules.longest_age_s * 1000)
    person.outgoing += _told_senders(person, key, event_ms)
    kept = set(person.out)
    kept |= {send_id for send_id in person.decided if _event_ms(person, send_id) > event_ms}
    for send_id in person.decided.keys() - kept:
        if (decision := person.decision(send_id)) is not None:
            person.note_passed(mark_of(decision.origin, decision.message_id), links.ERASED)
    person.decided = {send_id: value for send_id, value in person.decided.items() if send_id in kept}
    for send_id in [send_id for send_id, each in person.away.items() if each.event_ms <= event_ms]:
        person.note_passed(person.away.pop(send_id).mark, links.ERASED)  # where it lies it ends, and is told
    moment = Moment(key, rules, now_ms)
    _unfollow(person, event_ms, moment)
    for send in held:
        ended = end_of(send, now_ms, delivery.SUPPRESSED, REASON)
        if send.told:
            conclude(person, moment, send, ended)
        else:
            turn.end(ended)
    turn.suppress(parked, REASON)
    turn.close()
    return len(held) + len(parked)


def _event_ms(person: Person, send_id: bytes) -> int:
    decision = person.decision(send_id)
    return decision.origin.event_ms if decision is not None else 0


def is_over(person: Person, handled_ms: int) -> bool:
    """Whether nothing is left of an erased person but that they were, and even that is not needed any more."""
    if not person.keep_ms or person.keep_ms > handled_ms or person.is_suppressed:
        return False
    is_away = any(each.until_ms > handled_ms for each in person.away.values())
    sends = person.due or person.held or person.parked or person.followed or is_away
    if sends or person.traits or person.links or person.consent:
        return False
    newest_ms = max((_event_ms(person, send_id) for send_id in person.decided), default=0)
    is_owing = person.out or person.outgoing
    return not is_owing and max(newest_ms, *person.forgotten.values(), 0) <= person.erased_ms
