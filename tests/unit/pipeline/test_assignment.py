"""One tenure: nothing happens before the write that says so is acked, and one person's wait is nobody else's."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from streamer.core import state
from streamer.core.delivery import Accepted, Attempt, Origin, Refused, Unknown
from streamer.core.hop import EVENT, headers_of
from streamer.core.state import HELD_BYTES_MAX, HELD_MAX, OUT_MAX
from streamer.pipeline.assignment import Assignment
from streamer.testing.fakes import ManualClock, settle
from tests.unit.pipeline.rig import BY_USER, DEAD, DELIVERIES, STATE, Rig, claimed, mapping, shipped

ACCEPTED = Accepted("", "queued", 1)


@asynccontextmanager
async def sending(rig):
    """The rig with request tasks."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(each.run(), name="sender") for each in (rig.sender, rig.second)]
        yield rig
        for task in running:
            task.cancel()


async def go_on(rig):
    """Acks and turns until nothing moves without the gateway or the clock."""
    for _ in range(20):
        rig.ack(rig.state)
        await settle()
        rig.ack(rig.events)
        await settle()


async def test_an_outcome_is_published_only_after_its_state_record_is_acked():
    rig = Rig()
    rig.arrive(shipped(1, phone=None))
    rig.state.write(STATE)
    assert not rig.events.queued
    assert rig.assignment.tracker.low_water_mark() == 0
    rig.state.ack(STATE)
    assert rig.assignment.tracker.low_water_mark() == 1
    rig.ack(rig.events)
    assert rig.outcomes() == [("suppressed", "no_phone", "m1")]


async def test_a_request_leaves_only_after_its_posting_is_acked():
    """Else a crash would leave a message that nobody knows of, and send it again."""
    async with sending(Rig()) as rig:
        rig.arrive(shipped(1))
        rig.state.write(STATE)
        await settle()
        assert not rig.gateway.posted
        assert rig.person().due[0].is_posting
        rig.state.ack(STATE)
        await settle()
        assert rig.bodies() == ["shipped 1"]


async def test_a_source_offset_does_not_wait_for_the_request():
    async with sending(Rig()) as rig:
        rig.arrive(shipped(1))
        rig.ack(rig.state)
        await settle()
        assert rig.gateway.open
        assert rig.assignment.tracker.low_water_mark() == 1


async def test_one_persons_sends_go_one_at_a_time_and_in_order():
    async with sending(Rig(concurrency=8)) as rig:
        rig.arrive(*(shipped(n) for n in range(1, 4)))
        for count in range(1, 4):
            await go_on(rig)
            assert rig.bodies() == [f"shipped {n}" for n in range(1, count + 1)]
            rig.gateway.answer(rig.gateway.open[0], ACCEPTED)
        await go_on(rig)
    assert [each[0] for each in rig.outcomes()] == ["accepted"] * 3
    assert rig.assignment.tracker.low_water_mark() == 3


async def test_many_people_are_sent_to_at_once_and_a_slow_one_delays_nobody():
    async with sending(Rig(concurrency=2)) as rig:
        rig.arrive(shipped(0, user="slow"), key=b"u:slow")
        await go_on(rig)
        slow = rig.gateway.open[0]
        for n in range(1, 21):
            rig.arrive(shipped(n, user=f"{n}"), key=f"u:{n}".encode())
        for _ in range(20):
            await go_on(rig)
            for request in [each for each in rig.gateway.open if each is not slow]:
                rig.gateway.answer(request, ACCEPTED)
        await go_on(rig)
        assert len(rig.outcomes()) == 20
        assert rig.gateway.open == [slow]


async def test_requests_in_flight_stay_within_the_accounts_concurrency():
    async with sending(Rig(concurrency=3)) as rig:
        for n in range(30):
            rig.arrive(shipped(n, user=f"{n}"), key=f"u:{n}".encode())
        for _ in range(15):
            await go_on(rig)
            assert len(rig.gateway.open) <= 3
            for request in list(rig.gateway.open):
                rig.gateway.answer(request, ACCEPTED)
    assert len(rig.gateway.created) == 30


async def test_a_busy_gateway_is_asked_again_when_the_time_has_come_and_others_go_first():
    async with sending(Rig()) as rig:
        rig.arrive(shipped(1), shipped(2))
        await go_on(rig)
        rig.gateway.answer(rig.gateway.open[0], Refused("gateway_busy", 20429, 429, "retry", retry_after_s=5.0))
        await go_on(rig)
        assert rig.bodies() == ["shipped 1", "shipped 2"]  # what is held blocks nobody
        rig.gateway.answer(rig.gateway.open[0], ACCEPTED)
        await go_on(rig)
        rig.clock.advance(4.9)
        rig.assignment.tick()
        await go_on(rig)
        assert len(rig.bodies()) == 2
        rig.clock.advance(0.2)
        rig.assignment.tick()
        await go_on(rig)
        assert rig.bodies()[2:] == ["shipped 1"]
        rig.gateway.answer(rig.gateway.open[0], ACCEPTED)
        await go_on(rig)
    assert rig.outcomes() == [("accepted", "accepted", "m2"), ("accepted", "accepted", "m1")]


