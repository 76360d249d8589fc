"""The one record kept per identity key: profile, links, dedupe table, parked and open sends, outbox: one atomic write.

`Person` is the single mutable value of core: its owner is its single writer. On the changelog it is a header (format,
what is left to do, and when; its writer's epoch) and msgpack; the header lets a restore pass by people unread.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final, TypeVar

import msgspec
from msgspec import Struct, field

from streamer.core.consent import Consent
from streamer.core.delivery import FAILED, SUPPRESSED, Decision, Origin, encode_decision
from streamer.core.identity import RESERVED
from streamer.core.profile import Update
from streamer.core.sends import LONG, POLICIES, Away, Outgoing, Parked, Send, parked_bytes, send_bytes
from streamer.errors import StateUnreadable

FORMAT: Final = 4  # since then an event may wait for a time: an older version would take it for given up
FORMAT_BEFORE: Final = 3  # still read
FORMAT_WITHOUT_EPOCH: Final = 2  # still read: its epoch counts as 0
DECIDED_BYTES_MAX: Final = 8 * 1024
DUE_MAX: Final = 64  # sends that one event may find or make due; what is more is suppressed
DUE_BYTES_MAX: Final = 256 * 1024  # of those
HELD_MAX: Final = 16  # sends waiting for their next attempt soon; at the limit the person's next event waits
HELD_BYTES_MAX: Final = 128 * 1024  # of all that wait, alike
# Of those and of what is parked; what is more is suppressed.
WAITING_BYTES_MAX: Final = 24 * 1024
FOLLOWED_BYTES_MAX: Final = 24 * 1024  # of sends that are followed; beyond, the oldest is given up
AWAY_BYTES_MAX: Final = 8 * 1024  # of what is noted of sends that are away: some 80
HOMES_MAX: Final = 64  # senders with one owner that a person's sends went to, and that are remembered
ADOPTED_MAX: Final = 32  # message SIDs remembered that were found for an unknown send
COUNTED_MAX: Final = 1_024  # messages of one person that are counted, for limits: 10 KB
COUNTS_MAX: Final = 128  # mappings that are counted apart: their names are at most 17 KB
CANCELS_MAX: Final = 128  # events remembered per person that end what they came before: 14 KB
DETAIL_BYTES_MAX: Final = 200  # of a decision: what it repeats of an event or a configuration
OUT_MAX: Final = 64  # outcomes listed and not yet acked; at the limit the person's next event waits
SEEN_MAX: Final = 256  # source partitions remembered per person
CHECKPOINT_KEY: Final = RESERVED + b"effects"  # its value: the state offset below which every `out` is published
CLAIM_KEY: Final = (
    RESERVED + b"claim"
)  # an owner's first record of a tenure; its offset is the epoch of all that follow
EPOCH_HEADER: Final = "epoch"  # of a Kafka record: a tombstone has no value to bear it
MERGED_MAX: Final = 100  # keys whose merges are remembered one by one; Segment merges a profile at most so often
MERGED_BYTES_MAX: Final = 8 * 1024  # of those keys
PASSED_MAX: Final = 128  # events of which a pointer remembers whose they became; `seen` tells of older ones by place
PASSED_BYTES_MAX: Final = 8 * 1024  # of those keys
MARK_BYTES: Final = 8  # of what an event is known by (`mark_of`)
FORGOTTEN_MAX: Final = 128  # mappings listed of which a decision was evicted
OTHERS: Final = ""  # in `forgotten`, which is no mapping's id: every mapping that isn't listed

# The worst record has to fit into a Kafka message, which a broker bounds as it was produced: compressed. What no
# compression makes smaller: due 256 KB; held 128 KB before an event and 24 KB scheduled or parked by it (what is
# refused moves from due to held); traits 24 KB; `seen` 66 KB (256 topics of 249 characters); `forgotten` 10 KB; `once`
# 12 KB (256 keys); links, merged keys, consent and what is away 8 KB each, `homes` 4 KB; what is counted
# 27 KB, and what cancels 14; the outcomes of 1 000 mappings beside 63 not yet published, 0.35 KB each that they don't
# share (send id, mapping, detail), 360 KB: 959 KB in all.
# What outcomes share (identity key 1 KB, message id 0.4 KB, topic) makes it 2.9 MB as encoded, which the producer's
# zstd undoes: 0.7 MB, as the test of the worst record measures.


T = TypeVar("T")
OnceKey = tuple[bytes, int, int]  # a `once_per` key's hash, the event time of what took it, and until when it is kept
Cancel = tuple[int, int, str]  # the event time of what cancels, until when it is kept, and the event's name
Link = tuple[int, str]  # event time in ms, and the identity key that is the person from then on ("": erased)


class Person(Struct, omit_defaults=True):
    """Everything kept under one identity key.

    `seen`: per source partition the highest offset decided here (`place_of`). `decided`: send id to encoded Decision,
    oldest first. `forgotten`: per mapping the latest event time among evicted decisions; under OTHERS that of the
    mappings dropped from it. `due`: sends in order, of which only the first may be posting. `held`: sends waiting for a
    time or a turn. `followed`: sends whose outcome is out and that may go on: unknown ones that are looked for, and
    accepted ones that are attempted again if they fail. `adopted`: the SIDs found for unknown ones. `parked`: events
    waiting for the profile. `out`: the send ids whose outcome event is not known to be on the
    deliveries topic; `outgoing`: other records not known to be produced.
    `links`: who this key's events belong to, by event time; one that has any is a pointer, and its state moved on.
    `passed`: events that left this record, to the key they went to ("#": to somebody erased; "": decided here, and
    erased), oldest first.
    `moved`: the number of its last merge, a wall time in ms.
    `merged`: key to the number of the last merge taken in from it, oldest first; `merged_to` is the highest forgotten.
    `once`: the `once_per` keys that are taken, by the send that took each.
    `away`: by send id what went to a sender key's record, and whose outcome has not come back; `homes`: by where such
    sends lie the number of the last order for it (`core.away`).
    `counted`: by `mapping/category` when its messages were posted, oldest first (`core.limits`). `cancels`: by the hash
    of what an event said the event time until which it ends what came before it, and until when that is kept.
    `erased_ms`: what happened until then was forgotten on demand; `keep_ms` is when even that may be, 0: never.
    """

    traits: list[Update] = field(default_factory=list, name="t")
    consent: dict[str, Consent] = field(default_factory=dict, name="c")
    seen: dict[str, int] = field(default_factory=dict, name="s")
    decided: dict[bytes, bytes] = field(default_factory=dict, name="d")
    forgotten: dict[str, int] = field(default_factory=dict, name="f")
    due: list[Send] = field(default_factory=list, name="o")
    held: list[Send] = field(default_factory=list, name="h")
    parked: list[Parked] = field(default_factory=list, name="p")
    followed: list[Send] = field(default_factory=list, name="w")
    adopted: list[str] = field(default_factory=list, name="a")
    out: list[bytes] = field(default_factory=list, name="x")
    outgoing: list[Outgoing] = field(default_factory=list, name="y")
    links: list[Link] = field(default_factory=list, name="l")
    passed: dict[bytes, str] = field(default_factory=dict, name="P")
    moved: int = field(default=0, name="n")
    merged: dict[str, int] = field(default_factory=dict, name="g")
    merged_to: int = field(default=0, name="G")
    once: dict[bytes, OnceKey] = field(default_factory=dict, name="k")
    away: dict[bytes, Away] = field(default_factory=dict, name="A")
    homes: dict[str, int] = field(default_factory=dict, name="H")
    counted: dict[str, list[int]] = field(default_factory=dict, name="C")
    cancels: dict[bytes, Cancel] = field(default_factory=dict, name="X")
    erased_ms: int = field(default=0, name="e")
    keep_ms: int = field(default=0, name="E")
    is_suppressed: bool = field(default=False, name="z")

    def decide(self, *decisions: Decision) -> None:
        """Store the outcomes of one event or answer and list them in `out`; the oldest beyond DECIDED_BYTES_MAX go.

        A send that ends without a message gives back its key.
        """
        for decision in decisions:
            self.decided[decision.send_id] = encode_decision(decision)
            self.out.append(decision.send_id)
            if decision.outcome in (SUPPRESSED, FAILED):
                self.once.pop(decision.send_id, None)
        self.evict()

    def decision(self, send_id: bytes) -> Decision | None:
        """The stored decision, or None if never made here or evicted."""
        encoded = self.decided.get(send_id)
        return None if encoded is None else _decision.decode(encoded)

    def is_waiting(self, send_id: bytes) -> bool:
        """Matched, and without an outcome yet."""
        if send_id in self.away or any(parked.id == send_id for parked in self.parked):
            return True
        return any(send.id == send_id for send in (*self.due, *self.held))

    def retries(self) -> int:
        """How many sends wait for their next attempt soon."""
        return sum(send.reason not in LONG for send in self.held)

    def held_bytes(self) -> int:
        """The encoded size of all that waits for a time; costs 1 µs a send."""
        return sum(map(send_bytes, self.held))

    def waiting_bytes(self) -> int:
        """The encoded size of what may wait for long, bounded by WAITING_BYTES_MAX before the next is decided."""
        held = sum(send_bytes(send) for send in self.held if send.reason in LONG)
        return held + sum(map(parked_bytes, self.parked))

    def timer_ms(self) -> int:
        """When something here is to be given up or released by the handled time; 0: nothing is."""
        if not (self.parked or self.held or self.keep_ms or self.followed):
            return 0
        times = [each.until_ms for each in self.parked]
        times += [send.until_ms for send in self.held if send.reason in POLICIES]
        times += [send.until_ms for send in self.followed]
        if self.keep_ms and not (self.traits or self.held or self.due or self.parked or self.followed):
            times.append(self.keep_ms)
        return min(times, default=0)

    def note_passed(self, mark: bytes, key: str) -> None:
        """Remember whose an event became (`mark_of`): its repeats go the same way, whatever links came since."""
        self.passed.pop(mark, None)
        self.passed[mark] = key
        while len(self.passed) > PASSED_MAX or sum(map(len, self.passed.values())) > PASSED_BYTES_MAX:
            del self.passed[next(iter(self.passed))]

    def note_seen(self, place: str, offset: int) -> None:
        """Remember that this source record is decided; `place` as in `place_of`."""
        known = self.seen.get(place)
        if known is None and len(self.seen) >= SEEN_MAX:
            return
        self.seen[place] = offset if known is None else max(known, offset)

    def was_seen(self, place: str, offset: int) -> bool:
        """True only if this source record surely was decided here, as far as records of a place arrive in order."""
        known = self.seen.get(place)
        return known is not None and offset <= known

    def may_have_seen(self, place: str, offset: int) -> bool:
        """False only if this source record surely was never decided here.

        Exact because a person's records of one place arrive in offset order: every router reads a partition in order
        and writes to one partition in order, a later router starts at or below what was written, and an owner forwards
        a key's records in order. Where links changed on the way, only a record of two hops can have been overtaken.
        """
        known = self.seen.get(place)
        if known is None:
            return len(self.seen) >= SEEN_MAX
        return offset <= known

    def was_forgotten(self, mapping: str, place: str, offset: int) -> bool:
        """This source record was decided for `mapping`, and the decision evicted since.

        Its place alone says so: a client's repeat bears a later time than the decision that stood for it.
        """
        return self._forgotten_ms(mapping) is not None and self.was_seen(place, offset)

    def can_prove_new(self, mapping: str, place: str, event_ms: int) -> bool:
        """False where neither place nor time tells this source record from one decided for `mapping` and evicted.

        For records that were not forgotten for certain; the time tells only where `seen` has no room for the place.
        """
        latest_ms = self._forgotten_ms(mapping)
        if latest_ms is None or event_ms > latest_ms or len(self.seen) < SEEN_MAX:
            return True
        return place in self.seen

    def forget(self, mapping: str, event_ms: int) -> None:
        """Note an evicted decision. A mapping that has to go from the list still counts, among OTHERS."""
        before_ms = self.forgotten.pop(mapping, self.forgotten.get(OTHERS, event_ms))
        self.forgotten[mapping] = max(before_ms, event_ms)
        if len(self.forgotten) - (OTHERS in self.forgotten) > FORGOTTEN_MAX:
            dropped_ms = self.forgotten.pop(next(name for name in self.forgotten if name != OTHERS))
            self.forgotten[OTHERS] = max(self.forgotten.get(OTHERS, dropped_ms), dropped_ms)

    def forget_away(self, send_id: bytes, now_ms: int) -> None:
        """Note no more that a send is away, as if its decision had been stored and evicted."""
        del self.away[send_id]
        self.forgotten[OTHERS] = max(self.forgotten.get(OTHERS, 0), now_ms)

    def evict(self) -> None:
        """Drop the oldest published decisions beyond DECIDED_BYTES_MAX, and note that they were."""
        surplus_bytes = sum(map(len, self.decided.values())) - DECIDED_BYTES_MAX
        if surplus_bytes <= 0:
            return
        unpublished = set(self.out)
        for send_id in list(self.decided):
            if surplus_bytes <= 0:
                return
            if send_id not in unpublished:
                surplus_bytes -= len(self.decided[send_id])
                evicted = _decision.decode(self.decided.pop(send_id))
                self.forget(evicted.mapping, evicted.origin.event_ms)

    def _forgotten_ms(self, mapping: str) -> int | None:
        known = self.forgotten.get(mapping)
        return self.forgotten.get(OTHERS) if known is None else known


class Waiting(Struct):
    """Of a person only what waits for a time or is followed: at an opening a million are looked at, and few decided."""

    held: list[Send] = field(default_factory=list, name="h")
    parked: list[Parked] = field(default_factory=list, name="p")
    followed: list[Send] = field(default_factory=list, name="w")


_encoder: Final = msgspec.msgpack.Encoder()
_decision: Final = msgspec.msgpack.Decoder(Decision)
_person: Final = msgspec.msgpack.Decoder(Person)
_waiting: Final = msgspec.msgpack.Decoder(Waiting)
_WAITS: Final = 1  # header bit: sends are due, or held for something else than their own time
_OWES: Final = 2  # header bit: something is listed in `out` or `outgoing`
_TIMED: Final = 4  # header bit: six more bytes say when something is given up or released
_HEADERS: Final = tuple(bytes((FORMAT, flags)) for flags in range(8))
_HEAD_BYTES: Final = 2
_TIME_BYTES: Final = 6
_EPOCH_BYTES: Final = 6
_CLAIM: Final = b"\x01\x00"  # as of a person with nothing left to do: a store keeps it among them


def encode(person: Person, epoch: int = 0) -> bytes:
    """The state record's value, as the owner of that epoch writes it."""
    flags = 0
    if person.due or (person.held and any(send.reason not in POLICIES for send in person.held)):
        flags = _WAITS
    if person.out or person.outgoing:
        flags |= _OWES
    timer_ms = person.timer_ms()
    written = epoch.to_bytes(_EPOCH_BYTES, "big") + _encoder.encode(person)
    if timer_ms:
        return _HEADERS[flags | _TIMED] + timer_ms.to_bytes(_TIME_BYTES, "big") + written
    return _HEADERS[flags] + written


