"""Mappings and fields: Segment's own cases, what is found at load, what a missing value becomes, what is bounded."""

import json
import math
from pathlib import Path

import pytest

from streamer.core.directives import DIRECTIVES
from streamer.core.js_text import UNDEFINED
from streamer.core.mapping import compile_mapping, compile_value
from streamer.core.mapping_tree import NOT_CONSTANT
from streamer.core.template import Missing
from streamer.errors import MappingError

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "mappings.json").read_text())
# Marked as accidents of the original, and decided otherwise.
OURS_DIFFER = {
    "map-029": "a path through null leads to nothing: through 0 or false the original would print that instead",
    "map-041": "members of JavaScript's objects aren't fields",
    "map-170": "LEFT is refused: the original accepts it and merges to the right",
}
EVENT = {
    "type": "track",
    "event": "Order Completed",
    "timestamp": "2026-01-02T03:04:05.678Z",
    "properties": {
        "total": 19.9,
        "qty": 3,
        "name": "Ana",
        "empty": "",
        "blank": " \t",
        "none": None,
        "no": False,
        "zero": 0,
        "tags": ["red", "blue"],
        "items": [{"sku": "S1"}, {"sku": "S2", "note": "x"}],
        "object": {"a": {"b": 1, "c": None}},
        "a.b": "dot",
        "json": '{"k":[1,2.50]}',
    },
    "profile": {"traits": {"first_name": "Ann"}},
}


def marked(value):
    if value is UNDEFINED:
        return {"$undefined": True}
    if isinstance(value, dict):
        return {key: marked(each) for key, each in value.items()}
    return [marked(each) for each in value] if isinstance(value, list) else value


def made(mapping, event=EVENT):
    return compile_mapping(mapping)(event)


def out(node, event=EVENT):
    return made({"out": node}, event).get("out", UNDEFINED)


def faults_of(call, *args, **kwargs):
    with pytest.raises(MappingError) as refused:
        call(*args, **kwargs)
    return refused.value.faults


def field(obj, missing="suppress", scope=EVENT):
    return compile_value(obj, path="body", missing=missing).resolve(scope)


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["id"])
def test_a_mapping_makes_what_segments_package_makes(case):
    expected = case["expected"]
    result, places = {}, []
    try:
        result = {"ok": marked(made(case["mapping"], VECTORS["payloads"][case["payload"]]))}
    except MappingError as error:
        places = sorted(path for path, _ in error.faults)
    if case["id"] in OURS_DIFFER:
        assert case["quirk"]
        assert expected != result
    elif "ok" in expected:
        assert expected == result
    else:
        assert places
        assert sorted(expected.get("paths", places)) == places