async def test_a_request_carries_its_send_its_number_and_its_origin_key():
    """By these its callback and its message in a list are told from every other's."""
    async with sending(Rig()) as rig:
        rig.arrive(shipped(1))
        await go_on(rig)
        rig.gateway.answer(rig.gateway.open[0], Refused("gateway_busy", 20429, 429, "retry", retry_after_s=5.0))
        await go_on(rig)
        rig.clock.advance(5.1)
        rig.assignment.tick()
        await go_on(rig)
        rig.gateway.answer(rig.gateway.open[0], ACCEPTED)
        await go_on(rig)
    [published] = rig.log.read(DELIVERIES, 0, 10)
    send = bytes.fromhex(json.loads(published.value)["properties"]["send_id"])
    assert rig.gateway.attempts == [Attempt(send, number, "u:1") for number in (1, 2)]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [(ACCEPTED, "accepted"), (Refused("optout", 21610, 400, "optout"), "failed"), (Unknown("timeout"), "unknown")],
)
async def test_each_answer_becomes_one_outcome(answer, outcome):
    async with sending(Rig()) as rig:
        rig.arrive(shipped(1))
        await go_on(rig)
        rig.gateway.answer(rig.gateway.open[0], answer)
        await go_on(rig)
    assert [each[0] for each in rig.outcomes()] == [outcome]
    assert rig.sender.slots_free == 2  # every slot is back


async def test_a_redelivered_event_publishes_its_outcome_again_and_sends_nothing():
    async with sending(Rig()) as rig:
        rig.arrive(shipped(1))
        await go_on(rig)
        rig.gateway.answer(rig.gateway.open[0], ACCEPTED)
        await go_on(rig)
        rig.arrive(shipped(1))
        await go_on(rig)
    assert rig.outcomes() == [("accepted", "accepted", "m1")] * 2
    assert len({record.value for record in rig.log.records("deliveries")}) == 1
    assert len(rig.gateway.posted) == 1
    assert rig.assignment.tracker.low_water_mark() == 2


async def test_a_person_with_too_many_unpublished_outcomes_waits():
    """The record's `out` is bounded; others go on."""
    rig = Rig()
    rig.arrive(*(shipped(n, phone=None) for n in range(OUT_MAX + 10)))
    rig.arrive(shipped(1_000, user="2", phone=None), key=b"u:2")
    rig.ack(rig.state)
    assert len(rig.person().out) == OUT_MAX
    assert rig.assignment.tracker.in_flight == 10
    for _ in range(3):
        rig.ack(rig.events)
        rig.ack(rig.state)
    assert len(rig.outcomes()) == OUT_MAX + 11
    assert rig.assignment.tracker.in_flight == 0


async def test_a_person_with_too_many_bytes_held_waits_and_goes_on_when_they_are_sent():
    """A record with more could not be written, and fewer sends than HELD_MAX may be as large."""
    rig = Rig()
    async with sending(rig):
        rig.arrive(shipped(1))
        await go_on(rig)
        rig.gateway.answer(rig.gateway.open[0], Refused("gateway_busy", 20429, 429, "retry", retry_after_s=60.0))
        await go_on(rig)
        rig.assignment.close()
        person = rig.person()
        [held] = person.held
        large = replace(held, message=replace(held.message, content_variables="v" * 13_000), until_ms=held.until_ms)
        person.held = [replace(large, id=bytes([n])) for n in range(10)]
        assert (person.retries() < HELD_MAX, person.held_bytes() < HELD_BYTES_MAX) == (True, False)
        rig.log.append(STATE, b"u:1", state.encode(person))
        restored(rig).recover(b"u:1", rig.log.end_offset(STATE) - 2, is_published=True)
        rig.arrive(shipped(2, phone=None))
        await go_on(rig)
        assert rig.assignment.tracker.in_flight == 1
        rig.clock.advance(61.0)
        rig.assignment.tick()
        for _ in range(10):
            await go_on(rig)
            rig.gateway.answer(rig.gateway.open[0], ACCEPTED)
        await go_on(rig)
        assert rig.assignment.tracker.in_flight == 0
    assert len(rig.outcomes()) == 11


