"""Parked events: matched ones whose mapping lacks something of the profile, and wait for it in their person's record.

They keep only what their mapping reads of the event. Whatever may bring what they lack has them decided again, in
event order; at their deadline they are given up.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from streamer.core.sends import Parked, parked_bytes
from streamer.core.state import WAITING_BYTES_MAX, Person

INCOMPLETE: Final = "profile_incomplete"
OVERFLOW: Final = "park_overflow"
CHANGED: Final = "mapping_changed"
EVERYTHING: Final = (("", ""),)  # what is read of an event by who may read all of it
_OWN_TRAITS: Final = ("context", "traits")  # they lie over the profile, which is always read
_NESTED: Final = ("properties", "context", "traits")  # of these the named keys are kept, of other fields all
_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(dict[str, Any])

Reads = tuple[tuple[str, str], ...]
"""What a mapping reads of an event: (field, key in it), the key "" for the whole field; ("", "") for everything."""


def reads_of(paths: Iterable[str]) -> Reads:
    """The parts of an event that these paths lead into; the profile is none."""
    found: set[tuple[str, str]] = {_OWN_TRAITS}
    for path in paths:
        plain = path.removeprefix("$.")
        root, _, rest = plain.partition(".")
        if not root or root == "$" or "[" in root:
            return EVERYTHING
        if root == "profile":
            continue
        key = rest.partition(".")[0].partition("[")[0]
        found.add((root, key if root in _NESTED else ""))
    whole = {root for root, key in found if not key}
    return tuple(sorted((root, key) for root, key in found if not key or root not in whole))


def pruned(event: Mapping[str, Any], reads: Reads) -> bytes:
    """The msgpack of what `reads` says of an event."""
    if reads == EVERYTHING:
        return _encoder.encode({name: value for name, value in event.items() if name != "profile"})
    kept: dict[str, Any] = {}
    for root, key in reads:
        field = event.get(root)
        if field is None:
            continue
        if not key or not isinstance(field, dict):
            kept[root] = field
        elif key in field:
            kept.setdefault(root, {})[key] = field[key]
    return _encoder.encode(kept)


def event_of(parked: Parked) -> dict[str, Any]:
    """What was kept of a parked event."""
    return _decoder.decode(parked.event)


def park(person: Person, parked: Parked) -> list[Parked]:
    """Have an event wait; returns those that must go for it, the oldest first, perhaps itself."""
    surplus_bytes = person.waiting_bytes() + parked_bytes(parked) - WAITING_BYTES_MAX
    person.parked.append(parked)
    return make_room(person, surplus_bytes)


def make_room(person: Person, surplus_bytes: int) -> list[Parked]:
    """Take out the oldest parked events until `surplus_bytes` are free, or none is left."""
    gone: list[Parked] = []
    while surplus_bytes > 0 and person.parked:
        oldest = min(person.parked, key=in_event_order)
        person.parked.remove(oldest)
        surplus_bytes -= parked_bytes(oldest)
        gone.append(oldest)
    return gone


def overdue(person: Person, handled_ms: int) -> list[Parked]:
    """Take out what has waited until its deadline; `handled_ms`: everything until then has been handled."""
    gone = [parked for parked in person.parked if parked.until_ms <= handled_ms]
    if gone:
        person.parked = [parked for parked in person.parked if parked.until_ms > handled_ms]
    return sorted(gone, key=in_event_order)


def in_event_order(parked: Parked) -> tuple[int, int, bytes]:
    """By what a person's waiting events are sorted."""
    return (parked.origin.event_ms, parked.origin.offset, parked.id)
