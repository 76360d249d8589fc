"""The functions of the filter language, as the public FQL reference has them.

Null, and what a function doesn't take, gives null, so that a comparison with it fails; of null the length is 0. Some
bound what they take (the constants below), and give of more what they give of what they don't take.

| function | what it gives |
| --- | --- |
| `contains(s, part)`, `match(s, glob)` | conditions; false when either is no text |
| `length(x)` | the bytes of a text in UTF-8, the items of a list |
| `lowercase uppercase` | the text so changed |
| `snakecase kebabcase` | the text with `_` or `-` for each space, and nothing else changed |
| `titlecase` | the text with the letter after each space, and the first, in upper case; of a long text null |
| `typeof(x)` | `string number list bool null`; `object`, which the reference leaves out |
| `bool(x)` | null, 0 and an empty list are false, other numbers and lists true; the texts `true` and `false` are too |
| `string(x)` | a number as JavaScript prints it (19.9, 5, 1e+21), `true`, `false`; a list's items joined by commas |
| `number(x)` | the number that a text is when written as in JSON, without spaces: `"007"` and `"5 kg"` are none |

The reference says of `bool`, `string` and `number` only that they convert. Where JavaScript and other languages
disagree (is `"false"` true? is `""` zero?) they give null here: nobody is texted because of a guess.
"""

import math
import re
from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from streamer.core.filter_values import double, kind
from streamer.core.globs import compile_glob
from streamer.core.js_text import number_text

# The grammar of JSON. Longer digits than these are no number that anyone compares with.
NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?")
_NUMBER_CHARS_MAX: Final = 400
_INITIAL: Final = re.compile(r"(?<![^ ])[^ ]")
# A glob that is no literal is compiled at each event, at 1 µs a character; a text's words cost 0.2 µs each, a list's
# numbers 1.5 µs. With these bounds a call takes 0.7 ms at most.
PART_CHARS_MAX: Final = 256
TITLE_CHARS_MAX: Final = 4096
ITEMS_MAX: Final = 256

_TEXT: Final = frozenset({"string", "null"})
_ANYTHING: Final = frozenset({"string", "number", "bool", "null"})


class Function(Struct, frozen=True):
    """`parameters` are the kinds that each argument may have; `gives` is the result's, or `condition`."""

    parameters: tuple[frozenset[str], ...]
    gives: str
    apply: Callable[..., Any]


def _contains(value: Any, part: Any) -> bool:
    """A part out of the event may be too long to look for: 2 ms for a part of 8 KB in a text of 10."""
    return isinstance(value, str) and isinstance(part, str) and len(part) <= PART_CHARS_MAX and part in value


def _match(value: Any, pattern: Any) -> bool:
    """A pattern out of the event may be none, or too long: then nothing matches it."""
    if not isinstance(value, str) or not isinstance(pattern, str) or len(pattern) > PART_CHARS_MAX:
        return False
    try:
        return compile_glob(pattern)(value)
    except ValueError:
        return False


def _length(value: Any) -> int | None:
    if isinstance(value, str):
        # A lone surrogate, which JSON can hold, counts 3 bytes, as many as what replaces it elsewhere.
        return len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, list):
        return len(value)
    return 0 if value is None else None


def _on_text(change: Callable[[str], str | None]) -> Callable[[Any], str | None]:
    return lambda value: change(value) if isinstance(value, str) else None


def _titled(text: str) -> str | None:
    if len(text) > TITLE_CHARS_MAX:
        return None
    return _INITIAL.sub(lambda initial: initial[0].upper(), text)


def _bool(value: Any) -> bool | None:
    match kind(value):
        case "null":
            return False
        case "bool" | "list":
            return bool(value)
        case "number":
            return bool(value != 0)
        case "string" if value in ("true", "false"):
            return bool(value == "true")
    return None


def _string(value: Any) -> str | None:
    if not isinstance(value, list):
        return _scalar_text(value)
    if len(value) > ITEMS_MAX:
        return None
    texts = ["" if item is None else _scalar_text(item) for item in value]
    return None if None in texts else ",".join(text for text in texts if text is not None)


def _scalar_text(value: Any) -> str | None:
    match kind(value):
        case "string":
            return str(value)
        case "bool":
            return "true" if value else "false"
        case "number":
            return number_text(double(value)) if math.isfinite(double(value)) else None
    return None


def _number(value: Any) -> float | None:
    if kind(value) == "number":
        return double(value)
    if isinstance(value, str) and len(value) <= _NUMBER_CHARS_MAX and NUMBER.fullmatch(value):
        number = float(value)
        return number if math.isfinite(number) else None
    return None


FUNCTIONS: Final = {
    "contains": Function((_TEXT, frozenset({"string"})), "condition", _contains),
    "match": Function((_TEXT, frozenset({"string"})), "condition", _match),
    "length": Function((_TEXT,), "number", _length),
    "lowercase": Function((_TEXT,), "string", _on_text(str.lower)),
    "uppercase": Function((_TEXT,), "string", _on_text(str.upper)),
    "snakecase": Function((_TEXT,), "string", _on_text(lambda text: text.replace(" ", "_"))),
    "kebabcase": Function((_TEXT,), "string", _on_text(lambda text: text.replace(" ", "-"))),
    "titlecase": Function((_TEXT,), "string", _on_text(_titled)),
    "typeof": Function((_ANYTHING,), "string", kind),
    "bool": Function((_ANYTHING,), "bool", _bool),
    "string": Function((_ANYTHING,), "string", _string),
    "number": Function((frozenset({"string", "number", "null"}),), "number", _number),
}
