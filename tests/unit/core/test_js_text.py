"""JSON values as JavaScript writes and reads them."""

import math

import pytest

from streamer.core.js_text import (
    UNDEFINED,
    js_text,
    json_text,
    liquid_text,
    number_of,
    number_text,
    parsed_json,
    printed,
)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1e21, "1e+21"),
        (10**21, "1e+21"),
        (-0.0, "0"),
        (1e-7, "1e-7"),
        (math.inf, "Infinity"),
        (-(10**400), "-Infinity"),
    ],
)
def test_numbers_are_written_as_javascript_writes_them(number, expected):
    assert expected == number_text(number)


@pytest.mark.parametrize(
    ("value", "js", "liquid", "for_people"),
    [
        (None, "", "", None),
        (UNDEFINED, "", "", None),
        (True, "true", "true", "true"),
        ("", "", "", None),
        (" ", " ", " ", None),
        ([1, [None, "a"], {}], "1,,a,[object Object]", "1a[object Object]", None),
        ({"a": 1}, "[object Object]", "[object Object]", None),
        (math.nan, "NaN", "NaN", None),
        (5.0, "5", "5", "5"),
    ],
)
def test_what_templates_print_and_what_people_see(value, js, liquid, for_people):
    assert (js, liquid, for_people) == (js_text(value), liquid_text(value), printed(value))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", 0),
        (" \n\ufeff", 0),
        ("12.5", 12.5),
        (" +.5e1 ", 5),
        ("0x1F", 31),
        ("-Infinity", -math.inf),
        (None, 0),
        (True, 1),
        ([], 0),
        (["7"], 7),
        (10**400, math.inf),
    ],
)
def test_numbers_are_read_as_javascript_reads_them(value, expected):
    assert expected == number_of(value)


@pytest.mark.parametrize("value", ["1_000", "nan", "inf", "1,5", "12px", "0x", "-0x1", "\uff11", {}, [1, 2], UNDEFINED])
def test_what_only_python_takes_for_a_number_is_none(value):
    assert math.isnan(number_of(value))


def test_json_is_compact_and_keeps_letters():
    value = {"é\u2028": [5.0, 1e21, None, UNDEFINED, math.inf, True, '"\\\n\x1f'], "gone": UNDEFINED, "half": "\ud800"}
    assert '{"é\u2028":[5,1e+21,null,null,null,true,"\\"\\\\\\n\\u001f"],"half":"\\ud800"}' == json_text(value)


@pytest.mark.parametrize("walk", [js_text, liquid_text, json_text])
def test_a_walk_ends_at_its_depth(walk):
    value = []
    for _ in range(5000):
        value = [value]
    with pytest.raises(ValueError, match="deeper than 64"):
        walk(value)


@pytest.mark.parametrize("text", ["NaN", "[" * 70 + "]" * 70, "{", "'a'", "01", "[" * 100_000])
def test_what_json_is_not_is_not_parsed(text):
    with pytest.raises(ValueError, match=r"JSON|Expecting|Extra|deeper"):
        parsed_json(text)
