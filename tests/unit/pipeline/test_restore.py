"""A restore rebuilds a partition's store, and takes up exactly what its people had left to do."""

from dataclasses import replace

import pytest

from streamer.core import state
from streamer.core.delivery import SUPPRESSED, Decision, Message, Origin, send_id
from streamer.core.profile import Update, values
from streamer.core.sends import Send
from streamer.core.state import Person
from streamer.errors import BrokerUnusable
from streamer.pipeline.assignment import Assignment
from streamer.pipeline.restore import Progress, Restore
from streamer.store.memory import MemoryStore
from streamer.testing.fakes import FakeChangelog
from tests.unit.pipeline.rig import STATE, Rig, claimed


def origin(number=0):
    return Origin("u:1", "in", 0, number, 1_000, 1_000)


def decision(number=0):
    sent = send_id("shipped", origin(number), f"m{number}")
    return Decision(sent, "shipped", "1", origin(number), f"m{number}", SUPPRESSED, "no_phone", 5)


def person(*, is_due=False, is_held=False, is_owing=False, name="x"):
    made = Person(traits=[Update(1, "m", {"name": name})])
    message = Message("main", "sms", "+15551230001", "Hi", "+15550006789")
    send = Send(send_id("m", origin(), ""), "m", "1", origin(), "", message, "shop", 1, 5, 10**13, until_ms=10**13)
    if is_due:
        made.due.append(send)
    if is_held:
        made.held.append(send)
    if is_owing:
        made.decide(decision())
    return state.encode(made)


async def restored(rig, *records):
    for key, value in records:
        rig.log.append(STATE, key, value)
    restore = Restore(FakeChangelog(rig.log), rig.store, STATE, epoch := claimed(rig.log))
    await restore.load()
    rig.assignment = Assignment(0, rig.services, 0, epoch)
    return restore, await restore.resume(rig.assignment)


async def test_the_last_record_of_each_key_counts():
    rig = Rig()
    await restored(rig, (b"u:1", person(name="a")), (b"u:2", person()), (b"u:1", person(name="b")), (b"u:2", None))
    assert values(state.decode(rig.store.get(0, b"u:1")).traits) == {"name": "b"}
    assert rig.store.get(0, b"u:2") is None
    assert rig.store.count(0) == 2  # one is the claim


async def test_what_the_store_held_before_is_gone():
    """Another owner may have written since."""
    rig = Rig()
    rig.store.put(0, b"u:old", person())
    await restored(rig, (b"u:1", person()))
    assert rig.store.get(0, b"u:old") is None


@pytest.mark.parametrize(
    ("first", "last", "count"),
    [
        ({}, {}, 0),
        ({"is_due": True}, {}, 0),
        ({}, {"is_due": True}, 1),
        ({"is_held": True}, {"is_owing": True}, 1),
        ({"is_owing": True}, {"is_held": True, "is_owing": True}, 1),
        ({"is_owing": True}, {}, 0),
    ],
)
async def test_only_people_with_something_left_to_do_are_taken_up(first, last, count):
    rig = Rig()
    _, resumed = await restored(rig, (b"u:1", person(**first)), (b"u:2", person()), (b"u:1", person(**last)))
    assert resumed == count


async def test_a_deleted_person_has_nothing_left_to_do():
    rig = Rig()
    _, resumed = await restored(rig, (b"u:1", person(is_due=True, is_owing=True)), (b"u:1", None))
    assert resumed == 0


async def test_outcomes_below_the_checkpoint_are_not_published_again_and_those_above_are():
    rig = Rig()
    _, resumed = await restored(
        rig,
        (b"u:1", person(is_owing=True)),
        (state.CHECKPOINT_KEY, state.encode_checkpoint(rig.first + 1)),
        (b"u:2", person(is_owing=True)),
    )
    assert resumed == 1
    assert rig.events.records_pending == 1
    assert rig.store.get(0, state.CHECKPOINT_KEY) is None


async def test_what_waits_below_the_checkpoint_is_taken_up_without_its_published_outcomes():
    rig = Rig()
    records = (
        (b"u:1", person(is_held=True, is_owing=True)),
        (state.CHECKPOINT_KEY, state.encode_checkpoint(rig.first + 1)),
    )
    _, resumed = await restored(rig, *records)
    assert resumed == 1
    assert rig.events.records_pending == 0


