"""What Segment makes of a trigger: its parser's result, the parts it skipped on the way, and whether an event matches.

`read` never fails: a trigger that Segment can't read is a `Reading` without a root, and matches nothing. The shape of
Segment's grammar decides here, not ours: one flat list of conditions, the last `and` or `or` of a level for all of
it, names it doesn't know skipped word by word, a function inside parentheses closing them.
Source: facts/segment.md, section 7; held to the original by tests/contracts/test_segment_import.py.
"""

import re
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from streamer.importing.actions_words import END, Unreadable, Word, words
from streamer.importing.javascript import OBJECT_MEMBERS, as_double, is_falsy, is_number, member, number_text, to_number
from streamer.importing.javascript import units as to_units

FIELDS: Final = ("type", "event", "name", "userId")
OBJECTS: Final = ("properties", "traits", "context")
FUNCTIONS: Final = ("contains", "match")
ORDERS: Final = ("<", "<=", ">", ">=")

_KEY: Final = re.compile(r"[^\[.\]]+")
Value = str | float | bool


class Condition(Struct, frozen=True):
    """One condition: `root` is a field, or with a `path` one of OBJECTS; operators as Segment calls them.

    Texts are UTF-16 units. `offset` is where it begins in the trigger.
    """

    root: str
    path: str | None
    operator: str
    value: Value
    offset: int

    @property
    def keys(self) -> tuple[str, ...]:
        """The names walked from the event on. A `path` of dots alone has none, and stops the evaluation."""
        return (self.root,) if self.path is None else (self.root, *_KEY.findall(self.path))


class Group(Struct, frozen=True):
    """Conditions joined by one operator; a None child is an empty pair of parentheses, and stops the evaluation."""

    operator: str
    children: "tuple[Condition | Group | None, ...]"


class Reading(Struct, frozen=True):
    """What became of a trigger. No `root`: it can't be read, and `fault` says why; `skipped` is what went wrong."""

    root: Group | None
    fault: str
    skipped: tuple[str, ...]

    def __call__(self, event: Mapping[str, Any]) -> bool:
        """Whether Segment would send for `event`."""
        try:
            return self.root is not None and _group_matches(self.root, event)
        except _Stopped:
            return False

    def conditions(self) -> list[Condition]:
        """Every condition in order."""
        return _conditions(self.root)


class _Stopped(Exception):
    """The evaluation of an event ended in an error."""


def read(text: str) -> Reading:
    """Read a trigger (UTF-16 units) as Segment does. Raises: nothing; linear in the text."""
    skipped: list[str] = []
    try:
        node = _Parser(deque(words(text)), skipped).parse()
    except Unreadable as error:
        return Reading(None, error.fault, ())
    if node is None:
        return Reading(None, "; ".join(skipped[:1]) or "there is no condition in it", ())
    root = node if isinstance(node, Group) else Group("and", (node,))
    return Reading(root, "", tuple(dict.fromkeys(skipped)))


