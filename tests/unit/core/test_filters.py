"""Filters: what matches, what is refused and where, what makes one wonder, and what the router may drop by."""

import json
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from streamer.core.filters import Check, compile_filter, parse_filter, print_filter
from streamer.errors import FilterError
from tests.steps import lines_run

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "filters.json").read_text(encoding="utf-8"))

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
        "product 1": {"price": "19.99"},
        "a.b": "dotted",
        "café": "au lait",
        "0": "zero",
        "-": "minus",
        "or": "gold",
        "sizes": [1, None, True, [2]],
        "sizes_too": [1.0, None, True, [2.0]],
        "empty": [],
        "one": {"a": 1, "b": [None]},
        "one_too": {"b": [None], "a": 1.0},
        "other": {"a": 1, "c": [None]},
        "star": "a*b",
        "emoji": "café 🎉",
    },
    "and": "a word of the language",
    "profile": {"traits": {"plan": "pro", "name": "Ann"}, "audiences": {"vips": True}, "consent": {"sms": "yes"}},
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
        # and, or, !, parentheses
        'type = "page" and event = "x" or userId = "u1"',
        'userId = "u1" or type = "page" and event = "x"',
        '(type = "page" or type = "track") and userId = "u1"',
        '((((type = "track"))))',
        '!(type = "page")',
        '!!(type = "track")',
        '! ( type = "page" and !(event = "x" or userId = "u1") )',
        '!!!contains(event, "Refunded")and!match(event,"x")',
        # in, lists
        'type in ["identify", "track"]',
        "type in['track']",
        '"red" in properties.tags',
        'properties.missing in ["x", null]',
        "properties.count in [1.0, 2]",
        "properties.vip in [true]",
        "properties.big in [9007199254740992]",
        "!(properties.vip in [1])",
        "!(properties.count in [true])",
        '!(properties.tags in ["red"])',
        "!(properties.total in [])",
        "1 in properties.sizes and null in properties.sizes and true in properties.sizes",
        "properties.missing in properties.sizes",
        '!("r" in event) and !(null in properties.missing)',
        'properties.tags = ["red"] and properties.empty = []',
        'properties.tags != ["red", "blue"] and properties.sizes != [1, null, true]',
        # contains, match
        'contains(event, "Ship") and contains(event, "")',
        "contains(properties.emoji, '🎉')",
        'contains("Order Shipped, gift wrapped", event)',
        'contains(lowercase(event), "order")',
        'contains (\n event , "Order" )',
        '!contains(properties.total, "6") and !contains(properties.missing, "x")',
        "match(event, 'Order*') and match(event, '*[rR] Shi??ed')",
        r'match(properties.star, "a\*b") and match(properties.star, "a\\*b")',
        '!match(properties.total, "*") and !match(event, "order*")',
        "match(event, event) and !match(event, properties.total)",
        # functions
        "length(event) = 13 and length(properties.emoji) = 10 and length(properties.tags) = 1",
        "length(properties.missing) = 0 and length(properties.total) = null and length(context) > 5",
        'typeof(properties.tags) = "list" and typeof(properties.nested) = "object"',
        "bool(userId) = null and bool(properties.vip) and !bool(properties.missing)",
        'string(properties.total) = "60.5"',
        "number('12') = 12",
        'lowercase(event) in ["order shipped"]',
        "lowercase(properties.missing) = null and lowercase(properties.total) = null",
        # operands the other way round, and two paths
        '"track" = type and 50 < properties.total and 60.5 >= properties.total',
        "properties.total > properties.count and properties.count < properties.huge",
        "!(properties.count >= properties.vip) and !(properties.count < event)",
        "properties.sizes = properties.sizes_too and properties.vip != properties.count",
        "properties.one = properties.one_too and properties.one != properties.other",
        "properties.missing = properties.gone and properties.x = traits.y.z",
        # paths
        r"properties.product\ 1.price = '19.99'",
        r"properties.a\.b = 'dotted' and properties.a.b = null",
        r"properties.caf\é = 'au lait'",
        r"properties.\0 = 'zero' and properties.\- = 'minus' and properties.or = 'gold'",
        r"\and != null",
        "groupId = null and type.x = null and TYPE = null and some.thing = null",
        "properties != null",
        'profile.traits.plan = "pro" and profile.audiences.vips = true and profile.consent.sms = "yes"',
        'profile.traits.name = "Ann" and name = null',
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
        "1 = 2",
        'type = "page" or type = "track" and event = "x"',
        "properties.huge = properties.big",
        "properties.count = properties.vip",
        'properties.tags = ["blue"]',
        'contains(null, "x") or match(null, "*")',
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
        ("type", 1, 5, "a yes or no is written `type = true`"),
        ('type "track"', 1, 6, "expected an operator after `type`"),
        ('type == "track"', 1, 7, "expected a value"),
        ('type <> "track"', 1, 7, "expected a value"),
        ("event = Order", 1, 9, '`Order` is no field: is "Order" meant?'),
        ("properties.vip = TRUE", 1, 18, "is true meant?"),
        ('event = "Order', 1, 9, "never closed"),
        ("event = 'Order\"", 1, 9, "never closed"),
        ('event = "Order\\"', 1, 9, "never closed"),
        ("event = \u201cOrder\u201d", 1, 9, "text is quoted with"),
        ('type = "track" and', 1, 19, "expected a path"),
        ('type = "track" or ', 1, 18, "expected a path"),
        ('and type = "track"', 1, 1, "expected a path"),
        ('type = "track"\n  and event ? "x"', 2, 13, "unexpected '?'"),
        ('type = "track" AND type = "page"', 1, 16, "expected `and`, `or` or the end; in lower case: `and`"),
        ('type = "track" Or type = "page"', 1, 16, "in lower case: `or`"),
        ('type = "track" && type = "page"', 1, 16, "`and` is written as a word"),
        ('type = "track" || type = "page"', 1, 16, "`or` is written as a word"),
        ('type = "track" type = "page"', 1, 16, "expected `and`"),
        ("1 < properties.total < 5", 1, 22, "expected `and`"),
        ('not type = "track"', 1, 1, "negation is written `!`"),
        ('not (type = "track")', 1, 1, "negation is written `!`"),
        ('!type = "track"', 1, 1, "write != or !(…)"),
        ('event = "x" and !!type in ["track"]', 1, 17, "write != or !(…)"),
        ("()", 1, 2, "expected a path"),
        ('(type = "track"', 1, 1, "never closed"),
        ('(type = "track" and (event = "x"', 1, 21, "never closed"),
        ('type = "track")', 1, 15, "closes none"),
        ('(type) = "track"', 1, 6, "expected an operator"),
        ('type = ("track")', 1, 8, "expected a value"),
        ('type = !"track"', 1, 8, "expected a value"),
        ("true", 1, 5, "expected an operator after `true`"),
        # lists
        ("type in 'track'", 1, 9, "after `in` comes a list"),
        ("type in lowercase(event)", 1, 9, "after `in` comes a list"),
        ("type in ('track')", 1, 9, "expected a list"),
        ('["track"] in type', 1, 1, "a list can't stand here"),
        ("properties.total > [1]", 1, 20, "a list can't stand here"),
        ("type in [track]", 1, 10, 'is "track" meant?'),
        ("type in [event]", 1, 10, "expected a value of the list"),
        ("type in [[1]]", 1, 10, "expected a value of the list"),
        ("type in [length(event)]", 1, 10, "expected a value of the list"),
        ("type in ['a' 'b']", 1, 14, "expected `,` or `]`"),
        ("type in ['a',]", 1, 14, "expected a value of the list"),
        ("type in ['a'", 1, 13, "expected `,` or `]`"),
        ("type in [,]", 1, 10, "expected a value of the list"),
        # functions
        ("contains(event, 5)", 1, 17, "can't take a number here, only string"),
        ("contains(event, null)", 1, 17, "can't take a null"),
        ("contains(5, 'x')", 1, 10, "can't take a number"),
        ("contains(length(event), 'x')", 1, 10, "can't take a number"),
        ("contains(event, Order)", 1, 17, 'is "Order" meant?'),
        ("contains(event, ['x'])", 1, 17, "can't take a list"),
        ('contains(event "Order")', 1, 16, "expected a comma"),
        ("contains(event)", 1, 15, "takes 2 arguments"),
        ("contains()", 1, 10, "expected a value"),
        ('contains(event, "a", "b")', 1, 20, "expected the closing parenthesis"),
        ('contains event, "Order")', 1, 10, "expected an operator after `contains`"),
        ('contains(event, "Order") = true', 1, 1, "is a condition as it is"),
        ('true = contains(event, "Order")', 1, 8, "is a condition as it is"),
        ("typeof(match(event, 'x')) = 'bool'", 1, 8, "can't take a condition"),
        ("lowercase(event)", 1, 17, "expected an operator after `lowercase(event)`"),
        ("length(5) = 1", 1, 8, "can't take a number"),
        ("starts_with(event, 'x')", 1, 1, "`starts_with` is no function: there are contains, match"),
        ("number(true) = 1", 1, 8, "can't take a bool"),
        ("match(event, '[a')", 1, 14, "never closed"),
        (r"match(event, 'a\\')", 1, 14, "ends in a backslash"),
        # paths
        ("profile.plan = 'pro'", 1, 1, "below `profile` there are traits, audiences, consent"),
        ("profile = null", 1, 1, "below `profile`"),
        ('properties.plan. = "pro"', 1, 1, "is not a path"),
        ('properties..plan = "pro"', 1, 1, "is not a path"),
        ("properties.a+b = 1", 1, 1, "is not a path"),
        ("properties.-a = 1", 1, 1, "is not a path"),
        ("properties.tags[0] = 1", 1, 1, "by index"),
        ("'a' in properties.tags[0]", 1, 8, "by index"),
        ("properties.tags.0 = 1", 1, 1, "a key is written \\0"),
        ('properties.café = "x"', 1, 15, "in a path this character is written \\é"),
        ("properties.x\\", 1, 13, "a backslash stands before"),
        ("properties.x\x00 = 1", 1, 13, "unexpected '\\x00'"),
        ("0type = 1", 1, 1, "expected a path"),
        # numbers
        ("properties.total = 10.", 1, 20, "expected a value"),
        ("properties.total = 1.0.0", 1, 20, "expected a value"),
        ("properties.total = -", 1, 20, "expected a value"),
        ("properties.total = 010", 1, 20, "expected a value"),
        ("properties.total = +1", 1, 20, "expected a value"),
        ("properties.total = 10and type = 1", 1, 20, "expected a value"),
        ("properties.total = 1e999", 1, 20, "too large"),
        # bounds
        ("x" * 10_241, 1, 1, "at most 10240 bytes (10 KB)"),
        ("type = '" + "é" * 5_200 + "'", 1, 1, "at most 10240 bytes (10 KB)"),
        ("lowercase(" * 17 + "event", 1, 161, "calls are nested too deep"),
        ("(type = 'a' or (event = 'b' and " * 60 + "userId = 'u'" + "))" * 60, 1, 304, "at most 100 levels"),
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
        compile_filter('type = "track" and ' * 500 + "oops ~")
    _, shown, caret = str(refused.value).split("\n")
    assert len(shown) < 100
    assert shown[caret.index("^") :] == "~"


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["id"])
def test_a_sample_case_has_its_strict_answer(case):
    """`expected` is what Segment's own packages do, fail-open in places; `strict` is what the reference says."""
    try:
        answer = compile_filter(case["fql"])(VECTORS["events"][case["event"]])
    except FilterError:
        answer = "reject"
    assert case["strict"] == answer


