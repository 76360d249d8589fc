"""Who writes to a changelog without owning it is noticed by where acks lie, before anything follows from them."""

import asyncio

import pytest

from streamer.core import state
from streamer.core.state import Person
from streamer.errors import BrokerUnusable
from streamer.pipeline.claims import CLAIMS_MAX, Claim, claim
from streamer.testing.fakes import FakeChangelog, FakeSink, ManualClock
from streamer.testing.memory_log import MemoryLog
from tests.unit.pipeline.rig import STATE, TOPICS, claimed


def person(epoch):
    return state.encode(Person(), epoch)


class Owner:
    """A claim whose writes the test acks; `acked` says what followed, `gaps` how often one was seen.

    Of `acked` each is the place behind the claim, or None where that was not told.
    """

    def __init__(self, log=None):
        self.log = log or MemoryLog(TOPICS, ManualClock())
        if log is None:
            claimed(self.log)  # of a predecessor
        self.sink = FakeSink(self.log, is_automatic=False)
        self.changelog = FakeChangelog(self.log)
        self.acked, self.gaps, self.again = [], 0, []
        self.claim = Claim(self.sink, STATE, claimed(self.log), self._gap)

    def _gap(self):
        self.gaps += 1

    def put(self, key=b"u:1"):
        """Write one record into the log; its ack is still to come."""
        self.claim.append(key, person(self.claim.epoch), self._acked)
        self.sink.write(STATE)

    def _acked(self, at):
        self.acked.append(None if at < 0 else at - self.claim.epoch)

    def ack(self, *, is_offset_told=True):
        self.sink.ack(STATE, is_offset_told=is_offset_told)

    async def fill(self):
        await self.claim.fill_gaps(self.changelog, self.again.append)


async def asked(sink, offsets):
    """The claim that a broker which tells these offsets makes of it."""
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(claim(sink, STATE), name="claim")
        for is_told in offsets:
            await asyncio.sleep(0)
            sink.write(STATE)
            sink.ack(STATE, is_offset_told=is_told)
        return await asking


async def test_a_claim_is_its_records_offset():
    log = MemoryLog(TOPICS, ManualClock())
    log.append(STATE, b"u:1", person(0))
    assert await asked(FakeSink(log, is_automatic=False), [True]) == 1
    assert log.read(STATE, 1, 1)[0].key == state.CLAIM_KEY


async def test_a_claim_whose_place_is_not_told_is_made_again():
    """Without its own offset an owner could not tell its records from a predecessor's."""
    assert await asked(FakeSink(MemoryLog(TOPICS, ManualClock()), is_automatic=False), [False, True]) == 1


async def test_a_broker_that_never_tells_is_not_asked_for_ever():
    sink = FakeSink(MemoryLog(TOPICS, ManualClock()), is_automatic=False)
    with pytest.raises(ExceptionGroup) as failed:
        await asked(sink, [False] * CLAIMS_MAX)
    assert failed.group_contains(BrokerUnusable)


def test_an_owner_that_is_alone_sees_no_gap():
    owner = Owner()
    for _ in range(3):
        owner.put()
    owner.ack()
    assert (owner.acked, owner.gaps) == ([1, 2, 3], 0)


async def test_what_follows_from_a_write_behind_anothers_waits_until_that_is_read():
    """Nobody knows before whether the partition is still ours: the request of an intent would be a second one."""
    owner = Owner()
    owner.put()
    owner.log.append(STATE, b"u:2", person(0))
    owner.put()
    owner.put()
    owner.ack()
    assert (owner.acked, owner.gaps) == ([1], 1)
    await owner.fill()
    assert (owner.acked, owner.gaps, owner.again) == ([1, 3, 4], 1, [b"u:2"])
    owner.put()
    owner.ack()
    assert (owner.acked, owner.gaps) == ([1, 3, 4, 5], 1)


