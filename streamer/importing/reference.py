"""What the author of a trigger wrote: the reference reading, with the few repairs that have one meaning only.

`and` binds tighter than `or`, parentheses nest, a text has either quote and escapes, a path is any field. Repaired,
and told, are capitals (`OR`), `&&`, `||`, `==`, `<>`, `not`, a word without quotes where a value stands, numbers such
as `10.`, a function compared with true or false, letters that need a backslash in a path, and typographic quotes.
Whatever else can't be read is refused: guessing who gets a message is nobody's job.
Source: facts/segment.md, section 7, right-hand column.
"""

import re
from typing import Final, NamedTuple, NoReturn

from msgspec import Struct

from streamer.importing.conditions import (
    FUNCTIONS,
    PREDICATES,
    Call,
    Compare,
    Literal,
    Not,
    Operand,
    Path,
    Predicate,
    Tree,
    Value,
    join,
)
from streamer.importing.javascript import joined

DEPTH_MAX: Final = 40  # of parentheses: Python's recursion, and any reader's patience
# fmt: off
ROOTS: Final = frozenset({
    "type", "event", "name", "userId", "anonymousId", "messageId", "groupId", "previousId", "timestamp", "properties",
    "traits", "context", "profile", "integrations", "category", "channel", "version",
})
# fmt: on
_OPERATORS: Final = {"==": "=", "===": "=", "<>": "!=", "!==": "!="}
_CONSTANTS: Final = {"true": True, "false": False, "null": None}
_SIGN_JOINTS: Final = {"&&": "and", "||": "or"}

_WORD: Final = re.compile(
    r"""(?P<space>[ \t\r\n]++)
      | (?P<text>"(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+'|[“”„](?:[^“”"\\]|\\.)*+[“”"])
      | (?P<joint>&&|\|\|)
      | (?P<operator>===|!==|==|!=|<>|<=|>=|=|<|>)
      | (?P<sign>[!(),\[\]])
      | (?P<plain>(?:[A-Za-z0-9_$.+-]|[^\x00-\x7f“”„]|\\(?:[\ud800-\udbff][\udc00-\udfff]|.))++)""",
    re.VERBOSE | re.DOTALL,
)
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_STRICT_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_KEY: Final = re.compile(r"(?:[A-Za-z0-9_$-]|[^\x00-\x7f]|\\(?:[\ud800-\udbff][\udc00-\udfff]|.))+", re.DOTALL)
_BARE_TEXT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_ESCAPE: Final = re.compile(r"""\\(["'\\])""")
_BACKSLASH: Final = re.compile(r"\\([\ud800-\udbff][\udc00-\udfff]|.)", re.DOTALL)  # a pair of units is one character


class Word(NamedTuple):
    """One word; `kind` is text, joint, operator, sign, plain or end."""

    kind: str
    text: str
    offset: int


class Refused(Exception):
    """The trigger can't be read, or in more than one way."""

    def __init__(self, fault: str, offset: int) -> None:
        super().__init__(fault)
        self.fault = fault
        self.offset = offset


class Meaning(Struct, frozen=True):
    """What a trigger says: its tree, its comparisons with where they begin, and the repairs it took to read it.

    `is_mixed`: `and` and `or` stand beside each other without parentheses, or `!` before a comparison.
    """

    tree: Tree
    places: tuple[tuple[int, Tree], ...]
    repairs: tuple[str, ...]
    is_mixed: bool


def read(text: str) -> Meaning:
    """Read a trigger (UTF-16 units). Raises: Refused."""
    return _Reader(text).read()