@pytest.mark.parametrize(
    ("mapping", "paths"),
    [
        ({"a": {"@case": {"value": "x"}}}, ["/a/@case"]),
        *[({"a": {name: 5}}, [f"/a/{name}"]) for name in DIRECTIVES if name not in ("@literal", "@excludeWhenNull")],
        ({"a": {"@case": {"operator": "title", "value": 5}}}, ["/a/@case/operator", "/a/@case/value"]),
        ({"a": {"@if": {"then": 1}}}, ["/a/@if"]),
        ({"a": {"@flatten": {"value": {}}}}, ["/a/@flatten"]),
        ({"a": {"@merge": {"objects": [{}]}}}, ["/a/@merge"]),
        ({"a": {"@json": {"mode": "Encode", "value": 1}}}, ["/a/@json/mode"]),
        ({"a": {"@transform": {}}}, ["/a/@transform", "/a/@transform"]),
        ({"a": {"@replace": {"value": 5, "pattern": 5, "pattern2": "12345678901", "global": None}}},
            ["/a/@replace/value", "/a/@replace/pattern", "/a/@replace/pattern2", "/a/@replace/global"]),
        ({"a": {"@path": "x", "b": 1}}, ["/a"]),
        ({"a": {"@path": "x", "@case": 1}}, ["/a"]),
        ({"a": [{"b": {"@nope": 1}}]}, ["/a/0/b"]),
        ({"a": {"@liquid": "{{ x | sort }}"}}, ["/a/@liquid"]),
        ({"a": "{{ x | sort }}"}, ["/a"]),
        ({"a": {"@arrayPath": ["x", {"@nope": 1}]}}, ["/a/@arrayPath/1"]),
        ({"a": {"@if": {"exists": {"@path": "x"}, "then": {"@path": 5}, "other": {"@bad": 1}}}},
            ["/a/@if/other", "/a/@if/then/@path"]),
        ({"__segment_internal_directive": {"@transform": 5}, "x": {"@path": "$.y"}}, ["/__segment_internal_directive"]),
        ({"a": {5: 1}}, ["/a/5"]),
        ({"a": math.nan, "b": {1, 2}, "c": b"x"}, ["/a", "/b", "/c"]),
    ],
)  # fmt: skip
def test_every_fault_is_found_at_load_with_its_path(mapping, paths):
    """The original finds most of these on every event, and loses it; what stands in lists it doesn't check at all."""
    assert sorted(paths) == sorted(path for path, _ in faults_of(compile_mapping, mapping))


@pytest.mark.parametrize("mapping", [None, 5, "x", [], [{"@path": "x"}]])
def test_a_mapping_is_an_object(mapping):
    assert [("/", "a mapping is an object")] == faults_of(compile_mapping, mapping)


def test_a_faulty_liquid_text_shows_its_place():
    ((path, text),) = faults_of(compile_mapping, {"out": {"@liquid": "Hi\n{{ properties.name | upcsae }}"}})
    assert "/out/@liquid" == path
    assert "line 2, column 22: unknown filter `upcsae`; did you mean `upcase`?\n" in text
    assert text.endswith("^")


@pytest.mark.parametrize(
    ("node", "text"),
    [
        ({"@path": {"@path": "properties.nope"}}, "a text is needed, not nothing"),
        ({"@template": {"@path": "properties.qty"}}, "a text is needed, not a number"),
        ({"@liquid": "{{ properties.name | date: '%Y' }}"}, "`date`: the value is not a time"),
        ({"@arrayPath": ["properties.tags", {"a": {"@transform": {"apply": {}, "mapping": {}}}}]},
            "an object is needed, not a text"),
    ],
)  # fmt: skip
def test_what_depends_on_the_event_fails_with_the_place_when_the_mapping_is_called(node, text):
    mapping = compile_mapping({"out": node})
    ((path, fault),) = faults_of(mapping, EVENT)
    assert path.startswith("/out/@")
    assert text in fault


def test_a_plain_text_with_a_hole_is_liquid_except_in_a_literal():
    """In Segment a text is a text; there @liquid is the only way."""
    assert "Ana: 39.8" == out("{{properties.name}}: {{ properties.total | times: 2 }}")
    assert " Ana" == out("{{properties.nope}} {{properties.name}}")
    assert "{{properties.name}}" == out({"@literal": "{{properties.name}}"})
    assert {"a": "{%", "b": 3} == out({"@literal": {"a": "{%", "b": {"@path": "properties.qty"}}})


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$.properties['a.b']", "dot"),
        ('properties["a.b"]', "dot"),
        ("properties.items[1].note", "x"),
        ("properties.items.0.sku", "S1"),
        ("properties.items[2]", UNDEFINED),
        ("properties.items.length", UNDEFINED),
        ("properties.name.length", UNDEFINED),
        ("properties.name[0]", UNDEFINED),
        ("properties.zero.x", UNDEFINED),
        ("properties.empty.x", UNDEFINED),
        ("properties.items.__class__", UNDEFINED),
        ("properties.items[01]", UNDEFINED),
        ("$.properties.none", None),
    ],
)
def test_a_path_walks_objects_and_lists_only(path, expected):
    assert expected == out({"@path": path})