@pytest.mark.parametrize(
    ("text", "types", "names"),
    [
        ('type = "track" and event = "A"', {"track"}, {"A"}),
        ('event = "A" and type = "track" and event = "A"', {"track"}, {"A"}),
        ('type = "track" and type = "page"', set(), set()),
        ('type != "track" and event != "A"', None, None),
        ("type = null and event = null", None, None),
        ('properties.type = "x" and name = "A"', None, None),
        ('"track" = type', {"track"}, None),
        ('type = "track" and (event = "A" or event = "B")', {"track"}, {"A", "B"}),
        ('type in ["track", "page"] and event in ["A", "B"]', {"track", "page"}, {"A", "B"}),
        ('event in ["A", null]', None, None),
        ('event in ["A", 5]', None, None),
        ('(type = "track" and event = "A") or (type = "identify" and event = "B")', {"track", "identify"}, {"A", "B"}),
        ('(type = "track" and event = "A") or type = "identify"', {"track", "identify"}, None),
        ('event = "A" or userId = "u1"', None, None),
        ('event = "A" and (userId = "u1" or contains(event, "x"))', None, {"A"}),
        ('!(type != "track" or !(event in ["A"]))', {"track"}, {"A"}),
        ('!(type = "track")', None, None),
        ('!(type != "track" and event != "A")', None, None),
        ('!(event != "A" and userId = "u1")', None, None),
        ('!(event != "A" or userId = "u1")', None, {"A"}),
        ('event = "A" or event = "B" and event = "C"', None, {"A"}),
        ('event = "A" or 1 = 2', None, {"A"}),
        ('event = "A" or 1 = 1', None, None),
        ('event = "A" or userId in []', None, {"A"}),
        ('event = "A" or properties.total > "5"', None, {"A"}),
        ('lowercase(event) = "a" and event = name', None, None),
    ],
)
def test_only_demanded_types_and_names_are_pushed_down(text, types, names):
    compiled = compile_filter(text)
    assert types == compiled.types
    assert names == compiled.names


