"""Invariants of mappings and Liquid: any JSON is a mapping or a MappingError, and so is what it makes of any event."""

import math
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from streamer.core.directives import DIRECTIVES
from streamer.core.js_text import json_text, number_of, number_text, parsed_json, printed
from streamer.core.liquid_filters import FILTERS
from streamer.core.liquid_parse import TAGS
from streamer.core.mapping import Mapping, Value, compile_mapping, compile_value
from streamer.core.template import Missing
from streamer.errors import MappingError

MARKS = "{{ }} {% %} - | : , ' \" . [ ] ( ) == > and contains a b else elsif endif endunless endcapture endraw 1 blank"
OPTIONS = "exists blank then else operator value pattern replacement ignorecase separator objects direction apply mode"

liquid_words = st.sampled_from([*MARKS.split(), " ", "\n", "\\", "$.", "'x'", "endcomment", *TAGS, *FILTERS])
liquid_texts = st.lists(liquid_words, max_size=25).map(" ".join) | st.lists(liquid_words, max_size=25).map("".join)
# Well-formed more often than chance would have it.
filter_calls = st.builds(
    lambda name, args: name + (": " + ", ".join(args) if args else ""),
    st.sampled_from(sorted(FILTERS)),
    st.lists(st.sampled_from(["a", "'x'", "2", "-1", "b"]), max_size=2),
)
holes = st.builds(
    lambda root, filters: "{{ " + " | ".join([root, *filters]) + " }}",
    st.sampled_from(["a", "a.b", "b[0]", "'x'", "2.5"]),
    st.lists(filter_calls, max_size=3),
)
texts = st.text(max_size=20) | liquid_texts | holes
words = st.sampled_from(["$.a", "a.b[0]", "lower", "left", "encode"])
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts | words
names = st.sampled_from([*DIRECTIVES, "@nope", "_metadata", "a", "b", "__segment_internal_directive"])
options = st.sampled_from([*OPTIONS.split(), "mapping"])
trees = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(names, inner | st.dictionaries(options, inner, max_size=5), max_size=3)
        | st.builds(lambda name, arg: {name: arg}, names, st.dictionaries(options, inner, max_size=5))
    ),
    max_leaves=12,
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "0"]), inner, max_size=3),
    max_leaves=8,
)
events = st.fixed_dictionaries({}, optional={"a": values, "b": values, "properties": values})
reads = st.tuples(st.sampled_from(["a", "a.b", "b[0]", "b.a"]), st.sampled_from(["", *sorted(FILTERS)]))
exact = st.sampled_from([1e21, 1e-7, -0.0, 2**53, 123456789012345680000.0])
numbers = st.floats() | st.integers() | st.integers().map(float) | exact


def outcome(call, *args, **kwargs):
    """What a call makes, or its MappingError."""
    try:
        return call(*args, **kwargs)
    except MappingError as error:
        return error


@given(trees, events)
def test_any_json_is_a_mapping_or_a_mapping_error(obj, event):
    compiled = outcome(compile_mapping, {"out": obj})
    if isinstance(compiled, Mapping):
        assert isinstance(outcome(compiled, event), dict | MappingError)
    else:
        assert compiled.faults
        assert all(path.startswith("/") and text for path, text in compiled.faults)


@given(trees, events, st.sampled_from(["suppress", "empty"]))
def test_any_json_is_a_field_or_a_mapping_error(obj, event, missing):
    """And the same event makes the same of it again."""
    value = outcome(compile_value, obj, path="body", missing=missing)
    if isinstance(value, Value):
        first = outcome(value.resolve, event)
        assert repr(first) == repr(outcome(value.resolve, event))
        assert missing == "suppress" or not isinstance(first, Missing)


def found(event, path):
    """What a path leads to, by its definition."""
    value = event
    for key in path.replace("[0]", ".0").split("."):
        if isinstance(value, list):
            value = value[0] if key == "0" and value else None
        elif isinstance(value, str) and key == "0":
            value = value[:1] or None
        else:
            value = value.get(key) if isinstance(value, dict) else None
    return value


@given(st.lists(reads, min_size=1, max_size=3), events)
def test_no_filter_makes_a_text_of_a_missing_value(wanted, event):
    """Else "Hi {{ first_name | append: '!' }}" greets nobody. Lists and objects are some filters' food."""
    text = "".join(f"{{{{ properties.{path}{' | ' + name if name else ''} }}}}" for path, name in wanted)
    value = outcome(compile_value, text, path="body", missing="suppress")
    read = [found(event, path) for path, _ in wanted]
    if isinstance(value, Value) and any(printed(each) is None and not isinstance(each, list | dict) for each in read):
        assert isinstance(outcome(value.resolve, {"properties": event}), Missing | MappingError)


