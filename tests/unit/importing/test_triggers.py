"""What an import says of a trigger: the text it writes, and an event for everything that changes."""

import json
import re
from itertools import islice

import pytest

from streamer.core.filters import compile_filter
from streamer.importing import actions, reference
from streamer.importing.conditions import NEVER, compiled, print_tree
from streamer.importing.exact import Inexpressible, exact
from streamer.importing.javascript import units
from streamer.importing.triggers import TRIGGER_CHARS_MAX, translate
from streamer.importing.witness import is_well_formed
from tests.segment_triggers import EVENTS, VECTORS, generated

EXAMPLE = re.compile(r"(\{.*?\}): (?:matches in streamer, not at Segment|(matches at Segment, not in streamer))")

# One of each accident: (as written, what Segment makes of it, None if nothing).
ACCIDENTS = [
    ('type = "page" OR type = "track"', 'type = "page" and type = "track"'),
    ('type = "track" and event = "A" or event = "B"', 'type = "track" or event = "A" or event = "B"'),
    ('not contains(event, "x")', 'contains(event, "x")'),
    ('!(type = "track")', 'type = "track"'),
    (
        'type = "page" and (contains(event, "A") or contains(event, "B"))',
        'type = "page" or contains(event, "A") or contains(event, "B")',
    ),
    ('type = "track" and anonymousId = "x"', 'type = "track"'),
    ('match(event, "abc")', 'match(event, "*bc")'),
    ('match(event, "*b*")', 'match(event, "\\*b*")'),
    ("event = 'A'", "event = \"'A'\""),
    ("event = null", 'event = "null"'),
    ("event != null", 'event != "null"'),
    ("userId != 42", 'userId != "42"'),
    ("properties.vip != true", 'properties.vip != "true"'),
    ("properties.total != 5", "properties.total < 5 or properties.total > 5"),
    ('properties.total > "5"', "properties.total > 5"),
    ('!contains(properties.plan, "x")', 'match(properties.plan, "*") and !contains(properties.plan, "x")'),
    ('!match(properties.plan, "x*")', 'match(properties.plan, "*") and !match(properties.plan, "x*")'),
    ('type == "track"', 'type = "="'),
    ("properties.total <=10", None),
    ('anonymousId = "x"', None),
    ('event in ["A"]', None),
    ('type!="page"', None),
    ('type = "track" and (event = "A" and (userId = "u" or userId = "v"))', None),
]


def sides(example):
    """The events of an example, each with whether it is Segment that it is said to match at."""
    found = EXAMPLE.findall(example)
    assert found, example
    return [(json.loads(event), bool(is_segment)) for event, is_segment in found]


@pytest.mark.parametrize(
    "text",
    [
        'type = "track"',
        'type = "track" and event = "Order Completed"',
        'event = "A" or event = "B" or event = "C"',
        'type = "track" and (event = "A" or event = "B")',
        'contains(event, "Order") and match(properties.plan, "pro*") and match(name, "*x")',
        "properties.total >= 10 and properties.vip = true and traits.age != null and context.ip = null",
        'type != "page" and properties.a.b.c = "x" and userId = null',
        '(type = "track" and event = "A") or (type = "identify" and traits.plan = "pro")',
    ],
)
def test_what_both_read_alike_stays_as_it_is(text):
    trigger = translate(f" {text}\n")
    assert (text, (), None) == (trigger.when, trigger.differences, trigger.problem)


@pytest.mark.parametrize(("text", "kept"), ACCIDENTS)
def test_an_accident_is_told_with_an_event_on_which_the_readings_part(text, kept):
    """The example is checked by evaluating both, and what keeps Segment's meaning by comparing with its reading."""
    trigger = translate(text)
    reading, ours = actions.read(units(text)), compile_filter(trigger.when)
    assert trigger.differences
    for difference in trigger.differences:
        for event, is_segment in sides(difference.example):
            assert (is_segment, not is_segment) == (reading(event), ours(event))
        assert (f"when: {kept}" if kept else "") == difference.keep


@pytest.mark.parametrize("text", ['!(event = "A")', 'type = "track" and match(event, "A") and !(userId = "u")'])
def test_both_directions_are_told(text):
    """More messages and fewer messages are two kinds of surprise."""
    trigger = translate(text)
    assert {True, False} == {
        is_segment for difference in trigger.differences for _, is_segment in sides(difference.example)
    }


