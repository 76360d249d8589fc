"""The one record kept per identity key: profile, dedupe table, open sends and outbox in one atomic write.

`Person` is the single mutable value of core: its owner is its single writer. On the changelog it is two bytes of
header (format, what is left to do) and msgpack; the header lets a restore pass by idle people unread.
"""

from typing import Final

import msgspec
from msgspec import Struct, field

from streamer.core.delivery import Decision, Message, Origin
from streamer.core.identity import RESERVED
from streamer.core.profile import Trait
from streamer.errors import StateUnreadable

FORMAT: Final = 1
TRAITS_BYTES_MAX: Final = 24 * 1024
DECIDED_BYTES_MAX: Final = 8 * 1024
DUE_MAX: Final = 64  # sends that one event may find or make due; what is more is suppressed
DUE_BYTES_MAX: Final = 256 * 1024  # of those
HELD_MAX: Final = 16  # sends waiting for their next attempt; at the limit the person's next event waits
HELD_BYTES_MAX: Final = 128 * 1024  # of all that wait, alike
SCHEDULED: Final = "scheduled"  # the reason of a send held until its own `send_at`
SCHEDULED_BYTES_MAX: Final = 24 * 1024  # of those: they wait for weeks, so what is more is suppressed
DETAIL_BYTES_MAX: Final = 200  # of a decision: what it repeats of an event or a configuration
OUT_MAX: Final = 64  # outcomes listed and not yet acked; at the limit the person's next event waits
SEEN_MAX: Final = 256  # source partitions remembered per person
CHECKPOINT_KEY: Final = RESERVED + b"effects"  # its value: the state offset below which every `out` is published
FORGOTTEN_MAX: Final = 128  # mappings listed of which a decision was evicted
OTHERS: Final = ""  # in `forgotten`, which is no mapping's id: every mapping that isn't listed

# The worst record has to fit into a Kafka message, which a broker bounds as it was produced: compressed. What no
# compression makes smaller: due 256 KB; held 128 KB before an event and 24 KB scheduled by it (what is refused moves
# from due to held); traits 24 KB; `seen` 66 KB (256 topics of 249 characters); `forgotten` 10 KB; the outcomes of
# 1 000 mappings beside 63 not yet published, 0.35 KB each that they don't share (send id, mapping, detail), 360 KB:
# 870 KB in all. What outcomes share (identity key 1 KB, message id 0.4 KB, topic) makes it 2.9 MB as encoded, which the
# producer's lz4 undoes: 0.93 MB, as the test of the worst record measures.


class Send(Struct, frozen=True, array_like=True):
    """A decided send that has no outcome yet. `attempt` counts from 1 once posted; 0 before.

    Units: ms since the epoch; `until_ms` is when a held send is due, `expires_ms` when it is too old to be sent.
    """

    id: bytes
    mapping: str
    mapping_version: str
    origin: Origin
    message_id: str
    message: Message
    sender: str
    parts: int
    decided_ms: int
    expires_ms: int
    attempt: int = 0
    is_posting: bool = False
    posted_ms: int = 0
    until_ms: int = 0
    reason: str = ""