class _Parser:
    """One level of a trigger: the whole, or what stands between parentheses."""

    def __init__(self, found: deque[Word], skipped: list[str]) -> None:
        self.found = found
        self.skipped = skipped
        self.nodes: list[Condition | Group | None] = []
        self.joints: list[str] = []
        self.is_skipping = False

    def parse(self) -> Condition | Group | None:
        while self.found:
            word = self.found.popleft()
            if word.kind == END:
                break
            self._word(word)
        self._note_joints()
        if len(self.nodes) > 1:
            return Group(self.joints[-1] if self.joints else "and", tuple(self.nodes))
        return self.nodes[0] if self.nodes else None

    def _word(self, word: Word) -> None:
        was_skipping, self.is_skipping = self.is_skipping, False
        if word.kind == "joint":
            self.joints.append(word.text)
        elif word.kind == "open":
            self._group(word.offset)
        elif word.kind == "name":
            self._name(word)
        elif (word.kind, word.text) == ("operator", "!"):
            self._negation()
        elif word.kind == "close":
            self.skipped.append("a `)` that closes nothing is skipped")
        else:
            self.is_skipping = True
            if not was_skipping:  # the rest of what is skipped goes without saying
                self.skipped.append(f"`{word.text[:40]}` stands where a condition could begin, and is skipped")

    def _note_joints(self) -> None:
        if len(set(self.joints)) > 1:
            self.skipped.append(f"`and` and `or` on one level: the last one, `{self.joints[-1]}`, counts for all of it")
        if self.nodes and len(self.joints) >= len(self.nodes):
            self.skipped.append("an `and` or `or` with nothing on one side is skipped")
        if len(self.joints) < len(self.nodes) - 1:
            joint = self.joints[-1] if self.joints else "and"
            self.skipped.append(f"conditions without `and` or `or` between them are joined by `{joint}`")

    def _name(self, word: Word) -> None:
        root = word.text.split(".")[0]
        if root in FIELDS or root in OBJECTS or root in OBJECT_MEMBERS:
            self._condition(root, word)
        elif word.text in FUNCTIONS:
            self._function(word, is_negated=False)
        elif word.text.upper() in ("AND", "OR"):
            self.skipped.append(f"`{word.text}` in capitals is no operator, and is skipped")
        elif word.text.lower() == "not":
            self.skipped.append("`not` is skipped")
        else:
            self.is_skipping = True
            self.skipped.append(f"`{word.text[:40]}` is no field that it knows, and is skipped")

    def _take(self) -> Word:
        if not self.found:
            raise Unreadable("a condition has no end", 0)
        return self.found.popleft()

    def _condition(self, root: str, word: Word) -> None:
        operator, value = self._take(), self._take()
        if operator.kind != "operator":
            self.skipped.append(f"`{operator.text[:40]}` is taken for the operator of `{word.text[:40]}`")
        if value.kind == "operator":
            self.skipped.append(f"`{value.text}` is taken for the value of `{word.text[:40]}`")
        if root in OBJECTS:
            path = word.text.removeprefix(f"{root}.")
            self.nodes.append(Condition(root, path, *_object_test(operator, value), word.offset))
        elif root in FIELDS:
            self.nodes.append(Condition(root, None, *_field_test(root, operator, value), word.offset))
        else:
            self.skipped.append(f"`{word.text[:40]}` and the two words after it are skipped")

    def _negation(self) -> None:
        if self.found[0].text in FUNCTIONS and self.found[0].kind == "name":
            self._function(self.found.popleft(), is_negated=True)
        else:
            self.skipped.append("`!` before anything but contains or match is skipped")

    def _function(self, function: Word, is_negated: bool) -> None:
        """Five words are taken for `(`, the field, `,`, the value and `)`, whatever they are."""
        self._drop()
        field = self._take()
        self._drop()
        value = self._take()
        self._drop()
        operator, expected = _function_test(function.text, value)
        root = next((each for each in OBJECTS if field.text.startswith(each)), field.text)
        operator = f"not_{operator}" if is_negated else operator
        if root in OBJECTS:
            path = field.text.removeprefix(f"{root}.")
            self.nodes.append(Condition(root, path, operator, expected, function.offset))
        elif root in FIELDS and root != "type":
            self.nodes.append(Condition(root, None, operator, expected, function.offset))
        else:
            self.skipped.append(f"`{function.text}` on `{field.text[:40]}`, which it does not know there, is skipped")

    def _drop(self) -> None:
        if self.found:
            self.found.popleft()

    def _group(self, offset: int) -> None:
        inner: deque[Word] = deque()
        while True:
            if not self.found:
                raise Unreadable("a `(` is never closed, or stands in another pair", offset)
            word = self.found.popleft()
            if word.kind == "close":
                break
            inner.append(word)
        if any(word.kind == "open" for word in inner):
            self.skipped.append("parentheses end at the first `)` inside them, be it a function's")
        inner.append(Word(END, END, offset))
        node = _Parser(inner, self.skipped).parse()
        if node is None:
            self.skipped.append("parentheses without a condition end every evaluation that comes to them in an error")
        self.nodes.append(node)


def _value_of(word: Word) -> Value:
    if word.kind == "text":
        return word.text.removeprefix('"').removesuffix('"')
    if word.kind == "number":
        return to_number(word.text)
    if word.kind == "name" and word.text in ("true", "false"):
        return word.text == "true"
    return word.text


