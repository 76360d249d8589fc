"""The words of a filter's text, and how a text is refused: with the place of the fault."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple, NoReturn

from streamer.core.caret import describe, place
from streamer.errors import FilterError

# Every alternative is possessive and begins with characters of its own, so the cost is linear in the text.
_WORD: Final = re.compile(
    r"""(?P<space>[ \t\r\n]++)
      | (?P<string>"[^"\\]*+(?:\\.[^"\\]*+)*+"|'[^'\\]*+(?:\\.[^'\\]*+)*+')
      | (?P<operator>!=|<=|>=|=|<|>)
      | (?P<sign>[!(),\[\]])
      | (?P<plain>(?:[A-Za-z0-9_$.+-]|\\.)++)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE: Final = re.compile(r"""\\(["'\\])""")
_CURLY: Final = "\u2018\u2019\u201c\u201d"
_INSTEAD: Final = {
    "&": "`and` is written as a word",
    "|": "`or` is written as a word",
    "\\": "a backslash stands before the character that it escapes",
}


class Word(NamedTuple):
    """One word of a filter's text: `kind` is string, operator, sign, plain or end."""

    kind: str
    text: str
    offset: int


def words(text: str) -> Iterator[Word]:
    """The words of `text`, then one of kind end. Raises: FilterError, at the first character that begins none."""
    offset = 0
    while offset < len(text):
        match = _WORD.match(text, offset)
        if match is None:
            refuse(text, offset, _unexpected(text[offset]))
        kind = str(match.lastgroup)
        if kind != "space":
            yield Word(kind, match[0], offset)
        offset = match.end()
    yield Word("end", "", len(text.rstrip(" \t\r\n")))


def unquoted(word: str) -> str:
    r"""The text that a word in quotes stands for: `\"`, `\'` and `\\` lose their backslash.

    Other backslashes are the character itself: "C:\tmp" is what it looks like.
    """
    return _ESCAPE.sub(r"\1", word[1:-1])


def refuse(text: str, offset: int, fault: str) -> NoReturn:
    """Raise a FilterError that shows the place."""
    where = place(text, offset)
    raise FilterError(describe(text, offset, fault), where.line, where.column)


def _unexpected(character: str) -> str:
    if character in "\"'":
        return "this string is never closed"
    if character in _CURLY:
        return f"unexpected {character!r}: text is quoted with \" or '"
    if character in _INSTEAD:
        return f"unexpected {character!r}: {_INSTEAD[character]}"
    if character.isprintable():
        return f"unexpected {character!r}: text is quoted, and in a path this character is written \\{character}"
    return f"unexpected {character!r}"
