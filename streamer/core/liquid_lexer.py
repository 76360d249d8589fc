"""Cuts a Liquid text into fixed text, holes and tags, in one pass of linear time.

As liquidjs cuts it: `}}` inside quotes doesn't end a hole, the first `endcomment` ends a comment, a dash trims all
white space on its side, and the lines of a `liquid` tag are tags. python-liquid's lexer is quadratic on unclosed marks.
"""

import re
from collections.abc import Iterator
from typing import Final

from liquid import Token
from liquid.exceptions import LiquidSyntaxError
from liquid.token import TOKEN_CONTENT, TOKEN_EXPRESSION, TOKEN_OUTPUT, TOKEN_TAG

from streamer.core.js_text import JS_SPACES

# Both bound what python-liquid's scanner of expressions costs, which looks ahead for quotes and recurses on `and`.
EXPRESSION_CHARS_MAX: Final = 500
BRACKETS_MAX: Final = 16

_CLOSE_OUTPUT: Final = re.compile(
    r"""(?:[^"'}]++|"(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+'|\}(?!\}))*+\}\}""", re.DOTALL
)  # fmt: skip
_END_RAW: Final = re.compile(r"\{%-?\s*+endraw\s*+(?P<trim>-?)%\}")
_TAG: Final = re.compile(r"\s*+(?P<name>#|\w*+)\s*+")
_QUOTED_OR_ROOT: Final = re.compile(r"""(?P<quoted>"[^"]*+"|'[^']*+')|(?<![\w.$\]])\$\.(?=\w)""")
_QUOTED: Final = re.compile(r""""[^"]*+"|'[^']*+'""")


def tokens(source: str) -> Iterator[Token]:
    """The tokens of a text, for python-liquid's parser. Raises: LiquidSyntaxError, with the place."""
    return _Lexer(source).tokens()


class _Lexer:
    """One pass over `source`; `offset` is what comes next, `trims` whether a dash before it takes white space away."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.offset = 0
        self.trims = False
        self.in_comment = False

    def tokens(self) -> Iterator[Token]:
        while self.offset < len(self.source):
            start = self._next_mark()
            text = self._text_before(start)
            if text and not self.in_comment:
                yield Token(TOKEN_CONTENT, text, self.offset, self.source)
            if start == len(self.source):
                return
            is_tag = self.source[start + 1] == "%"
            inside = self._enter(start, is_tag)
            if is_tag:
                yield from self._tags(*inside)
            elif not self.in_comment:
                yield Token(TOKEN_OUTPUT, "", start, self.source)
                yield self._expression(*inside)

    def _next_mark(self) -> int:
        """Where the next hole or tag begins, or the end."""
        found = [self.source.find(mark, self.offset) for mark in ("{{", "{%")]
        return min((at for at in found if at >= 0), default=len(self.source))

    def _text_before(self, start: int) -> str:
        text = self.source[self.offset : start]
        if self.trims:
            text = text.lstrip(JS_SPACES)
        return text.rstrip(JS_SPACES) if self.source.startswith("-", start + 2) else text

    def _enter(self, start: int, is_tag: bool) -> tuple[int, int]:
        """Go behind the mark at `start`; where its inside begins and ends. Raises: LiquidSyntaxError, if unclosed."""
        begin = start + 2 + self.source.startswith("-", start + 2)
        if is_tag:
            end = self.source.find("%}", begin)
        else:
            close = _CLOSE_OUTPUT.match(self.source, begin)
            end = close.end() - 2 if close else -1
        if end < 0:
            raise self._fault(start, f"`{self.source[start : start + 2]}` is never closed")
        self.offset = end + 2
        self.trims = end > begin and self.source[end - 1] == "-"
        return begin, end - self.trims

    def _tags(self, begin: int, end: int) -> Iterator[Token]:
        tag = self._name(begin, end)
        name, expression_at = tag["name"], tag.end()
        if name == "raw" and not self.in_comment:
            yield self._raw(begin)
        elif name == "liquid" and not self.in_comment:
            for line_at, line_end in self._lines(expression_at, end):
                yield from self._tag(self._name(line_at, line_end), line_end)
        else:
            yield from self._tag(tag, end)

    def _name(self, begin: int, end: int) -> re.Match[str]:
        """A tag's name, with the spaces around it."""
        tag = _TAG.match(self.source, begin, end)
        assert tag is not None  # the pattern matches nothing too
        return tag

    def _tag(self, tag: re.Match[str], end: int) -> Iterator[Token]:
        name = tag["name"]
        if self.in_comment and name != "endcomment":
            return
        if name in ("comment", "endcomment"):
            self.in_comment = name == "comment"
        yield Token(TOKEN_TAG, name, tag.start("name"), self.source)
        if self.source[tag.end() : end].strip() and name != "comment":
            yield self._expression(tag.end(), end)

    def _lines(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """The lines of a `liquid` tag that aren't blank."""
        while begin < end:
            line_end = self.source.find("\n", begin, end)
            line_end = end if line_end < 0 else line_end
            if self.source[begin:line_end].strip():
                yield begin, line_end
            begin = line_end + 1

    def _raw(self, begin: int) -> Token:
        """The text up to `endraw`; dashes on its inner sides trim nothing, as in liquidjs."""
        close = _END_RAW.search(self.source, self.offset)
        if close is None:
            raise self._fault(begin, "`raw` is never closed")
        token = Token(TOKEN_CONTENT, self.source[self.offset : close.start()], self.offset, self.source)
        self.offset = close.end()
        self.trims = bool(close["trim"])
        return token

    def _expression(self, begin: int, end: int) -> Token:
        text = self.source[begin:end]
        begin += len(text) - len(text.lstrip())
        text = text.strip()
        if len(text) > EXPRESSION_CHARS_MAX:
            raise self._fault(begin, f"an expression of {len(text)} characters; at most {EXPRESSION_CHARS_MAX}")
        bare = _QUOTED.sub(lambda quoted: " " * len(quoted[0]), text)
        if "(" in bare:
            raise self._fault(begin + bare.index("("), "there are no ranges and no parentheses")
        if bare.count("[") > BRACKETS_MAX:
            raise self._fault(begin + bare.index("["), f"more than {BRACKETS_MAX} brackets")
        # `$.` before a path means the event, as in @path; blanked out, so that places stay right.
        text = _QUOTED_OR_ROOT.sub(lambda found: found["quoted"] or "  ", text)
        return Token(TOKEN_EXPRESSION, text, begin, self.source)

    def _fault(self, at: int, fault: str) -> LiquidSyntaxError:
        return LiquidSyntaxError(fault, token=Token(TOKEN_CONTENT, "", at, self.source))
