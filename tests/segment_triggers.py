"""Triggers as people and machines write them for Segment, sound and not, and events to try them on."""

import json
import random
from pathlib import Path

VECTORS = json.loads((Path(__file__).parent / "vectors" / "filters.json").read_text(encoding="utf-8"))
SEED = 4
GENERATED = 3_000

# fmt: off
FIELDS = [
    "type", "event", "name", "userId", "anonymousId", "properties.plan", "properties.total", "properties.a.b",
    "traits.plan", "context.app.name", "properties", "properties.or", "properties.x\\ y", "properties.\\.", "event.x",
    "properties.plan.length", "properties.tags.length", "properties.constructor", "properties.toString", "propertiesX",
    "constructor", "properties . plan", "properties.plan.", "TYPE", "properties.plan\\.x", "properties.tags.\\0",
    "properties.a.toFixed", "typed", "traits.", "properties.\\🎉", "properties.caf\\é",
]
OPERATORS = ["=", "=", "!=", ">=", "<", "!=", "<=", ">", "==", "!", "", "in"]
VALUES = [
    '"track"', '"Order Completed"', '"pro"', '"10"', '""', "'pro'", "10", "-3", "+10", "10.", "1.5", "-", "010", "0",
    "true", "false", "null", "pro", '" 10 "', '"0x0a"', '"🎉"', '"a"b"', "é", "nul", "an", '"1e1"', '"pro', "1e21",
]
FUNCTIONS = [
    'contains({}, "r")', '!contains({}, "r")', 'match({}, "Or*")', 'match({}, "*ed")', '!match({}, "O*")',
    "match({}, 'x*')", 'match({}, "pro")', "contains({}, 1)", 'contains({} "r")', "contains({})",
    'not contains({}, "r")', '! contains({}, "r")', 'match({}, "🎉*")', 'match({}, "*")', 'contains({}, "")',
    'contains ( {} , "r" )', 'contains({}, "r") = true', "contains(",
]
JOINTS = [" and ", " and ", " or ", " or ", " AND ", " OR ", " and and ", " ", " && ", ",", " and\n", "\r\nand "]
EVENTS = [
    *VECTORS["events"].values(),
    {"type": "track", "event": "Order", "userId": "10", "properties": {"plan": "", "total": 10, "a": 0, "or": "pro"}},
    {"type": "track", "event": "🎉x", "properties": {"plan": "🎉", "a": {"b": "Order"}, "x y": "pro", "tags": ["r"]}},
    {"type": "identify", "traits": {"plan": "Or"}, "name": "true", "context": {"app": {"name": "pro"}}},
    {"type": "track", "event": "true", "properties": "", "context": 0, "traits": False},
    {"type": "page", "event": "null", "name": "null", "properties": {"total": 1e21, "plan": {"length": 10}}},
    {"properties": {"total": 10**400, "plan": [1, 2], "a": {"b": "10"}, "toString": "pro", "café": 10}},
]
# fmt: on


def generated():
    """Texts that begin with a sound form and have what people and machines do to them."""
    draw = random.Random(SEED)

    def one_of(choices):
        """The first ones are sound, the later ones are not: seven in eight are from the front."""
        return draw.choice(choices[: len(choices) // 3] if draw.random() < 0.875 else choices)

    def condition():
        if draw.random() < 0.3:
            return one_of(FUNCTIONS).format(one_of(FIELDS))
        blank = draw.choice([" "] * 15 + [""])
        return f"{one_of(FIELDS)}{blank}{one_of(OPERATORS)}{blank}{one_of(VALUES)}"

    def level(depth):
        parts = []
        for _ in range(draw.randint(1, 4)):
            is_group = depth and draw.random() < 0.25
            part = f"({level(depth - 1)})" if is_group else condition()
            parts.append(draw.choice(["", "", "", "!", "not "]) + part if is_group else part)
            parts.append(one_of(JOINTS))
        return "".join(parts if draw.random() < 0.1 else parts[:-1])

    for _ in range(GENERATED):
        text = level(2)
        if draw.random() < 0.1:
            at = draw.randrange(len(text) + 1)
            text = (
                text[:at]
                + draw.choice(["(", ")", "", '"', "!", "\\", "]", "\r", "=", "()"])
                + text[at + draw.randint(0, 1) :]
            )
        yield text