def test_a_mapping_leaves_the_event_and_itself_as_they_were():
    mapping = {"a": {"@merge": {"objects": [{"@path": "properties"}, {"x": 1}], "direction": "left"}}, "b": [{}]}
    event, text = json.loads(json.dumps(EVENT)), json.dumps(mapping)
    compiled = compile_mapping(mapping)
    first = compiled(event)
    first["b"][0]["changed"] = True
    assert [{}] == compiled(event)["b"]
    assert event == EVENT
    assert text == json.dumps(mapping)


def test_undefined_in_a_later_object_deletes_the_key_of_an_earlier_one():
    parts = [{"a": 1, "b": {"c": {"@path": "nope"}}}, {"a": {"@path": "nope"}, "d": 2}]
    assert {"b": {}, "d": 2} == out({"@merge": {"objects": parts, "direction": "right"}})


def test_a_replacements_marks_mean_what_they_do_in_javascript():
    replace = {"value": "a.b", "pattern": ".", "replacement": "[$$$&$`$']"}
    assert "a[$.ab]b" == out({"@replace": replace})
    assert "KK\u017f-" == out(
        {"@replace": {"value": "KK\u017fs", "pattern": "S", "ignorecase": True, "replacement": "-"}}
    )


def test_a_value_with_braces_is_never_read_as_a_hole():
    """The original expands what a first hole brought in: a customer's name could read the event."""
    event = {"a": "{{b}}", "b": "secret"}
    assert "{{b}}" == out({"@template": "{{{a}}}"}, event)
    assert "{{b}}" == out("{{a}}", event)


@pytest.mark.parametrize("name", ["none", "nope", "empty", "blank", "tags", "object", "nope.deeper"])
@pytest.mark.parametrize(
    "form",
    [
        "Hi {{properties.%s}}!",
        "Hi {{ properties.%s | append: '!' }}",
        "Hi {{ properties.name | append: properties.%s }}",
        "{%% assign x = properties.%s | upcase %%}Hi {{ x }}",
        "{%% capture x %%}Hi {{ properties.%s }}{%% endcapture %%}{{ x }}",
        {"@liquid": "Hi {{properties.%s}}"},
        {"@template": "Hi {{$.properties.%s}}"},
        {"@case": {"operator": "upper", "value": {"@template": "{{properties.%s}}"}}},
        {"deep": ["x", {"@literal": {"@liquid": "{{properties.%s}}"}}]},
        {"@if": {"exists": {"@path": "type"}, "then": "Hi {{properties.%s}}"}},
    ],
)
def test_a_hole_with_nothing_to_print_suppresses_the_whole_field_by_name(form, name):
    """No "Hi ," and no "Hi null" reaches a phone, whatever a filter would make of nothing."""
    obj = json.loads(json.dumps(form).replace("%s", name).replace("%%", "%"))
    assert Missing(f"properties.{name}") == field(obj)


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        ("Hi {{ properties.nope | default: 'you' }}", "Hi you"),
        ("Hi {{ properties.blank | default: 'you' }}", "Hi you"),
        ("Hi {{ properties.nope | upcase | default: 'you' | append: '!' }}", "Hi you!"),
        ("{% if properties.nope %}{{ properties.nope }}{% else %}Hi{% endif %}", "Hi"),
        ("{% capture x %}{{ properties.nope }}{% endcapture %}{{ x | default: 'you' }}", "you"),
        ("{{ properties.tags | join: ', ' }} {{ properties.tags | size }}", "red, blue 2"),
        ("{{ properties.no }} {{ properties.zero }}", "false 0"),
        ("a{{ ' ' }}b", "a b"),
        ({"@if": {"exists": {"@path": "properties.nope"}, "then": "{{properties.nope}}", "else": "Hi"}}, "Hi"),
        ({"@if": {"exists": {"@liquid": "{{properties.nope}}"}, "then": "a", "else": "b"}}, "b"),
        ({"@if": {"exists": {"@path": "properties.nope"}, "then": True, "else": False}}, False),
        ({"@path": "properties.nope"}, UNDEFINED),
        ({"a": {"@path": "properties.nope"}, "b": [{"@path": "$.properties.qty"}, "{{profile.traits.first_name}}"]},
            {"b": [3, "Ann"]}),
        ({"@replace": {"value": {"@path": "properties.nope"}, "pattern": "x"}}, UNDEFINED),
        ("{{ $.properties.name }} {{$.properties.name | upcase}}", "Ana ANA"),
    ],
)  # fmt: skip
def test_a_fallback_or_an_untaken_branch_suppresses_nothing(obj, expected):
    assert expected == field(obj)


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        ("Hi {{properties.nope}}{{properties.blank}}{{properties.tags}}!", "Hi !"),
        ("{{ properties.nope | append: '!' }}", "!"),
        ({"@liquid": "Hi {{properties.object}}"}, "Hi "),
        ("{{ properties.object | append: '!' }}{{ 1 | divided_by: 0 | append: properties.tags }}", "!"),
        ({"@template": "Hi {{properties.none}}"}, "Hi "),
        ({"@path": "properties.nope"}, UNDEFINED),
    ],
)
def test_the_empty_policy_prints_nothing_for_a_missing_value(obj, expected):
    assert expected == field(obj, "empty")


