"""What @template and @replace make of texts."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from msgspec import Struct

from streamer.core.directive_paths import DirectivePath, compile_directive_path
from streamer.core.js_text import js_text, printed
from streamer.core.template import HoleMissing, Holes
from streamer.core.work import ITEM_COST, Work

TEXT_CHARS_MAX: Final = 10_000
HOLES_MAX: Final = 100
REPLACED_CHARS_MAX: Final = 65_536


class JsTemplate(Struct, frozen=True):
    """A compiled @template: the text before its first hole, then each hole with the text after it."""

    start: str
    holes: tuple[tuple[DirectivePath, str], ...]

    def renderer(self, holes: Holes) -> Callable[[Any, Work], str]:
        """What makes the text of a scope; where holes must have values, it raises HoleMissing."""

        def render(scope: Any, work: Work) -> str:
            done = [self.start]
            for path, text_after in self.holes:
                value = path.read(scope)
                work.spend_whole(value)
                text = js_text(value) if holes is Holes.ORIGINAL else printed(value)
                if text is None and holes is Holes.SUPPRESS:
                    raise HoleMissing(path.text)
                done += text or "", text_after
            return "".join(done)

        return render


def compile_js_template(text: str, *, is_strict: bool) -> JsTemplate:
    """Compile a text with `{{path}}` and `{{{path}}}`; nothing is escaped, and any text is a path.

    Raises: ValueError, for what is too long. If `is_strict`, a path may have its `$.`, and what is no path, or a brace
    that belongs to no hole, is refused too. Unlike the original, a value's own braces are never read as a hole.
    """
    if len(text) > TEXT_CHARS_MAX:
        raise ValueError(f"{len(text)} characters; a template has at most {TEXT_CHARS_MAX}")
    parts: list[str] = []
    paths: list[DirectivePath] = []
    for piece in _cut(text, "{{{", "}}}"):
        if isinstance(piece, str):
            for inner in _cut(piece, "{{", "}}"):
                _append(inner, parts, paths, is_strict)
        else:
            _append(piece, parts, paths, is_strict)
    if len(paths) > HOLES_MAX:
        raise ValueError(f"{len(paths)} holes; a template has at most {HOLES_MAX}")
    return JsTemplate(parts[0] if parts else "", tuple(zip(paths, parts[1:], strict=True)))


class _Hole(Struct, frozen=True):
    text: str


def _append(piece: str | _Hole, parts: list[str], paths: list[DirectivePath], is_strict: bool) -> None:
    if isinstance(piece, _Hole):
        parts += [""] * (len(paths) + 1 - len(parts))
        paths.append(_hole_path(piece.text.strip(), is_strict))
        parts.append("")
        return
    if is_strict and ("{%" in piece or "%}" in piece):
        raise ValueError("tags are for @liquid and plain texts; here they would be sent as they stand")
    if is_strict and ("{{" in piece or "}}" in piece):
        raise ValueError("a `{{` or `}}` belongs to no hole; a hole is {{path}}")
    if len(parts) == len(paths):
        parts.append("")
    parts[-1] += piece


def _hole_path(text: str, is_strict: bool) -> DirectivePath:
    if is_strict and any(each in text for each in "{|%"):
        raise ValueError(f"`{text[:60]}` is not a path; filters are for @liquid and plain texts")
    path = compile_directive_path(text, strips_prefix=is_strict, is_strict=is_strict)
    if is_strict and not path.text:
        raise ValueError("a hole is empty")
    return path


def _cut(text: str, opening: str, closing: str) -> Iterator[str | _Hole]:
    """Fixed texts and holes, in linear time: a hole has no `}` inside and begins as early as it can."""
    done = offset = 0
    while (close := text.find("}", offset)) >= 0:
        start = text.find(opening, offset, close)
        inside = start + len(opening)
        if start >= 0 and inside < close and text.startswith(closing, close):
            if done < start:
                yield text[done:start]
            yield _Hole(text[inside:close])
            done = offset = close + len(closing)
        else:
            offset = close + 1
    if done < len(text):
        yield text[done:]


def replaced(text: str, pattern: str, replacement: str, work: Work, *, is_global: bool, ignores_case: bool) -> str:
    """`text` with a literal pattern replaced; `$$`, `$&`, `` $` `` and `$'` in the replacement mean what they do in
    JavaScript. Raises: ValueError, beyond REPLACED_CHARS_MAX and for too much work."""
    work.spend(len(text) if text.isascii() or not ignores_case else ITEM_COST * len(text))
    searched, wanted = (_folded(text), _folded(pattern)) if ignores_case else (text, pattern)
    head, marks = _dollars(replacement)
    done: list[str] = []
    length = offset = 0
    at = searched.find(wanted)
    while at >= 0:
        end = at + len(wanted)
        work.spend(ITEM_COST * (1 + len(marks)))
        done += text[offset:at], head + "".join([_meant(mark, text, at, end) + tail for mark, tail in marks])
        length += len(done[-1]) + at - offset
        if length > REPLACED_CHARS_MAX:
            raise ValueError(f"@replace makes more than {REPLACED_CHARS_MAX} characters")
        offset = end
        at = searched.find(wanted, offset) if is_global else -1
    return "".join(done) + text[offset:]


def _meant(mark: str, text: str, at: int, end: int) -> str:
    """What `$` and `mark` mean in a replacement of `text[at:end]`."""
    if mark == "$":
        return "$"
    if mark == "&":
        return text[at:end]
    return text[:at] if mark == "`" else text[end:] if mark == "'" else f"${mark}"


def _dollars(replacement: str) -> tuple[str, list[tuple[str, str]]]:
    """The text before the first `$`, then for each `$` the character after it and the text up to the next."""
    head, dollar, rest = replacement.partition("$")
    marks: list[tuple[str, str]] = []
    while dollar:
        mark, rest = rest[:1], rest[1:]
        tail, dollar, rest = rest.partition("$")
        marks.append((mark, tail))
    return head, marks


def _folded(text: str) -> str:
    """A text as JavaScript compares it without case: by upper case, where that is one character of the same kind."""
    return text.upper() if text.isascii() else "".join(map(_upper, text))


def _upper(character: str) -> str:
    upper = character.upper()
    return upper if len(upper) == 1 and (character.isascii() or not upper.isascii()) else character
