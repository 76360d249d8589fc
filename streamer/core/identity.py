"""Identity keys and the partition they live in: one keyed space, the same for every producer.

Keys are `u:<userId>`, `a:<anonymousId>` and `n:<E.164>`. A key that starts with a NUL byte is ours, not a person's.
An id that many strangers share, as "null" or "0", is blocked: it is nobody's.
Beside them stand *sender keys*, `s:<sender>/<identity key>`: where a person's sends lie of a sender that has one owner.
All of a sender's are in one partition. No event ever has one; owners alone write to them.
"""

import re
from functools import lru_cache
from typing import Final
from zlib import crc32

from msgspec import Struct

RESERVED: Final = b"\x00"  # first byte of the state topic's own keys
KEY_BYTES_MAX: Final = 2 + 4 * 256  # a prefix, and the longest id that `records` takes in characters of four bytes
# What programs write where they know no id. Source: facts of Segment's Unify, "blocked values".
BLOCKED: Final = ("[0-]*", "-1", "null", "none", "nil", "undefined", "nan", "anonymous")
BLOCKED_MAX: Final = 100  # patterns
BLOCKED_CHARS_MAX: Final = 200  # of each
_IDS_CACHED: Final = 65_536  # 10 MB; a pattern is asked of an id once, not for each of its events
NUMBER_PREFIX: Final = "n:"
PREFIXES: Final = ("u:", "a:", NUMBER_PREFIX)
_PREFIXES: Final = tuple(each.encode() for each in PREFIXES)
SENDER_PREFIX: Final = "s:"
_SENDER_PREFIX: Final = SENDER_PREFIX.encode()
SENDER_CHARS_MAX: Final = 64  # of a sender's name, which holds no slash
PERSON_CHARS_MAX: Final = 2 + 256  # of an identity key: a prefix, and the longest id that `records` takes
KEY_CHARS_MAX: Final = len(SENDER_PREFIX) + SENDER_CHARS_MAX + 1 + PERSON_CHARS_MAX  # of any key


class Identities(Struct, frozen=True):
    """Which ids say who somebody is. `blocked` are regular expressions that match a whole id, in any case."""

    blocked: tuple[str, ...] = BLOCKED

    def key(self, user_id: str | None, anonymous_id: str | None) -> str | None:
        """The key of an event's person: by the user id when there is one, else the anonymous id; None for nobody."""
        if user_id and not _is_blocked(self.blocked, user_id):
            return f"u:{user_id}"
        if anonymous_id and not _is_blocked(self.blocked, anonymous_id):
            return f"a:{anonymous_id}"
        return None

    def links(
        self, event_type: str, user_id: str | None, anonymous_id: str | None, previous_id: str | None
    ) -> tuple[tuple[str, str], ...]:
        """What an event says of who is whom, as (key, the key of the user it belongs to).

        Any event with both ids; and an alias, whose previous id may be a user's or an anonymous one. A delete links
        nobody.
        """
        target = self.key(user_id, None)
        if target is None or event_type == "delete":
            return ()
        found = [self.key(None, anonymous_id)]
        if event_type == "alias" and previous_id != user_id:
            found += [self.key(previous_id, None), self.key(None, previous_id)]
        return tuple((key, target) for key in dict.fromkeys(found) if key is not None)


@lru_cache(maxsize=_IDS_CACHED)
def _is_blocked(patterns: tuple[str, ...], text: str) -> bool:
    return any(re.fullmatch(pattern, text, re.IGNORECASE) for pattern in patterns)


def pattern_fault(pattern: str) -> str:
    """What is wrong with a pattern of ids to block, or ""."""
    if len(pattern) > BLOCKED_CHARS_MAX:
        return f"{len(pattern)} characters; a pattern has at most {BLOCKED_CHARS_MAX}: make it two"
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        return f"is no regular expression: {error}"
    return "matches ids of every kind; name those that are nobody's" if _is_greedy(compiled) else ""


def _is_greedy(pattern: re.Pattern[str]) -> bool:
    """Whether a pattern matches ids that have nothing in common: with it, every event would become a dead letter."""
    return all(pattern.fullmatch(each) for each in ("7d444840-9dc0-11d1-b245-5ffdce74fad2", "ada@shop.example", "42"))


def sender_key(sender: str, key: str) -> str:
    """Where one person's sends of a sender lie that one partition sends."""
    return f"{SENDER_PREFIX}{sender}/{key}"


def is_sender_key(key: str) -> bool:
    """Whether a key that was checked is a sender's."""
    return key.startswith(SENDER_PREFIX)


def number_key(number: str) -> str:
    """Where all sends to a number lie (E.164) that are counted over all its people."""
    return f"{NUMBER_PREFIX}{number}"


def is_number_key(key: str) -> bool:
    """Whether a key that was checked is a number's: no event has one, only what is sent to a number."""
    return key.startswith(NUMBER_PREFIX)


def is_persons_key(key: str) -> bool:
    """Whether a key that was checked is a person's, whose profile and decisions its record has."""
    return not key.startswith((SENDER_PREFIX, NUMBER_PREFIX))


def home_key(home: str, key: str) -> str:
    """Where a person's sends lie that are away: a number's own key, or one of a sender, by its name."""
    return home if is_number_key(home) else sender_key(home, key)


def person_of(key: str) -> str:
    """Whose the record of a key is: of a sender key the person's identity key, of any other the key itself."""
    return key.partition("/")[2] if is_sender_key(key) else key


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key, passed explicitly by everyone who produces. Source: ARCHITECTURE.

    All of one sender's keys have the same.
    """
    if key.startswith(_SENDER_PREFIX):
        key = key.partition(b"/")[0]
    return crc32(key) % partitions


def home_of(sender: str, partitions: int) -> int:
    """The partition that sends everything of a sender that has one owner."""
    return partition_of(sender_key(sender, "").encode(), partitions)


def is_identity_key(key: bytes) -> bool:
    """Whether `key` has the form of an identity key: a person's."""
    if key[:2] not in _PREFIXES or not 2 < len(key) <= KEY_BYTES_MAX:
        return False
    try:
        key.decode()
    except UnicodeDecodeError:
        return False
    return True


def is_record_key(key: bytes) -> bool:
    """Whether `key` has the form of an identity key or of a sender key: one that a state record may have."""
    if not key.startswith(_SENDER_PREFIX):
        return is_identity_key(key)
    sender, _, person = key.partition(b"/")
    name = sender[len(_SENDER_PREFIX) :]
    return 0 < len(name) <= SENDER_CHARS_MAX and name.isascii() and is_identity_key(person)
