"""Invariants of filters: printed text means the same, the definition rules, and nothing that would match is lost."""

import operator
import re

from hypothesis import given
from hypothesis import strategies as st

from streamer.core.filter_ast import And, Call, Compare, Field, ListOf, Not, Or, Value
from streamer.core.filter_functions import FUNCTIONS
from streamer.core.filters import compile_filter, parse_filter, print_filter
from streamer.core.globs import compile_glob

ORDERS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
TEXTS = ["", "A", "B", "track", "page", "a b", 'say "hi"', "it's", "C:\\", "*", "é", "true"]

# Trees as the parser makes them: no `And` in an `And`, no `Not` in a `Not`, functions on what they take.
texts = st.sampled_from(TEXTS) | st.text(max_size=5)
numbers = st.sampled_from([0, 1, -2.5, 2.0**53, 1e30]) | st.floats(allow_nan=False, allow_infinity=False)
literals = st.none() | st.booleans() | numbers.map(float) | texts
keys = st.sampled_from(["a", "b", "0", "-", "or", "$x-1"]) | st.text(min_size=1, max_size=3)
fields = (
    st.sampled_from([Field(("type",)), Field(("event",)), Field(("event",)), Field(("userId",))])
    | st.builds(lambda root, rest: Field((root, *rest)), st.sampled_from(["properties", "traits"]), st.lists(keys))
    | st.builds(lambda key: Field(("profile", "traits", key)), keys)
)
fields_on_the_left = fields | st.lists(keys, min_size=1).filter(lambda path: path[0] != "profile").map(
    lambda path: Field(tuple(path))
)
ON_TEXT = [name for name, each in FUNCTIONS.items() if len(each.parameters) == 1 and "number" not in each.parameters[0]]
text_calls = st.recursive(
    st.builds(lambda name, path: Call(name, (path,)), st.sampled_from(ON_TEXT), fields),
    lambda inner: st.builds(
        lambda name, call: Call(name, (call,)), st.sampled_from(["typeof", "bool", "string", "number"]), inner
    ).filter(lambda call: call.name != "number" or FUNCTIONS[call.arguments[0].name].gives in ("string", "number")),
    max_leaves=2,
)
globs = st.sampled_from(["A", "*", "a*", "?", "[a-z]*", "[!A]", "\\*"])
conditions = (
    st.builds(
        lambda path, sign, value: Compare(sign, path, Value(value)),
        fields_on_the_left,
        st.sampled_from(["=", "=", "!=", *ORDERS]),
        literals,
    )
    | st.builds(lambda sign, left, right: Compare(sign, left, right), st.sampled_from(["=", "!=", "<"]), fields, fields)
    | st.builds(lambda value, path: Compare("=", Value(value), path), literals, fields)
    | st.builds(lambda path, items: Compare("in", path, ListOf(tuple(items))), fields, st.lists(literals, max_size=3))
    | st.builds(lambda value, path: Compare("in", Value(value), path), literals, fields_on_the_left)
    | st.builds(lambda path, items: Compare("!=", path, ListOf(tuple(items))), fields, st.lists(literals, max_size=2))
    | st.builds(lambda call, value: Compare("=", call, Value(value)), text_calls, literals)
    | st.builds(lambda path, text: Call("contains", (path, Value(text))), fields, texts)
    | st.builds(lambda path, glob: Call("match", (path, Value(glob))), fields, globs)
    | st.builds(lambda path: Call("bool", (path,)), fields)
)
# What the router drops by, often enough to meet.
demands = st.sampled_from(
    [
        *(Compare(sign, Field((root,)), Value(text)) for sign in ("=", "!=") for root in ("type", "event")
          for text in ("track", "page", "A", "B")),
        *(Compare("=", Value(text), Field(("event",))) for text in ("A", "B")),
        *(Compare("in", Field((root,)), ListOf(items)) for root in ("type", "event")
          for items in ((), ("track", "A"), ("page", "B", None), ("B", 1.0))),
        Compare("=", Value("x"), Value("x")),
        Compare("<", Field(("userId",)), Value("x")),
    ]
)  # fmt: skip


def joined(join, parts):
    flat = [inner for part in parts for inner in (part.parts if isinstance(part, join) else (part,))]
    return flat[0] if len(flat) == 1 else join(tuple(flat))


def trees(leaves):
    return st.recursive(
        leaves,
        lambda inner: (
            st.builds(joined, st.sampled_from([And, Or]), st.lists(inner, min_size=1, max_size=3))
            | inner.map(lambda node: node.operand if isinstance(node, Not) else Not(node))
        ),
        max_leaves=8,
    )


