"""A filter's text becomes a tree, or is refused with the place of the fault and, where there is one, the right way.

    condition := "!"… ( "(" condition ")" | call ) | comparison | condition and|or condition
    comparison := operand ( = | != | < | <= | > | >= ) operand | operand in ( list | path )
    operand := "text" | 'text' | number | true | false | null | path | call | list

`and` binds tighter than `or`. Open parentheses are a list of groups, not Python's stack, so they may be as many as
fit in the text; what is left when needless ones and double negations are gone may be 100 deep.
"""

import re
from dataclasses import dataclass, field
from typing import Final, NamedTuple, NoReturn

from msgspec import Struct

from streamer.core.caret import place
from streamer.core.filter_ast import (
    KEYWORDS,
    RESERVED,
    And,
    Atom,
    Call,
    Compare,
    Field,
    ListOf,
    Literal,
    Node,
    Not,
    Operand,
    Or,
    Value,
    fields,
    print_operand,
)
from streamer.core.filter_functions import FUNCTIONS, NUMBER
from streamer.core.filter_values import kind
from streamer.core.filter_words import Word, refuse, shown, unquoted, words
from streamer.core.globs import compile_glob

TEXT_BYTES_MAX: Final = 10_240
# A tree is walked, printed and evaluated by functions that call themselves: this keeps them far from Python's limit.
DEPTH_MAX: Final = 100
CALLS_DEPTH_MAX: Final = 16
# Calls, and comparisons with a path on the right, are what can cost more than 0.3 µs on an event: 0.7 ms at most each.
LOOKUPS_MAX: Final = 100

# The fields of Segment's messages, and `profile`, which is ours; any other may exist, but more likely is misspelt.
# fmt: off
ROOTS: Final = (
    "type", "event", "name", "userId", "anonymousId", "messageId", "groupId", "previousId", "category", "timestamp",
    "originalTimestamp", "sentAt", "receivedAt", "version", "channel", "writeKey", "integrations", "properties",
    "traits", "context", "profile",
)
# fmt: on
PROFILE_PARTS: Final = ("traits", "audiences", "consent")

_ORDERS: Final = ("<", "<=", ">", ">=")
_KEY: Final = re.compile(r"(?:[A-Za-z0-9_$]|\\.)(?:[A-Za-z0-9_$-]|\\.)*+", re.DOTALL)
_BACKSLASH: Final = re.compile(r"\\(.)", re.DOTALL)
_A_PATH: Final = 'expected a path, as in properties.total; a condition is like event = "Order Shipped"'
_A_VALUE: Final = "expected a value: quoted text, a number, true, false, null, or a path"

_Part = tuple[Node, int]  # a node and its depth


class Lint(Struct, frozen=True):
    """What is valid but perhaps not meant.

    `code` is mixed_and_or, unknown_root (no field of Segment's messages), constant (reads no field) or never_matches.
    """

    code: str
    text: str
    line: int
    column: int


class Parsed(NamedTuple):
    """A filter's tree, and what its text makes one wonder."""

    node: Node
    lints: list[Lint]


def parse_filter(text: str) -> Node:
    """The tree of `text`. Raises: FilterError."""
    return parse_with_lints(text).node


def parse_with_lints(text: str) -> Parsed:
    """The tree of `text` with the lints found on the way. Raises: FilterError."""
    if len(text) > TEXT_BYTES_MAX or len(text.encode("utf-8", "surrogatepass")) > TEXT_BYTES_MAX:
        refuse(text[: TEXT_BYTES_MAX + 1], 0, f"the filter is too long: at most {TEXT_BYTES_MAX} bytes (10 KB)")
    return _Parser(text).parse()


@dataclass(slots=True)
class _Group:
    """What stands between one pair of parentheses, so far; the whole text is a group too."""

    opened_at: int
    is_negated: bool
    run: list[_Part] = field(default_factory=list)  # joined by `and`
    runs: list[_Part] = field(default_factory=list)  # joined by `or`
    joint: str = ""
    is_mixed: bool = False

    def end_run(self) -> None:
        self.runs.append(_joined(And, self.run))
        self.run = []

    def part(self) -> _Part:
        self.end_run()
        part = _joined(Or, self.runs)
        return _negated(part) if self.is_negated else part


def _negated(part: _Part) -> _Part:
    node, depth = part
    return (node.operand, depth - 1) if isinstance(node, Not) else (Not(node), depth + 1)


def _joined(join: type[And | Or], parts: list[_Part]) -> _Part:
    """One node of `parts`, those that are joined alike taken apart."""
    if len(parts) == 1:
        return parts[0]
    flat: list[Node] = []
    deepest = 0
    for node, depth in parts:
        if isinstance(node, join):
            flat.extend(node.parts)
            deepest = max(deepest, depth - 1)
        else:
            flat.append(node)
            deepest = max(deepest, depth)
    return join(tuple(flat)), deepest + 1


