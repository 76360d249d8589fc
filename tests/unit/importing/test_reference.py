"""The reference reading of a trigger: the vectors' strict column, its repairs, and its print."""

import json
from pathlib import Path

import pytest

from streamer.importing.conditions import compiled, print_tree
from streamer.importing.javascript import units
from streamer.importing.reference import Refused, read

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "filters.json").read_text(encoding="utf-8"))


def strictly(case):
    """Match or not, or "reject": also what only a repair makes readable."""
    try:
        meaning = read(units(case["fql"]))
    except Refused:
        return "reject"
    return "reject" if meaning.repairs else compiled(meaning.tree)(VECTORS["events"][case["event"]])


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["id"])
def test_it_agrees_with_the_strict_column(case):
    assert case["strict"] == strictly(case)


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        ('type = "a" OR type = "b"', 'type = "a" or type = "b"'),
        ('type = "a" && type = "b" || name = null', '(type = "a" and type = "b") or name = null'),
        ('not contains(event, "x")', '!contains(event, "x")'),
        ('NOT type = "a" and name = null', '!(type = "a") and name = null'),
        ('type == "a"', 'type = "a"'),
        ('type <> "a"', 'type != "a"'),
        ("event = Order", 'event = "Order"'),
        ("properties.vip = TRUE", "properties.vip = true"),
        ("properties.n = 10.", "properties.n = 10"),
        ("properties.n > +5", "properties.n > 5"),
        ("properties.n < .5", "properties.n < 0.5"),
        ('contains(event, "x") = true', 'contains(event, "x")'),
        ('contains(event, "x") != true', '!contains(event, "x")'),
        ("contains(event, 5)", 'contains(event, "5")'),
        ('properties.café = "x"', 'properties.caf\\é = "x"'),
        ("event = “A”", 'event = "A"'),
    ],
)
def test_what_has_one_meaning_is_repaired_and_told(written, printed):
    meaning = read(written)
    assert (printed, True) == (print_tree(meaning.tree), bool(meaning.repairs))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "type",
        "()",
        'type = "a" or',
        'and type = "a"',
        'type = "a")',
        '(type = "a"',
        "event = userId",
        "event = Order Completed",
        'properties.a[0] = "x"',
        'properties.a.0 = "x"',
        'event in "A"',
        'properties.a. = "x"',
        'event "x"',
        "properties.v = 1.0.0",
        'contains(event "x")',
        "(" * 41 + 'type = "a"' + ")" * 41,
    ],
)
def test_what_could_mean_several_things_is_refused(text):
    with pytest.raises(Refused):
        read(text)


@pytest.mark.parametrize(
    "text",
    [
        'type = "track" and (event = "A" or event = "B")',
        '!(type = "a" or !contains(traits.x, "y"))',
        'properties.a\\ b.c\\.d in ["x", 1, true, null]',
        'event = "say \\"hi\\"" and match(event, "a\\*b") and properties.path = "C:\\tmp\\\\"',
        'properties.\\5 = "x" and traits.\\-x = 1',
        'lowercase(event) = "x" and length(properties.note) > 5',
    ],
)
def test_what_is_printed_is_read_back_alike(text):
    printed = print_tree(read(text).tree)
    assert (text, text) == (printed, print_tree(read(printed).tree))
