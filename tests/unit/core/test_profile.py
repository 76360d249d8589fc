"""One person's traits: the last writer by event time wins, trait by trait, whatever the order of arrival."""

from itertools import permutations

from streamer.core.profile import TRAITS_MAX, fold, values


def folded(*updates):
    traits = {}
    for update, event_ms in updates:
        fold(traits, update, event_ms)
    return values(traits)


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
    traits = {}
    assert fold(traits, {"a": 1, "b": None}, 10)
    kept = dict(traits)
    assert not fold(traits, {"a": 1, "b": None}, 10)
    assert not fold(traits, {"a": 1}, 9)
    assert traits == kept


def test_a_newer_time_of_the_same_value_counts():
    """Else an older, different value could overwrite it."""
    assert folded(({"a": 1}, 10), ({"a": 1}, 30), ({"a": 2}, 20)) == {"a": 1}


def test_traits_not_named_stay():
    assert folded(({"a": 1, "b": {"c": 2}}, 10), ({"b": {"d": 3}}, 20)) == {"a": 1, "b": {"d": 3}}


def test_names_beyond_the_limit_are_left_out_and_known_ones_still_change():
    traits = {}
    fold(traits, {f"t{number}": number for number in range(TRAITS_MAX)}, 10)
    assert not fold(traits, {"one more": 1}, 20)
    assert fold(traits, {"t0": "new", "one more": 1}, 20)
    assert len(traits) == TRAITS_MAX
    assert values(traits)["t0"] == "new"


def test_false_zero_and_empty_are_values():
    assert folded(({"a": False, "b": 0, "c": ""}, 1)) == {"a": False, "b": 0, "c": ""}