@pytest.mark.parametrize(
    ("text", "reach"),
    [
        ('(type = "track" and event = "A") or type = "page"', {("track", "A"), ("page", None)}),
        ('type in ["track", "page"] and event = "A"', {("track", "A"), ("page", "A")}),
        ('event = "A" or (type = "track" and event = "A")', {(None, "A")}),
        ('userId = "u1"', None),
        ('type = "track" and type = "page"', set()),
    ],
)
def test_types_and_names_are_told_in_pairs(text, reach):
    """Apart, `page` with any name would make every track a candidate."""
    assert reach == compile_filter(text).reach


def test_very_long_lists_reach_more_rather_than_cost_more():
    types, names = ([f"{letter}{number}" for number in range(600)] for letter in "tn")
    compiled = compile_filter(f"type in {json.dumps(types)} and event in {json.dumps(names)}")
    assert compiled.types is None or set(types) == compiled.types
    assert compiled.names is None or set(names) == compiled.names
    assert compiled.types or compiled.names


def test_the_paths_read_are_told_in_order_and_once():
    compiled = compile_filter(r'properties.a\ b = 1 and (event = "x" or !contains(event, "y")) and "u" in traits.c')
    assert (r"properties.a\ b", "event", "traits.c") == compiled.paths


@pytest.mark.parametrize(
    ("text", "lints"),
    [
        ('type = "track" and event = "A"', []),
        ('type = "track"\nand event = "A" or event = "B" and event = "C"', [("mixed_and_or", 2, 17)]),
        ('type = "track" and (event = "A" or event = "B")', []),
        ('(type = "a" or event = "b" and name = "c") and type = "a"', [("mixed_and_or", 1, 28)]),
        ('TYPE = "track" and\n foo.bar = type', [("unknown_root", 1, 1), ("unknown_root", 2, 2)]),
        ('"x" in tags', [("unknown_root", 1, 8)]),
        ('profile.traits.plan = "pro" and receivedAt != null and integrations.All = true', []),
        ('type = "track" and type = "page"', [("never_matches", 1, 1)]),
        ("userId in []", [("never_matches", 1, 1)]),
        ('userId = "u" or 1 = 1', [("constant", 1, 17)]),
        ('contains("abc", "b") and type = "track"', [("constant", 1, 1)]),
        ("1 = 2", [("constant", 1, 1), ("never_matches", 1, 1)]),
    ],
)
def test_what_is_valid_but_perhaps_not_meant_is_told_with_its_place(text, lints):
    assert lints == [(lint.code, lint.line, lint.column) for lint in compile_filter(text).lints]