@pytest.mark.parametrize(
    ("value", "headers"), [(None, None), (b"{", None), (b"[]", None), (shipped(1), []), (shipped(1), [("kind", b"x")])]
)
async def test_what_no_router_wrote_becomes_a_dead_letter_and_stops_nothing(value, headers):
    rig = Rig()
    rig.arrive(value)
    if headers is not None:
        rig = Rig()
        rig.log.append(BY_USER, b"u:1", value, headers)
        rig.assignment.accept(rig.log.read(BY_USER, 0, 1))
    rig.arrive(shipped(2, phone=None))
    rig.ack(rig.state)
    assert rig.assignment.tracker.low_water_mark() == 0  # the letter is not acked yet
    rig.ack(rig.events)
    assert rig.assignment.tracker.low_water_mark() == 2
    assert len(rig.log.read(DEAD, 0, 9)) == 1
    assert rig.outcomes() == [("suppressed", "no_phone", "m2")]


@pytest.mark.parametrize("key", [None, b"u:\xff", b"\x00effects", b"stranger"])
async def test_a_key_that_is_no_persons_becomes_a_dead_letter_and_leaves_no_state(key):
    rig = Rig()
    rig.log.append(BY_USER, key, shipped(1, phone=None), headers_of(EVENT, Origin("u:1", "in", 0, 0, 1, 1)))
    rig.log.append(BY_USER, key, shipped(2), headers_of(EVENT, Origin("u:1", "in", 0, 1, 1, 1)))
    rig.assignment.accept(rig.log.read(BY_USER, 0, 2))
    rig.ack(rig.state)
    rig.ack(rig.events)
    assert len(rig.log.read(DEAD, 0, 9)) == 2
    assert rig.assignment.tracker.low_water_mark() == 2
    assert rig.log.read(STATE, 0, 9) == []
    assert not rig.assignment._lanes


async def test_a_released_send_of_another_account_does_not_take_the_slot_of_this_one():
    """A slot given back to the wrong account is lost to its own for ever; found by the simulation."""
    rig = Rig(mappings=[mapping("early", "Early", sender="alerts"), mapping()])
    async with sending(rig):
        rig.arrive(shipped(1, event="Early"))
        await go_on(rig)
        rig.gateway.answer(rig.gateway.open[0], Refused("gateway_busy", 20429, 429, "retry", retry_after_s=5.0))
        for n in (2, 3):  # who take both slots of the main account
            rig.arrive(shipped(n, user=f"{n}"), key=f"u:{n}".encode())
        await go_on(rig)
        rig.arrive(shipped(4))  # stands in line for the main account
        rig.clock.advance(6.0)
        rig.assignment.tick()  # and now the early one, of the other account, is due before it
        for _ in range(6):
            await go_on(rig)
            for request in list(rig.gateway.open):
                rig.gateway.answer(request, ACCEPTED)
        await go_on(rig)
    assert len(rig.outcomes()) == 4
    assert (rig.sender.slots_free, rig.second.slots_free) == (2, 2)


async def test_a_drain_waits_for_the_request_in_flight_and_its_outcome():
    async with sending(Rig()) as rig:
        rig.arrive(shipped(1), shipped(2))
        await go_on(rig)
        async with asyncio.TaskGroup() as tasks:
            drain = tasks.create_task(rig.assignment.drain(), name="drain")
            await go_on(rig)
            assert not drain.done()
            rig.gateway.answer(rig.gateway.open[0], ACCEPTED)
            await go_on(rig)
            await go_on(rig)
            assert drain.done()
    assert rig.bodies() == ["shipped 1"]
    assert rig.outcomes() == [("accepted", "accepted", "m1")]
    assert rig.assignment.tracker.low_water_mark() <= 1 or rig.person().due


async def test_a_posting_acked_while_draining_is_taken_back():
    """It was never sent, so it must not end as unknown."""
    async with sending(Rig()) as rig:
        rig.arrive(shipped(1))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(rig.assignment.drain(), name="drain")
            await go_on(rig)
    assert not rig.gateway.posted
    [send] = rig.person().due
    assert (send.is_posting, send.attempt) == (False, 0)
    assert rig.sender.slots_free == 2


async def test_records_that_arrive_while_draining_are_left_to_the_next_owner():
    rig = Rig()
    async with asyncio.TaskGroup() as tasks:
        draining = tasks.create_task(rig.assignment.drain(), name="drain")
        await settle()
        rig.arrive(shipped(1))
        rig.ack(rig.state)
        await draining
    assert rig.assignment.tracker.low_water_mark() == 0
    assert {record.key for record in rig.log.records("state")} == {state.CHECKPOINT_KEY}


