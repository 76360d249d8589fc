"""What stands before every mapping: `integrations`, drop, sample, and properties taken away."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.core.event_filters import Taken, compile_event_filters
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import RuleDefaults
from streamer.errors import MappingError

EVENT = {
    "type": "track",
    "event": "Order",
    "userId": "u1",
    "properties": {"email": "a@b.c", "total": 5, "items": [{"sku": 1, "price": 2}, "x"]},
    "context": {"ip": "::1"},
}


def applied(actions, event=EVENT, integration="Twilio", place="t/0/1"):
    return compile_event_filters(actions, integration).apply(event, place)


@pytest.mark.parametrize(
    ("integrations", "is_seen"),
    [
        ({}, True),
        ({"All": True}, True),
        ({"All": False}, False),
        ({"All": False, "Twilio": True}, True),
        ({"All": False, "Twilio": {"option": 1}}, True),
        ({"All": True, "Twilio": False}, False),
        ({"twilio": False}, True),
        ({"All": False, "twilio": True}, False),
        ([], True),
        (None, True),
    ],
)
def test_the_integrations_object_is_honoured_under_our_name(integrations, is_seen):
    event = EVENT | {"integrations": integrations}
    assert (event if is_seen else Taken("integrations")) == applied([], event)


def test_our_name_is_configurable():
    event = EVENT | {"integrations": {"Twilio": False, "SMS": True}}
    assert event == applied([], event, integration="SMS")


def test_an_event_is_dropped_where_the_filter_matches():
    assert Taken("drop") == applied([{"when": "properties.total < 10", "drop": True}])
    assert EVENT == applied([{"when": "properties.total > 10", "drop": True}])
    assert Taken("drop") == applied([{"drop": True}])


def test_properties_are_taken_away_by_path_and_the_original_stays():
    seen = applied([{"drop_properties": {"properties": ["email"], "properties.items": ["price"], "": ["context"]}}])
    assert {"total": 5, "items": [{"sku": 1}, "x"]} == seen["properties"]
    assert "context" not in seen
    assert "email" in EVENT["properties"]


def test_only_allowed_properties_are_left_at_a_path():
    seen = applied([{"allow_properties": {"properties": ["total"]}}])
    assert EVENT | {"properties": {"total": 5}} == seen
    assert EVENT == applied([{"allow_properties": {"properties.none": ["x"], "properties.total": ["x"]}}])


def test_the_empty_path_is_the_events_own_keys_and_never_its_persons_profile():
    """Templates read the profile: an action on events must not take the names out of all messages."""
    scope = EVENT | {"profile": {"traits": {"name": "Ann"}}}
    allowed = applied([{"allow_properties": {"": ["type", "properties"]}}], scope)
    assert {key: scope[key] for key in ("type", "properties", "profile")} == allowed
    assert scope["profile"] == applied([{"drop_properties": {"": ["type"]}}], scope)["profile"]


def test_a_path_goes_through_the_lists_on_its_way():
    event = {"properties": {"orders": [{"buyer": {"email": "a@b.c", "id": 1}}, 5, [{"buyer": {"email": "d@e.f"}}]]}}
    expected = {"properties": {"orders": [{"buyer": {"id": 1}}, 5, [{"buyer": {}}]]}}
    assert expected == applied([{"drop_properties": {"properties.orders.buyer": ["email"]}}], event)


def test_lists_may_be_as_deep_as_they_come():
    deep = {"email": "a@b.c"}
    for _ in range(5000):
        deep = [deep]
    seen = applied([{"drop_properties": {"properties": ["email"]}}], {"properties": deep})["properties"]
    while isinstance(seen, list):
        (seen,) = seen
    assert {} == seen


def test_a_path_may_have_any_characters_that_a_key_has():
    event = {"properties": {"Ship to": {"é": 1, "zip": 2}}}
    assert {"properties": {"Ship to": {"zip": 2}}} == applied(
        [{"drop_properties": {"properties.Ship to": ["é"]}}], event
    )


@pytest.mark.parametrize("action", ["allow_properties", "drop_properties"])
@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("$.properties", "properties, without `$.`"),
        ("$", "an empty path"),
        ("properties..a", "not a path"),
        (".properties", "not a path"),
        ("properties.", "not a path"),
        ("properties. a", "not a path"),
        ("properties.items[0]", "not a path"),
        ("properties.*", "not a path"),
        ("properties.a\\.b", "not a path"),
        ("propertys", "did you mean 'properties'?"),
        ("Properties.a", "did you mean 'properties'?"),
        ("trait", "did you mean 'traits'?"),
        ("xyz", "properties, traits, context, integrations"),
        ("event", "properties, traits, context, integrations"),
        ("profile", "the profile stays"),
        ("profile.traits", "the profile stays"),
        (5, "properties, traits, context, integrations"),
    ],
)
def test_a_path_to_nothing_is_refused(action, path, says):
    """What is meant to keep a person's data back, and does nothing, would be found out by its leak."""
    with pytest.raises(MappingError) as refused:
        compile_event_filters([{action: {"context": ["ip"], path: ["email"]}}], "Twilio")
    ((found, text),) = refused.value.faults
    assert f"[0].{action}.{path}" == found
    assert says in text