def test_an_explanation_shows_every_condition_with_what_it_saw():
    """The event tester shows why an event did not match; the conditions after the first that failed matter too."""
    compiled = compile_filter(
        'type="track" and !contains(event, "Shipped") and (properties.total > 100 or "red" in properties.tags)'
        " and !(userId = 'u1' and 1 = 1) and lowercase(name) = null"
    )
    assert (
        Check('type = "track"', True, "track"),
        Check('!contains(event, "Shipped")', False, "Order Shipped"),
        Check("properties.total > 100", False, 60.5),
        Check('"red" in properties.tags', True, ["red"]),
        Check('userId = "u1"', True, "u1"),
        Check("1 = 1", True, None),
        Check("lowercase(name) = null", True, None),
    ) == compiled.explain(SHIPPED)


@pytest.mark.parametrize(
    ("text", "failing"),
    [
        ('type = "track" and userId = "u1"', []),
        ('type = "page" and userId = "u1" and event = null', ['type = "page"', "event = null"]),
        ('(type = "page" or userId = "u1") and event = null', ["event = null"]),
        ('type = "page" or (event = null and userId = "u1")', ['type = "page"', "event = null"]),
        ('!(type = "track" and userId = "u1")', ['!(type = "track")', '!(userId = "u1")']),
        ('!(type = "page" or userId = "u1")', ['!(userId = "u1")']),
        ('!(type = "track") and !contains(userId, "u")', ['!(type = "track")', '!contains(userId, "u")']),
        ('!(!contains(userId, "x") or type = null)', ['contains(userId, "x")']),
    ],
)
def test_the_conditions_for_which_an_event_does_not_match_are_named(text, failing):
    assert failing == [each.text for each in compile_filter(text).failing(SHIPPED)]