def as_text(value: Value) -> str:
    """A value as JavaScript's `String` prints it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else number_text(value)


def _null_test(operator: Word, value: Word) -> str:
    names = {"=": "not_exists", "!=": "exists"}
    return names.get(operator.text, "") if value.text == "null" else ""


def _truth_test(operator: Word, value: Word) -> str:
    is_truth = operator.text == "=" and value.text in ("true", "false")
    return f"is_{value.text}" if is_truth else ""


def _field_test(root: str, operator: Word, value: Word) -> tuple[str, Value]:
    """A field's operator and value: always text, and null and true are words but for `name` and `userId`."""
    special = ""
    if root in ("name", "userId"):
        special = _null_test(operator, value)
    if root == "userId":
        special = special or _truth_test(operator, value)
    return (special, "") if special else (operator.text, as_text(_value_of(value)))


def _object_test(operator: Word, value: Word) -> tuple[str, Value]:
    special = _null_test(operator, value) or _truth_test(operator, value)
    if special:
        return special, ""
    names = {"=": "number_equals", "!=": "number_not_equals"}
    is_number_test = value.kind == "number" and operator.text in names
    return names[operator.text] if is_number_test else operator.text, _value_of(value)


def _function_test(function: str, value: Word) -> tuple[str, str]:
    text = as_text(_value_of(value))
    if function == "contains":
        return "contains", text
    # A star at the end makes it a prefix; else the first character is taken for a star.
    return ("starts_with", text[:-1]) if value.text.endswith('*"') else ("ends_with", text[1:])


def _conditions(node: Condition | Group | None) -> list[Condition]:
    if isinstance(node, Condition):
        return [node]
    return [each for child in node.children for each in _conditions(child)] if node else []


def _group_matches(group: Group, event: Mapping[str, Any]) -> bool:
    if group.operator == "and":
        return all(_matches(child, event) for child in group.children)
    return any(_matches(child, event) for child in group.children)


def _matches(node: Condition | Group | None, event: Mapping[str, Any]) -> bool:
    if node is None:
        raise _Stopped
    return _group_matches(node, event) if isinstance(node, Group) else _condition_matches(node, event)


def condition_matches(condition: Condition, event: Mapping[str, Any]) -> bool:
    """Whether one condition holds for `event`; one that stops the evaluation does not."""
    try:
        return _condition_matches(condition, event)
    except _Stopped:
        return False


def _condition_matches(condition: Condition, event: Mapping[str, Any]) -> bool:
    actual = event.get(condition.root)
    if condition.path is not None:
        actual = _walked(actual, condition.path)
    operator, expected = condition.operator, condition.value
    if operator in ("exists", "not_exists"):
        return (actual is not None) == (operator == "exists")
    if operator in ("is_true", "is_false"):
        return actual is (operator == "is_true")
    if operator in ("=", "!="):
        is_equal = isinstance(actual, str) and to_units(actual) == as_text(expected)
        return is_equal == (operator == "=")
    if is_number(actual):
        return _number_matches(as_double(actual), operator, to_number(expected))
    return isinstance(actual, str) and _text_matches(to_units(actual), operator, as_text(expected))


def _walked(value: Any, path: str) -> Any:
    """The member at a path; walking on from null, 0, "" or false stays there."""
    if not path:
        return None
    keys = _KEY.findall(path)
    if not keys:
        raise _Stopped
    for key in keys:
        value = value if is_falsy(value) else member(value, key)
    return value


def _number_matches(actual: float, operator: str, expected: float) -> bool:
    match operator:
        case "number_equals":
            return actual == expected
        case "number_not_equals":
            return actual != expected
        case "<":
            return actual < expected
        case "<=":
            return actual <= expected
        case ">":
            return actual > expected
        case ">=":
            return actual >= expected
    return False


def _text_matches(actual: str, operator: str, expected: str) -> bool:
    is_negated = operator.startswith("not_")
    match operator.removeprefix("not_"):
        case "contains":
            return (expected in actual) != is_negated
        case "starts_with":
            return actual.startswith(expected) != is_negated
        case "ends_with":
            return actual.endswith(expected) != is_negated
    return False
