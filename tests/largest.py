"""The largest state record that the bounds of `core.state` allow, filled with what no compression makes smaller."""

import random
import string

import msgspec

from streamer.core.delivery import SUPPRESSED, Decision, Message, Origin
from streamer.core.holding import BY_CHARS_MAX
from streamer.core.links import LINKS_BYTES_MAX
from streamer.core.once import KEY_BYTES, KEYS_MAX
from streamer.core.profile import TRAITS_BYTES_MAX, TRAITS_MAX, Update, size
from streamer.core.records import ID_CHARS_MAX, MESSAGE_ID_CHARS_MAX
from streamer.core.rules import MAPPINGS_MAX
from streamer.core.sends import Away, Parked, Send, away_bytes, parked_bytes, send_bytes
from streamer.core.state import (
    AWAY_BYTES_MAX,
    CANCELS_MAX,
    COUNTED_MAX,
    COUNTS_MAX,
    DETAIL_BYTES_MAX,
    DUE_BYTES_MAX,
    DUE_MAX,
    FORGOTTEN_MAX,
    HELD_BYTES_MAX,
    HOMES_MAX,
    MARK_BYTES,
    MERGED_BYTES_MAX,
    OUT_MAX,
    SEEN_MAX,
    WAITING_BYTES_MAX,
    Person,
)

MS = 253_402_300_799_999
OFFSET = 2**63 - 1
NAME_CHARS, TOPIC_CHARS = 64, 249  # what mappings and senders, and Kafka's topics, may have
CONSENT_BYTES_MAX = 8 * 1024


class Largest:
    """Draws the parts of it."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)
        self.key = "u:" + self.text(ID_CHARS_MAX)
        self._topic = self.name(TOPIC_CHARS)
        self._message_id = self.text(MESSAGE_ID_CHARS_MAX)

    def text(self, chars: int) -> str:
        """Characters of four bytes."""
        return "".join(chr(self._draw.randrange(0x10000, 0x110000)) for _ in range(chars))

    def name(self, chars: int) -> str:
        return "".join(self._draw.choices(string.ascii_letters + string.digits + "._-", k=chars))

    def origin(self, offset: int = OFFSET) -> Origin:
        return Origin(self.key, self._topic, 2**31 - 1, offset, MS, MS)

    def decision(self, origin: Origin, message_id: str) -> Decision:
        return Decision(
            send_id=self._draw.randbytes(16),
            mapping=self.name(NAME_CHARS),
            mapping_version=self.name(8),
            origin=origin,
            message_id=message_id,
            outcome=SUPPRESSED,
            reason="too_many_scheduled",
            decided_ms=MS,
            detail=self.name(DETAIL_BYTES_MAX),
            attempt=2**31,
            code=2**31,
            sid=self.name(NAME_CHARS),
            channel="whatsapp",
            to="+123456789012345",
            sender=self.name(NAME_CHARS),
            parts=9_999,
            posted_ms=MS,
            answered_ms=MS,
        )

    def send(self, body_chars: int = 1_600) -> Send:
        message = Message("m" * NAME_CHARS, "whatsapp", "+123456789012345", self.text(body_chars), "+15550006789")
        ids = (self._draw.randbytes(16), self.name(NAME_CHARS), self.name(8))
        decided = (self.origin(), self._message_id, message, self.name(NAME_CHARS), 99, MS, MS)
        return Send(*ids, *decided, 2**31, True, MS, MS, "gateway_busy")

    def sends(self, bytes_max: int) -> list[Send]:
        """As many as fit, none over a DUE_MAX-th of it, so that both bounds are met."""
        found: list[Send] = []
        left = bytes_max
        while left > (empty := send_bytes(self.send(0))):
            chars = min(1_600, (min(left, DUE_BYTES_MAX // DUE_MAX + 1) - empty) // 4)
            found.append(self.send(chars))
            left -= send_bytes(found[-1])
        return found

    def parked(self, bytes_max: int) -> list[Parked]:
        """Events that wait for the profile, as many as fit; small ones, which have most besides the event."""
        found: list[Parked] = []
        left = bytes_max
        while left > 3_000:
            event = self._draw.randbytes(1_000)
            ids = (self._draw.randbytes(16), self.name(NAME_CHARS), 2**32 - 1, self.origin(), self._message_id)
            found.append(Parked(*ids, event, self.name(DETAIL_BYTES_MAX), MS))
            left -= parked_bytes(found[-1])
        return found

    def keys(self, bytes_max: int) -> list[str]:
        """Identity keys, as many as fit."""
        found: list[str] = []
        while sum(len(key.encode()) for key in found) < bytes_max - 1_026:
            found.append("u:" + self.text(ID_CHARS_MAX))
        return found

    def traits(self) -> list[Update]:
        """As many identifies as there are traits, each with an id of its own."""
        found: list[Update] = []
        while len(found) < TRAITS_MAX and size(found) < TRAITS_BYTES_MAX - 200:
            found.append(Update(MS, self.name(36), {self.name(20): self.text(5)}))
        found[0].traits[self.name(9)] = self.name(max(0, TRAITS_BYTES_MAX - size(found) - 20))
        return found

    def person(self) -> Person:
        """All at once: outcomes almost at their limit, and then an event that every mapping matches."""
        person = Person()
        person.traits = self.traits()
        person.links = [(MS, key) for key in self.keys(LINKS_BYTES_MAX)]
        person.merged = dict.fromkeys(self.keys(MERGED_BYTES_MAX), MS)
        person.moved = person.merged_to = person.erased_ms = person.keep_ms = MS
        person.consent = {f"{self.name(64)}/whatsapp": ("unsubscribed", MS) for _ in range(CONSENT_BYTES_MAX // 100)}
        person.seen = {f"{self.name(TOPIC_CHARS)}/{number}#{self.name(12)}": OFFSET for number in range(SEEN_MAX)}
        person.forgotten = {self.name(NAME_CHARS): MS for _ in range(FORGOTTEN_MAX)} | {"": MS}
        keys = [(self._draw.randbytes(KEY_BYTES), MS, MS) for _ in range(KEYS_MAX)]
        person.once = {self._draw.randbytes(16): key for key in keys}
        person.homes = {self.name(NAME_CHARS): MS for _ in range(HOMES_MAX)}
        while away_bytes(person.away) < AWAY_BYTES_MAX:
            person.away[self._draw.randbytes(16)] = Away(
                self.name(NAME_CHARS),
                self._draw.randbytes(MARK_BYTES),
                MS,
                MS,
                self._draw.randbytes(8),
                MS,
                MS,
                self.name(NAME_CHARS),
            )
        each = COUNTED_MAX // COUNTS_MAX
        person.counted = {f"{self.name(NAME_CHARS)}/{self.name(64)}": [MS] * each for _ in range(COUNTS_MAX)}
        by = [self._draw.randbytes(8) for _ in range(CANCELS_MAX)]
        person.cancels = {told: (MS, MS, self.name(BY_CHARS_MAX)) for told in by}
        for number in range(OUT_MAX - 1):
            person.decide(self.decision(self.origin(number), self.text(MESSAGE_ID_CHARS_MAX)))
        person.decide(*(self.decision(self.origin(), self._message_id) for _ in range(MAPPINGS_MAX)))
        person.due = self.sends(DUE_BYTES_MAX)
        person.held = self.sends(HELD_BYTES_MAX)
        person.parked = self.parked(WAITING_BYTES_MAX)
        return person


def part_bytes(person: Person, name: str) -> int:
    """The encoded size of one field."""
    return len(msgspec.msgpack.encode(getattr(person, name)))
