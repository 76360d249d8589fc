"""Commits move what is complete, once a second, and say whether there is progress."""

import asyncio

from streamer.pipeline.committer import COMMIT_EVERY_S, Committer
from streamer.ports import Partition
from streamer.testing.fakes import ManualClock, settle

PLACE = Partition("in", 0)


class Stage:
    def __init__(self, **positions):
        self.at = {PLACE: 0}

    def positions(self):
        return dict(self.at)


class Source:
    """Notes commits; says what it is told to say."""

    def __init__(self):
        self.commits = []
        self.is_answering = True
        self.end = 0

    async def commit(self, offsets):
        self.commits.append(dict(offsets))
        return self.is_answering

    def end_offset(self, partition):
        return self.end


def parts():
    clock, stage, source = ManualClock(), Stage(), Source()
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
    source.end = 9
    clock.advance(10.0)
    await committer.commit()
    assert committer.moved_s == 10.0  # behind, and nothing completes
    stage.at = {PLACE: 1}
    clock.advance(10.0)
    await committer.commit()
    assert committer.moved_s == 30.0