async def test_no_checkpoint_passes_an_outcome_that_is_still_to_be_taken_up():
    """Written in between and followed by a crash, it would lose the outcome; found by the simulation."""
    rig = Rig()
    for number in range(3):
        rig.log.append(STATE, f"u:{number}".encode(), person(is_owing=True))
    restore = Restore(FakeChangelog(rig.log), rig.store, STATE, epoch := claimed(rig.log))
    await restore.load()
    assignment = Assignment(0, rig.services, 0, epoch)
    resuming = restore.resume(assignment)
    resuming.send(None)  # up to its first turn
    assignment.write_checkpoint()
    rig.ack(rig.state)
    [checkpoint] = [each for each in rig.log.records("state") if each.key == state.CHECKPOINT_KEY]
    assert state.decode_checkpoint(checkpoint.value) == rig.first
    resuming.close()


async def test_a_compacted_changelog_restores_the_same():
    rig = Rig()
    for number in range(40):
        rig.log.append(STATE, f"u:{number % 7}".encode(), person(name=str(number), is_owing=number % 2 == 0))
    restore, resumed = await restored(rig)
    before = {key: rig.store.get(0, key) for key in (f"u:{n}".encode() for n in range(7))}
    rig.log.compact(STATE)
    again, resumed_again = await restored(rig)
    assert {key: rig.store.get(0, key) for key in before} == before
    assert again.end == restore.end + 1
    assert resumed_again == resumed


class Copied(MemoryStore):
    """A store that finds the copy it was given, complete before record `number`; its own records may be newer."""

    def __init__(self, number, **records):
        super().__init__()
        self.number = number
        self.records = records

    async def open(self, log):
        await super().open(log)
        await self.fill(log.partition, [(f"u:{key[1:]}".encode(), value) for key, value in self.records.items()])
        return 1 + self.number  # the first offset was a claim


async def taken_up(rig, store, log_of_records):
    for key, value in log_of_records:
        rig.log.append(STATE, key, value)
    changelog = FakeChangelog(rig.log)
    restore = Restore(changelog, store, STATE, epoch := claimed(rig.log))
    rig.services = replace(rig.services, store=store)
    await restore.load()
    rig.assignment = Assignment(0, rig.services, 0, epoch)
    return changelog.records_read - 1, await restore.resume(rig.assignment)  # the claim is read too


HISTORY = ((b"u:1", person(is_held=True, is_owing=True)), (b"u:2", person(is_owing=True)), (b"u:3", person()))


async def test_only_the_tail_is_read_over_a_copy():
    rig = Rig()
    store = Copied(2, u1=HISTORY[0][1], u2=HISTORY[1][1])
    assert await taken_up(rig, store, HISTORY) == (1, 1)
    assert store.get(0, b"u:3") == HISTORY[2][1]


async def test_what_waits_in_a_copy_is_taken_up_and_its_outcomes_are_published():
    """The copy's offset says so: below it every outcome is on the topic."""
    rig = Rig()
    assert await taken_up(rig, Copied(3, u1=HISTORY[0][1], u2=HISTORY[1][1]), HISTORY) == (0, 1)
    assert len(rig.assignment.held) == 1
    assert rig.events.records_pending == 0


async def test_what_the_tail_says_has_nothing_left_to_do_is_not_taken_up_from_the_copy():
    rig = Rig()
    store = Copied(3, u1=HISTORY[0][1], u2=person(is_held=True))
    assert await taken_up(rig, store, (*HISTORY, (b"u:1", person()), (b"u:2", None))) == (2, 0)
    assert (store.get(0, b"u:1"), store.get(0, b"u:2")) == (person(), None)


async def test_a_copy_whose_records_are_newer_than_its_offset_owes_what_the_tail_owes():
    """Saved while the outcome was on its way: the offset stayed below it, so it is published again."""
    rig = Rig()
    assert await taken_up(rig, Copied(1, u2=HISTORY[1][1]), HISTORY) == (2, 1)
    assert rig.events.records_pending == 1


