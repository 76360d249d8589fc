"""What ends or lets go a send that waits: an event that its mapping names, or somebody's command.

Every function changes the `Person` it is given and nothing else. A send that is posting is not touched, nor one that is
out. Read after `attempts`; before `handling`.
"""

from collections.abc import Callable
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from streamer.core import consent
from streamer.core.attempts import Moment, release_one, stop
from streamer.core.decide import CANCELLED, EVENT_CHARS_TOLD, NAME_CHARS_TOLD, cancelled_by, is_erased, name_of
from streamer.core.delivery import Origin
from streamer.core.hop import CANCEL, RELEASE
from streamer.core.identity import home_key
from streamer.core.plan import Turn
from streamer.core.recall import recall
from streamer.core.sends import AT_GATEWAY, Outgoing, Parked, Send
from streamer.core.state import CANCELS_MAX, Person
from streamer.errors import BadRecord

BY_HAND: Final = "by hand"
TOO_MANY_CANCELS: Final = "too_many_cancels"
BY_CHARS_MAX: Final = 80  # of what an outcome says of the event that ended it
_Id = Annotated[bytes, Meta(min_length=16, max_length=16)]


class Command(Struct, frozen=True, array_like=True):
    """To cancel the send of an id that waits, or to let it go (`is_forced`: whatever hours and limits say).

    `by` is what the outcome tells of who ended it. Read again it finds nothing that waits.
    """

    send_id: _Id
    by: Annotated[str, Meta(max_length=BY_CHARS_MAX)] = ""
    is_forced: bool = False


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Command)


def encode_command(command: Command) -> bytes:
    """The value of its record."""
    return _encoder.encode(command)


def _read(value: bytes) -> Command:
    try:
        return _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRecord("bad_request", f"not a command about a send: {error}"[:200]) from None


def hear(person: Person, event: dict[str, Any], origin: Origin, moment: Moment) -> tuple[bool, str]:
    """Note what an event ends, and end it where it waits; whether anything changed, and why some was left out ("").

    It ends what came before it, by event time, and what is yet to come and came before it, too.
    """
    if event["type"] != "track" or is_erased(person, origin.event_ms):
        return False, ""
    is_changed, left_out = False, ""
    for canceller in moment.rules.cancels.get(event.get("event") or "", ()):
        told = canceller.when.hash_of(event)
        known = person.cancels.get(told)
        if not told or (known is not None and known[0] >= origin.event_ms):
            continue
        name = name_of(origin, event.get("messageId") or "")
        by = f"{event['event'][:EVENT_CHARS_TOLD]} {name[:NAME_CHARS_TOLD]}"
        until_ms = origin.event_ms + int(canceller.kept_s * 1000)
        person.cancels[told] = (origin.event_ms, until_ms, by)
        end_cancelled(person, moment, told)  # before it is forgotten: it may be late, and what waits may be scheduled
        left_out = bound(person, moment.now_ms) or left_out
        is_changed = True
    return is_changed, left_out


def bound(person: Person, now_ms: int) -> str:
    """Forget what no event can come for any more; and, where there are too many, what would be forgotten first."""
    for told in [told for told, (_, until_ms, _) in person.cancels.items() if until_ms < now_ms]:
        del person.cancels[told]
    surplus = max(0, len(person.cancels) - CANCELS_MAX)
    for told in sorted(person.cancels, key=lambda each: person.cancels[each][1])[:surplus]:
        del person.cancels[told]
    return TOO_MANY_CANCELS if surplus else ""


def end_cancelled(person: Person, moment: Moment, told: bytes = b"") -> None:
    """End whatever waits and was cancelled; of what is away that may be its own event only where times differ.

    Where that was `told` just now, what is away hears of nothing else: it was told of the rest.
    """
    _end(person, moment, lambda each: cancelled_by(person, each.cancel, each.origin, each.message_id))
    for send in [each for each in person.followed if each.reason == AT_GATEWAY]:
        if detail := cancelled_by(person, send.cancel, send.origin, send.message_id):
            recall(person, send, moment, CANCELLED, detail)
    for send_id, away in person.away.items():
        known = person.cancels.get(away.cancel) if away.cancel and told in (b"", away.cancel) else None
        if known is not None and known[0] > away.event_ms:
            person.outgoing.append(_sent_after(person, moment, send_id, f"by {known[2]}"))


def end_refused(person: Person, moment: Moment) -> bool:
    """End what is out of reach of the gate and that the person does not want any more: what the gateway holds, and what
    is away; whether there was any. Asked where a consent has changed.
    """
    mode, consents = moment.rules.people.consent.mode, person.consent
    refused = {}
    for rule in moment.rules.mappings:
        channel = rule.action.channel
        if rule.policies.needs_consent and (said := consent.verdict(consents, {}, rule.category, channel, mode)):
            refused[rule.id] = said
    there = [send for send in person.followed if send.reason == AT_GATEWAY and send.mapping in refused]
    for send in there:
        recall(person, send, moment, refused[send.mapping])
    away = [send_id for send_id, each in person.away.items() if each.mapping in refused]
    for send_id in away:
        person.outgoing.append(_sent_after(person, moment, send_id, refused[person.away[send_id].mapping]))
    return bool(there or away)


def take_cancel(person: Person, value: bytes, moment: Moment) -> bool:
    """End the send that a command names, wherever it waits; whether it did. Raises: BadRecord."""
    command = _read(value)
    if command.send_id in person.away:
        person.outgoing.append(_sent_after(person, moment, command.send_id, command.by))
        return True
    by = command.by or BY_HAND
    there = next((each for each in person.followed if each.id == command.send_id and each.reason == AT_GATEWAY), None)
    if there is not None:
        recall(person, there, moment, CANCELLED, by)
        return True
    return _end(person, moment, lambda each: by if each.id == command.send_id else "")


def take_release(person: Person, value: bytes, moment: Moment) -> bool:
    """Let the send go that a command names, if it waits for a time; whether it did. Raises: BadRecord."""
    command = _read(value)
    parked = next((each for each in person.parked if each.id == command.send_id), None)
    if parked is None:
        return release_one(person, command.send_id, moment.now_ms, is_forced=command.is_forced)
    person.parked.remove(parked)
    turn = Turn(person, moment.now_ms, moment.rules, moment.passage)
    turn.decide_again([parked], is_released=True, is_forced=command.is_forced)
    return turn.close()


def _end(person: Person, moment: Moment, by: Callable[[Parked | Send], str]) -> bool:
    """End what waits and has something to say of who ended it; whether anything did."""
    turn = Turn(person, moment.now_ms, moment.rules, moment.passage)
    for parked in [each for each in person.parked if by(each)]:
        person.parked.remove(parked)
        turn.suppress([parked], CANCELLED, by(parked))
    is_changed = turn.close()
    for waiting in (person.held, person.due):
        for send in [each for each in waiting if not each.is_posting and by(each)]:
            waiting.remove(send)
            stop(person, moment, send, CANCELLED, by(send))
            is_changed = True
    return is_changed


def _sent_after(person: Person, moment: Moment, send_id: bytes, by: str) -> Outgoing:
    """The word to where a send lies that is away."""
    away = person.away[send_id]
    home = home_key(away.home, away.key or moment.key)
    return Outgoing(home, CANCEL, encode_command(Command(send_id, by[:BY_CHARS_MAX])), away.event_ms)


TAKEN: Final = {CANCEL: take_cancel, RELEASE: take_release}