class Person(Struct, omit_defaults=True):
    """Everything kept under one identity key.

    `seen`: per source partition ("topic/partition") the highest offset decided here. `decided`: send id to encoded
    Decision, oldest first. `forgotten`: per mapping the latest event time among evicted decisions; under OTHERS that of
    the mappings dropped from it. `due`: sends in order, of which only the first may be posting. `held`: sends waiting
    for a time. `out`: the send ids whose outcome event is not known to be on the deliveries topic.
    """

    traits: dict[str, Trait] = field(default_factory=dict, name="t")
    seen: dict[str, int] = field(default_factory=dict, name="s")
    decided: dict[bytes, bytes] = field(default_factory=dict, name="d")
    forgotten: dict[str, int] = field(default_factory=dict, name="f")
    due: list[Send] = field(default_factory=list, name="o")
    held: list[Send] = field(default_factory=list, name="h")
    out: list[bytes] = field(default_factory=list, name="x")

    def decide(self, *decisions: Decision) -> None:
        """Store the outcomes of one event or answer and list them in `out`; the oldest beyond DECIDED_BYTES_MAX go."""
        for decision in decisions:
            self.decided[decision.send_id] = _encoder.encode(decision)
            self.out.append(decision.send_id)
        self._evict()

    def decision(self, send_id: bytes) -> Decision | None:
        """The stored decision, or None if never made here or evicted."""
        encoded = self.decided.get(send_id)
        return None if encoded is None else _decision.decode(encoded)

    def is_waiting(self, send_id: bytes) -> bool:
        """Decided to be sent, and without an outcome yet."""
        return any(send.id == send_id for send in (*self.due, *self.held))

    def retries(self) -> int:
        """How many sends wait for their next attempt."""
        return sum(send.reason != SCHEDULED for send in self.held)

    def held_bytes(self) -> int:
        """The encoded size of all that waits for a time; costs 1 µs a send."""
        return sum(map(send_bytes, self.held))

    def scheduled_bytes(self) -> int:
        """The encoded size of the sends that wait for their `send_at`, bounded by SCHEDULED_BYTES_MAX."""
        return sum(send_bytes(send) for send in self.held if send.reason == SCHEDULED)

    def note_seen(self, origin: Origin) -> None:
        """Remember that this source record is decided."""
        place = f"{origin.topic}/{origin.partition}"
        known = self.seen.get(place)
        if known is None and len(self.seen) >= SEEN_MAX:
            return
        self.seen[place] = origin.offset if known is None else max(known, origin.offset)

    def may_have_seen(self, origin: Origin) -> bool:
        """False only if this source record surely was never decided here.

        Exact because a person's records of one source partition arrive in offset order: every router reads it in
        order and writes to one partition in order, and a later router starts at or below what was written.
        """
        known = self.seen.get(f"{origin.topic}/{origin.partition}")
        if known is None:
            return len(self.seen) >= SEEN_MAX
        return origin.offset <= known

    def was_forgotten(self, mapping: str, origin: Origin) -> bool:
        """This source record was decided for `mapping`, and the decision evicted since.

        Its place alone says so: a client's repeat bears a later time than the decision that stood for it.
        """
        if self._forgotten_ms(mapping) is None:
            return False
        known = self.seen.get(f"{origin.topic}/{origin.partition}")
        return known is not None and origin.offset <= known

    def can_prove_new(self, mapping: str, origin: Origin) -> bool:
        """False where neither place nor time tells this source record from one decided for `mapping` and evicted.

        For records that were not forgotten for certain; the time tells only where `seen` has no room for the place.
        """
        latest_ms = self._forgotten_ms(mapping)
        if latest_ms is None or origin.event_ms > latest_ms or len(self.seen) < SEEN_MAX:
            return True
        return f"{origin.topic}/{origin.partition}" in self.seen

    def _evict(self) -> None:
        surplus_bytes = sum(map(len, self.decided.values())) - DECIDED_BYTES_MAX
        if surplus_bytes <= 0:
            return
        unpublished = set(self.out)
        for send_id in list(self.decided):
            if surplus_bytes <= 0:
                return
            if send_id not in unpublished:
                surplus_bytes -= len(self.decided[send_id])
                self._forget(_decision.decode(self.decided.pop(send_id)))

    def _forgotten_ms(self, mapping: str) -> int | None:
        known = self.forgotten.get(mapping)
        return self.forgotten.get(OTHERS) if known is None else known

    def _forget(self, decision: Decision) -> None:
        """Note an evicted decision. A mapping that has to go from the list still counts, among OTHERS."""
        mapping, event_ms = decision.mapping, decision.origin.event_ms
        before_ms = self.forgotten.pop(mapping, self.forgotten.get(OTHERS, event_ms))
        self.forgotten[mapping] = max(before_ms, event_ms)
        if len(self.forgotten) - (OTHERS in self.forgotten) > FORGOTTEN_MAX:
            dropped_ms = self.forgotten.pop(next(name for name in self.forgotten if name != OTHERS))
            self.forgotten[OTHERS] = max(self.forgotten.get(OTHERS, dropped_ms), dropped_ms)


_encoder: Final = msgspec.msgpack.Encoder()
_decision: Final = msgspec.msgpack.Decoder(Decision)
_person: Final = msgspec.msgpack.Decoder(Person)
_WAITS: Final = 1  # header bit: sends are due or held
_OWES: Final = 2  # header bit: outcomes are listed in `out`
_HEADERS: Final = tuple(bytes((FORMAT, flags)) for flags in range(4))


def encode(person: Person) -> bytes:
    """The state record's value."""
    flags = (_WAITS if person.due or person.held else 0) | (_OWES if person.out else 0)
    return _HEADERS[flags] + _encoder.encode(person)


def decode(value: bytes) -> Person:
    """The person of a state record's value. Raises: StateUnreadable, naming the format."""
    if value[:1] != _HEADERS[0][:1]:
        raise StateUnreadable(f"state record of format {value[:1].hex() or 'none'}; this version reads format {FORMAT}")
    try:
        return _person.decode(memoryview(value)[2:])
    except msgspec.DecodeError as error:
        raise StateUnreadable(f"state record does not decode: {error}") from error


def waits(value: bytes) -> bool:
    """The record has sends that are due or held; read from the header alone."""
    return bool(value[1] & _WAITS)


def owes(value: bytes) -> bool:
    """The record lists outcomes in `out`; read from the header alone."""
    return bool(value[1] & _OWES)


def has_business(value: bytes) -> bool:
    """The record has something left to do, whatever it is; read from the header alone."""
    return value[1] != 0


def encode_checkpoint(mark: int) -> bytes:
    """The value under CHECKPOINT_KEY."""
    return _encoder.encode(mark)


def decode_checkpoint(value: bytes) -> int:
    """The state offset of a checkpoint's value."""
    return msgspec.msgpack.decode(value, type=int)


def send_bytes(send: Send) -> int:
    """The encoded size of a send."""
    return len(_encoder.encode(send))


def traits_bytes(person: Person) -> int:
    """The encoded size of a person's traits, bounded by TRAITS_BYTES_MAX."""
    return len(_encoder.encode(person.traits))
