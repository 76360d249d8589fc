"""Beside another owner a tenure starts nothing: neither without its lease, nor behind anything that it has not read."""

from dataclasses import replace

from streamer.core import state
from streamer.core.state import Person
from streamer.pipeline.assignment import Assignment
from streamer.pipeline.lease import Lease
from streamer.testing.fakes import FakeChangelog
from tests.unit.pipeline.rig import STATE, Rig, claimed, mapping, shipped
from tests.unit.pipeline.test_assignment import ACCEPTED, go_on, sending

# ── lease ─────────────────────────────────────────────────────────────────


def with_lease(session_s=8.0, **options):
    rig = Rig(**options)
    rig.services = replace(rig.services, lease=Lease(session_s))
    rig.assignment = Assignment(0, rig.services, 0, claimed(rig.log))
    return rig, rig.services.lease


async def test_without_a_lease_nothing_begins_and_once_it_holds_everybody_goes_on():
    rig, lease = with_lease(concurrency=2)
    lease.begin(0.0)
    async with sending(rig):
        rig.arrive(shipped(1))
        rig.arrive(shipped(2, user="2"), key=b"u:2")
        await go_on(rig)
        rig.assignment.tick()
        await go_on(rig)
        assert rig.bodies() == []
        assert [rig.person(key).due[0].attempt for key in (b"u:1", b"u:2")] == [0, 0]
        lease.renew(0.0)
        rig.assignment.tick()
        await go_on(rig)
        assert rig.bodies() == ["shipped 1", "shipped 2"]


async def test_a_posting_whose_lease_lapsed_before_it_left_is_taken_back_and_leaves_later_once():
    """Between the intent and its ack a process may stall for as long as it likes."""
    rig, lease = with_lease()
    lease.begin(0.0)
    lease.renew(0.0)
    async with sending(rig):
        rig.arrive(shipped(1))
        assert rig.sender.slots_free == 1
        rig.clock.advance(8.0)
        await go_on(rig)
        assert rig.bodies() == []
        assert (rig.person().due[0].attempt, rig.person().due[0].is_posting, rig.sender.slots_free) == (0, False, 2)
        lease.renew(8.0)
        rig.assignment.tick()
        await go_on(rig)
        rig.gateway.answer(rig.gateway.open[0], ACCEPTED)
        await go_on(rig)
    assert rig.bodies() == ["shipped 1"]
    assert rig.outcomes() == [("accepted", "accepted", "m1")]


async def test_who_waits_in_line_when_the_lease_lapses_gives_the_slot_on_and_waits_for_the_lease():
    rig, lease = with_lease()
    lease.begin(0.0)
    lease.renew(0.0)
    async with sending(rig):
        for n in range(5):
            rig.arrive(shipped(n, user=f"{n}"), key=f"u:{n}".encode())
        await go_on(rig)
        assert rig.bodies() == ["shipped 0"]
        rig.clock.advance(8.0)
        rig.gateway.answer(rig.gateway.open[0], ACCEPTED)
        await go_on(rig)
        assert rig.bodies() == ["shipped 0"]
        assert rig.sender.slots_free == 2
        lease.renew(8.0)
        rig.assignment.tick()
        for _ in range(4):
            await go_on(rig)
            rig.gateway.answer(rig.gateway.open[0], ACCEPTED)
        await go_on(rig)
    assert sorted(rig.bodies()) == [f"shipped {n}" for n in range(5)]


# ── fencing ───────────────────────────────────────────────────────────────


async def test_an_intent_behind_anothers_write_leaves_only_once_that_is_read():
    """Else it could be the second owner's that leaves."""
    rig, gaps = Rig(), []
    rig.assignment = assignment = Assignment(0, rig.services, 0, claimed(rig.log), gaps.append)
    async with sending(rig):
        rig.log.append(STATE, b"u:9", state.encode(Person()))
        rig.arrive(shipped(1))
        await go_on(rig)
        assert (rig.bodies(), gaps, assignment.tracker.low_water_mark()) == ([], [assignment], 0)
        await assignment.claim.fill_gaps(FakeChangelog(rig.log), assignment.write_again)
        await go_on(rig)
        assert (rig.bodies(), assignment.tracker.low_water_mark()) == (["shipped 1"], 1)
    assert rig.log.read(STATE, 0, 99)[-1][4:6] == (b"u:9", None)


async def test_an_intent_behind_anothers_claim_never_leaves():
    rig = Rig()
    assignment = rig.assignment
    async with sending(rig):
        claimed(rig.log)
        rig.arrive(shipped(1))
        await go_on(rig)
        await assignment.claim.fill_gaps(FakeChangelog(rig.log), assignment.write_again)
        assert assignment.claim.is_lost
        assignment.close()
        await go_on(rig)
    assert (rig.bodies(), rig.outcomes(), assignment.tracker.low_water_mark()) == ([], [], 0)
    assert rig.sender.slots_free == 2


async def test_who_is_written_again_is_written_as_the_owner_knows_them():
    """In the lane, in the store, or not at all."""
    rig = Rig(mappings=[mapping(), mapping("second")])
    async with sending(rig):
        rig.arrive(shipped(1))
        rig.arrive(shipped(2, user="2", phone=None), key=b"u:2")
        await go_on(rig)
        for key in (b"u:1", b"u:2", b"u:3"):
            rig.log.append(STATE, key, state.encode(Person(is_suppressed=True)))
            rig.assignment.write_again(key)
        await go_on(rig)
        last = {record.key: record for record in rig.log.read(STATE, 0, 99)}
        assert rig.person(b"u:1").due[0].is_posting
        assert rig.person(b"u:2") == state.decode(rig.store.get(0, b"u:2"))
        assert not rig.person(b"u:2").is_suppressed
        assert last[b"u:3"].value is None
        epochs = {state.epoch_of(last[key].value, last[key].headers) for key in (b"u:1", b"u:2", b"u:3")}
        assert epochs == {rig.assignment.claim.epoch}