def decode(value: bytes) -> Person:
    """The person of a state record's value. Raises: StateUnreadable, naming the format."""
    return _decoded(value, _person)


def decode_waiting(value: bytes) -> Waiting:
    """What waits, of a state record's value; costs 2.3 µs, half of `decode`. Raises: StateUnreadable."""
    return _decoded(value, _waiting)


def _decoded(value: bytes, decoder: "msgspec.msgpack.Decoder[T]") -> T:
    if len(value) < _HEAD_BYTES or value[0] not in (FORMAT, FORMAT_BEFORE, FORMAT_WITHOUT_EPOCH):
        raise StateUnreadable(f"state record of format {value[:1].hex() or 'none'}; this version reads format {FORMAT}")
    before = _epoch_at(value)
    try:
        return decoder.decode(
            memoryview(value)[before if value[0] == FORMAT_WITHOUT_EPOCH else before + _EPOCH_BYTES :]
        )
    except msgspec.DecodeError as error:
        raise StateUnreadable(f"state record does not decode: {error}") from error


def waits(value: bytes) -> bool:
    """The record has sends that are due, or held for an attempt or a turn; read from the header alone."""
    return bool(value[1] & _WAITS)


def owes(value: bytes) -> bool:
    """The record lists something to be produced; read from the header alone."""
    return bool(value[1] & _OWES)


