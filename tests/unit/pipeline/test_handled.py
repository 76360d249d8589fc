"""The time that timers go by: it follows the least of what routers say, and stands still while anything lags."""

import asyncio
import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from structlog.testing import capture_logs

from streamer.core.commit_tracker import CommitTracker
from streamer.pipeline.committer import Committer
from streamer.pipeline.dead_letters import DeadLetters
from streamer.pipeline.handled import LOOK_EVERY_S, WARN_EVERY_S, HandledTimes, InputsTime
from streamer.pipeline.router import Router, RouterPlan
from streamer.ports import End, Partition
from streamer.testing.fake_groups import FakeGroupOffsets
from streamer.testing.fakes import EPOCH_MS, FakeSink, FakeSource, ManualClock, settle
from streamer.testing.memory_log import MemoryLog
from tests.unit.pipeline.rig import BY_USER, IN, PHONE, mapping
from tests.unit.pipeline.test_owner import ACCEPTED, Process, put, shipped

FIRST, SECOND = Partition("a", 0), Partition("b", 0)
LATER_S = 10.0
CLOSE_MS = 4_000  # in this rig each step of the way takes up to a second, and there are four


def inputs_time():
    clock = ManualClock()
    log = MemoryLog({"a": 1, "b": 1}, clock)
    for place in (FIRST, SECOND, SECOND):
        log.append(place, None, b"x")  # of the second partition one is not routed yet
    groups = FakeGroupOffsets(log)
    return clock, log, groups, InputsTime(groups, "router", ["a", "b"], clock)


async def said(parts, *notes):
    """What is known just after the routers' notes were read."""
    clock, log, _, inputs = parts
    log.commit("router", {FIRST: 1, SECOND: 1}, dict(zip((FIRST, SECOND), notes, strict=True)))
    await inputs.read()
    return inputs.read_before(clock.now_s() + 0.001)


async def test_the_inputs_time_is_the_least_of_their_partitions():
    parts = inputs_time()
    assert await said(parts, f"t1:{EPOCH_MS - 5}", f"t1:{EPOCH_MS - 9}") == EPOCH_MS - 9


async def test_a_partition_of_which_nothing_is_known_stops_the_time():
    """It may hold the identify that a parked track waits for."""
    parts = inputs_time()
    assert await said(parts, "t1:500", "t1:500") == 500
    for unknown in ("", "read up to 9", "t2:900", "t1:-1"):
        assert await said(parts, "t1:900", unknown) == 500
    assert await said(parts, "t1:900", "t1:800") == 800


async def test_a_partition_that_nobody_has_committed_stops_the_time():
    """One that was added a minute ago is read by no router yet."""
    clock, log, _, inputs = inputs_time()
    log.commit("router", {FIRST: 1}, {FIRST: "t1:900"})
    await inputs.read()
    assert inputs.read_before(clock.now_s() + 1) == 0


async def test_without_notes_the_offsets_and_ends_tell_the_time():
    """Some brokers take a commit's note and forget it; nothing would ever be released on them."""
    clock, log, groups, inputs = inputs_time()
    groups.keeps_notes = False
    known = []
    for routed in (1, 1, 2, 2, 3):
        log.commit("router", {FIRST: 1, SECOND: routed}, {SECOND: f"t1:{EPOCH_MS}"})
        await inputs.read()
        clock.advance(1.0)
        known.append(inputs.read_before(clock.now_s()))
        log.append(SECOND, None, b"x")
    # Each second it asks for the end, which is 2 at first and one more each time.
    assert known == [0, 0, EPOCH_MS, EPOCH_MS, EPOCH_MS + 1_000]


async def test_a_time_that_is_lost_goes_on_by_the_offsets():
    """A router that begins a tenure has not said a time yet; an hour of lag later it may still not have."""
    parts = inputs_time()
    clock, log, _, inputs = parts
    await said(parts, f"t1:{EPOCH_MS - 9}", "")
    clock.advance(1.0)
    log.commit("router", {SECOND: 2}, {})
    await inputs.read()
    clock.advance(1.0)
    assert inputs.read_before(clock.now_s()) == EPOCH_MS - 9


