"""Tenures that end or crash in the middle of something: what a restore takes up, and what a repeat may say."""

import asyncio
import json
import random
from collections.abc import Callable

from streamer.core import state
from streamer.core.channels import Sender
from streamer.core.delivery import ACCEPTED, Decision, Origin, send_id
from streamer.core.hop import EVENT, headers_of
from streamer.core.profile import Update, values
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import RuleDefaults, RuleSet
from streamer.core.state import Person
from streamer.core.suppressions import Suppressions
from streamer.pipeline.assignment import Assignment
from streamer.pipeline.dead_letters import DeadLetters
from streamer.pipeline.handled import InputsTime
from streamer.pipeline.lane import Services
from streamer.pipeline.owner import Owner, OwnerPlan
from streamer.pipeline.restore import RESUME_TURN, Restore
from streamer.pipeline.suppressions import SuppressionReader
from streamer.ports import Log, Partition
from streamer.store.memory import MemoryStore
from streamer.testing.fake_groups import FakeGroupOffsets
from streamer.testing.fakes import FakeChangelog, FakeSink, FakeSource, ManualClock, settle
from streamer.testing.memory_log import MemoryLog
from tests.unit.pipeline.rig import claimed, endless_freshness, endless_lease

STATE, BY_USER = Partition("state", 0), Partition("by-user", 0)
TOPICS = {"by-user": 1, "state": 1, "deliveries": 1, "dead-letters": 1, "suppressions": 1}
MAPPING = compile_rule(
    "shipped",
    {"when": 'type = "track" and event = "Shipped"', "send": {"body": "on its way"}},
    {"shop": Sender("shop", "main", number="+15550006789")},
    RuleDefaults("US", "shop", 3600.0, wait_s=0.0),
)


class Process:
    """What one process has of its own: a store, and two sinks on the log that outlives it."""

    def __init__(self, log: MemoryLog, clock: ManualClock, *, is_automatic: bool = True) -> None:
        self.store = MemoryStore()
        self.state, self.events = (FakeSink(log, is_automatic=is_automatic) for _ in range(2))
        self.services = Services(
            mappings=RuleSet.of([MAPPING]),
            store=self.store,
            state_sink=self.state,
            event_sink=self.events,
            letters=DeadLetters(self.events, "dead-letters", 1),
            dispatchers={},
            clock=clock,
            lease=endless_lease(),
            jitter=random.Random(0),
            state_topic="state",
            deliveries_topic="deliveries",
            by_user_topic="by-user",
            suppressions_topic="suppressions",
            suppressions=Suppressions(),
            freshness=endless_freshness(),
            partitions=1,
        )

    def run(self, tasks: asyncio.TaskGroup) -> None:
        for sink in (self.state, self.events):
            tasks.create_task(sink.run(), name="sink")

    async def stop(self) -> None:
        await self.state.stop()
        await self.events.stop()


def owing(number: int, clock: ManualClock) -> tuple[bytes, bytes]:
    """The key and state record of a person whose outcome was written and perhaps not published."""
    key = f"u:{number}"
    origin = Origin(key, "in", 0, number, clock.now_ms(), clock.now_ms())
    person = Person()
    sent = send_id("shipped", origin, f"m{number}")
    person.decide(Decision(sent, "shipped", "1", origin, f"m{number}", ACCEPTED, "accepted", clock.now_ms()))
    return key.encode(), state.encode(person)


async def restored(process: Process, log: MemoryLog) -> tuple[Restore, Assignment]:
    restore = Restore(FakeChangelog(log), process.store, STATE, epoch := claimed(log))
    await restore.load()
    return restore, Assignment(0, process.services, 0, epoch)


