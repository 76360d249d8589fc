"""A person with work in memory: their records that wait in order, and the one attempt that is under way.

Read before `assignment`, whose tenure they belong to.
"""

import asyncio
import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from streamer.core import away, erasure
from streamer.core.breaker import Key
from streamer.core.delivery import Answer, Attempt, Message
from streamer.core.hop import ANSWER, CALLBACK, EVENT, RESOLVE
from streamer.core.identity import NUMBER_PREFIX, SENDER_PREFIX
from streamer.core.rules import RuleSet
from streamer.core.sends import Outgoing, Send
from streamer.core.state import HELD_BYTES_MAX, HELD_MAX, OUT_MAX, Person
from streamer.core.suppressions import Suppressions
from streamer.pipeline.dead_letters import DeadLetters
from streamer.pipeline.dispatch import Dispatcher, keys_of
from streamer.pipeline.lease import Freshness, Lease
from streamer.ports import Clock, Record, RecordSink, StateStore


@dataclass(frozen=True)
class Services:
    """What every assignment of an owner shares. `lone_senders`: those of which one partition sends everything.

    `suppressions` is the process' copy of their topic, and `freshness` says whether it is whole.
    """

    mappings: RuleSet
    store: StateStore
    state_sink: RecordSink
    event_sink: RecordSink
    letters: DeadLetters
    dispatchers: Mapping[str, Dispatcher]
    clock: Clock
    lease: Lease
    jitter: random.Random
    state_topic: str
    deliveries_topic: str
    by_user_topic: str
    suppressions_topic: str
    partitions: int
    suppressions: Suppressions
    freshness: Freshness
    lone_senders: frozenset[str] = frozenset()


_EVENT: Final = EVENT.encode()
_AFTER: Final = tuple(("kind", kind.encode()) for kind in (CALLBACK, ANSWER, RESOLVE))
_OF_SENDS: Final = (SENDER_PREFIX.encode(), NUMBER_PREFIX.encode())


class Lane:
    """One person with work, and their events that wait for it in order."""

    __slots__ = (
        "events",
        "forwarding",
        "is_dirty",
        "is_in_line",
        "is_of_sends",
        "is_refused",
        "key",
        "looking",
        "offsets",
        "person",
        "posting",
        "publishing",
        "sending",
        "timer_ms",
        "writes",
    )

    def __init__(self, key: bytes, person: Person) -> None:
        self.key = key
        self.person = person
        self.events: deque[Record] = deque()
        self.offsets: list[int] = []  # source offsets that the next write completes
        self.publishing: set[bytes] = set()  # send ids of `out` that are on their way, or will be at a write's ack
        self.posting: Posting | None = None
        self.timer_ms = 0  # when it is to be looked at by the handled time, as the wheel knows; 0: never
        self.forwarding = 0  # records on their way to another key
        self.sending = 0  # of `outgoing` so many are on their way, or will be at a write's ack
        self.looking: set[bytes] = set()  # of what the gateway is being asked: ids of unknown sends, SIDs of recalled
        self.writes = 0  # not yet acked
        self.is_dirty = False
        self.is_in_line = False
        self.is_of_sends = key.startswith(_OF_SENDS)
        self.is_refused = False  # a refusal is not written yet

    def is_blocked(self) -> bool:
        """The next record must wait: a send is due or open, the record moves on, or too much is held or unacked."""
        person = self.person
        if person.due or person.outgoing or len(person.out) >= OUT_MAX:
            return True
        if self.forwarding and not (self.events and self._may_follow(self.events[0])):
            return True
        return bool(person.held) and (person.retries() >= HELD_MAX or person.held_bytes() >= HELD_BYTES_MAX)

    def may_overtake(self, record: Record) -> bool:
        """What became of a send is heard at once: it may keep a further attempt, which is due, from being made.

        Not while the record moves on, or is another's: what is told there comes behind what it is about.
        """
        is_elsewhere = self.person.outgoing or self.forwarding or self.person.links
        return not is_elsewhere and any(header in _AFTER for header in record.headers)

    def _may_follow(self, record: Record) -> bool:
        """Whether it may be handled while others are still on their way to another key.

        What follows them there keeps their order. What changes where records go, or is noted as handled here, waits:
        after a crash those on their way are read again, and have to be told from those that arrived.
        """
        is_event = ("kind", _EVENT) in record.headers and b"delete" not in (record.value or b"")
        return is_event and len({key for _, key in self.person.links}) == 1

    def is_finished(self) -> bool:
        """Nothing is left to do that needs this lane in memory."""
        busy = self.events or self.person.due or self.writes or self.publishing or self.is_dirty
        return not (busy or self.forwarding or self.person.outgoing or self.looking)

    def may_defer(self) -> bool:
        """A decided send in line for a slot needs no write of its own: after a crash its event is read again.

        Unless an outcome, or a refusal (the changelog still says posting), wants the write now.
        """
        if not self.is_in_line or self.is_refused:
            return False
        return len(self.publishing) == len(self.person.out) and not self.person.outgoing

    def is_over(self, handled_ms: int) -> bool:
        """The record says nothing any more that could still be asked: no more than that somebody was erased, for longer
        than anything could come back; or, under a sender key, how far it took orders, alike.
        """
        person = self.person
        if not person.keep_ms or self.events or self.forwarding:
            return False
        return away.is_over(person, handled_ms) if self.is_of_sends else erasure.is_over(person, handled_ms)