class _Parser:
    """Reads one text word by word; `word` is the next one."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lints: list[Lint] = []
        self._lookups = 0
        self._words = words(text)
        self.word = next(self._words)

    def parse(self) -> Parsed:
        """The whole text's tree. Raises: FilterError."""
        groups = [_Group(0, is_negated=False)]
        while True:
            negation, is_negated = self._negations()
            if self.word.text == "(":
                groups.append(_Group(self._take().offset, is_negated))
                continue
            atom = self._condition()
            if isinstance(atom, Compare) and negation is not None:
                refuse(self.text, negation, "`!` stands before a call or a parenthesis: write != or !(…)")
            groups[-1].run.append(_negated((atom, 0)) if is_negated else (atom, 0))
            self._close(groups)
            if self.word.kind == "end":
                return Parsed(groups[0].part()[0], self.lints)
            self._join(groups[-1])

    def _negations(self) -> tuple[int | None, bool]:
        """The place of the first `!`, and whether they are an odd number."""
        first, count = None, 0
        while self.word.text == "!":
            offset = self._take().offset
            first = offset if first is None else first
            count += 1
        return first, count % 2 == 1

    def _close(self, groups: list[_Group]) -> None:
        """Close the groups that end here. At the end of the text only the outermost is left."""
        while self.word.text == ")":
            if len(groups) == 1:
                self._fail("this parenthesis closes none")
            self._take()
            group = groups.pop()
            part = group.part()
            if part[1] > DEPTH_MAX:
                refuse(self.text, group.opened_at, f"conditions are nested too deep here: at most {DEPTH_MAX} levels")
            groups[-1].run.append(part)
        if self.word.kind == "end" and len(groups) > 1:
            refuse(self.text, groups[-1].opened_at, "this parenthesis is never closed")

    def _join(self, group: _Group) -> None:
        """Take `and` or `or`."""
        joint = self.word.text
        if joint not in ("and", "or"):
            hint = f"; in lower case: `{joint.lower()}`" if joint.lower() in ("and", "or") else ""
            self._fail(f"expected `and`, `or` or the end{hint}")
        if group.joint not in ("", joint) and not group.is_mixed:
            group.is_mixed = True
            self._lint("mixed_and_or", "`and` binds tighter than `or`; parentheses would show what is meant")
        group.joint = joint
        self._take()
        if joint == "or":
            group.end_run()

    def _condition(self) -> Atom:
        """A comparison, or a call that is true or false."""
        first = self.word
        left = self._operand(_A_PATH, is_first=True)
        atom: Atom
        if self.word.kind == "operator" or self.word.text == "in":
            atom = self._comparison(first, left)
        elif isinstance(left, Call) and FUNCTIONS[left.name].gives in ("condition", "bool"):
            atom = left
        else:
            name = shown(print_operand(left))
            is_alone = isinstance(left, Field) and self.word.text in ("", ")", "and", "or")
            hint = f"; a yes or no is written `{name} = true`" if is_alone else ""
            self._fail(f"expected an operator after `{name}`: = != < <= > >= or in{hint}")
        if next(fields(atom), None) is None:
            self._lint("constant", "this condition reads no field: it always has the same answer", first.offset)
        return atom

    def _comparison(self, first: Word, left: Operand) -> Compare:
        operator, right_at = self._take().text, self.word.offset
        if operator == "in":
            right = self._operand('expected a list, as in ["a", "b"], or a path to one', is_first=True)
            if not isinstance(right, ListOf | Field):
                refuse(self.text, right_at, 'after `in` comes a list, as in ["a", "b"], or a path to one')
        else:
            right = self._operand(_A_VALUE)
        for side, offset in ((left, first.offset), (right, right_at)):
            if isinstance(side, Call) and FUNCTIONS[side.name].gives == "condition":
                refuse(self.text, offset, f"`{side.name}` is a condition as it is; its opposite is !{side.name}(…)")
            if isinstance(side, ListOf) and (operator in _ORDERS or (operator == "in" and side is left)):
                refuse(self.text, offset, f"a list can't stand here, beside `{operator}`")
        if isinstance(right, Field) and (operator == "in" or isinstance(left, Field)):
            self._count_lookup(first.offset)
        return Compare(operator, left, right)

    def _operand(self, expected: str, depth: int = 0, *, is_first: bool = False) -> Operand:
        """One side of a comparison or an argument; an unknown bare word is a field only where text makes no sense."""
        word = self._take()
        if word.kind == "string":
            return Value(unquoted(word.text))
        if word.text == "[":
            return self._list()
        if word.kind != "plain":
            refuse(self.text, word.offset, expected)
        if self.word.text == "(" and word.text not in RESERVED:
            return self._call(word, depth)
        if word.text in KEYWORDS:
            return Value(KEYWORDS[word.text])
        if NUMBER.fullmatch(word.text):
            return Value(self._number(word))
        if word.text in RESERVED or word.text[0] in "0123456789+-.":
            hint = '; negation is written `!`, as in !contains(event, "x")' if word.text == "not" else ""
            refuse(self.text, word.offset, expected + hint)
        return self._field(word, is_text_likely=not is_first)

    def _number(self, word: Word) -> float:
        number = float(word.text)
        if abs(number) == float("inf"):
            refuse(self.text, word.offset, "this number is too large")
        return number

    def _list(self) -> ListOf:
        items: list[Literal] = []
        expected = "expected a value of the list: quoted text, a number, true, false or null"
        while self.word.text != "]" or items:
            offset = self.word.offset
            item = self._operand(expected) if self.word.text != "[" else None
            if not isinstance(item, Value):
                refuse(self.text, offset, expected)
            items.append(item.value)
            if self.word.text == "]":
                break
            self._expect(",", "expected `,` or `]` in the list")
        self._take()
        return ListOf(tuple(items))

    def _call(self, name: Word, depth: int) -> Call:
        function = FUNCTIONS.get(name.text)
        if function is None:
            refuse(self.text, name.offset, f"`{shown(name.text)}` is no function: there are {', '.join(FUNCTIONS)}")
        if depth == CALLS_DEPTH_MAX:
            refuse(self.text, name.offset, f"calls are nested too deep here: at most {CALLS_DEPTH_MAX} levels")
        self._count_lookup(name.offset)
        count = len(function.parameters)
        usage = f"`{name.text}` takes {count} argument{'s' if count > 1 else ''} in parentheses"
        arguments: list[Operand] = []
        for accepted in function.parameters:
            self._expect("," if arguments else "(", f"{usage}: expected a comma" if arguments else usage)
            offset = self.word.offset
            argument = self._operand(_A_VALUE, depth + 1, is_first=not arguments)
            given = _given(argument)
            if given is not None and given not in accepted:
                refuse(
                    self.text, offset, f"`{name.text}` can't take a {given} here, only {' or '.join(sorted(accepted))}"
                )
            if name.text == "match" and arguments and isinstance(argument, Value):
                self._check_glob(str(argument.value), offset)
            arguments.append(argument)
        self._expect(")", f"{usage}: expected the closing parenthesis")
        return Call(name.text, tuple(arguments))

    def _count_lookup(self, offset: int) -> None:
        self._lookups += 1
        if self._lookups > LOOKUPS_MAX:
            fault = f"a filter has at most {LOOKUPS_MAX} calls and looks from one path into another; this is one more"
            refuse(self.text, offset, f'{fault}: many texts are a list, as in event in ["a", "b"]')

    def _check_glob(self, pattern: str, offset: int) -> None:
        try:
            compile_glob(pattern)
        except ValueError as exc:
            refuse(self.text, offset, str(exc))

    def _field(self, word: Word, *, is_text_likely: bool) -> Field:
        if self.word.text == "[":
            refuse(self.text, word.offset, "a filter does not look into lists by index; `in` looks for a value in one")
        keys = self._keys(word)
        root = keys[0]
        if root == "profile" and (len(keys) == 1 or keys[1] not in PROFILE_PARTS):
            refuse(self.text, word.offset, f"below `profile` there are {', '.join(PROFILE_PARTS)}")
        if root not in ROOTS:
            path = shown(word.text)
            if len(keys) == 1 and is_text_likely:
                meant = path.lower() if path.lower() in KEYWORDS else f'"{path}"'
                refuse(self.text, word.offset, f"expected a value; `{path}` is no field: is {meant} meant?")
            self._lint("unknown_root", f"`{path}`: Segment's messages have no field `{shown(root)}`", word.offset)
        return Field(tuple(keys))

    def _keys(self, word: Word) -> list[str]:
        r"""The keys of a path: letters, digits, _ - $ and, after a backslash, any character."""
        keys = []
        offset = 0
        while True:
            match = _KEY.match(word.text, offset)
            if match is None:
                refuse(
                    self.text,
                    word.offset,
                    f"`{shown(word.text)}` is not a path: parts are letters, digits, _ - $, with a dot between; "
                    "any other character has a backslash before it",
                )
            if match[0].isdigit():
                refuse(
                    self.text,
                    word.offset,
                    f"`{shown(match[0])}` could be a key or a list's index; a key is written \\{shown(match[0])}, "
                    "and a filter does not look into lists by index",
                )
            keys.append(_BACKSLASH.sub(r"\1", match[0]))
            offset = match.end()
            if offset == len(word.text):
                return keys
            # Anything but a dot is caught as a faulty key.
            offset += word.text[offset] == "."

    def _take(self) -> Word:
        """The next word; the end stays."""
        word = self.word
        if word.kind != "end":
            self.word = next(self._words)
        return word

    def _expect(self, sign: str, fault: str) -> None:
        if self.word.text != sign:
            self._fail(fault)
        self._take()

    def _fail(self, fault: str) -> NoReturn:
        refuse(self.text, self.word.offset, fault)

    def _lint(self, code: str, text: str, offset: int | None = None) -> None:
        where = place(self.text, self.word.offset if offset is None else offset)
        self.lints.append(Lint(code, text, where.line, where.column))


def _given(argument: Operand) -> str | None:
    """The kind that an argument is known to have before any event is seen."""
    match argument:
        case Value(value):
            return kind(value)
        case Call(name, _):
            return FUNCTIONS[name].gives
        case ListOf():
            return "list"
    return None
