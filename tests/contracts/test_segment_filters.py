"""Filters mean what they mean to Segment's own package, where that keeps to the language.

Three ways to one answer: Segment's parser and validator; ours on the same text; ours on Segment's text of its tree.
The domain is what Segment's editor of triggers writes: one flat group of 1 to 8 conditions, all joined by `and` or all
by `or`. What the package does by accident is kept clear of: by what is generated, and by `is_clear`.
"""

import json
import random
from pathlib import Path

import pytest

from streamer.core.filter_ast import And, Call, Compare, Field, Node, Not, Or, Value, fields
from streamer.core.filters import compile_filter, print_filter
from streamer.core.paths import reader
from tests.node import ask

FILTERS = 300
EVENTS_EACH = 3
VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "filters.json").read_text(encoding="utf-8"))

# A small world, so that filters and events often meet. No text holds quotes, backslashes or a glob's signs.
TEXTS = ["", "A", "Order Shipped", "Order", "Shipped", "shipped", "a)b", "é🎉", "10", "true", "null", "x and y"]
NUMBERS = [0, 1, -3, 10, 19.99, 60.5]
PATHS = [
    "properties.a",
    "properties.a.b",
    "properties.x-y",
    "properties._u",
    "traits.a",
    "traits.b.a",
    "context.a",
    "context.ip",
]


def condition(draw: random.Random) -> Node:
    """One condition as the editor of triggers writes it: `type` is only compared, `event` is never beside null."""
    nested = Field(tuple(draw.choice(PATHS).split(".")))
    field = draw.choice([Field((draw.choice(["event", "userId", "name"]),)), nested])
    text = draw.choice(TEXTS)
    glob = draw.choice([f"{text}*", f"*{text}"]) if text else "A*"
    call = draw.choice([Call("contains", (field, Value(text))), Call("match", (field, Value(glob)))])
    maybe_null = draw.choice([nested, Field(("userId",)), Field(("name",))])
    return draw.choice(
        [
            Compare(draw.choice(["=", "!="]), Field(("type",)), Value(draw.choice(["track", "page", "identify"]))),
            Compare(draw.choice(["=", "!="]), field, Value(text)),
            Compare(draw.choice(["=", "!=", "<", "<=", ">", ">="]), nested, Value(float(draw.choice(NUMBERS)))),
            # `!=` with true or false is true for both of them there.
            Compare("=", nested, Value(draw.choice([True, False]))),
            Compare(draw.choice(["=", "!="]), maybe_null, Value(None)),
            call,
            Not(call),
        ]
    )


def group(draw: random.Random) -> Node:
    parts = tuple(condition(draw) for _ in range(draw.randint(1, 8)))
    return parts[0] if len(parts) == 1 else draw.choice([And, Or])(parts)


def value(draw: random.Random, depth: int = 2) -> object:
    if depth and draw.random() < 0.5:
        return {draw.choice(["a", "b", "x-y", "_u", "ip"]): value(draw, depth - 1) for _ in range(3)}
    return draw.choice([None, True, False, draw.choice(NUMBERS), draw.choice(TEXTS), draw.choice(TEXTS), ["A"]])


def event(draw: random.Random) -> dict[str, object]:
    whole = {
        "type": draw.choice(["track", "page", "identify"]),
        "event": draw.choice(TEXTS),
        "userId": draw.choice([None, *TEXTS]),
        "name": draw.choice([None, *TEXTS]),
        **{root: value(draw) for root in ("properties", "traits", "context")},
    }
    return {key: each for key, each in whole.items() if key == "type" or draw.random() < 0.85}


def is_stopped(keys: tuple[str, ...], on: dict[str, object]) -> bool:
    """Whether the way down `keys` meets false, 0 or an empty text: there, that is then the value."""
    return any(reader(keys[:count])(on) in (False, "") for count in range(1, len(keys)))


def is_clear(node: Node, on: dict[str, object]) -> bool:
    """Whether no accident of the package shows in `node` on this event."""
    match node:
        case And(parts) | Or(parts):
            return all(is_clear(part, on) for part in parts)
        case _ if any(is_stopped(path.keys, on) for path in fields(node)):
            return False
        # Negated, they are false there on what is no text.
        case Not(Call(_, (Field(keys), _))):
            return isinstance(reader(keys)(on), str)
        # It is false there on what is no number.
        case Compare("!=", Field(keys), Value(float())):
            return type(reader(keys)(on)) in (int, float)
    return True


def test_three_ways_lead_to_one_answer(request):
    draw = random.Random(request.config.getoption("--seed"))
    nodes = [group(draw) for _ in range(FILTERS)]
    events = [[event(draw) for _ in range(EVENTS_EACH)] for _ in nodes]
    answers = ask(
        "filters.js", [{"fql": print_filter(node), "events": on} for node, on in zip(nodes, events, strict=True)]
    )
    pairs = {True: 0, False: 0}
    for node, on, theirs in zip(nodes, events, answers, strict=True):
        text = print_filter(node)
        ours, ours_of_theirs = compile_filter(text), compile_filter(theirs["printed"])
        for each, matches in zip(on, theirs["matches"], strict=True):
            if is_clear(node, each):
                assert (matches, matches) == (ours(each), ours_of_theirs(each)), (text, theirs["printed"], each)
                pairs[matches] += 1
    assert min(pairs.values()) >= 100, "the filters and the events hardly meet"


@pytest.mark.parametrize("is_strict", [True, False, "reject"])
def test_the_sample_says_what_the_package_does(is_strict):
    """Where `strict` and the package differ is known case by case: an importer warns of exactly these."""
    cases = [case for case in VECTORS["cases"] if case["strict"] == is_strict]
    answers = ask("filters.js", [{"fql": case["fql"], "events": [VECTORS["events"][case["event"]]]} for case in cases])
    expected = [(case["id"], case["expected"]["match"]) for case in cases]
    assert expected == [(case["id"], answer["matches"][0]) for case, answer in zip(cases, answers, strict=True)]
