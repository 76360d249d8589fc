"""What a filter's text says, as frozen values, and the text of such values again.

The tree is canonical: `!!x` is x, an `And` holds no `And`, an `Or` no `Or`, and each at least two parts; so
`parse_filter(print_filter(node)) == node` for every node that can be parsed.
"""

import re
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

Literal = str | float | bool | None

KEYWORDS: Final = {"true": True, "false": False, "null": None}
# Words with a meaning of their own; a field of that name is written with a backslash before it.
RESERVED: Final = frozenset({"and", "or", "in", "not", *KEYWORDS})

_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9_$-]")


class Value(Struct, frozen=True):
    """A literal: text, a number (a double, as in JSON), true, false or null."""

    value: Literal


class ListOf(Struct, frozen=True):
    """A list of literals: `["track", "page"]`."""

    items: tuple[Literal, ...]


class Field(Struct, frozen=True):
    """A path into the event, key by key."""

    keys: tuple[str, ...]


class Call(Struct, frozen=True):
    """A function of `filter_functions` and its arguments; `contains`, `match` and `bool` are conditions too."""

    name: str
    arguments: "tuple[Operand, ...]"


class Compare(Struct, frozen=True):
    """Two operands and `=`, `!=`, `<`, `<=`, `>`, `>=` or `in` between them."""

    operator: str
    left: "Operand"
    right: "Operand"


class Not(Struct, frozen=True):
    """`!` before a condition."""

    operand: "Node"


class And(Struct, frozen=True):
    """Conditions that have to hold, all of them."""

    parts: "tuple[Node, ...]"


class Or(Struct, frozen=True):
    """Conditions of which one has to hold."""

    parts: "tuple[Node, ...]"


Operand = Value | ListOf | Field | Call
Atom = Compare | Call
Node = Atom | Not | And | Or


def print_filter(node: Node) -> str:
    """The text of `node`, with parentheses wherever `and` and `or` meet."""
    match node:
        case And(parts):
            return " and ".join(_grouped(part) for part in parts)
        case Or(parts):
            return " or ".join(_grouped(part) for part in parts)
        case Not(Call() as call):
            return f"!{print_operand(call)}"
        case Not(operand):
            return f"!({print_filter(operand)})"
        case Compare(operator, left, right):
            return f"{print_operand(left)} {operator} {print_operand(right)}"
        case Call() as call:
            return print_operand(call)


def print_operand(operand: Operand) -> str:
    """The text of one side of a comparison, or of an argument."""
    match operand:
        case Value(value):
            return _print_literal(value)
        case ListOf(items):
            return f"[{', '.join(_print_literal(item) for item in items)}]"
        case Field(keys):
            first = _print_key(keys[0])
            # A root that looks like a number or a word of the language is told apart by a backslash.
            if (first[0].isdigit() or (len(keys) == 1 and first in RESERVED)) and not first.startswith("\\"):
                first = "\\" + first
            return ".".join([first, *(_print_key(key) for key in keys[1:])])
        case Call(name, arguments):
            return f"{name}({', '.join(print_operand(argument) for argument in arguments)})"


def atoms(node: Node) -> Iterator[Atom | Not]:
    """The conditions of `node` in their order; a `!` right before one belongs to it."""
    match node:
        case And(parts) | Or(parts):
            for part in parts:
                yield from atoms(part)
        case Not(And() | Or() as group):
            yield from atoms(group)
        case _:
            yield node


def fields(node: Node | Operand) -> Iterator[Field]:
    """The paths that `node` reads, in their order, each as often as it occurs."""
    match node:
        case Field():
            yield node
        case Call(_, parts) | And(parts) | Or(parts):
            for part in parts:
                yield from fields(part)
        case Not(operand):
            yield from fields(operand)
        case Compare(_, left, right):
            yield from fields(left)
            yield from fields(right)


def _grouped(node: Node) -> str:
    return f"({print_filter(node)})" if isinstance(node, And | Or) else print_filter(node)


def _print_literal(value: Literal) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if value is None or isinstance(value, bool):
        return next(word for word, meaning in KEYWORDS.items() if meaning is value)
    return repr(value).removesuffix(".0")


def _print_key(key: str) -> str:
    """`key` with a backslash before each character that would end it or make it something else."""
    written = "".join(c if _PLAIN_KEY.fullmatch(c) else f"\\{c}" for c in key)
    return f"\\{written}" if written.startswith("-") or written.isdigit() else written
