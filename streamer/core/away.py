"""Sends that leave their person's record, for one of their sender or their number; what becomes of them comes back.

A sender too slow to share sends everything from one partition. There each person has a second record, under the sender
key `s:<sender>/<their key>`. And where messages are counted over all people of a number, they leave from the record of
its key, `n:<E.164>`. A send that is due leaves for it as an *order*, and lives its whole life there; with its outcome,
and with every later word of it, that record lists a *report* to the person's. One that a limit of the number, or its
hours, have wait is *returned*, to be decided again by whose record knows the person.
Both go by the outbox, so each may come more than once: an order is told by its number, which rises with each that a
person gives to a sender, and a report by the send not being away any more. Read after `state`, before `attempts`.
"""

from hashlib import blake2b
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from streamer.core import limits
from streamer.core.delivery import MS_MAX, WITHOUT_MESSAGE, Decision, encode_decision
from streamer.core.hop import ORDER, OUTCOME, RETURNED
from streamer.core.identity import home_key, is_identity_key, is_number_key, is_persons_key, number_key, sender_key
from streamer.core.sends import LIMIT, Away, Outgoing, Send, away_bytes, send_bytes
from streamer.core.state import AWAY_BYTES_MAX, DUE_BYTES_MAX, HOMES_MAX, SEEN_MAX, Person, mark_of
from streamer.errors import BadRecord

# How long the number of an order is kept after its send expired: an order may be read again for as long as by-user has
# it, two weeks and the one of its segment; an unknown send waits a week for somebody to decide; and what is counted
# with a number counts for a month.
KEEP_MS: Final = 35 * 86_400_000
FULL_WAIT_MS: Final = 3_600_000  # until somebody new to a number that is shared by too many is asked for again
_TOO_MANY_PEOPLE: Final = f"over {SEEN_MAX} people have this number"
_ORDERS: Final = "orders"  # in `seen`, which is no topic's partition: the highest number taken
_SEND_ID_BYTES: Final = 16


class Order(Struct, frozen=True, array_like=True):
    """A send for another record; `number` rises with each of one person for one home."""

    number: Annotated[int, Meta(ge=1, le=MS_MAX)]
    send: Send


class Report(Struct, frozen=True, array_like=True):
    """The outcome of a send that is away; or, with a `status`, what became of it after that."""

    decision: Decision
    status: Annotated[str, Meta(max_length=64)] = ""


class Returned(Struct, frozen=True, array_like=True):
    """A send that was ordered and has to wait until `until_ms`; `number` is that of its order."""

    number: Annotated[int, Meta(ge=0, le=MS_MAX)]
    send: Send
    until_ms: Annotated[int, Meta(ge=0, le=2 * MS_MAX)]
    reason: Annotated[str, Meta(max_length=64)]
    detail: Annotated[str, Meta(max_length=200)]


_T = TypeVar("_T")
_encoder: Final = msgspec.msgpack.Encoder()
_order: Final = msgspec.msgpack.Decoder(Order)
_report: Final = msgspec.msgpack.Decoder(Report)
_returned: Final = msgspec.msgpack.Decoder(Returned)


def has_room(person: Person, send: Send) -> bool:
    """Whether one more send of a person may be away."""
    return away_bytes({**person.away, send.id: _away(send, send.sender, 0, 0)}) <= AWAY_BYTES_MAX


def expire(person: Person, now_ms: int) -> None:
    """Forget what is noted of sends of which no word can come any more: it went to a key whose person was erased."""
    for send_id in [send_id for send_id, each in person.away.items() if each.until_ms < now_ms]:
        person.forget_away(send_id, now_ms)


def order(person: Person, key: str, send: Send, home: str, now_ms: int, *, is_counted: bool) -> None:
    """List the order of a send that was due in the record of `key`, for `home`: a sender's name, or a number's key.

    `is_counted`: it was counted here, at `now_ms`, and is given back if nothing comes of it.
    """
    number = max(person.homes.pop(home, 0) + 1, now_ms)  # a time, so that a record begun anew goes on above
    person.homes[home] = number
    if len(person.homes) > HOMES_MAX:
        del person.homes[next(iter(person.homes))]
    person.away[send.id] = _away(send, home, number, now_ms if is_counted else 0)
    ordered = replace(send, person=key if is_number_key(home) else "")
    value = _encoder.encode(Order(number, ordered))
    person.outgoing.append(Outgoing(home_key(home, key), ORDER, value, send.origin.event_ms))


def _away(send: Send, home: str, number: int, counted_ms: int) -> Away:
    mark = mark_of(send.origin, send.message_id)
    until_ms = send.expires_ms + KEEP_MS
    return Away(home, mark, send.origin.event_ms, until_ms, send.cancel, number, counted_ms, send.mapping)


