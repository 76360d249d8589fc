"""`once_per`: the business key of a mapping, by which a person's events are one though their message ids differ.

Of all events with one key within the window the first sends, and the others are `duplicate`. The window is one of event
time and reaches both ways, so that it does not matter in which order topics bring them. A key belongs to the send that
took it until that ends without a message (`Person.decide`), or until no event can come any more that it would stop.
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

from msgspec import Struct

from streamer.core.action import Unsendable
from streamer.core.js_text import printed
from streamer.core.paths import Path
from streamer.core.state import OnceKey

WITHIN_MAX_S: Final = 30 * 86_400
KEYS_MAX: Final = 256  # taken and kept of one person: 12 KB of their record
KEY_BYTES: Final = 8  # of a key's hash
DUPLICATE: Final = "duplicate"
_PROFILE: Final = "profile"
_KEPT: Final = f"{KEYS_MAX} keys of this person's are kept, and none is free yet"

Keys = dict[bytes, OnceKey]
"""By the send that took a key: the key's hash, that send's event time, and until when it is kept, in ms."""


class OncePer(Struct, frozen=True):
    """The path of the event or the profile whose value is the key, and how far apart two events of one key are one."""

    key: Path
    within_s: float


def hash_of(once: OncePer, mapping: str, scope: Mapping[str, Any]) -> bytes | None:
    """What the key of an event is known by, None if there is nothing that could be one.

    Values are one key where a message shows them alike: 5, 5.0 and "5"; true and "true". Costs: 2 µs.
    """
    text = printed(once.key.read(scope))
    if text is None:
        return None
    return blake2b(f"{len(mapping)} {mapping} {text}".encode(), digest_size=KEY_BYTES).digest()


def refusal(
    once: OncePer, mapping: str, scope: Mapping[str, Any], taken: Keys, event_ms: int, now_ms: int
) -> Unsendable | None:
    """Why an event must not send, its key missing or taken; None: it may take it. Costs: 2 µs, 16 with 255 keys."""
    key = hash_of(once, mapping, scope)
    if key is None:
        lacks = once.key.text if once.key.keys[0] == _PROFILE else ""
        return Unsendable("missing_value", once.key.text, "once_per", lacks=lacks)
    first = first_of(taken, key, event_ms, once.within_s)
    if first is not None:
        return Unsendable(DUPLICATE, first.hex(), "once_per")
    if len(taken) >= KEYS_MAX and sum(until_ms >= now_ms for _, _, until_ms in taken.values()) >= KEYS_MAX:
        return Unsendable("too_many_keys", _KEPT, "once_per")
    return None


def first_of(taken: Keys, key: bytes, event_ms: int, within_s: float) -> bytes | None:
    """The send that took the key within reach of an event, the earliest if there are two (one on each side)."""
    within_ms = int(within_s * 1000)
    found = [
        (its_ms, send_id)
        for send_id, (its_key, its_ms, _) in taken.items()
        if its_key == key and abs(its_ms - event_ms) <= within_ms
    ]
    return min(found)[1] if found else None


def taken_by(once: OncePer, key: bytes, event_ms: int, max_age_s: float) -> OnceKey:
    """What is kept of a key that an event takes: as long as another one may come, not yet too old to send."""
    return key, event_ms, event_ms + int((once.within_s + max_age_s) * 1000)


def expire(taken: Keys, now_ms: int) -> None:
    """Drop the keys that stop nothing any more."""
    for send_id in [send_id for send_id, (_, _, until_ms) in taken.items() if until_ms < now_ms]:
        del taken[send_id]


def bound(taken: Keys) -> None:
    """Drop what is over KEYS_MAX after two people became one.

    Those that would expire first: while all places are taken nobody takes a key, so none of them would have stopped
    anything later.
    """
    surplus = max(0, len(taken) - KEYS_MAX)
    for send_id in sorted(taken, key=lambda each: (taken[each][2], each))[:surplus]:
        del taken[send_id]
