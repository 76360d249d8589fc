"""Reads Liquid into python-liquid's syntax tree, refusing what Segment's Liquid has not and what could take long.

python-liquid parses tags and expressions of what `liquid_lexer` cuts. None of its code runs when a message is made:
`liquid_sandbox` turns the tree into closures, and knows no other nodes than the tags registered here build.
"""

import difflib
import re
from typing import Final, NoReturn

from liquid import Environment, Token, TokenStream
from liquid.ast import BlockNode, IllegalNode, Node
from liquid.builtin.content import Literal
from liquid.builtin.expressions import FilteredExpression, Path
from liquid.builtin.illegal import Illegal
from liquid.builtin.output import Output, OutputNode
from liquid.builtin.tags.assign_tag import AssignTag
from liquid.builtin.tags.capture_tag import CaptureTag
from liquid.builtin.tags.comment_tag import CommentTag
from liquid.builtin.tags.cycle_tag import CycleTag
from liquid.builtin.tags.decrement_tag import DecrementTag
from liquid.builtin.tags.echo_tag import EchoTag
from liquid.builtin.tags.if_tag import IfTag
from liquid.builtin.tags.increment_tag import IncrementTag
from liquid.builtin.tags.inline_comment_tag import InlineCommentTag
from liquid.builtin.tags.unless_tag import UnlessTag
from liquid.exceptions import LiquidError, LiquidSyntaxError
from liquid.mode import Mode
from liquid.parser import get_parser
from liquid.tag import Tag
from liquid.token import TOKEN_DOT, TOKEN_EXPRESSION, TOKEN_OUTPUT, TOKEN_TAG, TOKEN_WORD

from streamer.core.caret import describe
from streamer.core.liquid_lexer import tokens

TEXT_CHARS_MAX: Final = 10_000
BLOCKS_DEPTH_MAX: Final = 16

TAGS: Final = (
    "assign", "capture", "comment", "cycle", "decrement", "echo", "if", "increment", "liquid", "raw", "unless",
)  # fmt: skip
# Segment switches these off; its docs list `case` nevertheless. Here `for` goes through a burst, of 20 events at most.
TAGS_OFF: Final = ("case", "for", "include", "layout", "render", "tablerow")

ITEMS: Final = ("collapse", "items")
_LOOP: Final = re.compile(r"\s*([A-Za-z_]\w*)\s+in\s+collapse\.items\s*", re.ASCII)
_END_LOOP: Final = "endfor"
_KEYWORDS: Final = frozenset(("true", "false", "nil", "null", "empty", "blank", "and", "or", "contains", "not"))
_NO_KEYWORDS: Final = frozenset(
    ("in", "offset", "limit", "reversed", "cols", "continue", "with", "for", "as", "if", "else", "required")
)


class LiquidFault(Exception):
    """A template that is not understood; the message shows the place."""


def parse_liquid(text: str) -> list[Node]:
    """The syntax tree of a template. Raises: LiquidFault, with the place of the fault."""
    if len(text) > TEXT_CHARS_MAX:
        raise LiquidFault(f"{len(text)} characters; a template has at most {TEXT_CHARS_MAX}")
    try:
        return _environment.from_string(text).nodes
    except LiquidError as error:
        if error.token is None:
            raise LiquidFault("blocks or brackets are nested too deeply") from error
        raise fault_at(text, error.token, str(error.message)) from error


def fault_at(text: str, token: Token, fault: str) -> LiquidFault:
    """A fault shown at a token of the tree; python-liquid's end tokens have no place but the end."""
    return LiquidFault(describe(text, token.start_index if token.start_index >= 0 else len(text), fault))


class _UnknownTag(Illegal):
    """Stands for every tag that there is not."""

    def parse(self, stream: TokenStream) -> IllegalNode:
        """Raises: LiquidSyntaxError, always."""
        token = stream.current
        raise LiquidSyntaxError(_unknown_tag(token.value), token=token)


