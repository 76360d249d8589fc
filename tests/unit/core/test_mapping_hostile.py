"""What an event or an author could do to a field: half characters, values in error texts, work that nobody counts."""

import json

import pytest

from streamer.core.liquid_filters import FILTERS
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


def fault_of(obj, event):
    """What a field says when it fails, at load or on an event, or ""."""
    try:
        compile_value(obj, path="body", missing="empty").resolve(event)
    except MappingError as error:
        return str(error)
    return ""


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


NESTED = [[] for _ in range(10_000)]
DEEP = ["x"]
for _ in range(50):
    DEEP = [DEEP]
LARGE = {
    "list": [0] * 15_000,
    "nested": NESTED,
    "deep": [DEEP] * 250,
    "key": ".".join(["a"] * 4000),
    "text": "x" * 32_000,
    "accents": "é" * 16_000,
    "spaces": " " * 31_000 + "x",
    "digits": "1" * 31_000,
    "path": "a." * 490,
    "style": "%Y" * 100,
}
P = {key: {"@path": f"$.properties.{key}"} for key in LARGE}


@pytest.mark.parametrize(
    "obj",
    [
        "{{ properties.list | where: properties.key | size }}" * 13,
        "{{ properties.list | sum: properties.key }}" * 13,
        "{{ properties.list | sum }}" * 200,
        "{{ properties.deep | join | size }}" * 200,
        "{{ properties.deep | json | size }}" * 200,
        "{% if properties.list < 1 or 1 < properties.list or properties.list < 1 %}{% endif %}" * 100,
        "{% if properties.nested >= 1 %}{% endif %}" * 100,
        "{% if 1 < properties.digits %}{% endif %}" * 200,
        "{% if properties.text < properties.text %}{% endif %}" * 150,
        "{% if 'x' contains properties.nested %}{% endif %}" * 200,
        "{% if properties.spaces == blank %}{% endif %}" * 200,
        "{{ 'ab' | slice: properties.deep | size }}" * 200,
        "{{ 'ab' | where: properties.deep | size }}" * 200,
        "{{ 0 | date: properties.style | size }}" * 235,
        ["{{ properties.spaces }}" * 20] * 20,
        [{"@if": {"blank": P["list"], "then": "x"}}] * 150,
        [{"@if": {"blank": P["nested"], "then": "x"}}] * 150,
        [{"@replace": {"value": P["text"], "pattern": "x", "replacement": ""}}] * 100,
        [{"@replace": {"value": P["accents"], "pattern": "é", "replacement": "", "ignorecase": True}}] * 80,
        [{"@flatten": {"value": P["nested"], "separator": "."}}] * 100,
        [{"@excludeWhenNull": P["nested"]}, {"@json": {"mode": "encode", "value": P["nested"]}}] * 60,
        [{"@template": "{{properties.spaces}}" * 10}] * 10,
        [{"@path": P["path"]}] * 200,
        {"@arrayPath": ["$.properties.list", {"a": {"@liquid": "{{ a | abs | plus: 1 }}"}}]},
    ],
)  # fmt: skip
def test_a_field_is_stopped_by_what_it_really_walks(obj):
    """Each ran for up to ten seconds on the event loop, or would have, without using up its allowance."""
    assert "of work" in fails(json.loads(json.dumps(obj)), missing="empty", event={"properties": LARGE})


@pytest.mark.parametrize(
    "obj",
    [
        "{{properties.nested}}" * 200,
        ["{{properties.nested}}" * 20] * 10,
        [{"@template": "{{properties.nested}}" * 20}] * 10,
    ],
)
def test_a_list_that_prints_as_nothing_is_counted_where_lists_are_printed(obj):
    with pytest.raises(MappingError, match="of work"):
        compile_mapping({"out": obj})({"properties": LARGE})


