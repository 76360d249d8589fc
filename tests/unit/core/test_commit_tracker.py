"""What may be committed while records complete out of order."""

from streamer.core.commit_tracker import CommitTracker


def test_nothing_read_is_where_the_tenure_began():
    assert CommitTracker(7).low_water_mark() == CommitTracker(7).position == 7


def test_an_unresolved_offset_holds_back_all_that_follow():
    tracker = CommitTracker(0)
    for offset in range(3):
        tracker.track(offset)
    tracker.resolve(1)
    tracker.resolve(2)
    assert (tracker.low_water_mark(), tracker.in_flight, tracker.position) == (0, 1, 3)
    tracker.resolve(0)
    assert (tracker.low_water_mark(), tracker.in_flight) == (3, 0)


def test_records_that_are_not_tracked_complete_as_they_are_passed():
    tracker = CommitTracker(0)
    tracker.advance(100)
    assert tracker.low_water_mark() == 100
    tracker.track(150)
    tracker.advance(200)
    assert (tracker.low_water_mark(), tracker.position) == (150, 200)
    tracker.resolve(150)
    assert tracker.low_water_mark() == 200


def test_the_position_never_goes_back():
    tracker = CommitTracker(10)
    tracker.advance(5)
    assert tracker.position == 10


def test_an_offset_that_is_not_in_flight_resolves_to_nothing():
    """A late ack of an earlier tenure must not move the mark."""
    tracker = CommitTracker(0)
    tracker.track(4)
    tracker.resolve(9)
    tracker.resolve(4)
    tracker.resolve(4)
    assert tracker.low_water_mark() == 5