async def test_a_router_whose_clock_is_ahead_is_not_believed_beyond_the_present():
    parts = inputs_time()
    assert await said(parts, *[f"t1:{EPOCH_MS + 60_000}"] * 2) == EPOCH_MS


async def test_only_what_was_read_before_a_moment_counts_for_it():
    """An end that was asked for earlier says nothing of what was routed since."""
    parts = inputs_time()
    clock, _, _, inputs = parts
    await said(parts, "t1:500", "t1:500")
    clock.advance(1.0)
    await said(parts, "t1:900", "t1:900")
    assert [inputs.read_before(moment_s) for moment_s in (0.0, 0.5, 1.0, 1.5)] == [0, 500, 500, 900]


async def test_a_time_that_stands_still_is_warned_of_after_a_while_and_not_each_second():
    parts = inputs_time()
    clock, log, groups, inputs = parts
    await said(parts, "t1:500", "t1:500")
    log.commit("router", {SECOND: 1}, {})
    with capture_logs() as logs:
        for second in range(1, int(2 * WARN_EVERY_S) + 1):
            groups.is_answering = second > WARN_EVERY_S
            clock.advance(1.0)
            await inputs.read()
    assert [(each["event"], each["seconds"]) for each in logs] == [
        ("timers.stand_still", WARN_EVERY_S),
        ("timers.stand_still", 2 * WARN_EVERY_S),
    ]
    assert "no answer" in logs[0]["why"]
    assert "b/0" in logs[1]["why"]
    assert inputs.behind_s() == (EPOCH_MS - 500) / 1000 + 2 * WARN_EVERY_S


class Ends:
    """A source whose partition ends where the test says."""

    def __init__(self):
        self.at = End(0)

    def end(self, _partition):
        return self.at


async def test_a_new_tenure_begins_not_knowing():
    """What the one before had handled, another owner may have taken up since; the tracker begins at the commit."""
    clock, source = ManualClock(), Ends()
    times = HandledTimes(source, lambda end: end.as_of_ms, clock)
    first, second = CommitTracker(5), CommitTracker(5)
    source.at = End(5, 1.0, 1_000)
    times.look([(IN, first)], clock.now_s())
    assert (times.reach(first), times.reach(second)) == (1_000, 0)
    clock.advance(LOOK_EVERY_S)
    source.at = End(9, 2.0, 2_000)
    times.look([(IN, second)], clock.now_s())
    assert (times.reach(first), times.reach(second)) == (0, 0)
    second.advance(9)
    assert times.reach(second) == 2_000


async def test_how_far_behind_is_told_of_the_oldest_and_of_the_unknown_since_it_began():
    clock, source = ManualClock(), Ends()
    times = HandledTimes(source, lambda end: end.as_of_ms, clock)
    assert times.behind_s() == 0.0  # nothing is owned
    tracker = CommitTracker(5)
    times.look([(IN, tracker)], clock.now_s())
    clock.advance(7.0)
    assert times.behind_s() == 7.0
    source.at = End(5, clock.now_s(), clock.now_ms())
    times.look([(IN, tracker)], clock.now_s())
    clock.advance(2.0)
    assert times.behind_s() == 2.0


