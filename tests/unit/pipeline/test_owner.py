"""The owner's tenures: restored before the first record, drained before the last commit, paused when full."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from streamer.core.delivery import Accepted, Origin
from streamer.core.hop import EVENT, headers_of
from streamer.errors import StateUnreadable
from streamer.pipeline.committer import PASS_EVERY_S
from streamer.pipeline.handled import InputsTime
from streamer.pipeline.owner import REVOKE_DRAIN_S, WAITING_BYTES_MAX, WAITING_MAX, Owner, OwnerPlan
from streamer.pipeline.suppressions import SuppressionReader
from streamer.testing.fake_groups import FakeGroupOffsets
from streamer.testing.fake_zombie import ZombieSource
from streamer.testing.fakes import FakeChangelog, ManualClock, run_manually, settle
from streamer.testing.memory_log import MemoryLog
from tests.unit.pipeline.rig import BY_USER, PHONE, STATE, Rig, shipped

ACCEPTED = Accepted("", "queued", 1)


class Process(Rig):
    """A rig whose assignment an owner makes."""

    def __init__(self, **options):
        super().__init__(**options)
        self.source = ZombieSource(self.log, "owner", ["by-user"])
        self.groups = FakeGroupOffsets(self.log)
        inputs = InputsTime(self.groups, "router", ["in"], self.clock)
        self.changelog = FakeChangelog(self.log)
        stops = SuppressionReader(self.services, self.changelog, FakeGroupOffsets(self.log))
        self.owner = Owner(OwnerPlan("by-user", 12.0), self.source, self.changelog, inputs, self.services, stops)
        self.stop = asyncio.Event()

    async def go_on(self):
        for _ in range(10):
            await settle()
            self.ack(self.state)
            self.ack(self.events)
        await settle()


def put(rig, *values, key=b"u:1"):
    for value in values:
        offset = rig.log.end_offset(BY_USER)
        origin = Origin(key.decode(), "in", 0, offset, rig.clock.now_ms(), rig.clock.now_ms())
        rig.log.append(BY_USER, key, value, headers_of(EVENT, origin))


@asynccontextmanager
async def owning(process):
    async with asyncio.TaskGroup() as tasks:
        process.task = tasks.create_task(process.owner.run(process.stop), name="owner")
        await settle()
        yield process
        process.stop.set()
        for _ in range(5):
            await process.go_on()


async def test_records_become_outcomes_and_commits():
    process = Process()
    put(process, shipped(1), shipped(2, phone=None))
    async with owning(process):
        await process.go_on()
        process.gateway.answer(process.gateway.open[0], ACCEPTED)
        await process.go_on()
    assert process.outcomes() == [("accepted", "accepted", "m1"), ("suppressed", "no_phone", "m2")]
    assert process.log.group("owner").committed[BY_USER] == 2


async def test_the_first_record_finds_the_restored_profile():
    """Handled before the restore it would find nobody, and its write would wipe the profile."""
    first = Process()
    put(first, shipped(1))
    async with owning(first):
        await first.go_on()
        first.gateway.answer(first.gateway.open[0], ACCEPTED)
        await first.go_on()
    again = Process(log=first.log, clock=first.clock)
    put(again, shipped(1))
    async with owning(again):
        await again.go_on()
    assert not again.gateway.posted
    assert len({record.value for record in first.log.records("deliveries")}) == 1


async def test_it_is_ready_once_everything_is_restored():
    process = Process()
    assert not process.owner.is_ready
    for n in range(100):
        process.log.append(STATE, f"u:{n}".encode(), None)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(process.owner.run(process.stop), name="owner")
        for _ in range(6):
            await asyncio.sleep(0)
        assert not process.owner.is_ready
        await process.go_on()
        assert process.owner.is_ready
        process.stop.set()
        await process.go_on()


class Stuck(FakeChangelog):
    """One partition of it is read for as long as the test likes."""

    def __init__(self, log, partition):
        super().__init__(log)
        self.partition = partition
        self.may_end = asyncio.Event()

    async def read(self, partition, begin, apply, end=None):
        if partition.partition == self.partition:
            await self.may_end.wait()
        return await super().read(partition, begin, apply, end)


async def test_a_partition_that_is_still_restored_holds_up_no_other_and_nobody_is_told_it_is_ready():
    clock = ManualClock()
    log = MemoryLog(dict.fromkeys(("by-user", "state", "deliveries", "dead-letters", "suppressions"), 2), clock)
    process = Process(log=log, clock=clock, partitions=2)
    changelog = process.owner._changelog = Stuck(log, 1 - BY_USER.partition)
    put(process, shipped(1))
    async with owning(process):
        await process.go_on()
        process.gateway.answer(process.gateway.open[0], ACCEPTED)
        await process.go_on()
        assert [("accepted", "accepted", "m1")] == process.outcomes()
        assert not process.owner.is_ready
        changelog.may_end.set()
        await process.go_on()
        assert process.owner.is_ready


async def test_a_state_record_that_cannot_be_read_stops_the_start():
    """Going on would treat a known person as new."""
    process = Process()
    process.log.append(STATE, b"u:1", b"\x7f\x01")

    async def run():
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(process.owner.run(process.stop), name="owner")
            await process.go_on()

    with pytest.raises(ExceptionGroup) as stopped:
        await run()
    assert stopped.group_contains(StateUnreadable)


async def test_a_stop_waits_for_the_request_in_flight_and_starts_no_other():
    process = Process()
    put(process, shipped(1), shipped(2))
    async with owning(process):
        await process.go_on()
        process.stop.set()
        await process.go_on()
        assert not process.task.done()
        process.gateway.answer(process.gateway.open[0], ACCEPTED)
        await process.go_on()
        assert process.task.done()
    assert process.bodies() == ["shipped 1"]
    assert process.outcomes() == [("accepted", "accepted", "m1")]


def test_a_request_that_outlives_the_drain_is_unknown_to_the_next_owner():
    clock = ManualClock()

    async def main():
        first = Process(clock=clock)
        put(first, shipped(1))
        async with owning(first):
            await first.go_on()
            first.stop.set()
            await first.go_on()
            clock.advance(12.5)
            await first.go_on()
            assert first.task.done()
        again = Process(log=first.log, clock=clock)
        async with owning(again):
            await again.go_on()
        return again.outcomes()

    assert run_manually(main(), clock) == [("unknown", "interrupted", "m1")]


def test_a_revocation_ends_in_time_whatever_the_gateway_does():
    """Longer, and the group goes on without us."""
    clock = ManualClock()

    async def main():
        process = Process(clock=clock)
        put(process, shipped(1))
        async with owning(process):
            await process.go_on()
            async with asyncio.TaskGroup() as tasks:
                revoking = tasks.create_task(process.owner.on_revoked(frozenset([BY_USER])), name="revoke")
                await process.go_on()
                clock.advance(REVOKE_DRAIN_S + 0.1)
                await process.go_on()
                assert revoking.done()
            clock.advance(20.0)
        return process.sender.slots_free

    assert run_manually(main(), clock) == 2


def test_an_answer_during_the_last_commit_writes_nothing_any_more():
    """The next owner may have restored already: a write now would come after its own, with another outcome."""
    clock = ManualClock()

    async def main():
        process = Process(clock=clock)
        process.source.commit_turns = 30
        put(process, shipped(1))
        async with owning(process):
            await process.go_on()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(process.owner.on_revoked(frozenset([BY_USER])), name="revoke")
                await process.go_on()
                clock.advance(REVOKE_DRAIN_S + 0.1)
                for _ in range(12):
                    await asyncio.sleep(0)
                process.gateway.answer(process.gateway.open[0], ACCEPTED)
            pending = process.state.records_pending
            clock.advance(20.0)
        return pending

    assert run_manually(main(), clock) == 0


async def test_a_partition_that_is_full_of_bytes_is_paused_and_goes_on_when_there_is_room():
    """Events may be 32 KB: as many of them as are allowed would be a gigabyte."""
    process = Process()
    put(process, *(shipped(n) for n in range(3)))
    value = shipped(9, pad="x" * 31_000)
    count = WAITING_BYTES_MAX // len(value) + 300
    for _ in range(count):
        put(process, value)
    async with owning(process):
        await process.go_on()
        waiting = process.owner._assignments[BY_USER].tracker
        assert WAITING_BYTES_MAX < waiting.bytes_in_flight < WAITING_BYTES_MAX + 200 * len(value)
        assert waiting.in_flight < count < WAITING_MAX
        for _ in range(4):
            process.gateway.answer(process.gateway.open[0], ACCEPTED)
            await process.go_on()
        for _ in range(20):
            process.source.nudge()
            await process.go_on()
        assert process.owner.positions() == {BY_USER: count + 3}


async def test_what_nobody_can_read_at_a_partitions_end_is_no_lag():
    process = Process()
    put(process, shipped(1, phone=None))
    process.log.skip(BY_USER, 2)
    async with owning(process):
        process.ack(process.state)  # the claim
        await settle()
        process.clock.advance(PASS_EVERY_S)
        process.source.nudge()
        await settle()
        assert process.owner.positions() == {BY_USER: 0}
        await process.go_on()
        assert process.owner.positions() == {BY_USER: 3}
        assert process.source.end(BY_USER).offset == 3


async def test_a_partition_that_is_full_is_paused_and_goes_on_when_there_is_room():
    """One busy person fills memory no further; the pump keeps polling."""
    process = Process()
    count = WAITING_MAX + 2_000
    put(process, *(shipped(n) for n in range(3)))
    value = shipped(9)
    for _ in range(count):
        put(process, value)
    async with owning(process):
        await process.go_on()
        waiting = process.owner._assignments[BY_USER].tracker.in_flight
        assert WAITING_MAX < waiting < count
        for _ in range(4):
            process.gateway.answer(process.gateway.open[0], ACCEPTED)
            await process.go_on()
        for _ in range(20):
            process.source.nudge()
            await process.go_on()
        assert process.owner.positions() == {BY_USER: count + 3}
    assert len(process.gateway.created) == 4
    assert PHONE in {message.to for _, message in process.gateway.created}
