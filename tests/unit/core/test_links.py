"""Who a key's events belong to: by their own time, whatever is heard later, and never another's by accident."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.core.links import (
    ERASED,
    LINKS_BYTES_MAX,
    LINKS_MAX,
    REFRESH_MS,
    LatelyLinked,
    erased,
    is_nobodys,
    linked,
    target_at,
    targets,
)


def links_of(*pairs):
    found = []
    for event_ms, target in pairs:
        found = linked(found, event_ms, target)
    return found


def test_an_event_belongs_to_the_last_link_at_or_before_it_and_before_the_first_to_the_first():
    links = links_of((10, "u:1"), (20, "u:2"))
    assert ["u:1", "u:1", "u:1", "u:2", "u:2"] == [target_at(links, at) for at in (0, 10, 19, 20, 99)]


def test_of_a_run_of_one_person_the_ends_are_kept():
    links = links_of(*((at, "u:1") for at in range(10, 20)), (20, "u:2"), (30, "u:1"))
    assert [(10, "u:1"), (19, "u:1"), (20, "u:2"), (30, "u:1")] == links
    assert linked(links, 15, "u:1") is links
    assert linked(links, 19, "u:1") is links


def test_people_who_are_all_different_may_be_heard_of_in_any_order():
    pairs = [(10, "u:1"), (20, "u:2"), (20, "u:3"), (30, "u:4")]
    assert [pairs] * 24 == [links_of(*order) for order in permutations(pairs)]


def test_a_link_that_comes_late_parts_a_run():
    links = links_of((10, "u:1"), (30, "u:1"), (20, "u:2"))
    assert ["u:1", "u:2", "u:1"] == [target_at(links, at) for at in (19, 29, 30)]


def test_everyone_is_listed_once_and_nobody_who_was_erased():
    links = links_of((10, "u:1"), (20, "u:2"), (30, "u:1"), (40, "u:3"))
    assert ("u:1", "u:2", "u:3") == targets(links)
    assert ("u:1", "u:3") == targets(erased(links, "u:2", 99))


def test_times_of_somebody_erased_are_nobodys_and_what_comes_after_them_is_the_keys_own():
    links = erased(links_of((10, "u:1"), (20, "u:2"), (30, "u:1")), "u:1", 25)
    assert [(10, ERASED), (20, "u:2"), (30, "u:1")] == links
    assert [True, True, False, False] == [is_nobodys(links, at) for at in (0, 19, 20, 30)]
    last = erased(links_of((10, "u:1"), (20, "u:2")), "u:2", 25)
    assert [False, False] == [is_nobodys(last, at) for at in (15, 30)]
    assert ERASED == target_at(last, 30)


pairs = st.lists(st.tuples(st.integers(0, 300), st.sampled_from(["u:1", "u:2", "u:3", "u:" + "é" * 250])), max_size=150)


def truth(heard, at):
    """Whose an event of a time is by all that was ever said."""
    return target_at(sorted(heard), at)


@given(pairs)
def test_heard_of_in_order_nobody_gets_what_is_not_theirs_however_many_there_are(heard):
    """On a shared device nothing of one reaches another; where there was no room for who it was, nobody gets it."""
    kept, said = [], []
    for pair in sorted(heard):
        kept = linked(kept, *pair)
        said.append(pair)
        assert len(kept) <= LINKS_MAX
    if said:
        is_whole = ERASED not in {key for _, key in kept}
        for at in range(-1, 302):
            got = target_at(kept, at)
            assert got == truth(said, at) or (got == ERASED and not is_whole)


@given(pairs)
def test_in_any_order_the_links_stay_sorted_and_bounded_and_a_repeat_says_nothing_new(heard):
    kept = []
    for pair in heard:
        kept = linked(kept, *pair)
        assert kept == sorted(kept)
        assert len(kept) <= LINKS_MAX
        assert len(kept) <= 4 or sum(len(key.encode()) for _, key in kept) <= LINKS_BYTES_MAX
        assert linked(kept, *kept[-1]) is kept


def test_beyond_the_bounds_the_oldest_but_the_first_are_nobodys():
    links = links_of(*((number, f"u:{number}") for number in range(LINKS_MAX + 20)))
    assert len(links) <= LINKS_MAX
    assert "u:0" == target_at(links, 0)
    assert ERASED == target_at(links, 10)
    assert is_nobodys(links, 10)
    assert f"u:{LINKS_MAX + 19}" == target_at(links, 999)


# ── the router's memory ───────────────────────────────────────────────────


def test_a_link_is_sent_once_a_minute_of_its_time_and_at_once_for_another_person():
    lately = LatelyLinked()
    assert lately.needs("a:d", "u:1", 1_000)
    assert not lately.needs("a:d", "u:1", 1_000 + REFRESH_MS - 1)
    assert lately.needs("a:d", "u:1", 1_000 + REFRESH_MS)
    assert lately.needs("a:d", "u:2", 1_500 + REFRESH_MS)
    assert lately.needs("a:d", "u:1", 2_000 + REFRESH_MS)


def test_a_link_older_than_what_was_sent_is_sent():
    """The owner has to know since when."""
    lately = LatelyLinked()
    assert lately.needs("a:d", "u:1", 1_000)
    assert lately.needs("a:d", "u:1", 999)
    assert not lately.needs("a:d", "u:1", 999)


@pytest.mark.parametrize("forget", [lambda lately: lately.clear(), lambda lately: lately.needs("a:x", "u:1", 1)])
def test_what_is_forgotten_is_sent_again(forget):
    """A tenure that ended may not have sent it; and memory is bounded."""
    lately = LatelyLinked(size_max=1)
    assert lately.needs("a:d", "u:1", 1_000)
    forget(lately)
    assert lately.needs("a:d", "u:1", 1_000)