async def test_a_checkpoint_in_the_tail_never_falls_behind_the_copy():
    """It was noted before the copy was saved."""
    rig = Rig()
    late = (*HISTORY, (state.CHECKPOINT_KEY, state.encode_checkpoint(rig.first + 1)))
    assert await taken_up(rig, Copied(3, u1=HISTORY[0][1]), late) == (1, 1)
    assert rig.events.records_pending == 0


async def test_how_far_it_is_is_known_all_the_while():
    rig, progress, seen = Rig(), Progress(), []
    for number in range(20):
        rig.log.append(STATE, f"u:{number}".encode(), person())

    class Watching(MemoryStore):
        async def fill(self, partition, records):
            seen.append((progress.left, progress.total))
            await super().fill(partition, records)

    await Restore(FakeChangelog(rig.log), Watching(), STATE, claimed(rig.log), progress).load()
    assert seen == [(22, 22), (14, 22), (7, 22), (0, 22)]
    assert progress.left == 0


# ── whose records count ───────────────────────────────────────────────────


def of(epoch, **fields):
    return state.with_epoch(person(**fields), epoch)


def named(rig, key=b"u:1"):
    value = rig.store.get(0, key)
    return None if value is None else values(state.decode(value).traits)["name"]


def write(rig, key, epoch, **fields):
    """A record of a tenure; without fields its tombstone."""
    if fields:
        return rig.log.append(STATE, key, of(epoch, **fields))
    return rig.log.append(STATE, key, None, state.tombstone_headers(epoch))


async def test_a_record_of_who_had_lost_the_partition_loses_to_the_owners_wherever_it_lies():
    """It was made of what the person was before, and nothing of what the owner did since is in it."""
    rig = Rig()
    old, new = claimed(rig.log), claimed(rig.log)
    write(rig, b"u:1", new, name="new", is_owing=True)
    write(rig, b"u:1", old, name="old", is_held=True)
    _, resumed = await restored(rig)
    assert (named(rig), resumed, len(rig.assignment.held)) == ("new", 1, 0)


@pytest.mark.parametrize("is_compacted", [False, True])
async def test_it_counts_where_no_owner_has_written_since(is_compacted):
    """Compaction keeps the last record alone: to drop that would be to forget the person."""
    rig = Rig()
    old = claimed(rig.log)
    write(rig, b"u:1", old, name="before")
    new = claimed(rig.log)
    write(rig, b"u:2", new, name="other")
    write(rig, b"u:1", old, name="after")
    if is_compacted:
        rig.log.compact(STATE)
    await restored(rig)
    assert named(rig) == "after"


async def test_it_brings_nobody_back_whom_the_owner_deleted():
    rig = Rig()
    old, new = claimed(rig.log), claimed(rig.log)
    write(rig, b"u:1", new)
    write(rig, b"u:1", old, name="old", is_held=True)
    assert (await restored(rig))[1] == 0
    assert named(rig) is None


async def test_its_tombstone_deletes_nobody():
    rig = Rig()
    old, new = claimed(rig.log), claimed(rig.log)
    write(rig, b"u:1", new, name="new")
    write(rig, b"u:1", old)
    await restored(rig)
    assert named(rig) == "new"


async def test_what_lies_behind_the_claim_is_not_read():
    """Only what the next owner would find too may be acted upon; the acks behind it show that it is there."""
    rig = Rig()
    old = claimed(rig.log)
    write(rig, b"u:1", old, name="before")
    restore = Restore(FakeChangelog(rig.log), rig.store, STATE, epoch := claimed(rig.log))
    write(rig, b"u:1", old, name="after")
    await restore.load()
    assert (named(rig), restore.end) == ("before", epoch + 1)