def timer_ms(value: bytes) -> int:
    """When something of the record is to be given up or released, 0: nothing; read from the header alone."""
    return int.from_bytes(value[_HEAD_BYTES : _HEAD_BYTES + _TIME_BYTES], "big") if value[1] & _TIMED else 0


def _epoch_at(value: bytes) -> int:
    """Where the epoch stands, or where it would."""
    return _HEAD_BYTES + _TIME_BYTES if value[1] & _TIMED else _HEAD_BYTES


def epoch_of(value: bytes | None, headers: Sequence[tuple[str, bytes]] = ()) -> int:
    """The epoch of who wrote a person's record; of a tombstone the Kafka record's headers say it."""
    if value is None:
        return next((int(said) for name, said in headers if name == EPOCH_HEADER), 0)
    if value[0] <= FORMAT_WITHOUT_EPOCH:
        return 0
    return int.from_bytes(value[8:14] if value[1] & _TIMED else value[2:8], "big")  # spelt out: a restore asks of all


def with_epoch(value: bytes, epoch: int) -> bytes:
    """The same record as the owner of another epoch writes it; it is not decoded."""
    at = _epoch_at(value)
    rest = value[at:] if value[0] == FORMAT_WITHOUT_EPOCH else value[at + _EPOCH_BYTES :]
    return _HEADERS[value[1]] + value[_HEAD_BYTES:at] + epoch.to_bytes(_EPOCH_BYTES, "big") + rest


