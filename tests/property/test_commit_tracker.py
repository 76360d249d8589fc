"""The commit tracker against a model that keeps everything."""

from hypothesis import given
from hypothesis import strategies as st

from streamer.core.commit_tracker import CommitTracker

steps = st.lists(
    st.tuples(st.sampled_from(["track", "skip", "resolve", "resolve first", "resolve unknown"]), st.integers(0, 20)),
    max_size=60,
)


@given(steps, st.integers(0, 1_000))
def test_low_water_mark_never_passes_an_in_flight_offset(history, start):
    """Committing past one would lose its SMS on restart; lagging behind for no reason repeats events."""
    tracker, in_flight, position = CommitTracker(start), [], start
    sizes = {}
    marks = []
    for step, number in history:
        if step == "track":
            offset = position + number % 3  # compaction and transactions leave gaps
            sizes[offset] = number
            tracker.track(offset, number)
            in_flight.append(offset)
            position = offset + 1
        elif step == "skip":
            position += number
            tracker.advance(position)
        elif step == "resolve" and in_flight:
            tracker.resolve(in_flight.pop(number % len(in_flight)))
        elif step == "resolve first" and in_flight:
            tracker.resolve(in_flight.pop(0))
        elif step == "resolve unknown":
            tracker.resolve(position + number)
        assert min(in_flight, default=position) == tracker.low_water_mark()
        assert len(in_flight) == tracker.in_flight
        assert sum(sizes[offset] for offset in in_flight) == tracker.bytes_in_flight
        assert position == tracker.position
        marks.append(tracker.low_water_mark())
    assert marks == sorted(marks)
