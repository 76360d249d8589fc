"""Identity keys and the partition they live in: one keyed space, the same for every producer.

Keys are `u:<userId>`, `a:<anonymousId>` and `n:<E.164>`. A key that starts with a NUL byte is ours, not a person's.
"""

from typing import Final
from zlib import crc32

RESERVED: Final = b"\x00"  # first byte of the state topic's own keys
KEY_BYTES_MAX: Final = 2 + 4 * 256  # a prefix, and the longest id that `records` takes in characters of four bytes
_PREFIXES: Final = (b"u:", b"a:", b"n:")


def identity_key(user_id: str | None, anonymous_id: str | None) -> str:
    """The key of an event's person: the user id when there is one, else the anonymous id."""
    return f"u:{user_id}" if user_id else f"a:{anonymous_id}"


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of an identity key, passed explicitly by everyone who produces. Source: ARCHITECTURE."""
    return crc32(key) % partitions


def is_identity_key(key: bytes) -> bool:
    """Whether `key` has the form of an identity key."""
    if key[:2] not in _PREFIXES or not 2 < len(key) <= KEY_BYTES_MAX:
        return False
    try:
        key.decode()
    except UnicodeDecodeError:
        return False
    return True