async def test_whose_records_were_written_over_are_written_again_and_nobody_else():
    """Compaction keeps what lies last, and after that no restore could tell."""
    rig = Rig()
    old, new = claimed(rig.log), claimed(rig.log)
    for key in (b"u:1", b"u:2", b"u:3", b"u:4"):
        write(rig, key, new, name="new", is_held=key == b"u:2")
    for key in (b"u:1", b"u:2", b"u:3", b"u:5"):
        write(rig, key, old, name="old")
    write(rig, b"u:3", new, name="newer")
    write(rig, b"u:6", new)
    write(rig, b"u:6", old, name="old")
    await restored(rig)
    rig.ack(rig.state)
    rig.log.compact(STATE)
    mine = rig.assignment.claim.epoch
    people = [record for record in rig.log.read(STATE, 0, 99) if record.key.startswith(b"u:")]
    epochs = {record.key: state.epoch_of(record.value, record.headers) for record in people}
    assert epochs == {b"u:1": mine, b"u:2": mine, b"u:3": new, b"u:4": new, b"u:5": old, b"u:6": mine}
    again = Rig(log=rig.log, clock=rig.clock)
    await restored(again)
    assert [named(again, f"u:{n}".encode()) for n in range(1, 7)] == ["new", "new", "newer", "new", "old", None]
    assert len(again.assignment.held) == 1


async def test_records_of_the_version_before_count_until_an_owner_with_an_epoch_has_written():
    rig = Rig()
    await restored(rig, (b"u:1", person(name="a")), (b"u:1", person(name="b")))
    assert named(rig) == "b"
    write(rig, b"u:1", rig.assignment.claim.epoch, name="c")
    rig.log.append(STATE, b"u:1", person(name="d"))
    await restored(rig)
    assert named(rig) == "c"


async def copied(rig, store, first):
    """Restore over a copy, whose owner had claimed the partition at the offset `first`."""
    await store.fill(0, [(state.CLAIM_KEY, state.encode_claim(first))])
    restore = Restore(FakeChangelog(rig.log), store, STATE, epoch := claimed(rig.log))
    rig.services, rig.store = replace(rig.services, store=store), store
    await restore.load()
    rig.assignment = Assignment(0, rig.services, 0, epoch)
    await restore.resume(rig.assignment)


class Kept(MemoryStore):
    """What an earlier tenure left: complete below `offset`."""

    def __init__(self, offset):
        super().__init__()
        self.offset = offset

    async def open(self, log):
        return self.offset


@pytest.mark.parametrize("is_known", [False, True])
async def test_over_a_copy_it_loses_though_the_owners_record_is_only_there(is_known):
    """And a person whom the copy lacks had been deleted, or was never the owner's."""
    rig = Rig()
    old, new = claimed(rig.log), claimed(rig.log)
    store = Kept(rig.log.end_offset(STATE))
    if is_known:
        await store.fill(0, [(b"u:1", of(new, name="new"))])
    write(rig, b"u:1", old, name="old")
    await copied(rig, store, new)
    assert named(rig) == ("new" if is_known else None)
    rig.ack(rig.state)
    last = [each for each in rig.log.read(STATE, 0, 99) if each.key == b"u:1"][-1]
    assert state.epoch_of(last.value, last.headers) == rig.assignment.claim.epoch


async def test_what_a_copy_owes_from_before_its_owners_claim_is_taken_up():
    """Its outcomes were on their way when it was saved: the offset lies below the claim, and they are no stranger's."""
    rig = Rig()
    old = claimed(rig.log)
    at = write(rig, b"u:1", old, is_owing=True)
    new = claimed(rig.log)
    store = Kept(at)
    await store.fill(0, [(b"u:1", of(old, is_owing=True))])
    await copied(rig, store, new)
    assert rig.events.records_pending == 1


async def test_a_copy_knows_its_owners_claim_once_the_restore_is_over():
    """A restore that was cut off leaves a copy of before it, which is the older claim's."""
    rig = Rig()

    class Failing(FakeChangelog):
        async def read(self, *arguments):
            await super().read(*arguments)
            raise BrokerUnusable("gone")

    await restored(rig, (b"u:1", person()))
    first = rig.assignment.claim.epoch
    store = Kept(rig.first)
    await store.fill(0, [(state.CLAIM_KEY, state.encode_claim(first))])
    with pytest.raises(BrokerUnusable):
        await Restore(Failing(rig.log), store, STATE, claimed(rig.log)).load()
    assert state.decode_claim(store.get(0, state.CLAIM_KEY)) == first
    await Restore(FakeChangelog(rig.log), store, STATE, last := claimed(rig.log)).load()
    assert state.decode_claim(store.get(0, state.CLAIM_KEY)) == last
