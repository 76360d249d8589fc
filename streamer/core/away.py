"""Sends of a sender that has one owner: they leave their person's record, and what becomes of them comes back to it.

A sender too slow to share sends everything from one partition. There each person has a second record, under the sender
key `s:<sender>/<their key>`. A send of theirs that is due leaves for it as an *order*, and lives its whole life there;
with its outcome, and with every later word of it, that record lists a *report* to the person's.
Both go by the outbox, so each may come more than once: an order is told by its number, which rises with each that a
person gives to a sender, and a report by the send not being away any more. Read after `state`, before `attempts`.
"""

from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta, Struct

from streamer.core import limits
from streamer.core.delivery import MS_MAX, WITHOUT_MESSAGE, Decision, encode_decision
from streamer.core.hop import ORDER, OUTCOME
from streamer.core.identity import sender_key
from streamer.core.sends import Away, Outgoing, Send, away_bytes, send_bytes
from streamer.core.state import AWAY_BYTES_MAX, DUE_BYTES_MAX, HOMES_MAX, Person, mark_of
from streamer.errors import BadRecord

# How long the number of an order is kept after its send expired: an order may be read again for as long as by-user has
# it, two weeks and the one of its segment; the fourth is more than an unknown send waits for somebody to decide.
KEEP_MS: Final = 28 * 86_400_000
_ORDERS: Final = "orders"  # in `seen`, which is no topic's partition: the highest number taken
_SEND_ID_BYTES: Final = 16


class Order(Struct, frozen=True, array_like=True):
    """A send for its sender's one owner; `number` rises with each of one person for one sender."""

    number: Annotated[int, Meta(ge=1, le=MS_MAX)]
    send: Send


class Report(Struct, frozen=True, array_like=True):
    """The outcome of a send that is away; or, with a `status`, what became of it after that."""

    decision: Decision
    status: Annotated[str, Meta(max_length=64)] = ""


_T = TypeVar("_T")
_encoder: Final = msgspec.msgpack.Encoder()
_order: Final = msgspec.msgpack.Decoder(Order)
_report: Final = msgspec.msgpack.Decoder(Report)


def has_room(person: Person, send: Send) -> bool:
    """Whether one more send of a person may be away."""
    return away_bytes({**person.away, send.id: _away(send, MS_MAX)}) <= AWAY_BYTES_MAX


def expire(person: Person, now_ms: int) -> None:
    """Forget what is noted of sends of which no word can come any more: it went to a key whose person was erased."""
    for send_id in [send_id for send_id, each in person.away.items() if each.until_ms < now_ms]:
        person.forget_away(send_id, now_ms)


def order(person: Person, key: str, send: Send, now_ms: int) -> None:
    """List the order of a send that was due in the record of `key`."""
    number = max(person.homes.pop(send.sender, 0) + 1, now_ms)  # a time, so that a record begun anew goes on above
    person.homes[send.sender] = number
    if len(person.homes) > HOMES_MAX:
        del person.homes[next(iter(person.homes))]
    person.away[send.id] = _away(send, now_ms)
    value = _encoder.encode(Order(number, send))
    person.outgoing.append(Outgoing(sender_key(send.sender, key), ORDER, value, send.origin.event_ms))


def _away(send: Send, now_ms: int) -> Away:
    mark = mark_of(send.origin, send.message_id)
    until_ms = send.expires_ms + KEEP_MS
    return Away(send.sender, mark, send.origin.event_ms, until_ms, send.cancel, ordered_ms=now_ms)


def take_order(person: Person, key: str, value: bytes, now_ms: int) -> bool:
    """Have a send be due in the record of its sender key, unless it came before; whether it is. Raises: BadRecord.

    One that came before needs no answer: its report is on its way, or was.
    """
    said = _decoded(_order, value)
    if not _is_plausible(said.send, key):
        raise BadRecord("bad_request", "an order that no owner wrote")
    if person.was_seen(_ORDERS, said.number):
        return False
    person.note_seen(_ORDERS, said.number)
    person.keep_ms = max(person.keep_ms, max(now_ms, said.send.expires_ms) + KEEP_MS)
    person.due.append(said.send)
    return True


def _is_plausible(send: Send, key: str) -> bool:
    """Whether a send is one that was due, of the key's sender: strangers can write to the topic too."""
    times = (send.decided_ms, send.expires_ms, send.posted_ms, send.until_ms)
    is_whole = len(send.id) == _SEND_ID_BYTES and send_bytes(send) <= DUE_BYTES_MAX
    is_due = not send.is_posting and 0 <= send.attempt < 2**31 and all(0 <= ms <= MS_MAX for ms in times)
    return is_whole and is_due and key.startswith(sender_key(send.sender, ""))


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
    noted = person.away.pop(send_id, None)
    is_changed = noted is not None
    if is_changed and not said.status:
        person.decided[send_id] = encode_decision(said.decision)
        person.evict()
    if ended in WITHOUT_MESSAGE:
        if noted is not None:
            limits.give_back(person.counted, said.decision.mapping, noted.ordered_ms)
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
