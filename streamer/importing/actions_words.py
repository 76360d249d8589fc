"""The words of Segment's trigger language, cut as Segment cuts them.

Its accidents are kept, for they decide who gets a message: no escapes in a text; `!=`, `<=`, `>=`, `and`, `or`, `null`
only before white space, a comma, a closing bracket or the end; a closing quote that nothing of those follows opens the
next text; upper-case AND and OR are names.
Source: facts/segment.md, section 7; held to the original by tests/contracts/test_segment_import.py.
"""

from typing import Final, NamedTuple, NoReturn

TERMINATORS: Final = frozenset(" \t\n,])")
_SPACE: Final = frozenset(" \t\n")
_DIGITS: Final = frozenset("0123456789")
_LETTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_NAME: Final = _LETTERS | _DIGITS | frozenset("_-\\")
_NAME_ENDS: Final = TERMINATORS | frozenset(".(=!")
_SIGNS: Final = {".": "dot", "[": "bracket", "]": "bracket", ",": "comma", "(": "open", ")": "close"}
_KEYWORDS: Final = {"and": "joint", "or": "joint", "null": "null"}
# After one of these letters the rest of its word is tried first; at the end of the text what was tried is lost.
_TRIED: Final = {"a": "nd", "o": "r", "n": "ull"}
END: Final = "eos"


class Word(NamedTuple):
    """One word; `kind` is name, operator, joint, text, number, null, dot, bracket, comma, open, close or eos.

    A text keeps its quotes; `offset` is where the word begins.
    """

    kind: str
    text: str
    offset: int


class Unreadable(Exception):
    """Segment's parser stops here, and the mapping never sends: `fault` says why."""

    def __init__(self, fault: str, offset: int) -> None:
        super().__init__(fault)
        self.fault = fault
        self.offset = offset


def words(text: str) -> list[Word]:
    """The words of `text` (UTF-16 units), the last of kind eos; dotted names are one. Raises: Unreadable."""
    return _dotted(_Cutter(text).cut())


def _dotted(found: list[Word]) -> list[Word]:
    """Names with a dot between become one word, white space or not."""
    merged: list[Word] = []
    index = 0
    while index < len(found):
        word = found[index]
        following = found[index + 1].kind if index + 1 < len(found) else END
        if word.kind == "dot" and following == "name" and merged and merged[-1].kind == "name":
            head = merged.pop()
            merged.append(Word("name", f"{head.text}.{found[index + 1].text}", head.offset))
            index += 2
        else:
            merged.append(word)
            index += 1
    return merged


class _Cutter:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def cut(self) -> list[Word]:
        found: list[Word] = []
        while self.at < len(self.text):
            start = self.at
            char = self.text[start]
            self.at += 1
            if char not in _SPACE:
                kind, text = self._word(char)
                found.append(Word(kind, text, start))
        return [*found, Word(END, END, len(self.text))]

    def _word(self, char: str) -> tuple[str, str]:
        if char == "!" and self._peek() in _LETTERS | {"("}:
            return "operator", "!"
        if char in _LETTERS or char in "\\_":
            return self._name_or_keyword(char)
        if char in "!=<>":
            return self._operator(char)
        if char in _DIGITS or char in "+-":
            return "number", self._number(char)
        if char in "\"'":
            return "text", self._text(char)
        if char in _SIGNS:
            return _SIGNS[char], char
        if char == "\r":
            self._refuse("a carriage return is no white space to it")
        return self._refuse(f"the character {char!r} is unknown to it")

    def _peek(self) -> str:
        """The next character, or "" at the end."""
        return self.text[self.at : self.at + 1]

    def _accept(self, wanted: str) -> bool:
        """Take `wanted` if a terminator or the end follows it; at the end of the text a failed try is lost."""
        start = self.at
        taken = ""
        for _ in wanted:
            char = self._peek()
            if not char:
                return False
            self.at += 1
            taken += char
            if char in TERMINATORS:
                break
        if taken == wanted and (not self._peek() or self._peek() in TERMINATORS):
            return True
        self.at = start
        return False

    def _operator(self, char: str) -> tuple[str, str]:
        if char == "=":
            return "operator", "="
        if self._accept("="):
            return "operator", char + "="
        if char == "!":
            self._refuse("`!` is followed by neither a name, `(` nor `=` and a blank")
        return "operator", char

    def _name_or_keyword(self, char: str) -> tuple[str, str]:
        rest = _TRIED.get(char)
        if rest and self._accept(rest):
            return _KEYWORDS[char + rest], char + rest
        return "name", self._name(char)

    def _name(self, char: str) -> str:
        name = ""
        while True:
            if char == "\\":
                char = self._peek()
                self.at += 1
                if not char:
                    self._refuse("it ends in a backslash")
            name += char
            char = self._peek()
            if char not in _NAME or not char:
                break
            self.at += 1
        if char and char not in _NAME_ENDS:
            self._refuse(f"{char!r} touches the name before it")
        return name

    def _number(self, number: str) -> str:
        is_decimal = False
        while self._peek() and self._peek() in "0123456789.":
            char = self._peek()
            self.at += 1
            number += char
            if char == ".":
                if is_decimal or not self._peek() or self._peek() in TERMINATORS:
                    self._refuse("a number has a decimal point too many")
                is_decimal = True
        return number

    def _text(self, quote: str) -> str:
        end = self.text.find(quote, self.at)
        if end < 0:
            self._refuse("a text is never closed")
        inner = self.text[self.at : end]
        self.at = end
        self._accept(quote)  # if nothing that ends a word follows, the quote stays and opens the next text
        return f"{quote}{inner}{quote}"

    def _refuse(self, fault: str) -> NoReturn:
        raise Unreadable(fault, min(self.at, len(self.text)))