@pytest.mark.parametrize("more", ["", " | plus: 1", " | append: '!'"])
def test_a_number_that_is_not_finite_is_missing(more):
    assert Missing("properties.total") == field(f"{{{{ properties.total | divided_by: 0{more} }}}}")


def test_a_missing_item_is_named_by_its_place_in_the_event():
    shape = {"@arrayPath": ["$.properties.items", {"note": {"@template": "{{note}}"}}]}
    assert Missing("properties.items[].note") == field(shape)


@pytest.mark.parametrize(
    ("obj", "paths"),
    [
        ("Hi", ()),
        (
            "{{profile.traits.first_name}} {{ properties.items[0].sku }}",
            ("profile.traits.first_name", "properties.items[0].sku"),
        ),
        ("{% assign x = properties.a %}{{ x.b | append: traits['c d'] }}", ("properties.a", "traits.c d")),
        ("{% if event %}{{ properties.a | default: context.b }}{% endif %}", ("event", "properties.a", "context.b")),
        ({"@path": "$.properties['a.b'][0].c"}, ("properties['a.b'][0].c",)),
        (
            {"@arrayPath": ["$.properties.items", {"a": {"@path": "sku"}}]},
            ("properties.items", "properties.items[].sku"),
        ),
        ({"@transform": {"apply": {"a": {"@path": "event"}}, "mapping": {"b": {"@path": "a"}}}}, ("event",)),
    ],
)
def test_a_field_tells_every_path_it_can_read(obj, paths):
    assert paths == compile_value(obj, path="body", missing="suppress").paths


@pytest.mark.parametrize("obj", ["Hi", 5, None, True, {"a": ["b", {}]}, {"@literal": {"a": "{{x}}"}}])
def test_a_field_that_is_the_same_for_every_event_tells_its_value(obj):
    value = compile_value(obj, path="body", missing="suppress")
    expected = obj["@literal"] if isinstance(obj, dict) and "@literal" in obj else obj
    assert expected == value.constant == value.resolve({})


@pytest.mark.parametrize("obj", ["{{userId}}", {"@path": "userId"}, {"a": "{{userId}}"}, [{"@liquid": "x{{userId}}"}]])
def test_a_field_that_depends_on_the_event_is_not_constant(obj):
    assert NOT_CONSTANT is compile_value(obj, path="body", missing="suppress").constant