SECRET = "Zoë@example"
# What a person could hide it in: as it is, as a date, a format, an escape, base64, a template, a path, JSON.
secrets = st.sampled_from(
    ["{}", "2026-01-31 {}", "%Y%Q{}", "%zz{}", "*{}", "{{{{ {} | x }}}}", "{{{{{}}}}}", "a[{}", '{{"{}"', "{} 7"]
)
secrets = st.builds(str.format, secrets, st.just(SECRET)) | st.builds(lambda text: [text.format(SECRET)], secrets)
secret_events = st.fixed_dictionaries({"a": secrets, "b": secrets | values})
secret_args = st.lists(st.sampled_from(["properties.a", "properties.b", "'x'", "2"]), max_size=2)
secret_values = st.sampled_from([{"@path": "properties.a"}, {"@path": "properties.b"}])


def with_option(name, value, other):
    """A directive with every option that takes a value."""
    whole = {
        "value": value,
        "operator": "upper",
        "separator": ".",
        "mode": "decode",
        "pattern": "7",
        "replacement": "8",
    }
    whole |= {"objects": [value, other], "direction": "left", "apply": {"a": value}, "mapping": {"b": other}}
    known = {
        "@case": ("operator", "value"), "@replace": ("value", "pattern", "replacement"), "@json": ("mode", "value"),
        "@flatten": ("value", "separator"), "@merge": ("objects", "direction"), "@transform": ("apply", "mapping"),
    }  # fmt: skip
    if name in known:
        return {name: {key: whole[key] for key in known[name]}}
    if name == "@if":
        return {name: {"exists": value, "then": {"@template": other}, "else": {"@path": other}}}
    return {name: [value, {"x": {"@template": {"@path": "$."}}}]} if name == "@arrayPath" else {name: value}


secret_fields = st.builds(
    lambda root, name, args: f"{{{{ {root} | {name}{': ' + ', '.join(args) if args else ''} }}}}",
    st.sampled_from(["properties.a", "properties.b", "0"]),
    st.sampled_from(sorted(FILTERS)),
    secret_args,
) | st.builds(with_option, st.sampled_from(sorted(DIRECTIVES)), secret_values, secret_values)


@given(secret_fields, secret_events, st.sampled_from(["suppress", "empty", "original"]))
def test_no_fault_of_an_event_shows_its_values(obj, event, missing):
    """Faults are logged, published and counted; what is in the event belongs to a person."""
    scope = {"properties": event}
    compiled = (
        outcome(compile_mapping, {"out": obj})
        if missing == "original"
        else outcome(compile_value, obj, path="body", missing=missing)
    )
    if isinstance(compiled, MappingError):
        return
    result = outcome(compiled if isinstance(compiled, Mapping) else compiled.resolve, scope)
    shown = (
        str(result.faults) if isinstance(result, MappingError) else result.path if isinstance(result, Missing) else ""
    )
    assert SECRET[:3] not in shown
    assert SECRET[4:] not in shown


halves = st.lists(st.sampled_from(["\\ud83d", "\\ude42", "\\u00e9", "\U0001f642", "a", "\\\\"]), max_size=4).map(
    "".join
)
half_fields = st.builds(
    lambda text, name, args: (
        f'{{{{ "{text}" | append: properties.a | {name}{": " + ", ".join(args) if args else ""} }}}}'
    ),
    halves,
    st.sampled_from(sorted(FILTERS)),
    secret_args,
) | st.just({"@json": {"mode": "decode", "value": {"@template": '"{{properties.a}}"'}}})


@given(half_fields, halves)
def test_no_text_holds_half_a_character(obj, text):
    """It could not be put into a request."""
    value = outcome(compile_value, obj, path="body", missing="empty")
    result = outcome(value.resolve, {"properties": {"a": text}}) if isinstance(value, Value) else None
    if isinstance(result, str):
        assert result == result.encode().decode()


def by_the_standard(number):
    """ECMAScript's Number::toString, read off its definition: n places the point among the k shortest digits."""
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    if number == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(number)).normalize().as_tuple()
    text, k = "".join(map(str, digits)), len(digits)
    n = k + exponent
    if k <= n <= 21:
        shown = text + "0" * (n - k)
    elif 0 < n <= 21:
        shown = f"{text[:n]}.{text[n:]}"
    elif -6 < n <= 0:
        shown = "0." + "0" * -n + text
    else:
        shown = text[0] + ("." + text[1:] if k > 1 else "") + f"e{'+' if n > 0 else '-'}{abs(n - 1)}"
    return "-" * sign + shown


@given(numbers)
def test_a_number_is_written_by_the_standard(number):
    """But for whole ones below 1e21, which keep digits that a double has not."""
    if isinstance(number, int) and abs(number) < 10**21:
        assert str(number) == number_text(number)
    elif isinstance(number, float) or abs(number) < 10**308:
        assert by_the_standard(float(number)) == number_text(number)
    else:
        assert ("Infinity" if number > 0 else "-Infinity") == number_text(number) or abs(number) < 2**1024


@given(numbers)
def test_a_written_number_reads_as_itself(number):
    read = number_of(number_text(number))
    assert read == number_of(number) or (math.isnan(read) and math.isnan(number))


@given(values)
def test_written_json_reads_as_itself(value):
    assert json_text(value) == json_text(parsed_json(json_text(value)))
