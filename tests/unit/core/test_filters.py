"""Filters: what matches, what is refused and where, and what the router may drop by."""

from dataclasses import FrozenInstanceError

import pytest

from streamer.core.filters import compile_filter
from streamer.errors import FilterError

SHIPPED = {
    "type": "track",
    "event": "Order Shipped",
    "userId": "u1",
    "anonymousId": None,
    "messageId": "m1",
    "properties": {
        "total": 60.5,
        "count": 1,
        "vip": True,
        "note": 'say "hi"',
        "path": "C:\\tmp",
        "gone": None,
        "x-y": "dash",
        "nested": {"deep": {"deeper": "x"}},
        "tags": ["red"],
        "big": 9007199254740993,
        "huge": 10**400,
    },
    "context": "not an object",
}


@pytest.mark.parametrize(
    "text",
    [
        'type = "track"',
        "type = 'track'",
        'type="track"and event="Order Shipped"and properties.total>50',
        'type = "track"\n  and event = "Order Shipped"\r\n\tand properties.total > 50\n',
        'userId != "u2"',
        'messageId = "m1"',
        "anonymousId = null",
        "name = null",
        "properties.total >= 60.5 and properties.total <= 60.5",
        "properties.total>=-3",
        "properties.total < 1e3",
        "properties.count = 1.0",
        "properties.count != true",
        "properties.vip = true",
        "properties.vip != false",
        "properties.gone = null",
        "properties.missing = null",
        "properties.missing.deeper = null",
        'properties.note = "say \\"hi\\""',
        "properties.note = 'say \"hi\"'",
        'properties.path = "C:\\tmp"',
        'properties.path = "C:\\\\tmp"',
        'properties.x-y = "dash"',
        'properties.nested.deep.deeper = "x"',
        "properties.nested != null",
        'properties.tags != "red"',
        "properties.big = 9007199254740993",
        "properties.huge > 9007199254740993",
        "context.ip = null",
        "traits.plan = null",
        'traits.plan != "pro"',
        'event != "and"',
    ],
)
def test_a_filter_matches(text):
    assert compile_filter(text)(SHIPPED) is True


@pytest.mark.parametrize(
    "text",
    [
        'type = "Track"',
        'type = "track" and event = "Order Refunded"',
        'properties.total = "60.5"',
        "properties.count = true",
        "properties.vip = 1",
        "properties.vip > 0",
        "properties.vip != true",
        "properties.missing = false",
        'properties.missing = ""',
        "properties.missing < 5",
        "properties.missing != null",
        "properties.gone >= 0",
        'properties.note > "a"',
        "properties.total > null",
        'properties.total > "9"',
        'properties.tags = "red"',
        "properties.keys = 1",
        "properties.huge < 9007199254740993",
        'properties.tags.append != "x" and properties.tags.append != null',
    ],
)
def test_a_filter_does_not_match(text):
    """Nothing is coerced, and nothing of Python's objects shows through a path."""
    assert compile_filter(text)(SHIPPED) is False


@pytest.mark.parametrize(
    ("text", "line", "column", "says"),
    [
        ("", 1, 1, "expected a path"),
        ("   ", 1, 1, "expected a path"),
        ("type", 1, 5, "expected an operator after `type`"),
        ('type "track"', 1, 6, "expected an operator"),
        ('type == "track"', 1, 7, "expected a value"),
        ("event = Order", 1, 9, "expected a value"),
        ('event = "Order', 1, 9, "never closed"),
        ("event = 'Order\"", 1, 9, "never closed"),
        ('event = "Order\\"', 1, 9, "never closed"),
        ('type = "track" and', 1, 19, "expected a path"),
        ('type = "track"\n  and event ? "x"', 2, 13, "unexpected '?'"),
        ('type = "track" or type = "page"', 1, 16, "joined by `and`"),
        ('type = "track" AND type = "page"', 1, 16, "expected `and`"),
        ('(type = "track")', 1, 1, "joined by `and`"),
        ('not type = "track"', 1, 1, "`not` is no field"),
        ('contains(event, "Order")', 1, 1, "joined by `and`"),
        ('groupId = "g"', 1, 1, "`groupId` is no field"),
        ('type.x = "g"', 1, 1, "is no field"),
        ("properties = null", 1, 1, "is no field"),
        ('profile.traits.plan = "pro"', 1, 1, "is no field"),
        ('properties.plan. = "pro"', 1, 1, "is not a path"),
        ('properties..plan = "pro"', 1, 1, "is not a path"),
        ("properties.tags[0] = 1", 1, 1, "by index"),
        ("properties.tags.0 = 1", 1, 1, "could be a key or a list's index"),
        ('properties.café = "x"', 1, 15, "unexpected"),
        ("properties.total = 10.", 1, 20, "expected a value"),
        ("properties.total = 1.0.0", 1, 20, "expected a value"),
        ("properties.total = -", 1, 20, "expected a value"),
        ("properties.total = 010", 1, 20, "expected a value"),
        ("properties.total = 10and type = 1", 1, 20, "expected a value"),
        ("properties.total = 1e999", 1, 20, "too large"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_place(text, line, column, says):
    """A filter that means something else than its author thinks texts the wrong people."""
    with pytest.raises(FilterError) as refused:
        compile_filter(text)
    assert (line, column) == (refused.value.line, refused.value.column)
    assert says in str(refused.value)


def test_the_caret_stands_under_the_fault():
    with pytest.raises(FilterError) as refused:
        compile_filter('type = "track"\n\tand event ~ "x"\nand userId = "u1"')
    _, shown, caret = str(refused.value).split("\n")
    assert shown == '   and event ~ "x"'
    assert shown[caret.index("^")] == "~"


def test_a_long_line_is_shown_around_the_fault_only():
    with pytest.raises(FilterError) as refused:
        compile_filter('type = "track" and ' * 500 + "oops")
    _, shown, caret = str(refused.value).split("\n")
    assert len(shown) < 100
    assert shown[caret.index("^") :] == "oops"


@pytest.mark.parametrize(
    ("text", "types", "names"),
    [
        ('type = "track" and event = "A"', {"track"}, {"A"}),
        ('event = "A" and type = "track" and event = "A"', {"track"}, {"A"}),
        ('type = "track" and type = "page"', set(), None),
        ('type != "track" and event != "A"', None, None),
        ("type = null and event = null", None, None),
        ('properties.type = "x" and name = "A"', None, None),
    ],
)
def test_only_demanded_types_and_names_are_pushed_down(text, types, names):
    compiled = compile_filter(text)
    assert types == compiled.types
    assert names == compiled.names


def test_a_filter_is_frozen_and_equal_by_its_text():
    compiled = compile_filter('type = "track"')
    assert compile_filter('type = "track"') == compiled
    assert compile_filter("type = 'track'") != compiled
    with pytest.raises(FrozenInstanceError):
        compiled.text = "x"


@pytest.mark.parametrize(
    "text", ["type = 1 and " * 2000 + "type = 1", "event = '" + "\\'" * 5000, "[" * 10_000, "-" * 10_000]
)
def test_ten_kilobytes_of_anything_end_in_an_answer(text):
    """Neither depth nor backtracking may stop the service from starting."""
    try:
        answer = str(compile_filter(text)({"type": 2}))
    except FilterError as exc:
        answer = str(exc)
    assert len(answer) < 1000
