"""An owner whose partition somebody else claimed lets it go, and has it back only by the group's word."""

from streamer.core import state
from streamer.core.state import Person
from streamer.pipeline.owner import MEMBER_EVERY_S, TICK_S
from streamer.ports import Partition
from streamer.testing.fakes import settle
from tests.unit.pipeline.rig import BY_USER, STATE, claimed, shipped
from tests.unit.pipeline.test_owner import ACCEPTED, Process, owning, put


def claims(process):
    return [record.offset for record in process.log.records("state") if record.key == state.CLAIM_KEY]


def outcomes(process):
    """All that differ: those whose checkpoint was not written yet are published again by each tenure."""
    return set(process.outcomes())


async def begun():
    """One send is under way."""
    process = Process()
    put(process, shipped(1))
    return process


async def answer_all(process):
    for request in list(process.gateway.open):
        process.gateway.answer(request, ACCEPTED)
    await process.go_on()


async def test_a_partition_is_claimed_before_it_is_restored_and_opened_only_then():
    process = await begun()
    async with owning(process):
        assert process.owner.positions() == {}
        await process.go_on()
        assert process.log.read(STATE, 0, 9)[0].key == state.CLAIM_KEY
        assert {state.epoch_of(process.log.read(STATE, 0, 9)[1].value)} == set(claims(process))
        await answer_all(process)
        assert process.owner.positions() == {BY_USER: 1}


async def test_one_that_the_group_still_counts_on_claims_its_partition_anew():
    """The other's claim came late, from before it lost the partition itself: else nobody would work there."""
    process = await begun()
    async with owning(process):
        await process.go_on()
        await answer_all(process)
        before = claims(process)
        claimed(process.log)
        put(process, shipped(2))
        await process.go_on()
        assert len(claims(process)) == len(before) + 2
        assert process.owner.is_ready
        put(process, shipped(3))
        await process.go_on()
        await answer_all(process)
        await answer_all(process)
        assert process.owner.positions() == {BY_USER: 3}
    assert outcomes(process) == {
        ("accepted", "accepted", "m1"),
        ("unknown", "interrupted", "m2"),  # its intent lay behind the other's claim: it can't be known that it stayed
        ("accepted", "accepted", "m3"),
    }
    assert process.bodies() == ["shipped 1", "shipped 3"]
    assert process.log.group("owner").committed[BY_USER] == 3


async def test_one_that_the_group_has_given_up_starts_nothing_and_commits_nothing_until_it_is_told():
    """It works on beside its successor while it reaches the log; that it reaches the gateway too must not show."""
    process = await begun()
    async with owning(process):
        await process.go_on()
        await answer_all(process)
        process.source.cut_off()
        process.source.expire()
        claimed(process.log)
        put(process, shipped(2))
        count = len(claims(process))
        for _ in range(3):
            await process.go_on()
            process.clock.advance(MEMBER_EVERY_S)
        assert process.bodies() == ["shipped 1"]
        assert (process.owner.positions(), process.owner.is_ready) == ({}, False)
        assert len(claims(process)) == count
        process.source.reconnect()
        await process.go_on()
        assert len(claims(process)) == count + 1
        assert process.owner.is_ready
    assert outcomes(process) == {("accepted", "accepted", "m1"), ("unknown", "interrupted", "m2")}


async def test_a_predecessors_late_write_holds_up_a_send_only_until_it_is_overruled():
    process = await begun()
    claimed(process.log)
    async with owning(process):
        await process.go_on()
        await answer_all(process)
        process.log.append(STATE, b"u:1", state.encode(Person(is_suppressed=True)))
        put(process, shipped(2))
        await process.go_on()
        assert process.bodies() == ["shipped 1", "shipped 2"]
        await answer_all(process)
        assert not process.person().is_suppressed
        assert process.owner.positions() == {BY_USER: 2}


async def test_a_gap_that_is_seen_while_the_tenure_ends_is_still_read():
    """What lies behind it would be decided again by the next owner, though it was safe."""
    process = await begun()
    claimed(process.log)
    async with owning(process):
        await process.go_on()
        await answer_all(process)
        process.log.append(STATE, b"u:9", state.encode(Person()))
        put(process, shipped(2, phone=None))
        await settle()
        process.stop.set()
        await process.go_on()
    assert process.log.group("owner").committed[BY_USER] == 2
    assert process.outcomes()[-1] == ("suppressed", "no_phone", "m2")


async def test_a_revocation_takes_the_lease_at_once():
    """Also while the drain has not come to the posting yet."""
    process = await begun()
    async with owning(process):
        await process.go_on()
        lease = process.services.lease
        assert lease.holds(process.clock.now_s())
        revoking = process.owner.on_revoked(frozenset({Partition("by-user", 0)}))
        revoking.send(None)
        assert not lease.holds(process.clock.now_s())
        revoking.close()
        process.clock.advance(TICK_S)
