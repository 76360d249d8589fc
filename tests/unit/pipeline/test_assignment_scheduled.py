"""A send that waits for its own time holds up nobody, survives its owner, and leaves once."""

import json
from datetime import UTC, datetime

from streamer.core import state
from streamer.core.delivery import Accepted, Refused
from streamer.core.sends import SCHEDULED
from streamer.core.state import DUE_MAX, HELD_MAX
from streamer.core.wheel import SLOT_MS
from streamer.pipeline.assignment import Assignment
from streamer.testing.fakes import ManualClock
from tests.unit.pipeline.rig import PHONE, STATE, Rig, claimed, mapping
from tests.unit.pipeline.test_assignment import go_on, sending

ACCEPTED = Accepted("", "queued", 1)
LATER_S = 3_600.0


def rig(clock=None):
    return Rig(mappings=[mapping(), mapping("later", "Later", send_at="{{properties.at}}")], clock=clock)


def later(here, n, after_s=LATER_S):
    at = datetime.fromtimestamp(here.clock.now_ms() / 1000 + after_s, UTC).isoformat()
    properties = {"n": n, "phone": PHONE, "at": at}
    event = {"type": "track", "event": "Later", "userId": "1", "messageId": f"l{n}", "properties": properties}
    return json.dumps(event).encode()


def shipped(n):
    properties = {"n": n, "phone": PHONE}
    event = {"type": "track", "event": "Shipped", "userId": "1", "messageId": f"m{n}", "properties": properties}
    return json.dumps(event).encode()


async def pass_time(here, seconds):
    here.clock.advance(seconds)
    here.assignment.handled_ms = here.clock.now_ms()
    here.assignment.tick()
    await go_on(here)


async def test_a_scheduled_send_leaves_at_its_time_and_completes_its_offset_at_once():
    async with sending(rig()) as here:
        here.arrive(later(here, 1))
        await go_on(here)
        assert here.assignment.tracker.low_water_mark() == 1
        assert (here.bodies(), here.outcomes(), len(here.assignment.wheel)) == ([], [], 1)
        await pass_time(here, LATER_S - 1)
        assert here.bodies() == []
        await pass_time(here, 1.5)
        assert here.bodies() == ["later 1"]
        here.gateway.answer(here.gateway.open[0], ACCEPTED)
        await go_on(here)
    assert here.outcomes() == [("accepted", "accepted", "l1")]


async def test_a_scheduled_send_waits_for_all_that_came_before_its_time():
    """What would change or forbid it may still be unread."""
    async with sending(rig()) as here:
        here.arrive(later(here, 1))
        await go_on(here)
        due_ms = here.clock.now_ms() + int(LATER_S * 1000)
        here.clock.advance(2 * LATER_S)
        for handled_ms in (0, due_ms - 1):
            here.assignment.handled_ms = handled_ms
            here.assignment.tick()
            await go_on(here)
            assert (here.bodies(), len(here.assignment.wheel)) == ([], 1)
        here.assignment.handled_ms = due_ms + SLOT_MS  # never early, and at most a slot late
        here.assignment.tick()
        await go_on(here)
        assert here.bodies() == ["later 1"]


async def test_the_next_attempt_of_a_scheduled_send_waits_for_the_wall_alone():
    """It was released already, and a retry gives nothing up."""
    async with sending(rig()) as here:
        here.arrive(later(here, 1))
        await go_on(here)
        await pass_time(here, LATER_S)
        here.gateway.answer(here.gateway.open[0], Refused("gateway_busy", 20429, 429, "retry", retry_after_s=7.0))
        await go_on(here)
        here.assignment.handled_ms = 0
        here.clock.advance(7.0)
        here.assignment.tick()
        await go_on(here)
        assert here.bodies() == ["later 1"] * 2


async def test_what_waits_for_its_time_never_blocks_the_persons_other_events():
    """Weeks of waiting would stop the partition, were they counted like retries."""
    async with sending(rig()) as here:
        here.arrive(*(later(here, n) for n in range(HELD_MAX + 4)))
        await go_on(here)
        assert {SCHEDULED} == {parked.reason for parked in here.person().parked}
        assert len(here.person().parked) == HELD_MAX + 4
        here.arrive(shipped(1))
        await go_on(here)
        assert here.bodies() == ["shipped 1"]
        assert here.assignment.tracker.in_flight == 0


async def test_a_scheduled_send_found_at_a_restore_leaves_at_its_time_and_once():
    async with sending(rig(ManualClock())) as here:
        here.arrive(later(here, 1))
        await go_on(here)
        here.assignment.close()
        here.assignment = Assignment(0, here.services, 1, claimed(here.log))
        value = here.log.read(STATE, 0, 99)[-2].value
        assert not state.waits(value)
        here.assignment.remind(b"u:1", state.timer_ms(value))
        await pass_time(here, LATER_S - 1)
        assert here.bodies() == []
        await pass_time(here, 2)
        here.gateway.answer(here.gateway.open[0], ACCEPTED)
        await pass_time(here, LATER_S)
    assert here.bodies() == ["later 1"]
    assert here.outcomes() == [("accepted", "accepted", "l1")]


async def test_a_send_whose_account_was_taken_out_ends_with_its_outcome():
    """Its owner must not fall over it at each start."""
    async with sending(rig()) as here:
        here.arrive(later(here, 1))
        await go_on(here)
        here.services.dispatchers.clear()
        await pass_time(here, LATER_S)
        assert [("suppressed", "account_removed", "l1")] == here.outcomes()


async def test_more_than_may_be_due_at_once_all_leave_one_after_the_other():
    async with sending(rig()) as here:
        for n in range(DUE_MAX + 6):
            here.arrive(later(here, n))
            await go_on(here)
        await pass_time(here, LATER_S)
        for _ in range(DUE_MAX + 6):
            await pass_time(here, 0.1)
            here.gateway.answer(here.gateway.open[0], ACCEPTED)
            await go_on(here)
        assert [f"later {n}" for n in range(DUE_MAX + 6)] == here.bodies()
        assert (here.person().due, here.person().parked) == ([], [])
