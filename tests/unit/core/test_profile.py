"""One person's traits: the last writer by event time wins, trait by trait, whatever the order of arrival."""

from itertools import permutations

import pytest

from streamer.core.profile import (
    SPELLINGS,
    TOO_LARGE,
    TOO_MANY,
    TRAITS_BYTES_MAX,
    TRAITS_MAX,
    Update,
    fold,
    overlaid,
    size,
    unite,
    values,
)


def profile(*updates):
    """The profile after these (traits, event time), in this order of arrival; the id tells one from another."""
    known = []
    for number, (traits, event_ms) in enumerate(updates):
        known = fold(known, Update(event_ms, f"m{number}", traits)).updates
    return known


def folded(*updates):
    return values(profile(*updates))


def test_the_order_of_arrival_does_not_matter():
    updates = [({"phone": "1", "name": "a"}, 10), ({"phone": None}, 20), ({"phone": "3", "tier": {"x": 1}}, 30)]
    updates += [({"name": "d", "tier": None}, 25)]
    for order in permutations(updates):
        assert folded(*order) == {"name": "d", "phone": "3", "tier": {"x": 1}}


def test_null_deletes_and_an_older_value_does_not_return():
    """Who deleted a phone must not be texted at it because an old identify came late."""
    assert folded(({"phone": "1"}, 10), ({"phone": None}, 30), ({"phone": "2"}, 20)) == {}
    assert folded(({"phone": None}, 30), ({"phone": "2"}, 20), ({"phone": "4"}, 40)) == {"phone": "4"}


def test_a_repeat_changes_nothing():
    """So it costs no write."""
    first = fold([], Update(10, "m1", {"a": 1, "b": None}))
    for again in (Update(10, "m1", {"a": 1, "b": None}), Update(10, "m1", {"b": None}), Update(9, "m0", {"a": 1})):
        assert fold(first.updates, again).updates is first.updates


def test_a_newer_time_of_the_same_value_counts():
    """Else an older, different value could overwrite it."""
    assert folded(({"a": 1}, 10), ({"a": 1}, 30), ({"a": 2}, 20)) == {"a": 1}


def test_traits_not_named_stay():
    assert folded(({"a": 1, "b": {"c": 2}}, 10), ({"b": {"d": 3}}, 20)) == {"a": 1, "b": {"d": 3}}


def test_false_zero_and_empty_are_values():
    assert folded(({"a": False, "b": 0, "c": ""}, 1)) == {"a": False, "b": 0, "c": ""}


def test_each_trait_names_the_identify_that_set_it_and_an_identify_with_nothing_left_is_gone():
    known = profile(({"a": 1, "b": 1}, 10), ({"a": 2}, 20), ({"b": 3}, 30))
    assert [Update(20, "m1", {"a": 2}), Update(30, "m2", {"b": 3})] == known


def test_of_two_at_one_time_the_greater_id_wins():
    first, second = Update(10, "m1", {"a": "x", "b": 1}), Update(10, "m2", {"a": "y"})
    expected = [Update(10, "m1", {"b": 1}), Update(10, "m2", {"a": "y"})]
    assert expected == fold(fold([], first).updates, second).updates == fold(fold([], second).updates, first).updates


def test_two_values_under_one_id_end_as_one_whichever_came_first():
    """A producer that reuses a messageId must not make the profile depend on the order."""
    ones = [Update(10, "m", {"a": "x", "b": 1}), Update(10, "m", {"a": "yy", "c": None}), Update(10, "m", {"a": 7})]
    ended = [unite([], order).updates for order in permutations(ones)]
    assert [[Update(10, "m", {"a": "yy", "b": 1, "c": None})]] * 6 == ended


@pytest.mark.parametrize(("camel", "snake"), SPELLINGS)
def test_both_spellings_of_a_reserved_trait_are_one_trait(camel, snake):
    """One program says first_name, another firstName: the later of them counts, under both."""
    assert {camel: "new", snake: "new"} == folded(({snake: "old"}, 10), ({camel: "new"}, 20))
    assert {camel: "new", snake: "new"} == folded(({camel: "old"}, 10), ({snake: "new"}, 20))
    assert {} == folded(({camel: "old"}, 10), ({snake: None}, 20))
    assert {camel: 1, snake: 1} == folded(({snake: 2, camel: 1}, 10)) == folded(({camel: 1, snake: 2}, 10))


def test_names_beyond_the_limit_are_left_out_and_known_ones_still_change():
    known = fold([], Update(10, "m1", {f"t{number}": number for number in range(TRAITS_MAX)})).updates
    assert (known, TOO_MANY) == fold(known, Update(20, "m2", {"one more": 1}))
    changed = fold(known, Update(20, "m2", {"t0": "new", "one more": 1}))
    assert TOO_MANY == changed.left_out
    seen = values(changed.updates)
    assert (TRAITS_MAX, "new", False) == (len(seen), seen["t0"], "one more" in seen)


def test_up_to_the_limit_new_names_are_taken_and_deleted_ones_still_count():
    """A tombstone that could be pushed out would let the deleted value return."""
    known = fold([], Update(10, "m1", {f"t{number}": None for number in range(TRAITS_MAX - 1)})).updates
    taken = fold(known, Update(20, "m2", {"a": 1, "b": 2}))
    assert (TOO_MANY, {"a": 1}) == (taken.left_out, values(taken.updates))


def test_one_identify_with_too_many_traits_keeps_the_first_of_them():
    taken = fold([], Update(10, "m1", {f"t{number}": number for number in range(TRAITS_MAX + 5)}))
    assert (TOO_MANY, [f"t{number}" for number in range(TRAITS_MAX)]) == (taken.left_out, list(values(taken.updates)))


def test_an_update_that_makes_a_profile_too_large_is_left_out_whole():
    known = fold([], Update(10, "m1", {"phone": "1"})).updates
    assert (known, TOO_LARGE) == fold(known, Update(20, "m2", {"phone": "2", "x": "y" * TRAITS_BYTES_MAX}))
    largest = "y" * (TRAITS_BYTES_MAX - size(known) - 20)
    taken = fold(known, Update(20, "m2", {"x": largest}))
    assert ("", TRAITS_BYTES_MAX) >= (taken.left_out, size(taken.updates))
    assert fold(taken.updates, Update(30, "m3", {"x": "small again"})).left_out == ""


def test_two_profiles_unite_to_what_their_identifies_would_have_made_in_one():
    mine, theirs = [({"a": 1, "b": 1}, 10), ({"b": 3}, 30)], [({"a": 2, "c": None}, 20), ({"b": 4}, 5)]
    one, other = profile(*mine), [Update(at_ms, f"x{at_ms}", traits) for traits, at_ms in theirs]
    assert {"a": 2, "b": 3} == values(unite(one, other).updates) == values(unite(other, one).updates)


def test_what_an_event_brings_lies_over_the_profile_in_both_spellings_and_a_null_hides():
    seen = folded(({"first_name": "Ada", "phone": "1", "plan": "plus"}, 10))
    assert {"firstName": "Eve", "first_name": "Eve", "plan": "plus"} == overlaid(
        seen, {"first_name": "Eve", "phone": None}
    )
    assert {"phone": "1", "plan": "plus"} == overlaid(seen, {"firstName": None})
    assert seen == overlaid(seen, {})
