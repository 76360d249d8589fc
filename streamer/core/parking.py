"""Parked events: matched ones that wait in their person's record, for the profile or until a policy lets them go.

They keep only what their mapping reads of the event. Whatever may bring what they lack has them decided again, in
event order; at their time those that lack something are given up, and all others decided again. Those of one burst wait
as one, which stands for all.
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from streamer.core.delivery import Origin
from streamer.core.js_text import printed
from streamer.core.policies import COUNT, FIRST, HASH_BYTES, Collapse
from streamer.core.sends import INCOMPLETE, Parked, parked_bytes
from streamer.core.state import WAITING_BYTES_MAX, Person
from streamer.errors import BadRecord

OVERFLOW: Final = "park_overflow"
CHANGED: Final = "mapping_changed"
COLLAPSED: Final = "collapsed"
COUNT_MAX: Final = 2**31  # of a burst, as a record can hold
ITEMS_MAX: Final = 20  # events of a burst that are kept, the newest
ITEMS_BYTES_MAX: Final = 4 * 1024  # of their properties
_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(dict[str, Any])
_item: Final = msgspec.msgpack.Decoder(tuple[int, int, dict[str, Any]])  # event time, offset, properties


def event_of(parked: Parked) -> dict[str, Any]:
    """What was kept of a parked event. Raises: BadRecord, where that is not what an owner kept."""
    try:
        return _decoder.decode(parked.event)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRecord("bad_request", "what was kept of its event does not decode") from None


def park(person: Person, parked: Parked) -> list[Parked]:
    """Have an event wait; returns those that must go for it, the oldest first, perhaps itself."""
    surplus_bytes = person.waiting_bytes() + parked_bytes(parked) - WAITING_BYTES_MAX
    person.parked.append(parked)
    return make_room(person, surplus_bytes)


def make_room(person: Person, surplus_bytes: int) -> list[Parked]:
    """Take out the oldest events that wait for the profile until `surplus_bytes` are free, or none is left."""
    gone: list[Parked] = []
    while surplus_bytes > 0 and (lacking := [each for each in person.parked if each.reason == INCOMPLETE]):
        oldest = min(lacking, key=in_event_order)
        person.parked.remove(oldest)
        surplus_bytes -= parked_bytes(oldest)
        gone.append(oldest)
    return gone


def overdue(person: Person, handled_ms: int) -> tuple[list[Parked], list[Parked]]:
    """Take out what has waited until its time, in event order: what is given up, and what is to be decided again.

    `handled_ms`: everything until then has been handled.
    """
    gone = sorted((parked for parked in person.parked if parked.until_ms <= handled_ms), key=in_event_order)
    if gone:
        person.parked = [parked for parked in person.parked if parked.until_ms > handled_ms]
    return [each for each in gone if each.reason == INCOMPLETE], [each for each in gone if each.reason != INCOMPLETE]


def group_of(collapse: Collapse, mapping: str, scope: Mapping[str, Any]) -> bytes:
    """What the burst of an event is known by; events without a value at its key are one burst."""
    text = printed(collapse.key.read(scope)) if collapse.key is not None else None
    return blake2b(f"{len(mapping)} {mapping} {text or ''}".encode(), digest_size=HASH_BYTES).digest()


def items_of(collapse: Collapse, scope: Mapping[str, Any], origin: Origin, *, is_listed: bool) -> tuple[bytes, ...]:
    """What is kept of an event so that its burst can be listed in event order: its properties, unless nobody reads
    them.
    """
    properties = scope.get("properties")
    if collapse.keep != COUNT or not is_listed or not isinstance(properties, dict):
        return ()
    return (_encoder.encode((origin.event_ms, origin.offset, properties)),)


def burst_of(parked: Parked) -> dict[str, Any]:
    """What templates see of the events that one stands for: how many, and the properties of those that are kept."""
    if parked.items:
        items = [_item.decode(each)[2] for each in parked.items]
    else:
        items = [event_of(parked).get("properties") or {}]
    return {"count": parked.count, "items": items}


def joined(waiting: Parked, newcomer: Parked, keep: str) -> tuple[Parked, Parked]:
    """Make one of two of a burst: the one that stands for both, which waits as `waiting` did, and the one that is gone.

    Items are kept in event order, the newest ITEMS_MAX and at most ITEMS_BYTES_MAX of them; the count is exact.
    """
    first, last = sorted((waiting, newcomer), key=in_event_order)
    stands, gone = (first, last) if keep == FIRST else (last, first)
    items = tuple(sorted((*first.items, *last.items), key=_item_order))[-ITEMS_MAX:]
    while len(items) > 1 and sum(map(len, items)) > ITEMS_BYTES_MAX:
        items = items[1:]
    one = replace(
        stands,
        until_ms=waiting.until_ms,
        reason=waiting.reason,
        lacks=waiting.lacks,
        held_for=waiting.held_for,
        count=min(waiting.count + newcomer.count, COUNT_MAX),
        items=items,
    )
    return one, gone


def counted(waiting: Parked, newcomer: Parked) -> Parked:
    """One of a burst that has counted another, and kept nothing of it."""
    return replace(waiting, count=min(waiting.count + newcomer.count, COUNT_MAX))


def _item_order(item: bytes) -> tuple[int, int]:
    return _item.decode(item)[:2]


def in_event_order(parked: Parked) -> tuple[int, int, bytes]:
    """By what a person's waiting events are sorted."""
    return (parked.origin.event_ms, parked.origin.offset, parked.id)
