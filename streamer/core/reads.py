"""What a mapping reads of an event: all that is kept of one that waits."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

EVERYTHING: Final = (("", ""),)  # what is read of an event by who may read all of it
# The event's own traits lie over the profile, which is always read; its own preferences may forbid the message.
ALWAYS: Final = (("context", "traits"), ("context", "consent"))
NEEDED: Final = (
    ("context", "traits"),
)  # of what is kept of every event; the rest may be missing and means nothing then
_NESTED: Final = ("properties", "context", "traits")  # of these the named keys are kept, of other fields all
_READS_MAX: Final = 4_096  # one a mapping, of which there are 1 000
_encoder: Final = msgspec.msgpack.Encoder()

Reads = tuple[tuple[str, str], ...]
"""What a mapping reads of an event: (field, key in it), the key "" for the whole field; ("", "") for everything."""


def reads_of(paths: Iterable[str], always: Reads = ALWAYS) -> Reads:
    """The parts of an event that these paths lead into, and those that are kept `always`; the profile is none."""
    found: set[tuple[str, str]] = set(always)
    for path in paths:
        plain = path.removeprefix("$.")
        root, _, rest = plain.partition(".")
        if not root or root == "$" or "[" in root:
            return EVERYTHING
        if root == "profile":
            continue
        if root == "collapse":
            found.add(("properties", ""))  # of those that it lists
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
    for root, keys in _by_root(reads):
        field = event.get(root)
        if field is None:
            continue
        if keys and isinstance(field, dict):
            field = {key: field[key] for key in keys if key in field}
            if not field:
                continue
        kept[root] = field
    return _encoder.encode(kept)


@lru_cache(maxsize=_READS_MAX)
def _by_root(reads: Reads) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """By field the keys in it that are read, none for the whole."""
    keys: dict[str, tuple[str, ...]] = {}
    for root, key in reads:
        keys[root] = (*keys.get(root, ()), key) if key else ()
    return tuple(keys.items())