@pytest.mark.parametrize(
    ("obj", "says"),
    [
        ({"@template": "Hi {% if properties.vip %}dear{% endif %} {{properties.n}}"}, "tags are for @liquid"),
        ({"@template": "Hi {%- x -%}"}, "tags are for @liquid"),
        ({"@replace": {"value": "Hi NAME", "pattern": "NAME", "replacement": "{{type}}"}}, "is sent as it stands"),
        ({"@replace": {"value": "x", "pattern": "x", "pattern2": "y", "replacement2": "{% x %}"}}, "as it stands"),
        ({"@if": {"exists": {"@path": "type"}, "blank": {"@path": "event"}, "then": "x"}}, "`exists` or `blank`"),
        ({"@arrayPath": ["$.properties.l", "{{sku}}"]}, "a shape is an object"),
        ({"@arrayPath": ["$.properties.l", ["{{sku}}"]]}, "a shape is an object"),
        ({"@path": "$.properties.a | default: 'x'"}, "a path has no filters"),
        ({"@path": "{{properties.a}}"}, "a path has no filters"),
        ({"@path": "$.properties.a[*]"}, "a bracket holds"),
        ({"@path": "$.properties.a[-1]"}, "a bracket holds"),
        ({"@path": "$.properties['a"}, "a bracket holds"),
        ({"@path": "$.properties.a[0"}, "a bracket holds"),
        ({"@template": "Hi {{properties.a[*]}}"}, "a bracket holds"),
        ({"@arrayPath": ["$.properties.l", {"a": {"@path": "b[*]"}}]}, "a bracket holds"),
        ({"@path": "$.profile.trait.a"}, "did you mean `profile.traits`?"),
        ({"@template": "{{profile.trait.a}}"}, "did you mean `profile.traits`?"),
        ("{{ profile.trait.a }}", "did you mean `profile.traits`?"),
        ("{{ profile.first_name }}", "`profile` has traits, audiences, consent"),
        ("{% if profile['trait'] %}x{% endif %}", "did you mean `profile.traits`?"),
        ("{{ 'ada' | date: '%Y' }}", "not a time"),
        ("{% assign x = '*' | base64_decode %}x", "base64_decode"),
        ("{{ properties.at | date: '%Q' }}", "a mark that is not understood"),
        ("{{ properties.a | slugify: 'odd' }}", "is none of default"),
    ],
)
@pytest.mark.parametrize("missing", ["suppress", "empty"])
def test_what_can_never_work_is_refused_when_it_is_loaded(obj, says, missing):
    """Each would go out with its code in it, or suppress every message of the mapping."""
    assert says in refused(obj, missing)


@pytest.mark.parametrize(
    "obj",
    [
        {"@path": "$.properties['a|b'][0][\"c*\"].d e"},
        {"@path": "$.profile.audiences.vip"},
        {"@path": "$.profile"},
        {"@template": "100% {{properties.a}} %"},
        {"@replace": {"value": {"@path": "type"}, "pattern": "{{N}}", "replacement": "x"}},
        {"@arrayPath": ["$.properties.l", {}]},
        {"@arrayPath": ["$.properties.l", {"@path": "$.a"}]},
        "{{ profile.consent.sms }}{{ profile[properties.a] }}",
        "{{ properties.at | date: properties.style }}",
    ],
)
def test_what_can_work_is_not(obj):
    assert compile_value(obj, path="body", missing="suppress")


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        ({"@template": "Hi {% x %}"}, "Hi {% x %}"),
        ({"@replace": {"value": "a", "pattern": "a", "replacement": "{{type}}"}}, "{{type}}"),
        ({"@arrayPath": ["type", "{{sku}}"]}, "track"),
    ],
)
def test_the_original_keeps_its_accidents(obj, expected):
    assert {"out": expected} == compile_mapping({"out": obj})(EVENT)


