"""What an event or an author could do to a field: half characters, values in error texts, work that nobody counts."""

import json

import pytest

from streamer.core.mapping import compile_mapping, compile_value
from streamer.core.template import Missing
from streamer.errors import MappingError

MARKER = "ada@example.com"
EVENT = {
    "type": "track",
    "properties": {
        "half": '"\\ud83d"',
        "half_key": '{"\\ud83d": 1}',
        "whole": '["\\ud83d\\ude42", "\\\\ud83d"]',
        "secret": MARKER,
        "hole": f"Hi {{{{{MARKER}}}}}",
        "filtered": f"Hi {{{{{MARKER} | x}}}}",
        "at": "2026-01-02T03:04:05Z",
    },
}


def fails(obj, missing="suppress", event=EVENT):
    """The one fault of a field that loads, on an event."""
    value = compile_value(obj, path="body", missing=missing)
    with pytest.raises(MappingError) as failed:
        value.resolve(event)
    ((path, text),) = failed.value.faults
    return f"{path}: {text}"


def refused(obj, missing="suppress"):
    with pytest.raises(MappingError) as failed:
        compile_value(obj, path="body", missing=missing)
    return " ".join(text for _, text in failed.value.faults)


@pytest.mark.parametrize("compile_", [lambda obj: compile_value(obj, path="body", missing="empty"),
                                      lambda obj: compile_mapping({"out": obj})])  # fmt: skip
@pytest.mark.parametrize(
    "obj",
    [
        '{{ "\\ud83d" }}',
        '{{ type | append: "x\\ude00\\ud83d" }}',
        "x\ud83d",
        {"@literal": "\ude00"},
        {"@liquid": "\ude00"},
        {"@replace": {"value": "x", "pattern": "x", "replacement": "\ude00"}},
    ],
)
def test_half_a_surrogate_pair_in_a_text_is_refused_at_load(compile_, obj):
    """It can't be written as UTF-8: the request that carries it could never be made."""
    with pytest.raises(MappingError, match="half a surrogate pair"):
        compile_(obj)


def test_both_halves_of_a_surrogate_pair_are_one_character():
    assert "\U0001f642" == compile_value('{{ "\\ud83d\\ude42" }}', path="body", missing="suppress").resolve(EVENT)


@pytest.mark.parametrize("key", ["half", "half_key"])
def test_half_a_surrogate_pair_in_decoded_json_fails(key):
    node = {"@json": {"mode": "decode", "value": {"@path": f"$.properties.{key}"}}}
    assert "half a surrogate pair" in fails(node)
    with pytest.raises(MappingError, match="half a surrogate pair"):
        compile_mapping({"out": node})(EVENT)


def test_whole_characters_in_decoded_json_do_not():
    node = {"@json": {"mode": "decode", "value": {"@path": "$.properties.whole"}}}
    assert ["\U0001f642", "\\ud83d"] == compile_value(node, path="body", missing="suppress").resolve(EVENT)


@pytest.mark.parametrize(
    ("obj", "says"),
    [
        ("{{ properties.secret | date: '%Y' }}", "not a time"),
        ("{{ properties.secret | date_to_string }}", "not a time"),
        ("{{ '2026-99-99' | append: properties.secret | date: '%Y' }}", "not a time"),
        ("{{ properties.at | date: properties.style }}", "the date format has"),
        ("{{ type | slugify: properties.secret }}", "is none of default"),
        ({"@template": {"@path": "$.properties.filtered"}}, "not a template"),
    ],
)
def test_a_fault_of_an_event_says_what_was_wrong_and_not_the_value(obj, says):
    """The text is logged, published and shown; the value may be a person's name."""
    event = {**EVENT, "properties": {**EVENT["properties"], "style": f"%Q{MARKER}"}}
    text = fails(obj, event=event)
    assert says in text
    assert MARKER not in text


def test_a_hole_of_a_dynamic_template_is_named_by_its_place():
    value = compile_value({"@template": {"@path": "$.properties.hole"}}, path="body", missing="suppress")
    assert Missing("body/@template") == value.resolve(EVENT)


def test_a_day_that_no_month_has_is_not_a_time():
    event = {"properties": {"day": "2026-13-45"}}
    assert "2026-13-45" not in fails("{{ properties.day | date: '%Y' }}", event=event)
