"""One tenure of one owned partition: each person's lane, their state writes, and what must happen after each ack.

A lane is a person with work: their events wait in it in order while a send of theirs is open. Every change of a person
is one state record; what follows from it (the request, the delivery event, the completed source offset) happens only
after its ack. Nothing here awaits but `drain`, so no lock is needed.

At every point a crash is safe: before a write's ack nothing of it has happened and the event is read again; after a
posting's ack the restart finds it and calls it unknown; after an outcome's ack the restart finds it in `out`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import Final

from streamer.core import attempts, following, leaving, plan, state
from streamer.core.attempts import Moment
from streamer.core.commit_tracker import CommitTracker
from streamer.core.delivery import Answer
from streamer.core.fair import Group
from streamer.core.handling import handle
from streamer.core.hop import Hop, read_hop
from streamer.core.sends import BREAKER, Send
from streamer.core.state import Person
from streamer.core.wheel import TimerWheel
from streamer.errors import BadRecord
from streamer.pipeline.claims import Claim
from streamer.pipeline.counted import count
from streamer.pipeline.dispatch import GO, LINE, Dispatcher
from streamer.pipeline.effects import Effects
from streamer.pipeline.held import Held
from streamer.pipeline.lane import Lane, Posting, Requests, Services, Write
from streamer.pipeline.lease import Gate
from streamer.pipeline.looks import Looks
from streamer.pipeline.outbox import Outbox
from streamer.pipeline.publishing import Publishing
from streamer.ports import Partition, Record
from streamer.telemetry import LATE_ANSWERS

RING_AGAIN_MS: Final = 1_000  # who was rung and could not go on is rung again
RINGS_A_TICK: Final = 100  # people looked at in one turn of the loop: 1 ms, and 10 where all of them are decided


class Assignment:
    """One tenure of one partition, beginning to read at `position`; restored up to its claim at the offset `epoch`.

    `on_gap` is called with it when somebody else is seen to write there.
    """

    def __init__(
        self,
        partition: int,
        services: Services,
        position: int,
        epoch: int,
        on_gap: Callable[["Assignment"], None] = lambda _: None,
    ) -> None:
        self.partition = partition
        self.tracker = CommitTracker(position)
        self.is_draining = False
        self.handled_ms = 0  # everything that reached the inputs before has been handled here; 0: unknown
        self._is_over = False
        self._services = services
        self._now_ms = services.clock.now_ms
        self._lanes: dict[bytes, Lane] = {}
        self.held = Held(services, self)
        self.wheel = TimerWheel()  # people of whom something is given up or released by the handled time
        self._effects = Effects(epoch + 1)
        self._looks = Looks(services, self._moment, self._looked)
        self._requests = Requests()  # postings given to a dispatcher and not yet answered
        changelog = Partition(services.state_topic, partition)
        self.claim = Claim(services.state_sink, changelog, epoch, partial(on_gap, self))
        self._gate = Gate(services.lease, services.freshness, services.clock.now_s)
        self.crowd_share = self._gate.crowd_share
        self._outbox = Outbox(services, partition)
        self._publishing = Publishing(self._effects, self._outbox, self._go_on)

    def accept(self, records: Sequence[Record]) -> None:
        """Take records in offset order: handled or waiting in their lanes; what they make of a person is one write."""
        if self.is_draining:
            return
        touched: dict[bytes, Lane] = {}
        for record in records:
            self.tracker.track(record.offset, len(record.value or b""))
            key = record.key or b""
            lane = touched.get(key)
            if lane is None:
                lane = touched[key] = self._lane(key)
            if (lane.events or lane.is_blocked()) and not lane.may_overtake(record):
                lane.events.append(record)
            else:
                self._handle(lane, record)
        for lane in touched.values():
            self._go_on(lane)

    def owe(self, at: int) -> None:
        """Let no checkpoint pass the state offset `at`: its outcomes are published once `recover` takes it up."""
        self._effects.owe(at)

    def recover(self, key: bytes, at: int, *, is_published: bool) -> None:
        """Take up what a restored person had left to do. Called in ascending order of the record's state offset `at`.

        `is_published` says that the outcomes listed in `out` are known to be on the topic.
        """
        value = self._services.store.get(self.partition, key)
        assert value is not None
        lane = self._lanes[key] = Lane(key, state.decode(value))
        person = lane.person
        if is_published:
            lane.is_dirty = bool(person.outgoing)
            person.out.clear()
            person.outgoing.clear()
        elif person.out or person.outgoing:
            lane.publishing.update(person.out)
            lane.sending = len(person.outgoing)
            self._publishing.publish(lane, list(person.out), list(person.outgoing), at, is_new=False)
        if attempts.interrupted(person, self._moment(lane)):
            lane.is_dirty = True
        self.held.note(lane.key, person.held)
        self._go_on(lane)

    def remind(self, key: bytes, timer_ms: int) -> None:
        """Take up the timer of a restored person, whose record need not be read for it."""
        self.wheel.add(key, timer_ms)

    def tick(self) -> None:
        """Release and give up what has come to its time: retries by the wall's, all else by the handled time."""
        now_ms = self._now_ms()
        for key in self._gate.opened():
            if key in self._lanes:
                self._go_on(self._lanes[key])
        if self._gate.crowd_share() >= 1:
            return
        for key in () if self.is_draining else islice(self.held.due(now_ms), RINGS_A_TICK):
            lane = self._lane(key)
            attempts.release(lane.person, now_ms, 0, self._services.dispatchers)
            self._go_on(lane)
        for key in () if self.is_draining else self.wheel.due(self.handled_ms, RINGS_A_TICK):
            self.ring(key, may_wait=True)

    def ring(self, key: bytes, *, may_wait: bool = False) -> None:
        """A person's time has come; or had, before their record changed. `may_wait`: for a sender that is busy."""
        if self.is_draining:
            return
        lane = self._lanes.get(key)
        if lane is None:
            value = self._services.store.get(self.partition, key)
            if value is None or not 0 < state.timer_ms(value) <= self.handled_ms:
                return
            if may_wait and self.held.defer(key, state.decode_waiting(value), self.handled_ms):
                return
            lane = self._lane(key)
        lane.timer_ms = 0  # it rang: what still has this time, as where too much would be due, is rung again
        moment, now_ms = self._moment(lane), self._now_ms()
        is_given_up = plan.ring(lane.person, moment.rules, self.handled_ms, now_ms, moment.passage)
        attempts.release(lane.person, now_ms, self.handled_ms)
        self._looks.begin(lane, self.handled_ms)
        is_given_up |= following.end_overdue(lane.person, self.handled_ms, self._moment(lane))
        if is_given_up or lane.is_over(self.handled_ms):
            lane.is_dirty = True
        elif 0 < lane.person.timer_ms() <= self.handled_ms:  # too much is due, or the wall's clock was set back
            self.wheel.add(key, self.handled_ms + RING_AGAIN_MS)
        self._go_on(lane)

    def _looked(self, lane: Lane, held: Sequence[Send]) -> None:
        """One of a person's unknown sends was judged by the gateway's list; `held` is to be attempted again."""
        if not self._is_over:
            self.held.note(lane.key, held)
            self._go_on(lane)

    def settled_offset(self) -> int:
        """The state offset below which every write is in the store and every outcome published."""
        return self._effects.settled()

    def write_checkpoint(self) -> None:
        """Note in the changelog up to where every outcome is published, so that a restore need not repeat them."""
        mark = 0 if self._is_over else self._effects.moved()
        if mark:
            self.claim.append(state.CHECKPOINT_KEY, state.encode_checkpoint(mark))

    async def drain(self) -> None:
        """Start nothing more, and return when no request is in flight and every write is acked."""
        self.is_draining = True
        for lane in list(self._lanes.values()):
            if lane.posting is not None and lane.posting.is_queued:
                lane.posting.is_queued = False
                self._requests.end()
                self._take_back(lane.posting)
            elif lane.is_dirty:
                self._write(lane)
        await self._flush()
        await self._requests.ended()
        await self._flush()
        await self._services.event_sink.flush()
        self.write_checkpoint()
        await self._flush()

    async def _flush(self) -> None:
        """Return when every state record is safe, and was acted upon."""
        await self._services.state_sink.flush()
        await self.claim.settled()

    def close(self) -> None:
        """The tenure is over: later acks and answers change nothing. Its slots are given back."""
        self.is_draining = self._is_over = self._publishing.is_over = True
        self.claim.close()
        for lane in self._lanes.values():
            if lane.posting is not None:
                self._dispatcher(lane.posting.send).release()
        self._lanes.clear()
        for dispatcher in self._services.dispatchers.values():
            dispatcher.leave(self)

    def may_start(self, posting: Posting) -> bool:
        """Whether an acked posting may leave now; else it has been taken back, by a drain before this."""
        if not posting.is_queued or self.is_draining:
            return False
        posting.is_queued = False
        lane = posting.lane
        if leaving.confirm(lane.person, self._moment(lane)):
            if self._gate.lets(lane.key) and self._dispatcher(posting.send).may_leave(posting):
                return True
            attempts.unbegin(lane.person)
        self._forgo(posting)
        return False

    def _forgo(self, posting: Posting) -> None:
        """Go on without a request whose posting is on the changelog: that it never left is written at once."""
        lane = posting.lane
        lane.posting = None
        lane.is_dirty = lane.is_refused = True
        self._go_on(lane)
        self._dispatcher(posting.send).forgo(posting)
        self._requests.end()

    def write_again(self, key: bytes) -> None:
        """Write a person as we know them behind a record of somebody who had lost the partition."""
        if key in self._lanes:
            return self._write(self._lanes[key])
        value = self._services.store.get(self.partition, key)
        fresh = None if value is None else state.with_epoch(value, self.claim.epoch)
        return self.claim.append(key, fresh, self._kept, key, fresh)

    def _kept(self, key: bytes, value: bytes | None, at: int) -> None:
        self._services.store.put(self.partition, key, value)
        self._effects.written(at)

    def settle(self, posting: Posting, answer: Answer) -> None:
        """Store the answer of a request, and go on with the person; after the tenure it goes to the next owner."""
        lane = posting.lane
        if self._is_over:
            LATE_ANSWERS.inc()
            self._outbox.hand_on(lane.key, posting.send, answer)
            return
        held = attempts.settle(lane.person, answer, self._moment(lane))
        lane.posting = None
        lane.is_dirty = True
        if held is not None:
            lane.is_refused = True
            self.held.note(lane.key, [held])
        self._go_on(lane)
        self._dispatcher(posting.send).release()
        self._requests.end()

    def _moment(self, lane: Lane) -> Moment:
        services = self._services
        jitter = services.jitter.random()
        return Moment(lane.key.decode(), services.mappings, self._now_ms(), jitter, services.suppressions)

    def _dispatcher(self, send: Send) -> Dispatcher:
        return self._services.dispatchers[send.message.account]

    def _lane(self, key: bytes) -> Lane:
        """The person's lane, made if there is none.

        What the stored record lists in `out` and `outgoing` then is published: a lane stays until its outcomes are.
        """
        lane = self._lanes.get(key)
        if lane is None:
            value = self._services.store.get(self.partition, key)
            person = Person() if value is None else state.decode(value)
            person.out.clear()
            person.outgoing.clear()
            lane = self._lanes[key] = Lane(key, person)
            lane.timer_ms = 0 if value is None else state.timer_ms(value)
        return lane

    def _go_on(self, lane: Lane) -> None:
        """Handle the lane's events until one must wait, begin what is due, write what changed, drop what is done."""
        if not self.is_draining:
            self._advance(lane)
        if lane.is_dirty and (self.is_draining or not lane.may_defer()):
            self._write(lane)
        if lane.is_finished():
            self._lanes.pop(lane.key, None)

    def _advance(self, lane: Lane) -> None:
        lone = frozenset() if lane.is_of_sends else self._services.lone_senders
        if lone and lane.person.held:  # by a configuration that shared them
            attempts.release_for(lane.person, lone)
        has_homes = bool(lone) or self._services.mappings.counting.by_number
        while True:
            while lane.events and not lane.is_blocked():
                self._handle(lane, lane.events.popleft())
            if lane.posting is not None or lane.is_in_line or not lane.person.due:
                return
            send = lane.person.due[0]
            dispatcher = self._services.dispatchers.get(send.message.account)
            if dispatcher is None:  # its account was taken out of the configuration
                attempts.give_back(lane.person, self._moment(lane), "account_removed")
                lane.is_dirty = True
                continue
            if has_homes and (home := leaving.home_of(send, self._moment(lane), lone)):
                leaving.send_away(lane.person, self._moment(lane), home)
                lane.is_dirty = True
                continue
            if not self._gate.lets(lane.key):
                return
            if not leaving.may_leave(lane.person, self._moment(lane)):  # before a pace or a slot is taken for it
                lane.is_dirty = True
                continue
            send = lane.person.due[0]
            verdict = dispatcher.ask(send)
            if verdict == LINE:
                self.held.queue(lane.key, send, is_held=False)
                lane.is_in_line = True
                return
            if verdict == GO:
                if self._begin(lane, dispatcher):
                    return
                continue
            lane.is_dirty = lane.is_refused = True
            if verdict == BREAKER and leaving.turn_aside(lane.person):
                continue
            if attempts.hold(lane.person, self._moment(lane), verdict) is not None:
                self.held.queue(lane.key, send, is_held=True)

    def wake(self, key: bytes, account: str, sender: str, group: Group, *, is_held: bool) -> None:
        """A send of this person may go now: it asks again, or, being another's turn meanwhile, later."""
        if self.is_draining:
            return
        lane = self._lane(key)
        if is_held:
            attempts.release_queued(lane.person, account, sender, group)
        else:
            lane.is_in_line = False
        self._go_on(lane)

    def _begin(self, lane: Lane, dispatcher: Dispatcher) -> bool:
        """Open the first due send with the slot just taken; False if it can't leave now, and the slot is free again."""
        lane.is_dirty = True
        send = leaving.start(lane.person, self._moment(lane))
        if send is None:
            dispatcher.release()
            return False
        lane.posting = Posting(self, lane, send)
        dispatcher.may_leave(lane.posting)  # it was asked; now it may be a probe
        return True

    def _handle(self, lane: Lane, record: Record) -> None:
        """Have one record change its person or go on to another; or make it a dead letter."""
        held = lane.person.held.copy()
        try:
            hop = read_hop(record.key, record.value, record.headers)
            handled = handle(
                lane.person,
                lane.key.decode(),
                hop,
                self._services.mappings,
                self._now_ms(),
                self._services.suppressions,
            )
        except BadRecord as bad:
            self._services.letters.put(record, bad, partial(self._resolved, record.offset))
            return
        if handled.forward:
            lane.forwarding += 1
            self._outbox.forward(hop, handled, partial(self._forwarded, lane, record.offset, hop))
            return
        applied = handled.applied
        count(applied, is_stranded=handled.is_stranded)
        if lane.person.held:
            self.held.note(lane.key, [send for send in lane.person.held if send not in held])
        if applied.is_changed:
            lane.is_dirty = True
            lane.offsets.append(record.offset)
        elif not applied.repeated:
            self.tracker.resolve(record.offset)
        for send_id in applied.repeated:
            is_last = not applied.is_changed and send_id is applied.repeated[-1]
            on_ack = partial(self._resolved, record.offset) if is_last else None
            self._publishing.repeat(lane, send_id, on_ack)

    def _forwarded(self, lane: Lane, offset: int, hop: Hop) -> None:
        """A record has gone on to who it belongs to. That is noted only now: until then it is read again."""
        lane.forwarding -= 1
        if self._is_over:
            return
        place = state.place_of(hop.origin, hop.hops)
        if lane.person.may_have_seen(place, hop.origin.offset):
            self.tracker.resolve(offset)
        else:
            lane.person.note_seen(place, hop.origin.offset)
            lane.offsets.append(offset)
            lane.is_dirty = True
        self._go_on(lane)

    def _write(self, lane: Lane) -> None:
        """Write the person; what follows from the write happens at its ack."""
        value = None if lane.is_over(self.handled_ms) else state.encode(lane.person, self.claim.epoch)
        fresh: list[bytes] = []
        if len(lane.publishing) < len(lane.person.out):
            fresh = [send_id for send_id in lane.person.out if send_id not in lane.publishing]
            lane.publishing.update(fresh)
        outgoing = () if lane.sending else tuple(lane.person.outgoing)
        lane.sending = lane.sending or len(outgoing)
        offsets, lane.offsets = lane.offsets, []
        posting = lane.posting if lane.posting is not None and not lane.posting.is_written else None
        if posting is not None:
            posting.is_written = True
        lane.writes += 1
        lane.is_dirty = lane.is_refused = False
        if value is not None:
            self._set_timer(lane)
        write = Write(value, tuple(offsets), tuple(fresh), outgoing, posting)
        self.claim.append(lane.key, value, self._acked, lane, write)

    def _set_timer(self, lane: Lane) -> None:
        timer_ms = lane.person.timer_ms()
        if timer_ms and timer_ms != lane.timer_ms:
            self.wheel.add(lane.key, timer_ms)
        lane.timer_ms = timer_ms

    def _acked(self, lane: Lane, write: Write, at: int) -> None:
        """A state record is safe: keep it, complete its source offsets, produce what it lists, let its posting leave.

        The store has it only now, and never once the tenure is over: the next one reads it from the changelog. Until
        then the lane holds what is newer, so nobody reads the store for this key.
        """
        lane.writes -= 1
        for offset in write.offsets:
            self.tracker.resolve(offset)
        if self._is_over:
            return
        self._services.store.put(self.partition, lane.key, write.value)
        at = self._effects.written(at)
        if write.fresh or write.outgoing:
            self._publishing.publish(lane, write.fresh, write.outgoing, at, is_new=True)
        posting = write.posting
        if posting is not None and self.is_draining:
            self._take_back(posting)
        elif posting is not None:
            self._requests.begin()
            posting.is_queued = True
            self._dispatcher(posting.send).submit(posting)
        if lane.person.followed and not self.is_draining:
            self._looks.recall(lane, self._now_ms())
        if lane.is_finished():
            self._lanes.pop(lane.key, None)

    def _take_back(self, posting: Posting) -> None:
        """Write a posting whose request never left as due again, for the next owner."""
        attempts.unbegin(posting.lane.person)
        posting.lane.posting = None
        self._dispatcher(posting.send).forgo(posting)
        self._write(posting.lane)

    def _resolved(self, offset: int, _acked_at: int) -> None:
        self.tracker.resolve(offset)
