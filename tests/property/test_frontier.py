"""The frontier against a plain model: a partition whose records come, are seen and are handled, one by one."""

from hypothesis import given
from hypothesis import strategies as st

from streamer.core.frontier import MARKS_MAX, Frontier, decode_time, encode_time

steps = st.lists(
    st.tuples(
        st.sampled_from(["come", "come", "handle", "handle all", "look", "look", "fall back"]), st.integers(0, 9)
    ),
    max_size=150,
)


@given(steps)
def test_the_time_is_never_later_than_the_truth_and_never_goes_back(history):
    """Else a timer gives up a track whose identify is still unread."""
    frontier, came_ms, seen, low_water, now_ms, said = Frontier(), [], -1, 0, 1_000, [0]
    for step, number in history:
        now_ms += number
        if step == "come":
            came_ms += [now_ms] * number
        elif step == "handle":
            low_water = min(len(came_ms), low_water + number)
        elif step == "handle all":
            low_water = len(came_ms)
        elif step == "look":
            seen = len(came_ms)
            frontier.note(seen, now_ms)
        elif seen >= 0:  # a new leader does not know yet how far its followers have come
            frontier.note(seen - 1 - number, now_ms)
        said.append(frontier.reach(low_water))
        assert all(offset < low_water for offset, ms in enumerate(came_ms) if ms < said[-1])
        assert len(frontier._marks) <= MARKS_MAX
    assert said == sorted(said)


@given(steps, st.integers(1, 1_000))
def test_once_all_is_handled_the_time_is_that_of_the_last_look(history, later_ms):
    """An idle service must not keep anybody waiting."""
    frontier, end, now_ms = Frontier(), 0, 1_000
    for step, number in history:
        now_ms += number + 1
        end += number if step == "come" else 0
        frontier.note(end, now_ms)
    frontier.note(end, now_ms + later_ms)
    assert frontier.reach(end) == now_ms + later_ms


@given(st.integers(0, 500), st.integers(1, 50), st.integers(1, 5))
def test_under_a_steady_load_the_time_follows_the_lag(lag, rate, every):
    """A service that is always a little behind would otherwise never release anything."""
    frontier = Frontier()
    for now in range(1, 6 * (lag + every) + 1):
        if now % every == 0:
            frontier.note(now * rate, now)
        handled = frontier.reach(max(0, (now - lag) * rate))
        if now >= 3 * (lag + every):
            assert now - 2 * (lag + every) <= handled <= now - lag


@given(st.integers(1, 9), st.lists(st.integers(0, 9), max_size=100))
def test_while_nothing_is_handled_the_time_stands_still(backlog, growth):
    """However long an outage lasts, what waits for the input keeps its deadline."""
    frontier = Frontier()
    frontier.note(0, 1_000)
    assert frontier.reach(0) == 1_000
    end = backlog
    for now_ms, number in enumerate(growth, 2_000):
        frontier.note(end, now_ms)
        end += number
        assert frontier.reach(backlog - 1) == 1_000


@given(st.integers(1, 10**15 - 1))
def test_a_time_survives_its_commit(ms):
    assert decode_time(encode_time(ms)) == ms


@given(st.text(max_size=20) | st.from_regex(r"t[0-9]?:-?[0-9]*\n?"))
def test_any_other_text_is_an_unknown_time(text):
    """Another client's commit, a later version's, or none at all: never a time that nobody said."""
    ms = decode_time(text)
    assert ms == 0 or encode_time(ms) == text