class Whole(Process):
    """A router and an owner with their committers, over one partition of everything."""

    def __init__(self):
        super().__init__(mappings=[mapping(), mapping("later", "Later", send_at="{{properties.at}}")])
        self.hop = FakeSink(self.log)
        self.router_source = FakeSource(self.log, "router", ["in"])
        plan = RouterPlan(self.services.mappings, "by-user", 1)
        router = Router(plan, self.router_source, self.hop, DeadLetters(self.hop, "dead-letters", 1), self.clock)
        self.stages = (router, self.owner)
        self.committers = (
            Committer("router", router, self.router_source, self.clock),
            Committer("owner", self.owner, self.source, self.clock),
        )

    @property
    def handled_ms(self):
        return self.owner._assignments[BY_USER].handled_ms

    async def pass_time(self, seconds):
        """In small steps, in which every poll that waits returns."""
        for _ in range(round(seconds / 0.5)):
            self.clock.advance(0.5)
            for source in (self.router_source, self.source):
                source.nudge()
            for _ in range(3):
                await settle()
                self.ack(self.state)
                self.ack(self.events)
            await settle()

    def later(self, n, after_s=LATER_S):
        at = datetime.fromtimestamp(self.clock.now_ms() / 1000 + after_s, UTC).isoformat()
        properties = {"n": n, "phone": PHONE, "at": at}
        event = {"type": "track", "event": "Later", "userId": "1", "messageId": f"l{n}", "properties": properties}
        self.log.append(IN, None, json.dumps(event).encode())


@asynccontextmanager
async def serving():
    whole = Whole()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(whole.hop.run(), name="hop")
        stages = [tasks.create_task(stage.run(whole.stop), name="stage") for stage in whole.stages]
        helpers = [tasks.create_task(each.run(), name="committer") for each in whole.committers]
        await settle()
        yield whole
        whole.stop.set()
        while not all(stage.done() for stage in stages):
            for request in list(whole.gateway.open):
                whole.gateway.answer(request, ACCEPTED)
            await whole.go_on()
        for helper in helpers:
            helper.cancel()
        await whole.hop.stop()


async def test_an_idle_service_is_close_to_the_present():
    async with serving() as whole:
        await whole.pass_time(10.0)
        for _ in range(20):
            await whole.pass_time(1.0)
            assert whole.clock.now_ms() - CLOSE_MS <= whole.handled_ms < whole.clock.now_ms()


async def test_a_scheduled_send_that_is_due_waits_while_the_input_is_not_read():
    """After an outage the unread input may hold what changes or forbids it."""
    async with serving() as whole:
        whole.later(1)
        await whole.pass_time(LATER_S / 2)
        assert len(whole.owner._assignments[BY_USER].wheel) == 1
        whole.router_source.pause([IN])
        stood_ms = whole.handled_ms
        await whole.pass_time(2 * LATER_S)
        assert whole.bodies() == []
        assert stood_ms <= whole.handled_ms <= stood_ms + CLOSE_MS  # what was on its way
        whole.router_source.resume([IN])
        await whole.pass_time(10.0)
        assert whole.bodies() == ["later 1"]


async def test_a_scheduled_send_that_is_due_waits_while_its_partition_is_behind():
    """The input is read to its end; but one person's open send holds up what was read after it."""
    async with serving() as whole:
        whole.later(1)
        await whole.pass_time(5.0)
        put(whole, shipped(1, user="2"), shipped(2, user="2"), key=b"u:2")
        await whole.pass_time(2 * LATER_S)
        assert whole.bodies() == ["shipped 1"]  # not answered yet
        assert whole.handled_ms < EPOCH_MS + 6_000
        for _ in range(2):
            whole.gateway.answer(whole.gateway.open[0], ACCEPTED)
            await whole.go_on()
        await whole.pass_time(10.0)
        assert whole.bodies() == ["shipped 1", "shipped 2", "later 1"]


async def test_the_time_stands_still_while_the_broker_tells_nobodys_offsets():
    async with serving() as whole:
        await whole.pass_time(10.0)
        whole.groups.is_answering = False
        await whole.pass_time(1.0)
        stood_ms = whole.handled_ms
        await whole.pass_time(20.0)
        assert whole.handled_ms == stood_ms
        whole.groups.is_answering = True
        await whole.pass_time(CLOSE_MS / 1000)
        assert whole.handled_ms >= whole.clock.now_ms() - CLOSE_MS