def take_order(person: Person, key: str, value: bytes, now_ms: int) -> bool:
    """Have a send be due in the record of its home, unless it came before; whether it is. Raises: BadRecord.

    One that came before needs no answer: its report is on its way, or was. A number of which so many people order that
    they can't be told apart any more sends to none but those it knows.
    """
    said = _decoded(_order, value)
    if not _is_plausible(said.send, key) or said.number > now_ms + limits.AHEAD_MAX_MS:  # a number is a time
        raise BadRecord("bad_request", "an order that no owner wrote")
    place = _orders_of(said.send.person)
    if person.was_seen(place, said.number):
        return False
    if place not in person.seen and len(person.seen) >= SEEN_MAX:
        _list_returned(person, Returned(said.number, said.send, now_ms + FULL_WAIT_MS, LIMIT, _TOO_MANY_PEOPLE))
        return True
    person.note_seen(place, said.number)
    person.keep_ms = max(person.keep_ms, max(now_ms, said.send.expires_ms) + KEEP_MS)
    person.due.append(said.send)
    return True


def _orders_of(whose: str) -> str:
    """Under which name the orders of somebody are numbered; a sender key's record has those of one person."""
    return f"{_ORDERS}{blake2b(whose.encode(), digest_size=8).hexdigest()}" if whose else _ORDERS


def _is_plausible(send: Send, key: str) -> bool:
    """Whether a send is one that was due, of the key's sender or number: strangers can write to the topic too."""
    if is_number_key(key):
        is_here = key == number_key(send.message.to) and is_persons_key(send.person)
        is_here &= is_identity_key(send.person.encode())
    else:
        is_here = not send.person and key.startswith(sender_key(send.sender, ""))
    return _is_sound(send) and is_here


def _is_sound(send: Send) -> bool:
    """Whether a send is such as an owner orders: whole, due, and of times that there are."""
    times = (send.decided_ms, send.expires_ms, send.posted_ms, send.until_ms)
    is_whole = len(send.id) == _SEND_ID_BYTES and send_bytes(send) <= DUE_BYTES_MAX
    return is_whole and not send.is_posting and 0 <= send.attempt < 2**31 and all(0 <= ms <= MS_MAX for ms in times)


def return_order(person: Person, send: Send, until_ms: int, reason: str, detail: str) -> None:
    """List a send's way back to whose it is, from the record of its number, where it has to wait."""
    number = person.seen.get(_orders_of(send.person), 0)  # of the last order of theirs, which a repeat is told by
    _list_returned(person, Returned(number, send, until_ms, reason, detail))


def _list_returned(person: Person, returned: Returned) -> None:
    send = returned.send
    value = _encoder.encode(replace(returned, send=replace(send, person="")))
    person.outgoing.append(Outgoing(send.person, RETURNED, value, send.origin.event_ms))


def take_returned(person: Person, value: bytes) -> tuple[Returned, bool]:
    """The send that comes back, and whether it was away: then it is no more, and not counted. Raises: BadRecord."""
    said = _decoded(_returned, value)
    if not _is_sound(said.send):
        raise BadRecord("bad_request", "a send come back that no owner wrote")
    known = person.away.get(said.send.id)
    if known is None or known.number > said.number:
        return said, False
    return said, _end_away(person, said.send.id, is_counted=False)


def _end_away(person: Person, send_id: bytes, *, is_counted: bool) -> bool:
    """Note that a send is away no more; whether it was."""
    known = person.away.pop(send_id, None)
    if known is not None and known.counted_ms and not is_counted:
        limits.give_back(person.counted, known.mapping, known.counted_ms)
    return known is not None


def report(person: Person, decision: Decision, status: str = "") -> None:
    """List what is to be told to the record of `decision.person`, which sent this send away."""
    value = _encoder.encode(Report(decision, status))
    person.outgoing.append(Outgoing(decision.person, OUTCOME, value, decision.origin.event_ms))


def take_outcome(person: Person, value: bytes) -> bool:
    """Note what became of a send that was sent away; whether anything changed. Raises: BadRecord.

    Its delivery event was published where it was made. One that ends without a message gives back its `once_per` key,
    and, if nothing was told of it before, is not counted any more.
    """
    said = _decoded(_report, value)
    send_id, ended = said.decision.send_id, said.status or said.decision.outcome
    is_changed = _end_away(person, send_id, is_counted=ended not in WITHOUT_MESSAGE)
    if is_changed and not said.status:
        person.decided[send_id] = encode_decision(said.decision)
        person.evict()
    if ended in WITHOUT_MESSAGE:
        is_changed |= person.once.pop(send_id, None) is not None
    return is_changed


def is_over(person: Person, handled_ms: int) -> bool:
    """Whether the record of a sender key says nothing any more that could still be asked."""
    is_busy = person.due or person.held or person.followed or person.out or person.outgoing
    return 0 < person.keep_ms <= handled_ms and not is_busy


def _decoded(decoder: msgspec.msgpack.Decoder[_T], value: bytes) -> _T:
    try:
        return decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRecord("bad_request", f"not what an owner reads: {error}"[:200]) from None