class _Reader:
    def __init__(self, text: str) -> None:
        self.words = list(_words(text))
        self.at = 0
        self.depth = 0
        self.places: list[tuple[int, Tree]] = []
        self.repairs: list[str] = []
        self.is_mixed = False

    def read(self) -> Meaning:
        tree = self._any()
        if self._word.kind != "end":
            self._refuse(f"`{_shown(self._word)}` where `and`, `or` or the end should be")
        return Meaning(tree, tuple(self.places), tuple(dict.fromkeys(self.repairs)), self.is_mixed)

    @property
    def _word(self) -> Word:
        return self.words[self.at]

    def _next(self) -> Word:
        word = self._word
        if word.kind != "end":
            self.at += 1
        return word

    def _is_sign(self, sign: str) -> bool:
        return self._word.kind == "sign" and self._word.text == sign

    def _is_word(self, *words: str) -> bool:
        return self._word.kind == "plain" and self._word.text.lower() in words

    def _refuse(self, fault: str) -> NoReturn:
        raise Refused(fault, self._word.offset)

    def _repair(self, word: Word, meant: str) -> str:
        if word.text != meant:
            self.repairs.append(f"`{_shown(word)}` is read as `{joined(meant)}`")
        return meant

    def _joint(self, wanted: str) -> bool:
        """Take the joint if it is the wanted one."""
        word = self._word
        meant = _SIGN_JOINTS.get(word.text, word.text.lower())
        if word.kind not in ("joint", "plain") or meant != wanted:
            return False
        self._repair(self._next(), wanted)
        return True

    def _any(self) -> Tree:
        parts = [self._all()]
        while self._joint("or"):
            parts.append(self._all())
        self.is_mixed = self.is_mixed or (len(parts) > 1 and any(bare for _, bare in parts))
        return join("or", [tree for tree, _ in parts])

    def _all(self) -> tuple[Tree, bool]:
        """A tree, and whether it has an `and` outside parentheses."""
        parts = [self._term()]
        while self._joint("and"):
            parts.append(self._term())
        return join("and", parts), len(parts) > 1

    def _term(self) -> Tree:
        word = self._word
        if self._is_sign("!") or self._is_word("not"):
            if word.kind == "plain":
                self._repair(word, "!")
            self._next()
            self._deepen()
            child = self._term()
            self.depth -= 1
            self.is_mixed = self.is_mixed or isinstance(child, Compare)
            self.places = [(at, Not(tree) if tree is child else tree) for at, tree in self.places]
            return Not(child)
        if self._is_sign("("):
            self._next()
            self._deepen()
            tree = self._any()
            self.depth -= 1
            self._close()
            return tree
        return self._leaf()

    def _deepen(self) -> None:
        self.depth += 1
        if self.depth > DEPTH_MAX:
            self._refuse(f"parentheses deeper than {DEPTH_MAX}")

    def _close(self) -> None:
        if not self._is_sign(")"):
            self._refuse("a `)` is missing")
        self._next()

    def _leaf(self) -> Tree:
        word = self._word
        if word.kind == "plain" and word.text in PREDICATES and self.words[self.at + 1].text == "(":
            return self._predicate(word)
        left = self._operand()
        sign = self._next()
        if sign.kind == "operator":
            operator = self._repair(sign, _OPERATORS.get(sign.text, sign.text))
            right = self._operand(is_value=isinstance(left, Path | Call))
        elif sign.kind == "plain" and sign.text.lower() == "in":
            operator = self._repair(sign, "in")
            right = self._list() if self._is_sign("[") else self._operand()
            if isinstance(right, Value) and not isinstance(right.value, tuple):
                raise Refused("after `in` comes a list, or a path to one", sign.offset)
        else:
            raise Refused(f"`{_shown(sign)}` where an operator should be", sign.offset)
        return self._noted(word, Compare(left, operator, right))

    def _noted(self, word: Word, tree: Tree) -> Tree:
        self.places.append((word.offset, tree))
        return tree

    def _predicate(self, word: Word) -> Tree:
        self.at += 2
        subject = self._operand()
        if not self._is_sign(","):
            self._refuse(f"{word.text} has two arguments with a comma between")
        self._next()
        pattern = self._operand()
        if isinstance(pattern, Value) and isinstance(pattern.value, float):
            pattern = Value(self._repair(self.words[self.at - 1], f'"{self.words[self.at - 1].text}"')[1:-1])
        self._close()
        tree: Tree = Predicate(word.text, subject, pattern)
        if self._word.kind == "operator" and self._word.text in ("=", "==", "!="):
            tree = self._compared(tree)
        return self._noted(word, tree)

    def _compared(self, tree: Tree) -> Tree:
        """A function compared with true or false is the function or its opposite."""
        operator, truth = self._next(), self._next()
        if truth.kind != "plain" or truth.text.lower() not in ("true", "false"):
            raise Refused("a function is compared with something else than true or false", truth.offset)
        self.repairs.append(f"`{operator.text} {truth.text}` after a function is read as the function or its opposite")
        return tree if (operator.text == "!=") == (truth.text.lower() == "false") else Not(tree)

    def _list(self) -> Value:
        self._next()
        values: list[Literal] = []
        while not self._is_sign("]"):
            operand = self._operand()
            if not isinstance(operand, Value) or isinstance(operand.value, tuple):
                self._refuse("a list holds values only")
            values.append(operand.value)
            if self._is_sign(","):
                self._next()
            elif not self._is_sign("]"):
                self._refuse("a `]` is missing")
        self._next()
        return Value(tuple(values))

    def _operand(self, is_value: bool = False) -> Operand:
        """A value, a function of one or a path; `is_value`: a single word that is no field is a text."""
        word = self._next()
        if word.kind == "text":
            return Value(self._text(word))
        if word.kind != "plain":
            raise Refused(f"`{_shown(word)}` where a field or a value should be", word.offset)
        if _NUMBER.fullmatch(word.text):
            return Value(self._number(word))
        if word.text.lower() in _CONSTANTS:
            return Value(_CONSTANTS[self._repair(word, word.text.lower())])
        if word.text in FUNCTIONS and self._is_sign("("):
            self._next()
            self._deepen()
            inner = self._operand()
            self.depth -= 1
            self._close()
            return Call(word.text, inner)
        return self._value_word(word) if is_value else self._path(word)

    def _value_word(self, word: Word) -> Value:
        root = word.text.split(".")[0]
        if root in ROOTS or not _BARE_TEXT.fullmatch(word.text):
            raise Refused(f"`{_shown(word)}` where a value should be; put a text in quotes", word.offset)
        self._repair(word, f'"{word.text}"')
        return Value(joined(word.text))

    def _text(self, word: Word) -> str:
        if word.text[0] in "“”„" or word.text[-1] in "“”":
            self._repair(word, f'"{word.text[1:-1]}"')
        return joined(_ESCAPE.sub(r"\1", word.text[1:-1]))

    def _number(self, word: Word) -> float:
        number = float(word.text)
        if abs(number) == float("inf"):
            raise Refused("a number is too large", word.offset)
        if not _STRICT_NUMBER.fullmatch(word.text):
            self.repairs.append(f"`{_shown(word)}` is read as `{number:g}`")
        return number

    def _path(self, word: Word) -> Path:
        keys = []
        at = 0
        while True:
            key = _KEY.match(word.text, at)
            if key is None or key[0].isdigit() or key[0].startswith("-"):
                raise Refused(f"`{_shown(word)}` is not a path", word.offset)
            if not _BACKSLASH.sub("", key[0]).isascii():
                self.repairs.append(f"`{_shown(word)}` gets a backslash before what is no plain letter")
            keys.append(joined(_BACKSLASH.sub(r"\1", key[0])))
            at = key.end()
            if at == len(word.text):
                break
            if word.text[at] != ".":
                raise Refused(f"`{_shown(word)}` is not a path", word.offset)
            at += 1
        if self._is_sign("["):
            self._refuse("a place in a list, as in [0], is no part of a filter")
        return Path(tuple(keys))


def _words(text: str) -> "list[Word]":
    found: list[Word] = []
    at = 0
    while at < len(text):
        match = _WORD.match(text, at)
        if match is None:
            fault = "a text is never closed" if text[at] in "\"'“”„" else f"{text[at]!r} means nothing here"
            raise Refused(fault, at)
        if match.lastgroup != "space":
            found.append(Word(str(match.lastgroup), match[0], at))
        at = match.end()
    return [*found, Word("end", "", len(text.rstrip())), Word("end", "", len(text))]


def _shown(word: Word) -> str:
    return joined(word.text[:40]) or "the end"