@pytest.mark.parametrize(
    ("text", "causes"),
    [
        ("type = 'track' and event = 'A' or event = 'B'", ["'"]),
        ("type = 'track' and (event = 'A' or event = 'B') and !contains(properties.a, \"x\")", ["'", "texts only"]),
        ('type = "track" or !(traits.vip = true)', ["`!` before"]),
        ('properties.a != 5 and properties.b != 6 and match(event, "abc")', ["numbers only", "*bc"]),
    ],
)
def test_one_cause_is_told_once(text, causes):
    """However many conditions it concerns: all of them are named."""
    differences = translate(text).differences
    assert len(causes) == len(differences), differences
    assert all(cause in each.segment for cause, each in zip(causes, differences, strict=True))


def test_the_other_conditions_of_a_cause_are_named():
    (difference,) = translate("type = 'track' and event = 'A' or event = 'B'").differences
    assert '; the same for event = "A", event = "B"' in difference.segment
    assert 1 == difference.segment.count("the last one, `or`, counts for all")


def test_conditions_that_differ_are_told_one_by_one():
    trigger = translate('!contains(properties.plan, "x") and properties.total != 5')
    assert ["properties.plan", "properties.total"] == [
        re.search(r"where (\S+)", difference.streamer)[1] for difference in trigger.differences
    ]


def test_mixed_operators_are_written_with_parentheses():
    """So that lint has nothing to warn of."""
    trigger = translate('type = "track" and event = "A" or event = "B"')
    assert '(type = "track" and event = "A") or event = "B"' == trigger.when


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ('type = "track" or', 'type = "track"'),
        ('contains(event "x")', 'contains(event, ")")'),
        ("", print_tree(NEVER)),
        ('type = "track" and ()', print_tree(NEVER)),
        ('properties.arr[0] = "x"', print_tree(NEVER)),
        ('type = "track" and ((', print_tree(NEVER)),
        ("x" * (TRIGGER_CHARS_MAX + 1), print_tree(NEVER)),
        (f'event = "{"é" * (TRIGGER_CHARS_MAX - 100)}"', print_tree(NEVER)),
        ('match(event, "[a")', 'match(event, "*a")'),
    ],
)
def test_what_says_nothing_certain_is_not_enabled_and_says_what_segment_did(text, when):
    trigger = translate(text)
    assert (when, True) == (trigger.when, trigger.problem is not None and trigger.problem.is_blocking)


def test_a_condition_too_long_to_be_tried_is_told_without_an_example():
    """Each quote takes two characters where it is printed, so the text fits in a filter and its print does not."""
    quotes = '"' * (TRIGGER_CHARS_MAX * 2 // 3)
    text = f"properties.a != '{quotes}'"
    trigger = translate(text)
    (difference,) = trigger.differences
    assert (text, None, True) == (trigger.when, trigger.problem, difference.example.startswith("none could be found"))


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["id"])
def test_no_vector_changes_its_meaning_in_silence(case):
    """On a well-formed event, what is written matches what Segment matches, or something is told."""
    trigger = translate(case["fql"])
    assert reference.read(units(trigger.when)).repairs == ()
    ours = compile_filter(trigger.when)
    for event in filter(is_well_formed, VECTORS["events"].values()):
        is_alike = case_matches(case, event) is ours(event)
        assert is_alike or trigger.differences or trigger.problem


def case_matches(case, event):
    return actions.read(units(case["fql"]))(event)


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["id"])
def test_segments_reading_written_as_ours_matches_what_it_matches(case):
    """`keep` has to keep what it says."""
    reading = actions.read(units(case["fql"]))
    try:
        kept = exact(reading)
    except Inexpressible:
        return
    for name, event in VECTORS["events"].items():
        assert reading(event) is compiled(kept)(event), name


def test_generated_triggers_are_taken_over_and_change_nothing_in_silence():
    """Texts with every accident that is known, and others; more of them than anybody would write."""
    well_formed = [event for event in EVENTS if is_well_formed(event)]
    for text in islice(generated(), 300):
        trigger = translate(text)
        ours, reading = compile_filter(trigger.when), actions.read(units(text))
        is_alike = all(reading(event) is ours(event) for event in well_formed)
        assert is_alike or trigger.differences or trigger.problem, text