async def test_after_the_end_of_a_tenure_answers_and_acks_change_nothing():
    async with sending(Rig()) as rig:
        rig.arrive(shipped(1))
        await go_on(rig)
        rig.assignment.close()
        assert rig.sender.slots_free == 2
        written = rig.log.end_offset(STATE)
        rig.gateway.answer(rig.gateway.open[0], ACCEPTED)
        await go_on(rig)
    assert rig.log.end_offset(STATE) == written
    assert rig.outcomes() == []
    assert rig.sender.slots_free == 2


def restored(rig):
    """The next tenure, which finds what the state records say."""
    for record in rig.log.read(STATE, 0, 10_000):
        rig.store.put(0, record.key, record.value)
    rig.assignment = Assignment(0, rig.services, rig.log.end_offset(BY_USER), claimed(rig.log))
    return rig.assignment


async def test_a_posting_found_at_a_restore_is_unknown_and_never_sent_again():
    async with sending(Rig()) as rig:
        rig.arrive(shipped(1), shipped(2))
        await go_on(rig)
        rig.assignment.close()
        restored(rig).recover(b"u:1", rig.log.end_offset(STATE) - 2, is_published=False)
        await go_on(rig)
    assert rig.outcomes() == [("unknown", "interrupted", "m1")]
    assert rig.bodies() == ["shipped 1"]


async def test_an_outcome_found_in_out_at_a_restore_is_published_again():
    rig = Rig()
    rig.arrive(shipped(1, phone=None))
    rig.ack(rig.state)  # and the process dies before the delivery event is written
    assert state.owes(rig.log.read(STATE, 0, 1)[0].value)
    rig.events.crash(lambda queued: 0)
    again = Rig()
    again.log = rig.log
    assignment = Assignment(0, again.services, 1, claimed(rig.log))
    again.store.put(0, b"u:1", rig.log.read(STATE, 0, 1)[0].value)
    assignment.recover(b"u:1", 0, is_published=False)
    assert again.events.records_pending == 1


async def test_a_held_send_found_at_a_restore_waits_for_its_time():
    async with sending(Rig()) as rig:
        rig.arrive(shipped(1))
        await go_on(rig)
        rig.gateway.answer(rig.gateway.open[0], Refused("gateway_busy", 20429, 429, "retry", retry_after_s=5.0))
        await go_on(rig)
        rig.assignment.close()
        restored(rig).recover(b"u:1", rig.log.end_offset(STATE) - 2, is_published=True)
        rig.assignment.tick()
        await go_on(rig)
        assert len(rig.gateway.posted) == 1
        rig.clock.advance(6.0)
        rig.assignment.tick()
        await go_on(rig)
        rig.gateway.answer(rig.gateway.open[0], ACCEPTED)
        await go_on(rig)
    assert rig.outcomes() == [("accepted", "accepted", "m1")]


async def test_a_checkpoint_never_passes_an_outcome_that_is_not_published():
    rig = Rig()
    rig.arrive(shipped(1, phone=None), shipped(2, phone=None))
    rig.ack(rig.state)
    rig.arrive(shipped(3, user="2", phone=None), key=b"u:2")
    rig.ack(rig.state)
    rig.assignment.write_checkpoint()
    rig.ack(rig.state)
    rig.ack(rig.events)
    rig.assignment.write_checkpoint()
    rig.ack(rig.state)
    first, last = (each for each in rig.log.read(STATE, 0, 99) if each.key == state.CHECKPOINT_KEY)
    assert state.decode_checkpoint(first.value) == rig.assignment.claim.epoch + 1  # nothing is published yet
    assert state.decode_checkpoint(last.value) == first.offset  # one past the last person's record


async def test_a_lane_leaves_memory_once_its_person_has_nothing_left_to_do():
    """Memory is bounded by the people with work, not by all."""
    async with sending(Rig(concurrency=8)) as rig:
        for n in range(50):
            rig.arrive(shipped(n, user=f"{n}"), key=f"u:{n}".encode())
        for _ in range(20):
            await go_on(rig)
            for request in list(rig.gateway.open):
                rig.gateway.answer(request, ACCEPTED)
        await go_on(rig)
        assert not rig.assignment._lanes
        assert not len(rig.assignment.held)
        assert len(rig.assignment.wheel) == 0


class RealClock(ManualClock):
    """Of which each reading is later than the one before, as of every real one."""

    def now_s(self):
        self._now_s += 1e-6
        return super().now_s()


async def test_who_waits_in_line_goes_on_by_a_clock_that_never_stands_still():
    """An item may go now: not from the next reading of the clock on."""
    async with sending(Rig(clock=RealClock())) as rig:
        for n in range(8):
            rig.arrive(shipped(n, user=f"{n}"), key=f"u:{n}".encode())
        for _ in range(8):
            await go_on(rig)
            for request in list(rig.gateway.open):
                rig.gateway.answer(request, ACCEPTED)
    assert len(rig.gateway.posted) == 8
