"""Who is not to be written to: numbers that said STOP, or were refused as opted out, each for a group of senders.

A record of the compacted suppressions topic has the key `<E.164>/<group>`, as `+14155550100/alerts`; the group `*`
means every sender. Its value is JSON, so that people can read and write it: `{}` does. A tombstone lifts it.
Source: ARCHITECTURE, "Suppressions"; facts of Twilio, "Inbound messages": a STOP is to one number, or to a service.
"""

import re
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from streamer.core.delivery import MS_MAX
from streamer.errors import BadRecord

EVERYONE: Final = "*"  # the group of all senders
# Their topic has one partition: so whoever writes, with whatever partitioner, writes behind what it replaces or lifts.
PARTITIONS: Final = 1
STOPPED: Final = "stopped"  # the reason of a send that ends by one
BY_OPT_OUT: Final = "optout"  # the reason of one that no code is known of
BAD_KEY: Final = "bad_suppression_key"  # the reasons of what is refused
BAD_VALUE: Final = "bad_suppression"

_KEY: Final = re.compile(rb"(\+[1-9][0-9]{1,17})/(\*|[^\s/]{1,64})")


class Suppression(Struct, frozen=True):
    """Why and since when a number is not written to; `source` is the id of the send that was refused, in hex, or "".

    `reason` is the gateway's code, BY_OPT_OUT, or what an import calls it.
    """

    at_ms: Annotated[int, Meta(ge=0, le=MS_MAX)] = 0
    reason: Annotated[str, Meta(max_length=64)] = "import"
    source: Annotated[str, Meta(max_length=64)] = ""


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Suppression)


def key_of(number: str, group: str) -> bytes:
    """The key of a number (E.164) and a group, which is a name without slash or space, or EVERYONE."""
    return f"{number}/{group}".encode()


def is_key(key: bytes) -> bool:
    """Whether `read_key` reads it."""
    return _KEY.fullmatch(key) is not None


def read_key(key: bytes | None) -> tuple[str, str]:
    """The number and the group of a key. Raises: BadRecord, whose detail does not name the number."""
    match = _KEY.fullmatch(key or b"")
    try:
        if match is not None:
            return match[1].decode(), match[2].decode()
    except UnicodeDecodeError:
        pass  # the group's bytes may be anything
    raise BadRecord(BAD_KEY, 'a key must be "<E.164>/<group>", as +14155550100/alerts')


def encode(suppression: Suppression) -> bytes:
    """The record's value."""
    return _encoder.encode(suppression)


def decode(value: bytes) -> Suppression:
    """The suppression of a record's value; fields that it lacks or has beyond are no fault. Raises: BadRecord."""
    try:
        return _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRecord(
            BAD_VALUE, "a value must be a JSON object of at_ms, reason and source, or a tombstone"
        ) from None


class Suppressions:
    """The whole topic as it stands: which numbers each group must not write to. Changed by its reader and its owners.

    As large as the topic: a million numbers take 66 MB.
    """

    __slots__ = ("_count", "_groups")

    def __init__(self) -> None:
        self._groups: dict[str, set[int]] = {}  # numbers as integers: half of what their text takes
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, key: bytes | None, value: bytes | None) -> None:
        """Take in a record of the topic. Raises: BadRecord, and nothing has changed."""
        number, group = read_key(key)
        if value is not None:
            decode(value)
        numbers = self._groups.setdefault(group, set())
        self._count -= len(numbers)
        if value is None:
            numbers.discard(int(number))
        else:
            numbers.add(int(number))
        self._count += len(numbers)
        if not numbers:
            del self._groups[group]

    def stops(self, number: str, group: str) -> bool:
        """Whether senders of that group must not write to a number (E.164); costs 0.3 µs, of a million 0.4 µs."""
        try:
            asked = int(number)
        except ValueError:
            return False
        return asked in self._groups.get(group, ()) or asked in self._groups.get(EVERYONE, ())


EMPTY: Final = Suppressions()  # for tools that know of none; nobody puts anything into it