async def test_a_tenure_that_ends_while_it_resumes_leaves_the_other_outcomes_to_the_next():
    """Its last checkpoint must not say that what it had not yet taken up is published: they would be lost."""
    clock = ManualClock()
    log = MemoryLog(TOPICS, clock)
    people = [owing(number, clock) for number in range(3 * RESUME_TURN)]
    for key, value in people:
        log.append(STATE, key, value)
    process = Process(log, clock)
    async with asyncio.TaskGroup() as tasks:
        process.run(tasks)
        restore, assignment = await restored(process, log)
        resuming = tasks.create_task(restore.resume(assignment), name="resume")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not resuming.done()
        await assignment.drain()
        await resuming
        assignment.close()
        await process.stop()
    final = Process(log, clock)
    async with asyncio.TaskGroup() as tasks:
        final.run(tasks)
        restore, assignment = await restored(final, log)
        await restore.resume(assignment)
        await assignment.drain()
        await final.stop()
    published = {record.key for record in log.records("deliveries")}
    assert {key for key, _ in people} == published


class HeldChangelog:
    """Hands out what the test gives it, when the test says so."""

    def __init__(self) -> None:
        self.reads: list[tuple[Callable, asyncio.Event]] = []

    async def read(self, _partition, begin, apply, _end=None) -> int:
        await begin(Log("memory", *STATE, 0, 2, 10**9))
        go_on = asyncio.Event()
        self.reads.append((apply, go_on))
        await go_on.wait()
        records = self.given.pop(0)
        await apply(records)
        return records[-1].offset + 1


async def test_a_restore_of_an_ended_tenure_never_writes_over_that_of_the_next():
    """Both fill the same store; the older one, if slower, would bring back state of before a send."""
    clock = ManualClock()
    log = MemoryLog(TOPICS, clock)
    for text in (b"old", b"new"):
        person = Person(traits=[Update(1, "m", {"name": text.decode()})])
        log.append(STATE, b"u:1", state.encode(person))
    process, changelog = Process(log, clock), HeldChangelog()
    changelog.given = [log.read(STATE, 0, 2), log.read(STATE, 0, 1)]  # first the newer, then the older of them
    source = FakeSource(log, "owner", ["by-user"])
    inputs = InputsTime(FakeGroupOffsets(log), "router", [], clock)
    stops = SuppressionReader(process.services, changelog, FakeGroupOffsets(log))
    owner = Owner(OwnerPlan("by-user", 1.0), source, changelog, inputs, process.services, stops)
    other = FakeSource(log, "owner", [])
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        process.run(tasks)
        running = tasks.create_task(owner.run(stop), name="owner")
        await settle()
        log.group("owner").enter(other, frozenset())  # a member comes: a new tenure of the same partition begins
        log.group("owner").leave(other)
        await settle()
        first, second = changelog.reads
        second[1].set()
        await settle()
        assert owner.is_ready
        first[1].set()
        await settle()
        kept = process.store.get(0, b"u:1")
        stop.set()
        await running
        await process.stop()
    assert {"name": "new"} == values(state.decode(kept).traits)


async def test_a_repeated_event_publishes_no_outcome_that_a_crash_could_still_change():
    """Until the decision is acked a crash forgets it, and it is made again at another time: two different outcomes."""
    clock = ManualClock()
    log = MemoryLog(TOPICS, clock)
    value = json.dumps({"type": "track", "event": "Shipped", "userId": "1", "messageId": "m"}).encode()
    for offset in range(2):
        log.append(BY_USER, b"u:1", value, headers_of(EVENT, Origin("u:1", "in", 0, offset, clock.now_ms(), 0)))
    for is_last in (False, True):
        process = Process(log, clock, is_automatic=False)
        assignment = Assignment(0, process.services, 0, claimed(log))
        assignment.accept(log.read(BY_USER, 0, 2))
        for sink in (process.state, process.events) if is_last else (process.events,):
            for partition in sink.queued:
                sink.write(partition)
                sink.ack(partition)
        for partition in process.events.queued:
            process.events.write(partition)
        clock.advance(5.0)  # the first process crashes here: its state was never written
    assert 1 == len({record.value for record in log.records("deliveries")})
    assert 2 == assignment.tracker.low_water_mark()