def test_a_filter_is_printed_with_every_parenthesis_that_shows_what_is_meant():
    text = "type='a' and event = 'b' or !(!(name in [1,null , true])) or !((userId<-1e30))"
    printed = '(type = "a" and event = "b") or name in [1, null, true] or !(userId < -1e+30)'
    assert printed == print_filter(parse_filter(text))


def test_a_filter_is_frozen_and_equal_by_its_text():
    compiled = compile_filter('type = "track"')
    assert compile_filter('type = "track"') == compiled
    assert compile_filter("type = 'track'") != compiled
    with pytest.raises(FrozenInstanceError):
        compiled.text = "x"


@pytest.mark.parametrize(
    "text",
    [
        "(" * 5_000 + "type='a'" + ")" * 5_000,
        "!" * 10_000 + "(type='a')",
        "!(" * 3_000 + "type='a'" + ")" * 3_000,
        "(" * 900 + "type='a'" + " and 1=1)" * 900,
    ],
)
def test_depth_that_means_nothing_is_no_depth(text):
    assert compile_filter(text)({"type": "a"}) is True


def test_the_deepest_filter_is_evaluated_printed_and_explained():
    text = "(type='a' or (type='b' and " * 49 + "type='c'" + "))" * 49
    compiled = compile_filter(text)
    assert compiled({"type": "c"}) is False
    assert compiled({"type": "a"}) is True
    assert 99 == len(compiled.explain({"type": "c"}))
    assert 98 == len(compiled.failing({"type": "c"}))
    assert compiled.root == parse_filter(print_filter(compiled.root))


def answer(text, event):
    try:
        return str(compile_filter(text)(event))
    except FilterError as exc:
        return str(exc)


def names_of(count):
    return ", ".join(f'"{number}"' for number in range(count))


@pytest.mark.parametrize(
    "make",
    [
        lambda n: "(" * (n // 2 - 10) + "type = 1" + ")" * (n // 2 - 10),
        lambda n: "(" * n,
        lambda n: "!" * (n - 20) + '(type = "x")',
        lambda n: "!(" * (n // 3 - 10) + "type = 1" + ")" * (n // 3 - 10),
        lambda n: "(type = 1 and " * (n // 15 - 2) + "event = 1" + ")" * (n // 15 - 2),
        lambda n: "(type = 'a' or (event = 'b' and " * (n // 35) + "name = 'c'" + "))" * (n // 35),
        lambda n: "!(type = 'a' and " * (n // 20) + "name = 'c'" + ")" * (n // 20),
        lambda n: "type = 1 and " * (n // 13 - 1) + "type = 1",
        lambda n: "a = 1 or " * (n // 9 - 1) + "b = 1",
        lambda n: "event = '" + "\\'" * (n // 2 - 5),
        lambda n: "[" * n,
        lambda n: "-" * n,
        lambda n: "a." * (n // 2 - 5) + "a = 1",
        lambda n: "\\ " * (n // 2 - 5) + "= 1",
        lambda n: "lowercase(" * (n // 10),
        lambda n: f"event in [{names_of(n // 8)}]",
        lambda n: f"type in [{names_of(n // 19)}] and event in [{names_of(n // 19)}]",
        lambda n: (
            f"type in [{names_of(n // 200)}] and event in [{names_of(n // 200)}] and "
            + " and ".join(["(type != '1' or event != '1')"] * (n // 40))
        ),
        lambda n: "match(event, '" + "*a" * (n // 2 - 20) + "b')",
        lambda n: "match(event, '*" + "a" * (n - 40) + "b*')",
        lambda n: "match(event, '" + "*?" * (n // 2 - 20) + "b')",
        lambda n: "match(event, '" + "a*[ab]" * (n // 6 - 10) + "b')",
        lambda n: "match(event, '*" + "[!b-c]" * (n // 6 - 10) + "b')",
        lambda n: "match(event, '*[" + "".join(map(chr, range(256, 256 + n // 3))) + "]b')",
    ],
)
def test_twice_the_text_costs_at_most_about_twice(make):
    """Neither depth nor backtracking may stop the service from starting, nor an event from being handled."""
    cost = {}
    for size in (5_000, 10_000):
        text, event = make(size), {"type": 2, "event": "a" * size}
        assert len(answer(text, event)) < 1000
        cost[size] = lines_run(lambda text=text, event=event: answer(text, event))
    assert cost[10_000] <= 2.5 * cost[5_000] + 1000
    assert cost[10_000] <= 100 * 10_000