@pytest.mark.parametrize("action", ["allow_properties", "drop_properties"])
def test_the_profile_is_no_key_of_the_event(action):
    with pytest.raises(MappingError, match="the profile stays"):
        compile_event_filters([{action: {"": ["type", "profile"]}}], "Twilio")


@pytest.mark.parametrize(
    ("by", "says"),
    [
        ("$.userId", "userId"),
        ("userid", "did you mean 'userId'?"),
        ("profile.trait.plan", "traits"),
        ("profile", "traits"),
    ],
)
def test_a_sample_by_nothing_is_refused(by, says):
    """It would go by the record, and keep other events of a person than those meant."""
    with pytest.raises(MappingError) as refused:
        compile_event_filters([{"sample": {"percent": 5, "by": by}}], "Twilio")
    ((found, text),) = refused.value.faults
    assert "[0].sample.by" == found
    assert says in text


def test_a_sample_may_go_by_a_trait_of_the_profile():
    compile_event_filters([{"sample": {"percent": 5, "by": "profile.traits.plan"}}], "Twilio")


@pytest.mark.parametrize("text", ["profile.trait.x = 1", "profile = null", "properties..x = 1", "bool(a"])
def test_a_filter_here_and_one_of_a_mapping_refuse_alike(text):
    document = {"when": text, "send": {"body": "x"}}
    with pytest.raises(MappingError) as here:
        compile_event_filters([{"when": text, "drop": True}], "Twilio")
    with pytest.raises(MappingError) as of_a_mapping:
        compile_rule("m", document, {}, RuleDefaults("US", "shop", 60.0))
    assert here.value.faults[0][1] in dict(of_a_mapping.value.faults)["when"]


def test_actions_work_in_their_order():
    """What an earlier one took away, a later one does not see."""
    taken_first = [{"drop_properties": {"properties": ["total"]}}, {"when": "properties.total = 5", "drop": True}]
    assert "total" not in applied(taken_first)["properties"]
    assert Taken("drop") == applied(taken_first[::-1])


@pytest.mark.parametrize(("value", "share"), [("u1", 0x019F9163), (7, 0x8F14E45F), ("é🎉", None)])
def test_a_sample_goes_by_the_md5_of_the_values_json(value, share):
    """Other tools that sample by the same rule then keep the same people."""
    event = EVENT | {"userId": value}
    kept = [
        percent
        for percent in range(101)
        if applied([{"sample": {"percent": percent, "by": "userId"}}], event) != Taken("sample")
    ]
    if share is not None:
        assert list(range(int(share / 2**32 * 100) + 1, 101)) == kept
    assert kept == list(range(kept[0], 101))


@given(st.lists(st.text(min_size=1), min_size=200, max_size=200, unique=True), st.integers(10, 90))
def test_a_sample_keeps_about_its_share(users, percent):
    kept = [
        u
        for u in users
        if applied([{"sample": {"percent": percent, "by": "userId"}}], {"userId": u}) != Taken("sample")
    ]
    assert abs(len(kept) / 2 - percent) < 20


def test_a_sample_without_a_value_goes_by_the_record_so_that_a_replay_decides_alike():
    places = [f"t/0/{offset}" for offset in range(400)]
    first = [applied([{"sample": {"percent": 50}}], place=place) for place in places]
    assert first == [applied([{"sample": {"percent": 50}}], place=place) for place in places]
    assert 150 < first.count(Taken("sample")) < 250


@pytest.mark.parametrize(
    ("actions", "path", "says"),
    [
        ("x", "", "a list"),
        (["x"], "[0]", "a mapping"),
        ([{"when": 'type = "track"'}], "[0]", "found none"),
        ([{"drop": True, "sample": {"percent": 1}}], "[0]", "found drop and sample"),
        ([{"drop": False}], "[0].drop", "must be true"),
        ([{"dorp": True, "drop": True}], "[0].dorp", "unknown key"),
        ([{"when": "type ==", "drop": True}], "[0].when", "^"),
        ([{"when": 5, "drop": True}], "[0].when", "text"),
        ([{"sample": 5}], "[0].sample", "percent"),
        ([{"sample": {"percent": 101}}], "[0].sample.percent", "0 to 100"),
        ([{"sample": {"percent": True}}], "[0].sample.percent", "0 to 100"),
        ([{"sample": {"percent": 5, "by": "a..b"}}], "[0].sample.by", "not a path"),
        ([{"allow_properties": ["a"]}], "[0].allow_properties", "by path"),
        ([{"drop_properties": {"properties": "a"}}], "[0].drop_properties.properties", "list of keys"),
        ([{"drop": True}] * 101, "", "at most 100"),
    ],
)
def test_a_faulty_action_is_refused_with_its_place(actions, path, says):
    with pytest.raises(MappingError) as refused:
        compile_event_filters(actions, "Twilio")
    ((found, text),) = refused.value.faults
    assert path == found
    assert says in text