def tombstone_headers(epoch: int) -> list[tuple[str, bytes]]:
    """The Kafka headers of a tombstone that the owner of that epoch writes."""
    return [(EPOCH_HEADER, str(epoch).encode())]


def encode_claim(epoch: int = 0) -> bytes:
    """The value under CLAIM_KEY: in the changelog, where its offset says the epoch, of 0; in a store with it."""
    return _CLAIM + epoch.to_bytes(_EPOCH_BYTES, "big")


def decode_claim(value: bytes) -> int:
    """The epoch of a claim's value."""
    return int.from_bytes(value[len(_CLAIM) :], "big")


def has_business(value: bytes) -> bool:
    """The record leaves something to be done, now or at a time; read from the header alone."""
    return value[1] != 0


def place_of(origin: Origin, hops: int) -> str:
    """The name under which a record's source partition is listed in `seen`: one for each key it came by."""
    place = f"{origin.topic}/{origin.partition}"
    return f"{place}#{_key_hash(origin.key)}" if hops else place


def moved_place(place: str, key: str) -> str:
    """The name of a place of `key`'s own record in the record that it moves to."""
    return place if "#" in place else f"{place}#{_key_hash(key)}"


def mark_of(origin: Origin, message_id: str) -> bytes:
    """What an event is known by where it passed: the same for a client's repeat of it."""
    what = message_id or f"{origin.topic}/{origin.partition}/{origin.offset}"
    return blake2b(f"{len(origin.key)} {origin.key} {what}".encode(), digest_size=MARK_BYTES).digest()


def hidden(key: str) -> str:
    """A name for somebody who was erased, of which only their own key can be told to be the one."""
    return f"#{_key_hash(key)}"


def _key_hash(key: str) -> str:
    return blake2b(key.encode(), digest_size=6).hexdigest()


def encode_checkpoint(mark: int) -> bytes:
    """The value under CHECKPOINT_KEY."""
    return _encoder.encode(mark)


def decode_checkpoint(value: bytes) -> int:
    """The state offset of a checkpoint's value."""
    return msgspec.msgpack.decode(value, type=int)
