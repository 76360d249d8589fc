"""What a filter may cost on an event: the bounds, what holds beyond them, and what needs none."""

import pytest

from streamer.core.filters import compile_filter
from streamer.errors import FilterError
from tests.steps import lines_run

LINES_MAX = 16_000  # about 0.6 ms


def event_of(**properties):
    return {"type": "track", "properties": properties}


def matches(text, **properties):
    return compile_filter(text)(event_of(**properties))


@pytest.mark.parametrize(
    ("text", "properties"),
    [
        ("match(properties.a, properties.b)", {"a": "x" * 16_000, "b": "[ab]?" * 3_000}),
        ("match(properties.a, properties.b)", {"a": "x" * 2048, "b": "*" + "?[!y]" * 51}),
        ("contains(properties.a, properties.b)", {"a": "a" * 16_000, "b": "a" * 12_000 + "ba"}),
        ('match(properties.a, "*?y")', {"a": "x" * 32_000}),
        ('match(properties.a, "*?y")', {"a": "x" * 2048}),
        ('titlecase(properties.a) = "y"', {"a": " a" * 16_000}),
        ('titlecase(properties.a) = "y"', {"a": " a" * 2048}),
        ('string(properties.a) = "y"', {"a": [1] * 15_000}),
        ('string(properties.a) = "y"', {"a": [1.25e-7] * 256}),
        ("7 in properties.a", {"a": [1] * 15_000}),
        ("7 in properties.a", {"a": [1] * 1000}),
        ("true in properties.a", {"a": [1] * 1000}),
        ("properties.b in properties.a", {"a": [[1, 2]] * 1000, "b": [1, 3]}),
        ("properties.b in properties.a", {"a": [{"x": 1}] * 1000, "b": {"x": 2}}),
        ("properties.a = properties.b", {"a": [2] + [1] * 8000, "b": [1] * 8001}),
        ("properties.a != properties.b", {"a": [[2]] + [[1]] * 400, "b": [[1]] * 401}),
        (
            "properties.a = properties.b",
            {"a": {str(n): [n] for n in range(400)}, "b": {str(n): [] for n in range(400)}},
        ),
    ],
)
def test_one_condition_costs_a_bounded_number_of_steps(text, properties):
    """A filter has at most 100 such conditions; while one is evaluated, no event is handled and nothing is sent."""
    test, event = compile_filter(text), event_of(**properties)
    assert lines_run(lambda: test(event)) <= LINES_MAX


@pytest.mark.parametrize(
    "condition",
    [
        'contains(properties.a, "x")',
        'lowercase(properties.a) = "x"',
        "7 in properties.a",
        "properties.a = properties.b",
        "properties.a < properties.b",
    ],
)
def test_a_filter_has_at_most_100_conditions_that_may_cost_much(condition):
    compile_filter(" or ".join([condition] * 100))
    with pytest.raises(FilterError, match="at most 100") as refused:
        compile_filter(" or\n".join([condition] * 101))
    assert (101, 1) == (refused.value.line, refused.value.column)


def test_calls_count_wherever_they_stand():
    nested = 'contains(lowercase(properties.a), "x")'
    compile_filter(" or ".join([nested] * 50))
    with pytest.raises(FilterError, match="at most 100"):
        compile_filter(" or ".join([nested] * 51))


def test_conditions_on_literals_are_as_many_as_fit():
    assert matches(" or ".join(["type = 1"] * 500 + ['"track" = type']))
    assert matches(" or ".join(['type in ["a"]'] * 500 + ['type in ["track"]']))


@pytest.mark.parametrize(
    ("text", "within", "beyond"),
    [
        ('match(properties.a, "?*")', "x" * 2048, "x" * 2049),
        ('match("ab", properties.a)', "*" * 256, "*" * 257),
        ('contains("' + "a" * 300 + '", properties.a)', "a" * 256, "a" * 257),
        ("7 in properties.a", [1] * 999 + [7], [7] * 1001),
        ("properties.b in properties.a", [[1]] * 200 + [[7]], [[1]] * 500 + [[7]]),
        ("properties.a = properties.a", [1] * 499, [1] * 500),
        ("properties.a = properties.a", {str(n): n for n in range(499)}, {str(n): n for n in range(500)}),
        ("properties.a = properties.a", [[1] * 200] * 2, [[1] * 250] * 2),
        ("titlecase(properties.a) != null", "a" * 4096, "a" * 4097),
        ("string(properties.a) != null", [1] * 256, [1] * 257),
    ],
)
def test_beyond_its_bound_a_condition_does_not_hold(text, within, beyond):
    assert [True, False] == [matches(text, a=value, b=[7]) for value in (within, beyond)]


@pytest.mark.parametrize(
    "text",
    [
        'contains(properties.a, "xy")',
        'match(properties.a, "x*y")',
        "lowercase(properties.a) = properties.a and uppercase(properties.a) != null",
        "snakecase(properties.a) = kebabcase(properties.a)",
        "length(properties.a) = 30001",
        "string(properties.a) = properties.a",
    ],
)
def test_what_is_quick_takes_any_text(text):
    assert matches(text, a="x" * 30_000 + "y")
