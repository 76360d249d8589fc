"""Message texts with holes: `Hi {{profile.traits.first_name}}, order {{properties.order_id}} has shipped.`

A template is compiled once to a join of fixed texts and readers. A hole that has nothing to print yields `Missing`
in place of a text, so that no "Hi ," ever reaches a phone.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from msgspec import Struct

from streamer.core.caret import describe
from streamer.core.js_text import printed
from streamer.core.paths import Path, compile_path
from streamer.errors import TemplateError

SCALAR_ROOTS: Final = ("type", "event", "userId", "anonymousId", "messageId", "timestamp")
OBJECT_ROOTS: Final = ("properties", "traits", "context", "profile.traits")
_UNDERSTOOD: Final = (
    "a hole holds one path: " + ", ".join(SCALAR_ROOTS) + " or a key of " + ", ".join(OBJECT_ROOTS)
)  # fmt: skip


class Holes(Enum):
    """What becomes of a hole with nothing to print: printed as Segment prints it, empty, or no text at all."""

    ORIGINAL = "original"
    EMPTY = "empty"
    SUPPRESS = "suppress"


class Missing(Struct, frozen=True):
    """A text that cannot be made: the hole `path` has nothing that prints."""

    path: str


class HoleMissing(Exception):
    """A hole has nothing that prints, and its text must not be made."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class Template(Struct, frozen=True):
    """A compiled template: the text before its first hole, then each hole with the text after it."""

    start: str
    holes: tuple[tuple[Path, str], ...]

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of its holes, in order."""
        return tuple(path.text for path, _ in self.holes)

    @property
    def constant(self) -> str | None:
        """The whole text of a template without holes, else None."""
        return None if self.holes else self.start

    def render(self, scope: Mapping[str, Any]) -> str | Missing:
        """The text for `scope`: the event's fields, and the profile as `profile`; else the first hole that is missing.

        Costs: 1.1 µs with two holes.
        """
        done = [self.start]
        for path, text_after in self.holes:
            value = printed(path.read(scope))
            if value is None:
                return Missing(path.text)
            done += value, text_after
        return "".join(done)


def compile_template(text: str) -> Template:
    """Compile a template.

    Raises: TemplateError, showing the place. `}}` without `{{`, and `{%`, are refused: they'd be sent as they stand.
    """
    texts: list[str] = []
    holes: list[Path] = []
    offset = 0
    while (start := text.find("{{", offset)) >= 0:
        end = text.find("}}", start)
        if end < 0:
            raise TemplateError(describe(text, start, "`{{` is never closed"))
        texts.append(_fixed(text, offset, start))
        holes.append(_hole(text, start, end))
        offset = end + 2
    texts.append(_fixed(text, offset, len(text)))
    return Template(texts[0], tuple(zip(holes, texts[1:], strict=True)))


def _fixed(text: str, start: int, end: int) -> str:
    """The fixed part of `text` from `start` to `end`. Raises: TemplateError."""
    for mark, fault in (("}}", "`}}` closes nothing"), ("{%", "tags are not understood here: " + _UNDERSTOOD)):
        at = text.find(mark, start, end)
        if at >= 0:
            raise TemplateError(describe(text, at, fault))
    return text[start:end]


def _hole(text: str, start: int, end: int) -> Path:
    """The path between the braces at `start` and `end`. Raises: TemplateError."""
    inside = text[start + 2 : end]
    at = start + 2 + len(inside) - len(inside.lstrip())
    if not inside.strip():
        raise TemplateError(describe(text, start, "the hole is empty: " + _UNDERSTOOD))
    try:
        path = compile_path(inside.strip())
    except ValueError as exc:
        raise TemplateError(describe(text, at, f"{exc}; {_UNDERSTOOD}")) from exc
    if not _is_known(path):
        raise TemplateError(describe(text, at, _UNDERSTOOD))
    return path


def _is_known(path: Path) -> bool:
    """Whether a path begins at a root that the scope has, and reaches a value in it."""
    if len(path.keys) == 1:
        return path.keys[0] in SCALAR_ROOTS
    if path.keys[0] == "profile":
        return path.keys[1] == "traits" and len(path.keys) > 2 and isinstance(path.keys[2], str)
    return path.keys[0] in OBJECT_ROOTS and isinstance(path.keys[1], str)