class _Stream(TokenStream):
    """Reads python-liquid's keywords as the names they are in liquidjs: `properties.limit`, `properties.blank`."""

    def into_inner(self, *, tag: Token | None = None, eat: bool = True) -> TokenStream:
        """The tokens of the current expression."""
        inner = super().into_inner(tag=tag, eat=eat)
        before = ""
        for at, token in enumerate(inner.tokens):
            if token.kind in _NO_KEYWORDS or (before == TOKEN_DOT and token.kind in _KEYWORDS):
                inner.tokens[at] = token._replace(kind=TOKEN_WORD)
            before = token.kind
        return inner


class _Output(Output):
    def parse(self, stream: TokenStream) -> OutputNode:
        """The node of a hole."""
        token = stream.eat(TOKEN_OUTPUT)
        return self.node_class(token, FilteredExpression.parse(self.env, stream.into_inner(tag=token, eat=False)))


class LoopNode(BlockNode):
    """What is done with each event of a burst, as `name`."""

    def __init__(self, token: Token, name: str, nodes: list[Node]) -> None:
        super().__init__(token, nodes)
        self.name = name
        self.path = Path(token, list(ITEMS))


class _For(Tag):
    name = "for"
    end = _END_LOOP

    def parse(self, stream: TokenStream) -> LoopNode:
        """The node of a loop. Raises: LiquidSyntaxError, for one over anything else."""
        token = stream.eat(TOKEN_TAG)
        is_said = stream.current.kind == TOKEN_EXPRESSION
        loop = _LOOP.fullmatch(stream.current.value) if is_said else None
        if loop is None:
            fault = "the tag `for` is off, save over a burst: {% for each in collapse.items %}"
            raise LiquidSyntaxError(fault, token=token)
        next(stream)
        block = get_parser(self.env).parse_block(stream, frozenset((_END_LOOP,)))
        stream.expect(TOKEN_TAG, value=_END_LOOP)
        return LoopNode(token, loop[1], block.nodes)


class _If(IfTag):
    mode = Mode.STRICT  # else what follows a second `else` is dropped silently


class _Unless(UnlessTag):
    mode = Mode.STRICT


class _Environment(Environment):
    """These tags only, and no filters: `liquid_filters` has those."""

    block_nesting_limit = BLOCKS_DEPTH_MAX
    shorthand_indexes = True  # items.0.sku, as liquidjs has it

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:  # noqa: ARG002 - the base class has it
        """Register the tags that there are."""
        tags: list[type[Tag]] = [Literal, _Output, _UnknownTag, _If, _Unless, _For, AssignTag, CaptureTag, CommentTag]
        tags += [CycleTag, DecrementTag, EchoTag, IncrementTag, InlineCommentTag]
        for tag in tags:
            self.add_tag(tag)

    def _parse(self, source: str) -> list[Node]:
        return get_parser(self).parse(_Stream(tokens(source)))

    def error(
        self, exc: type[LiquidError] | LiquidError, msg: str | None = None, token: Token | None = None
    ) -> NoReturn:
        """Raise, with the end of the expression as the place of what is missing there."""
        error = exc if isinstance(exc, LiquidError) else exc(msg, token=token)
        if token is not None and (error.token is None or error.token.start_index < 0 <= token.start_index):
            error.token = token._replace(start_index=token.start_index + len(token.value))
        raise error


_environment: Final = _Environment()


def _unknown_tag(name: str) -> str:
    if not name:
        return "a tag begins with its name"
    if name in TAGS_OFF:
        return f"the tag `{name}` is off"
    if name in ("else", "elsif") or name.startswith("end"):
        return f"`{name[:40]}` belongs to nothing that was begun"
    near = difflib.get_close_matches(name[:40], TAGS, n=1)
    return f"unknown tag `{name[:40]}`; " + (f"did you mean `{near[0]}`?" if near else f"there is {', '.join(TAGS)}")