@pytest.mark.parametrize(
    "text",
    ["{{ nil }}", '{{ "" }}', "{{ blank }}", "{{ 1 | divided_by: 0 }}", "{{ 'x' | to_integer }}",
     "{{ nil | append: '!' }}",
     "{{ 'abc' | times: 2 }}", "{{ 'a,b' | split: ',' }}", "{{ 1 | divided_by: 0 | append: '!' }}",
     "{{ properties.at | plus: 'x' }}", "{% liquid\necho nil\n%}"],
)  # fmt: skip
def test_a_constant_that_prints_nothing_is_refused_where_holes_must_have_values(text):
    assert refused(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a{{ ' ' }}b{{ nil | default: 'c' }}", "a bc"),
        ("{{ '' | append: properties.name | append: '!' }}", "Ana!"),
        ("{% assign all = '' | split: ',' %}{{ all | push: properties.name | join: ' ' }}", "Ana"),
        ("{{ '12' | plus: 1 }} {{ '1e2' | times: '2' }} {{ 5 | divided_by: 2, true }}", "13 200 2"),
        ("{{ properties.price | times: 10 }} {{ properties.text | plus: properties.price }}", "199 32.4"),
        ("{{ properties.prices | sum }} {{ properties.items | sum: 'price' }}", "6.5 3"),
        ("{{ properties.mixed | compact | size }} {{ properties.prices | join: ', ' }}", "4 1, 2.5, 3"),
        ("{{ properties.word | times: 2 | default: 'free' }}", "free"),
    ],
)
def test_what_a_reader_can_use_is_printed(text, expected):
    assert expected == compile_value(text, path="body", missing="suppress").resolve({"properties": PRICES})


PRICES = {
    "name": "Ana", "price": 19.9, "text": "12.5", "word": "$5", "yes": True, "prices": [1, "2.5", 3],
    "items": [{"price": 1}, {"price": 2}], "mixed": [{}, None, 3, [], ""], "gap": [{"price": 1}, {}],
}  # fmt: skip
MATH = ("plus: 1", "minus: 1", "times: 2", "divided_by: 2", "modulo: 2", "abs", "ceil", "floor", "round", "round: 1",
        "at_least: 1", "at_most: 1", "to_integer")  # fmt: skip


@pytest.mark.parametrize("name", ["word", "yes", "name", "items"])
@pytest.mark.parametrize("call", MATH)
def test_arithmetic_with_what_is_no_number_is_missing(call, name):
    """Segment's Liquid takes it for 0: a wrong price is worse than none."""
    value = compile_value(f"{{{{ properties.{name} | {call} }}}}", path="body", missing="suppress")
    assert Missing(f"properties.{name}") == value.resolve({"properties": PRICES})


@pytest.mark.parametrize("call", ["plus", "minus", "times", "divided_by", "modulo", "round", "at_least", "at_most"])
def test_arithmetic_with_an_argument_that_is_no_number_is_missing(call):
    value = compile_value(f"{{{{ properties.price | {call}: properties.word }}}}", path="body", missing="suppress")
    assert Missing("properties.word") == value.resolve({"properties": PRICES})


@pytest.mark.parametrize(
    ("call", "path"),
    [("mixed | join: ', '", "mixed"), ("items | join", "items"), ("items | where: 'price' | join", "items"),
     ("mixed | sum", "mixed"), ("gap | sum: 'price'", "gap")],
)  # fmt: skip
def test_a_list_with_gaps_is_missing(call, path):
    """It would read `[object Object], , 3`."""
    value = compile_value(f"{{{{ properties.{call} }}}}", path="body", missing="suppress")
    assert Missing(f"properties.{path}") == value.resolve({"properties": PRICES})


HIDDEN = ("{}", "2026-01-31 {}", "2026-99-99", "%Y%Q{}", "%zz{}", "*{}", "%ED%A0%BD{}", "{} 7")
CALLS = ("properties.a | {}", "0 | {}: properties.a", "properties.a | {}: properties.a", "0 | {}: 'x', properties.a",
         "properties.a | {}: 2, properties.a", "properties.l | {}", "properties.l | {}: properties.a")  # fmt: skip


@pytest.mark.parametrize("name", sorted(FILTERS))
def test_no_fault_of_a_filter_shows_a_value(name):
    for hidden in HIDDEN:
        secret = hidden.format(MARKER)
        for call in CALLS:
            said = fault_of(f"{{{{ {call.format(name)} }}}}", {"properties": {"a": secret, "l": [secret, [secret]]}})
            assert MARKER[:6] not in said
            assert "2026-99" not in said