scalars = (
    st.none()
    | st.booleans()
    | st.sampled_from(TEXTS)
    | st.sampled_from([0, 1, 1.0, 2**53, 2**53 + 1, 10**30, 10**400])
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "0"]), inner)
)
events = st.fixed_dictionaries(
    {"type": st.sampled_from(["track", "page", "identify", "A"])},
    optional={
        "event": st.sampled_from(["A", "B", "track"]) | values,
        "properties": values,
        "traits": values,
        "userId": scalars,
        "profile": st.fixed_dictionaries({"traits": values}),
    },
)


def plain(value):
    """A value told apart from all others as JSON has them: kinds apart, numbers as doubles."""
    if isinstance(value, list):
        return ("list", *map(plain, value))
    if isinstance(value, dict):
        return ("object", *sorted((key, plain(inner)) for key, inner in value.items()))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return ("number", float(value) if abs(value) < 10**308 else float("inf") * (1 if value > 0 else -1))
    return (type(value).__name__, value)


def read(operand, event):
    match operand:
        case Value(value):
            return value
        case ListOf(items):
            return list(items)
        case Call(name, arguments):
            return FUNCTIONS[name].apply(*(read(each, event) for each in arguments))
    value = event
    for key in operand.keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def holds(node, event):
    """The rule, read off its definition."""
    match node:
        case And(parts):
            return all(holds(part, event) for part in parts)
        case Or(parts):
            return any(holds(part, event) for part in parts)
        case Not(operand):
            return not holds(operand, event)
        case Call():
            return read(node, event) is True
    left, right = plain(read(node.left, event)), plain(read(node.right, event))
    if node.operator == "in":
        return right[0] == "list" and left in right[1:]
    if node.operator in ORDERS:
        return left[0] == right[0] == "number" and ORDERS[node.operator](left[1], right[1])
    return (left == right) == (node.operator == "=")


@given(trees(conditions | demands))
def test_a_printed_filter_is_parsed_back_to_itself(node):
    printed = print_filter(node)
    assert node == parse_filter(printed)
    assert repr(node) == repr(parse_filter(printed))  # true equals 1 in Python


@given(trees(conditions | demands), events)
def test_a_filter_holds_when_its_definition_does(node, event):
    compiled = compile_filter(print_filter(node))
    assert holds(node, event) == compiled(event)


@given(trees(conditions), events)
def test_an_explanation_agrees_with_the_answer(node, event):
    """Put into the tree in place of its conditions, what was told of them gives the answer."""
    compiled = compile_filter(print_filter(node))
    told = iter([check.passed for check in compiled.explain(event)])

    def answer(inner):
        match inner:
            case And(parts) | Or(parts):
                answers = [answer(part) for part in parts]
                return all(answers) if isinstance(inner, And) else any(answers)
            case Not(And() | Or() as group):
                return not answer(group)
        return next(told)

    assert answer(node) == compiled(event)
    assert next(told, None) is None


@given(trees(conditions), events)
def test_an_event_matches_where_no_condition_fails(node, event):
    """What is told to have failed did, and there is always something to tell."""
    compiled = compile_filter(print_filter(node))
    failing = compiled.failing(event)
    assert compiled(event) is not bool(failing)
    assert not any(check.passed or compile_filter(check.text)(event) for check in failing)


@given(trees(demands | demands | conditions), events)
def test_a_filter_reaches_every_event_that_it_matches(node, event):
    """The router drops the others unread: one too many would be lost."""
    compiled = compile_filter(print_filter(node))
    if compiled(event):
        event_type, name = event["type"], event.get("event")
        assert compiled.types is None or event_type in compiled.types
        assert compiled.names is None or name in compiled.names
        reach = compiled.reach
        assert reach is None or any(t in (None, event_type) and n in (None, name) for t, n in reach)


# Each place of a glob, and the same as a regular expression.
characters = st.sampled_from("abA-]^!*\n")
places = (
    st.sampled_from([("*", "(?s:.*)"), ("*", "(?s:.*)"), ("?", "(?s:.)")])
    | characters.map(lambda c: (f"\\{c}", re.escape(c)))
    | st.sampled_from("abA").map(lambda c: (c, c))
    | st.sampled_from([("[ab]", "[ab]"), ("[!a]", "[^a]"), ("[^A-Z]", "[^A-Z]"), ("[a-b-]", "[ab-]"), ("[\\]]", "\\]")])
)


@given(st.lists(places, max_size=6), st.text(characters, max_size=8))
def test_a_glob_matches_as_the_same_regular_expression_does(places, text):
    glob, expression = "".join(each[0] for each in places), "".join(each[1] for each in places)
    assert (re.fullmatch(expression, text) is not None) == compile_glob(glob)(text)


@given(st.text("ab[]!^-\\*?", max_size=8), st.text("ab[]-", max_size=5))
def test_any_text_is_a_glob_or_a_value_error(pattern, text):
    try:
        matches = compile_glob(pattern)
    except ValueError:
        return
    assert matches(text) in (True, False)
