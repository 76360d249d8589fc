"""One tenure of one owned partition: each person's lane, their state writes, and what must happen after each ack.

A lane is a person with work: their events wait in it in order while a send of theirs is open. Every change of a person
is one state record; what follows from it (the request, the delivery event, the completed source offset) happens only
after its ack. Nothing here awaits but `drain`, so no lock is needed.

At every point a crash is safe: before a write's ack nothing of it has happened and the event is read again; after a
posting's ack the restart finds it and calls it unknown; after an outcome's ack the restart finds it in `out`.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush

from streamer.core import plan, state
from streamer.core.commit_tracker import CommitTracker
from streamer.core.delivery import Answer, Decision, Message, delivery_event
from streamer.core.hop import event_of_hop
from streamer.core.rules import RuleSet
from streamer.core.state import HELD_BYTES_MAX, HELD_MAX, OUT_MAX, Person, Send
from streamer.errors import BadRecord
from streamer.pipeline.dead_letters import DeadLetters
from streamer.pipeline.sender import Sender
from streamer.ports import Clock, Partition, Record, RecordSink, StateStore
from streamer.telemetry import (
    EVENTS_REJECTED,
    EVENTS_TAKEN,
    LATE_ANSWERS,
    RECORDS_REPEATED,
    events_matched,
    sends_decided,
)


@dataclass(frozen=True)
class Services:
    """What every assignment of an owner shares."""

    mappings: RuleSet
    store: StateStore
    state_sink: RecordSink
    event_sink: RecordSink
    letters: DeadLetters
    senders: Mapping[str, Sender]
    clock: Clock
    jitter: random.Random
    state_topic: str
    deliveries_topic: str


class Lane:
    """One person with work, and their events that wait for it in order."""

    __slots__ = (
        "events",
        "is_dirty",
        "is_in_line",
        "is_refused",
        "key",
        "offsets",
        "person",
        "posting",
        "publishing",
        "writes",
    )

    def __init__(self, key: bytes, person: Person) -> None:
        self.key = key
        self.person = person
        self.events: deque[Record] = deque()
        self.offsets: list[int] = []  # source offsets that the next write completes
        self.publishing: set[bytes] = set()  # send ids of `out` that are on their way, or will be at a write's ack
        self.posting: Posting | None = None
        self.writes = 0  # not yet acked
        self.is_dirty = False
        self.is_in_line = False
        self.is_refused = False  # a refusal is not written yet

    def is_blocked(self) -> bool:
        """The next event must wait: a send is due or open, or too many are held or outcomes unacked."""
        person = self.person
        if person.due or len(person.out) >= OUT_MAX:
            return True
        return bool(person.held) and (person.retries() >= HELD_MAX or person.held_bytes() >= HELD_BYTES_MAX)

    def is_finished(self) -> bool:
        """Nothing is left to do that needs this lane in memory."""
        busy = self.events or self.person.due or self.writes or self.publishing or self.is_dirty
        return not busy


class Posting:
    """One attempt from its intent to its answer; the `Job` of a sender."""

    __slots__ = ("_assignment", "is_queued", "is_written", "lane", "send")

    def __init__(self, assignment: "Assignment", lane: Lane, send: Send) -> None:
        self._assignment = assignment
        self.lane = lane
        self.send = send
        self.is_written = False
        self.is_queued = False  # given to the sender, and not started

    @property
    def message(self) -> Message:
        """What to post."""
        return self.send.message

    def start(self) -> bool:
        """Asked right before the request leaves. False: the tenure ends, and the posting has been taken back."""
        return self._assignment.may_start(self)

    def settle(self, answer: Answer) -> None:
        """Told the answer, once."""
        self._assignment.settle(self, answer)


class Assignment:
    """One tenure of one partition, beginning to read at `position`; its changelog was restored up to `state_end`."""

    def __init__(self, partition: int, services: Services, position: int, state_end: int) -> None:
        self.partition = partition
        self.tracker = CommitTracker(position)
        self.is_draining = False
        self._is_over = False
        self._services = services
        self._now_ms = services.clock.now_ms
        self._lanes: dict[bytes, Lane] = {}
        self._timers: list[tuple[int, bytes]] = []  # (due ms, key) of every held send
        self._effects = CommitTracker(state_end)  # state offsets whose outcomes are not all published
        self._effects_left: dict[int, int] = {}  # how many, by state offset
        self._checkpoint = 0
        self._requests = 0  # postings given to a sender and not yet answered
        self._quiet = asyncio.Event()
        self._state = Partition(services.state_topic, partition)
        self._deliveries = Partition(services.deliveries_topic, partition)

    @property
    def records_waiting(self) -> int:
        """Records read and not complete, wherever they wait: what backpressure looks at."""
        return self.tracker.in_flight

    @property
    def sends_held(self) -> int:
        """Sends that wait for their next attempt, or for their own time."""
        return len(self._timers)

    def accept(self, records: Sequence[Record]) -> None:
        """Take records in offset order: each goes to its person's lane, and each lane on as far as it can."""
        if self.is_draining:
            return
        touched: dict[bytes, Lane] = {}
        for record in records:
            self.tracker.track(record.offset, len(record.value or b""))
            key = record.key or b""
            lane = self._lane(key)
            lane.events.append(record)
            touched[key] = lane
        for lane in touched.values():
            self._go_on(lane)

    def owe(self, at: int) -> None:
        """Let no checkpoint pass the state offset `at`: its outcomes are published once `recover` takes it up."""
        self._effects.track(at)

    def recover(self, key: bytes, at: int, *, is_published: bool) -> None:
        """Take up what a restored person had left to do. Called in ascending order of the record's state offset `at`.

        `is_published` says that the outcomes listed in `out` are known to be on the topic.
        """
        value = self._services.store.get(self.partition, key)
        assert value is not None
        lane = self._lanes[key] = Lane(key, state.decode(value))
        person = lane.person
        if is_published:
            person.out.clear()
        elif person.out:
            lane.publishing.update(person.out)
            self._publish(lane, list(person.out), at, is_new=False)
        if plan.interrupted(person, self._now_ms()):
            lane.is_dirty = True
        for send in person.held:
            heappush(self._timers, (send.until_ms, key))
        self._go_on(lane)

    def tick(self) -> None:
        """Release the held sends whose time has come."""
        now_ms = self._now_ms()
        while self._timers and self._timers[0][0] <= now_ms and not self.is_draining:
            lane = self._lane(heappop(self._timers)[1])
            plan.release(lane.person, now_ms)
            self._go_on(lane)

    def settled_offset(self) -> int:
        """The state offset below which every write is in the store and every outcome published."""
        return self._effects.low_water_mark()

    def write_checkpoint(self) -> None:
        """Note in the changelog up to where every outcome is published, so that a restore need not repeat them."""
        mark = self.settled_offset()
        if mark > self._checkpoint and not self._is_over:
            self._checkpoint = mark
            self._services.state_sink.append(self._state, state.CHECKPOINT_KEY, state.encode_checkpoint(mark))

    async def drain(self) -> None:
        """Start nothing more, and return when no request is in flight and every write is acked."""
        self.is_draining = True
        for lane in list(self._lanes.values()):
            if lane.posting is not None and lane.posting.is_queued:
                lane.posting.is_queued = False
                self._ended_request()
                self._take_back(lane.posting)
            elif lane.is_dirty:
                self._write(lane)
        await self._services.state_sink.flush()
        while self._requests:
            self._quiet.clear()
            await self._quiet.wait()
        await self._services.state_sink.flush()
        await self._services.event_sink.flush()
        self.write_checkpoint()
        await self._services.state_sink.flush()

    def close(self) -> None:
        """The tenure is over: later acks and answers change nothing. Its slots are given back."""
        self.is_draining = self._is_over = True
        for lane in self._lanes.values():
            if lane.posting is not None:
                self._sender(lane.posting.send).release()
        self._lanes.clear()

    def may_start(self, posting: Posting) -> bool:
        """Whether an acked posting may leave now; one of a tenure that ends has been taken back."""
        may_start = posting.is_queued and not self.is_draining
        posting.is_queued = False
        return may_start

    def settle(self, posting: Posting, answer: Answer) -> None:
        """Store the answer of a request, and go on with the person."""
        if self._is_over:
            LATE_ANSWERS.inc()  # the next owner calls this send unknown
            return
        lane = posting.lane
        held = plan.settle(lane.person, answer, self._now_ms(), self._services.jitter.random())
        lane.posting = None
        lane.is_dirty = True
        if held is not None:
            lane.is_refused = True
            heappush(self._timers, (held.until_ms, lane.key))
        self._go_on(lane)
        self._sender(posting.send).release()
        self._ended_request()

    def _sender(self, send: Send) -> Sender:
        return self._services.senders[send.message.account]

    def _lane(self, key: bytes) -> Lane:
        """The person's lane, made if there is none.

        What the stored record lists in `out` then is published: a lane stays until its outcomes are.
        """
        lane = self._lanes.get(key)
        if lane is None:
            value = self._services.store.get(self.partition, key)
            person = Person() if value is None else state.decode(value)
            person.out.clear()
            lane = self._lanes[key] = Lane(key, person)
        return lane

    def _go_on(self, lane: Lane) -> None:
        """Handle the lane's events until one must wait, begin what is due, write what changed, drop what is done."""
        if not self.is_draining:
            self._advance(lane)
        if lane.is_dirty and not self._may_defer(lane):
            self._write(lane)
        if lane.is_finished():
            self._lanes.pop(lane.key, None)

    def _advance(self, lane: Lane) -> None:
        while True:
            while lane.events and not lane.is_blocked():
                self._handle(lane, lane.events.popleft())
            if lane.posting is not None or lane.is_in_line or not lane.person.due:
                return
            sender = self._sender(lane.person.due[0])
            if not sender.acquire(partial(self._granted, lane, sender)):
                lane.is_in_line = True
                return
            if self._begin(lane):
                return

    def _granted(self, lane: Lane, sender: Sender) -> None:
        """The lane has come to the front of a sender's line and holds a slot of it."""
        lane.is_in_line = False
        if self.is_draining or self._sender(lane.person.due[0]) is not sender:
            sender.release()  # a released send of another account may have come first meanwhile
        else:
            self._begin(lane)
        self._go_on(lane)

    def _begin(self, lane: Lane) -> bool:
        """Open the first due send with the slot just taken; False if it can't leave now, and the slot is free again."""
        sender = self._sender(lane.person.due[0])
        send = plan.begin(lane.person, self._now_ms())
        lane.is_dirty = True
        if send is None or not send.is_posting:
            if send is not None:
                heappush(self._timers, (send.until_ms, lane.key))
            sender.release()
            return False
        lane.posting = Posting(self, lane, send)
        return True

    def _may_defer(self, lane: Lane) -> bool:
        """A decided send in line for a slot needs no write of its own: after a crash its event is read again.

        Unless an outcome, a refusal (the changelog still says posting), or the end of the tenure wants the write now.
        """
        is_urgent = lane.is_refused or len(lane.publishing) != len(lane.person.out)
        return lane.is_in_line and not is_urgent and not self.is_draining

    def _handle(self, lane: Lane, record: Record) -> None:
        """Apply one event to its person; or make it a dead letter."""
        try:
            origin, event = event_of_hop(record.key, record.value, record.headers)
        except BadRecord as bad:
            self._services.letters.put(record, bad, partial(self._resolved, record.offset))
            return
        applied = plan.apply_event(lane.person, event, origin, self._services.mappings, self._now_ms())
        if applied.rejected:
            EVENTS_REJECTED.labels(applied.rejected).inc()
        if applied.taken:
            EVENTS_TAKEN.labels(applied.taken).inc()
        for send in applied.held:
            heappush(self._timers, (send.until_ms, lane.key))
        for mapping in applied.matched:
            events_matched(mapping).inc()
        if applied.is_changed:
            lane.is_dirty = True
            lane.offsets.append(record.offset)
        elif not applied.repeated:
            self.tracker.resolve(record.offset)
        for send_id in applied.repeated:
            is_last = not applied.is_changed and send_id is applied.repeated[-1]
            self._repeat(lane, send_id, record.offset if is_last else None)

    def _write(self, lane: Lane) -> None:
        """Write the person; what follows from the write happens at its ack."""
        value = state.encode(lane.person)
        fresh = [send_id for send_id in lane.person.out if send_id not in lane.publishing]
        lane.publishing.update(fresh)
        offsets, lane.offsets = lane.offsets, []
        posting = lane.posting if lane.posting is not None and not lane.posting.is_written else None
        if posting is not None:
            posting.is_written = True
        lane.writes += 1
        lane.is_dirty = lane.is_refused = False
        on_ack = partial(self._acked, lane, value, offsets, fresh, posting)
        self._services.state_sink.append(self._state, lane.key, value, None, on_ack)

    def _acked(
        self,
        lane: Lane,
        value: bytes,
        offsets: list[int],
        fresh: list[bytes],
        posting: Posting | None,
        at: int,
    ) -> None:
        """A state record is safe: keep it, complete its source offsets, publish its outcomes, let its posting leave.

        The store has it only now, and never once the tenure is over: the next one reads it from the changelog. Until
        then the lane holds what is newer, so nobody reads the store for this key.
        """
        lane.writes -= 1
        for offset in offsets:
            self.tracker.resolve(offset)
        if self._is_over:
            return
        self._services.store.put(self.partition, lane.key, value)
        at = max(at, self._effects.position)  # -1: the broker did not say where, but it is not before the last one
        self._effects.advance(at + 1)
        if fresh:
            self._publish(lane, fresh, at, is_new=True)
        if posting is not None and self.is_draining:
            self._take_back(posting)
        elif posting is not None:
            self._requests += 1
            posting.is_queued = True
            self._sender(posting.send).submit(posting)
        if lane.is_finished():
            self._lanes.pop(lane.key, None)

    def _publish(self, lane: Lane, fresh: list[bytes], at: int, *, is_new: bool) -> None:
        """Produce the delivery events of outcomes first listed by the state record at offset `at`.

        Those that are not new were counted as decided by the process that wrote them.
        """
        self._effects.track(at)
        self._effects_left[at] = len(fresh)
        for send_id in fresh:
            decision = lane.person.decision(send_id)
            assert decision is not None  # a decision listed in `out` is never evicted
            if is_new:
                sends_decided(decision.mapping, decision.outcome, decision.reason).inc()
            else:
                RECORDS_REPEATED.inc()
            self._produce(lane, decision, partial(self._published, lane, send_id, at))

    def _published(self, lane: Lane, send_id: bytes, at: int, _offset: int) -> None:
        if self._is_over:
            return
        lane.person.out.remove(send_id)
        lane.publishing.discard(send_id)
        self._effects_left[at] -= 1
        if not self._effects_left[at]:
            del self._effects_left[at]
            self._effects.resolve(at)
        self._go_on(lane)

    def _repeat(self, lane: Lane, send_id: bytes, offset: int | None) -> None:
        """Publish a stored outcome again, under the same messageId; then complete the offset."""
        decision = lane.person.decision(send_id)
        if decision is None:
            return  # evicted by a decision of the same event, whose write completes the offset
        RECORDS_REPEATED.inc()
        self._produce(lane, decision, None if offset is None else partial(self._resolved, offset))

    def _produce(self, lane: Lane, decision: Decision, on_ack: Callable[[int], None] | None) -> None:
        event = delivery_event(lane.key.decode(), decision)
        self._services.event_sink.append(self._deliveries, lane.key, event, None, on_ack)

    def _take_back(self, posting: Posting) -> None:
        """Write a posting whose request never left as due again, for the next owner."""
        plan.unbegin(posting.lane.person)
        posting.lane.posting = None
        self._sender(posting.send).release()
        self._write(posting.lane)

    def _ended_request(self) -> None:
        self._requests -= 1
        if not self._requests:
            self._quiet.set()

    def _resolved(self, offset: int, _acked_at: int) -> None:
        self.tracker.resolve(offset)