class Posting:
    """One attempt from its intent to its answer; the `Job` of a sender."""

    __slots__ = ("_assignment", "is_queued", "is_written", "lane", "send")

    def __init__(self, assignment: "Tenure", lane: Lane, send: Send) -> None:
        self._assignment = assignment
        self.lane = lane
        self.send = send
        self.is_written = False
        self.is_queued = False  # given to the sender, and not started

    @property
    def message(self) -> Message:
        """What to post."""
        return self.send.message

    @property
    def attempt(self) -> Attempt:
        """Which attempt of which send it is."""
        return Attempt(self.send.id, self.send.attempt, self.lane.key.decode())

    @property
    def keys(self) -> tuple[Key, ...]:
        """The breakers that it stands behind."""
        return keys_of(self.send.message.account, self.send)

    @property
    def sender(self) -> str:
        """The sender whose pace it takes."""
        return self.send.sender

    @property
    def parts(self) -> int:
        """How many parts of it."""
        return self.send.parts

    @property
    def posted_ms(self) -> int:
        """When it began, by the wall."""
        return self.send.posted_ms

    def start(self) -> bool:
        """Asked right before the request leaves. False: the tenure ends, and the posting has been taken back."""
        return self._assignment.may_start(self)

    def settle(self, answer: Answer) -> None:
        """Told the answer, once."""
        self._assignment.settle(self, answer)


class Requests:
    """How many are under way."""

    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()

    def begin(self) -> None:
        """One more."""
        self._count += 1
        self._none.clear()

    def end(self) -> None:
        """One less."""
        self._count -= 1
        if not self._count:
            self._none.set()

    async def ended(self) -> None:
        """Return when there is none."""
        await self._none.wait()


class Write(NamedTuple):
    """What follows from one state record once it is acked.

    `value` goes into the store; the source `offsets` it completes; the send ids (`fresh`) and other records
    (`outgoing`) that it is the first to list; the `posting` whose intent it is.
    """

    value: bytes | None
    offsets: tuple[int, ...]
    fresh: tuple[bytes, ...]
    outgoing: tuple[Outgoing, ...]
    posting: Posting | None


class Tenure(Protocol):
    """What a posting belongs to."""

    def may_start(self, posting: Posting) -> bool:
        """Whether an acked posting may leave now."""

    def settle(self, posting: Posting, answer: Answer) -> None:
        """Store the answer of a request, and go on with the person."""
