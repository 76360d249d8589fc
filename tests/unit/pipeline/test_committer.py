"""Commits move what is complete, once a second, and say whether there is progress."""

import asyncio

from streamer.pipeline.committer import COMMIT_EVERY_S, Committer
from streamer.pipeline.lease import Lease
from streamer.ports import End, Partition
from streamer.testing.fakes import ManualClock, settle

PLACE = Partition("in", 0)
SESSION_S = 8.0


class Stage:
    def __init__(self, **positions):
        self.at = {PLACE: 0}
        self.said = {}

    def positions(self):
        return dict(self.at)

    def notes(self):
        return dict(self.said)


class Source:
    """Notes commits; says what it is told to say."""

    def __init__(self, clock):
        self.clock = clock
        self.answer_s = 0.0  # what a commit takes
        self.commits = []
        self.notes = []
        self.is_answering = True
        self.log_end = 0

    async def commit(self, offsets, notes):
        self.commits.append(dict(offsets))
        self.notes.append(dict(notes))
        self.clock.advance(self.answer_s)
        return self.is_answering

    def end(self, partition):
        return End(self.log_end)


def parts():
    clock, stage, source = (made := ManualClock()), Stage(), Source(made)
    return clock, stage, source, Committer("router", stage, source, clock)


async def test_only_what_moved_is_committed():
    _, stage, source, committer = parts()
    other = Partition("in", 1)
    stage.at = {PLACE: 5, other: 1}
    await committer.commit()
    stage.at[PLACE] = 6
    await committer.commit()
    await committer.commit()
    assert source.commits == [{PLACE: 5, other: 1}, {PLACE: 6}]


async def test_a_commit_that_failed_is_tried_again_with_all_positions():
    _, stage, source, committer = parts()
    other = Partition("in", 1)
    stage.at = {PLACE: 5, other: 1}
    await committer.commit()
    source.is_answering = False
    stage.at[PLACE] = 6
    await committer.commit()
    source.is_answering = True
    await committer.commit()
    assert source.commits[1:] == [{PLACE: 6}, {PLACE: 6, other: 1}]


async def test_a_partition_that_returns_is_committed_anew():
    """Another member may have moved it meanwhile."""
    _, stage, source, committer = parts()
    other = Partition("in", 1)
    for positions in ({PLACE: 5}, {other: 1}, {PLACE: 5}):
        stage.at = positions
        await committer.commit()
    assert source.commits == [{PLACE: 5}, {other: 1}, {PLACE: 5}]


async def test_it_commits_once_a_second():
    clock, stage, source, committer = parts()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(committer.run(), name="committer")
        for second in range(3):
            await settle()
            assert len(source.commits) == second
            stage.at = {PLACE: second + 1}
            clock.advance(COMMIT_EVERY_S)
        await settle()
        assert len(source.commits) == 3
        running.cancel()


async def test_progress_is_a_position_that_moves_or_nothing_to_do():
    """A lag that does not shrink is what a health check must see."""
    clock, stage, source, committer = parts()
    await committer.commit()
    clock.advance(10.0)
    await committer.commit()
    assert committer.moved_s == 10.0  # no lag
    source.log_end = 9
    clock.advance(10.0)
    await committer.commit()
    assert committer.moved_s == 10.0  # behind, and nothing completes
    stage.at = {PLACE: 1}
    clock.advance(10.0)
    await committer.commit()
    assert committer.moved_s == 30.0


async def test_a_note_that_changes_is_committed_with_the_offset_that_stands():
    """How far an idle router has read must go on, or every timer of an idle service stands still."""
    _, stage, source, committer = parts()
    other = Partition("in", 1)
    stage.at = {PLACE: 5, other: 1}
    for note in ("t1:1", "t1:2", "t1:2"):
        stage.said = {PLACE: note}
        await committer.commit()
    assert source.commits == [{PLACE: 5, other: 1}, {PLACE: 5}]
    assert source.notes == [{PLACE: "t1:1"}, {PLACE: "t1:2"}]


async def test_a_note_that_could_not_be_committed_is_tried_again():
    _, stage, source, committer = parts()
    stage.at = {PLACE: 5}
    await committer.commit()
    source.is_answering = False
    stage.said = {PLACE: "t1:1"}
    await committer.commit()
    source.is_answering = True
    await committer.commit()
    assert source.notes == [{}, {PLACE: "t1:1"}, {PLACE: "t1:1"}]


async def test_a_note_is_no_progress_and_the_lack_of_one_is_no_trouble():
    """Health is about records: a router that lags and only tells the time is stuck, one with nothing to do is well."""
    clock, stage, source, committer = parts()
    await committer.commit()
    source.log_end = 9
    clock.advance(10.0)
    stage.said = {PLACE: "t1:1"}
    await committer.commit()
    assert (committer.moved_s, source.notes[-1]) == (0.0, {PLACE: "t1:1"})
    source.log_end, source.is_answering = 0, False
    clock.advance(10.0)
    stage.said = {PLACE: "t1:2"}
    await committer.commit()
    assert committer.moved_s == 20.0


async def test_a_lease_is_renewed_each_second_though_nothing_moves_and_dated_from_the_request():
    """The broker counts from when it took the commit; the answer may come any time later."""
    clock, stage, source, _ = parts()
    lease = Lease(SESSION_S)
    lease.begin(clock.now_s())
    committer = Committer("owner", stage, source, clock, lease)
    for _ in range(3):
        source.answer_s = 1.0
        await committer.commit()
    asked_s = clock.now_s() - 1.0
    assert source.commits == [{PLACE: 0}] * 3
    assert lease.holds(asked_s + SESSION_S / 2)
    assert not lease.holds(asked_s + SESSION_S)


async def test_a_commit_that_failed_or_had_nothing_to_say_renews_no_lease():
    """Of no partition at all no broker was asked."""
    clock, stage, source, _ = parts()
    lease = Lease(SESSION_S)
    lease.begin(clock.now_s())
    committer = Committer("owner", stage, source, clock, lease)
    source.is_answering = False
    await committer.commit()
    source.is_answering, stage.at = True, {}
    await committer.commit()
    assert not lease.holds(clock.now_s())
