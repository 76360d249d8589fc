"""Where an export keeps its subscriptions, and what is said of a file that is none."""

import json

import pytest

from streamer.errors import ConfigError
from streamer.importing.export import FILE_BYTES_MAX, SUBSCRIPTIONS_MAX, read_export

ITEM = {"subscribe": 'type = "track"', "mapping": {"channel": "SMS"}}
API = {
    "id": "a",
    "name": "N",
    "actionSlug": "sendMessage",
    "enabled": False,
    "trigger": "t",
    "settings": {"channel": "SMS"},
}
SETTINGS = {"accountSID": "AC1"}


def read(value):
    return read_export(json.dumps(value).encode(), "x.json")


@pytest.mark.parametrize(
    ("value", "places"),
    [
        (ITEM, ["$"]),
        ([ITEM, API], ["$[0]", "$[1]"]),
        ({"data": {"subscriptions": [API]}}, ["$.data.subscriptions[0]"]),
        ({"data": {"subscription": API}}, ["$.data.subscription"]),
        ({"data": [API]}, ["$.data[0]"]),
        ({"subscriptions": [API], "settings": SETTINGS}, ["$.subscriptions[0]"]),
        ({"destination": {"settings": SETTINGS, "subscriptions": [API]}}, ["$.destination.subscriptions[0]"]),
        ({"destinations": [{"subscriptions": [API]}]}, ["$.destinations[0].subscriptions[0]"]),
    ],
)
def test_subscriptions_are_found_where_they_are(value, places):
    assert places == [subscription.place for subscription in read(value)]


def test_the_public_apis_names_are_read():
    (found,) = read(API)
    assert ("N", "sendMessage", False, "t", {"channel": "SMS"}) == (
        found.name,
        found.action,
        found.enabled,
        found.trigger,
        found.mapping,
    )


@pytest.mark.parametrize(
    "value",
    [
        {"data": {"destination": {"settings": SETTINGS}, "subscriptions": [ITEM]}},
        {"settings": SETTINGS, "subscriptions": [ITEM]},
        ITEM | {"settings": SETTINGS},
        ITEM | {"destination": {"settings": SETTINGS}},
    ],
)
def test_the_destinations_settings_are_found(value):
    assert [SETTINGS] == [subscription.settings for subscription in read(value)]


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (5, "x.json: $: expected an object, found a number"),
        ({}, "x.json: $: no trigger in it"),
        ([], "x.json: $: no subscription in it"),
        ([ITEM, 1], "x.json: $[1]: expected an object, found a number"),
        ({"subscribe": 5, "mapping": {}}, "x.json: $.subscribe: expected text, found a number"),
        ({"trigger": "t"}, "x.json: $.mapping: expected an object, found nothing"),
        ({"trigger": "t", "settings": []}, "x.json: $.settings: expected an object, found a list"),
        (ITEM | {"enabled": "yes"}, "x.json: $.enabled: expected true or false, found text"),
        (ITEM | {"mapping": {"a": 10**30}}, "x.json: $.mapping: a number is too large"),
        (ITEM | {"mapping": {"a": "x" * 100_000}}, "x.json: $.mapping: larger than 100 KB"),
        (ITEM | {"mapping": {"a": [0] * 6_000}}, "x.json: $.mapping: more than 5000 values"),
        ([ITEM] * (SUBSCRIPTIONS_MAX + 1), "x.json: 1001 subscriptions; at most 1000"),
    ],
)
def test_a_fault_is_told_with_its_place_and_the_way_out(value, fault):
    with pytest.raises(ConfigError) as caught:
        read(value)
    assert str(caught.value).startswith(fault)
    assert ";" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "nested too deep"),
        (b"[" * 400 + b"]" * 400, "nested too deep"),
        (b" " * (FILE_BYTES_MAX + 1), "larger than 10 MB"),
        (json.dumps(ITEM | {"mapping": json.loads('{"a":' * 25 + "1" + "}" * 25)}).encode(), "nested deeper than 20"),
    ],
)
def test_what_is_no_export_is_refused(content, fault):
    with pytest.raises(ConfigError, match=fault):
        read_export(content, "x.json")


def test_every_fault_is_told_at_once():
    with pytest.raises(ConfigError) as caught:
        read([{"trigger": 1, "mapping": 2}] * 30)
    lines = str(caught.value).split("\n")
    assert (21, "… and 40 more") == (len(lines), lines[-1])
