"""What a partition's end and the low-water mark say of the time."""

import pytest

from streamer.core.frontier import MARKS_MAX, Frontier, decode_time, encode_time


def test_nothing_is_known_before_an_end_is_reached():
    frontier = Frontier()
    assert frontier.reach(10) == 0
    frontier.note(11, 1_000)
    assert (frontier.reach(10), frontier.reach(11)) == (0, 1_000)


def test_a_look_at_an_idle_partition_moves_the_time_on():
    frontier = Frontier()
    for ms in (1_000, 2_000):
        frontier.note(5, ms)
        assert frontier.reach(5) == ms


def test_an_end_that_went_back_says_nothing():
    """A broker that has just become the leader may not know yet what was acked."""
    frontier = Frontier()
    frontier.note(5, 1_000)
    assert frontier.reach(4) == 0
    frontier.note(4, 2_000)
    assert frontier.reach(4) == 0
    assert frontier.reach(5) == 1_000


def test_the_first_end_to_reach_is_kept_however_many_come_after():
    """Were it dropped for later ones, a lag would never end."""
    frontier = Frontier()
    for number in range(1, 10 * MARKS_MAX):
        frontier.note(number, 1_000 + number)
    assert frontier.reach(1) == 1_001


@pytest.mark.parametrize(
    "text", ["", "t1:", "t1:0", "t1:-5", "t1:1e3", "t1: 5", "t1:5 ", "t1:\u0665", "t2:5", "5", "x" * 99]
)
def test_what_is_not_our_text_is_an_unknown_time(text):
    assert decode_time(text) == 0


def test_an_unknown_time_is_no_text():
    assert (encode_time(0), encode_time(1_700_000_000_123)) == ("", "t1:1700000000123")