@pytest.mark.parametrize(
    ("obj", "path", "says"),
    [
        ("Hi {{ propreties.name }}", "body", "did you mean `properties`?"),
        ("Hi {{propreties.name}}", "body", "did you mean `properties`?"),
        ({"@path": "$.propreties.name"}, "body/@path", "did you mean `properties`?"),
        ({"@template": "{{propreties.name}}"}, "body/@template", "did you mean `properties`?"),
        ("userId}}", "body", "closes nothing"),
        ("{{userId", "body", "`{{` is never closed"),
        ({"@template": "{{ properties.name | upcase }}"}, "body/@template", "filters are for @liquid"),
        ({"@template": "{{properties.name}} {{"}, "body/@template", "belongs to no hole"),
        ({"@template": "{{ }}"}, "body/@template", "a hole is empty"),
        ({"@if": {"exists": {"@path": "event"}, "thn": 1}}, "body/@if/thn", "did you mean then?"),
        ({"@if": {"exists": "", "then": 1}}, "body/@if/exists", "same for every event"),
        ({"a": {"b": "{% for x in y %}{% endfor %}"}}, "body/a/b", "the tag `for` is off"),
    ],
)
def test_our_own_fields_are_read_more_strictly_than_segments(obj, path, says):
    """Each of these would suppress, or wrongly send, every message of the mapping."""
    ((place, text),) = faults_of(compile_value, obj, path="body", missing="suppress")
    assert path == place
    assert says in text


@pytest.mark.parametrize("wrap", [lambda obj: {"a": obj}, lambda obj: [obj], lambda obj: {"@literal": obj}])
def test_deep_trees_are_refused_and_not_walked(wrap):
    obj = "x"
    for _ in range(5000):
        obj = wrap(obj)
    ((_, text),) = faults_of(compile_value, obj, path="body", missing="empty")
    assert "nested deeper than 32 levels" == text


def test_a_tree_that_shares_its_parts_a_billion_times_is_refused():
    """YAML's anchors make such trees in a few lines."""
    obj = ["x"]
    for _ in range(9):
        obj = [obj] * 10
    ((_, text),) = faults_of(compile_value, obj, path="body", missing="empty")
    assert text.startswith("more than 5000 parts")


@pytest.mark.parametrize(
    "node",
    [
        {"@flatten": {"value": {"@path": "deep"}, "separator": "."}},
        {"@json": {"mode": "encode", "value": {"@path": "deep"}}},
        {"@excludeWhenNull": {"@path": "objects"}},
        {"@template": "{{deep}}"},
        {"@liquid": "{{deep}}"},
        "{% if deep == deep2 %}x{% endif %}",
        {"@arrayPath": ["many", {"a": {"@arrayPath": [{"@literal": [0] * 1000}, {"b": 1}]}}]},
        {"@replace": {"value": {"@path": "long"}, "pattern": "a", "replacement": "$`$'"}},
    ],
)
def test_an_event_can_not_make_a_mapping_work_without_end(node):
    deep, objects = [], {}
    for _ in range(900):
        deep, objects = [deep], {"a": objects}
    event = {
        "deep": deep,
        "deep2": json.loads(json.dumps(deep)),
        "objects": objects,
        "many": [{}] * 5000,
        "long": "a" * 30000,
    }
    assert faults_of(compile_mapping({"out": node}), event)


def test_json_that_is_none_stays_a_text():
    assert {"k": [1, 2.5]} == out({"@json": {"mode": "decode", "value": {"@path": "properties.json"}}})
    for text in ("{oops", "NaN", "[" * 100_000, "1e", ""):
        assert text == out({"@json": {"mode": "decode", "value": {"@path": "a"}}}, {"a": text})


def test_the_root_directive_takes_the_other_keys_as_its_mapping():
    mapping = {
        "__segment_internal_directive": {"@transform": {"apply": {"a": {"@path": "event"}}}},
        "b": {"@path": "a"},
    }
    assert {"b": "Order Completed"} == made(mapping)