async def test_behind_a_later_claim_nothing_follows_and_nothing_more_is_written():
    """Then it is we who lost the partition."""
    owner = Owner()
    owner.put()
    successor = Owner(owner.log)
    owner.put()
    successor.put(b"u:3")
    owner.put()
    owner.ack()
    await owner.fill()
    assert owner.claim.is_lost
    assert (owner.acked, owner.again) == ([1], [])
    written = owner.log.end_offset(STATE)
    owner.claim.append(b"u:1", person(0))
    assert (owner.sink.queued, owner.log.end_offset(STATE)) == ([], written)
    successor.ack()
    await successor.fill()
    assert not successor.claim.is_lost
    assert (successor.acked, successor.again) == ([2], [b"u:1"])


async def test_a_higher_epoch_alone_tells_too_where_compaction_took_its_claim():
    owner = Owner()
    owner.log.append(STATE, b"u:3", person(7))
    owner.put()
    owner.ack()
    await owner.fill()
    assert owner.claim.is_lost
    assert owner.acked == []


async def test_only_whose_last_record_is_of_a_lower_epoch_is_written_again():
    """A record of ours behind it does that already."""
    owner = Owner()
    owner.put()
    for key in (b"u:1", b"u:2", b"u:3", state.CHECKPOINT_KEY):
        owner.log.append(STATE, key, state.encode_checkpoint(1) if key == state.CHECKPOINT_KEY else person(0))
    owner.log.append(STATE, b"u:4", None)
    owner.put(b"u:2")
    owner.ack()
    await owner.fill()
    assert owner.again == [b"u:1", b"u:3", b"u:4"]


async def test_our_own_records_are_no_other_owners_when_a_rebuilt_producer_wrote_them_twice():
    owner = Owner()
    owner.put()
    owner.put(b"u:2")
    owner.sink.write_again(STATE)
    owner.ack()
    assert (owner.acked, owner.gaps) == ([], 1)
    await owner.fill()
    assert (owner.acked, owner.again, owner.claim.is_lost) == ([3, 4], [], False)


@pytest.mark.parametrize("is_lost", [False, True])
async def test_an_ack_without_its_place_is_looked_for(is_lost):
    """The broker may answer a repeated request without it: the record may lie behind anything."""
    owner = Owner()
    if is_lost:
        claimed(owner.log)
    owner.put()
    owner.ack(is_offset_told=False)
    assert (owner.acked, owner.gaps) == ([], 1)
    await owner.fill()
    assert (owner.acked, owner.claim.is_lost) == ([] if is_lost else [None], is_lost)
    if not is_lost:
        owner.put()
        owner.ack()
        assert (owner.acked, owner.gaps) == ([None, 2], 1)


async def test_what_is_acked_while_a_gap_is_read_keeps_its_turn():
    owner = Owner()
    owner.log.append(STATE, b"u:2", person(0))
    owner.put()
    owner.ack()
    filling = owner.fill()
    filling.send(None)  # the gap is being read
    owner.put()
    owner.log.append(STATE, b"u:3", person(0))
    owner.put()
    owner.ack()
    assert owner.acked == []
    filling.close()
    await owner.fill()
    assert (owner.acked, owner.gaps) == ([2, 3, 5], 1)
    assert owner.again == [b"u:2", b"u:3"]


async def test_a_drain_waits_for_what_is_held_back_and_for_no_longer():
    owner = Owner()
    await owner.claim.settled()
    owner.log.append(STATE, b"u:2", person(0))
    owner.put()
    owner.ack()
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(owner.claim.settled(), name="settled")
        await asyncio.sleep(0)
        assert not waiting.done()
        await owner.fill()
    assert owner.acked == [2]


async def test_once_the_tenure_is_over_nothing_follows_any_more():
    owner = Owner()
    owner.log.append(STATE, b"u:2", person(0))
    owner.put()
    owner.ack()
    owner.claim.close()
    await owner.claim.settled()
    await owner.fill()
    written = owner.log.end_offset(STATE)
    owner.claim.append(b"u:1", person(0))
    assert not owner.sink.queued
    assert (owner.acked, owner.again, owner.log.end_offset(STATE)) == ([], [], written)
