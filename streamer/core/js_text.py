"""JSON values as JavaScript writes and reads them: what customers read must not depend on the language behind it.

`printed` is for people: nothing where there is nothing to see. `js_text` and `liquid_text` are what Segment's templates
and Liquid print, `[object Object]` included. Every walk ends at DEPTH_MAX levels with a ValueError.
"""

import json
import math
import re
from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from typing import Any, Final

# An event of 32 KB can be nested thousands deep; nobody's properties are, and every level costs a stack frame.
from streamer.core.filter_values import double

DEPTH_MAX: Final = 64

# JavaScript writes numbers from 1e21 on, and below 1e-6, with an exponent.
_PLAIN_EXPONENTS: Final = range(-6, 21)
_EXPONENT_INT_MIN: Final = 10**21

# What JavaScript calls white space; Python's own set has the control characters 28 to 31 and lacks the byte order mark.
JS_SPACES: Final = (
    "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f"
    "\u3000\ufeff"
)
# Anything but spaces, control and format characters, joiners, fillers, variation selectors and the like.
_VISIBLE: Final = re.compile(
    "[^\\s\\x00-\\x20\\x7f-\\xa0\\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202f"
    "\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff]"
)
_DECIMAL: Final = re.compile(r"[+-]?(?:\d++\.?\d*+|\.\d++)(?:[eE][+-]?\d++)?", re.ASCII)
_RADIX: Final = re.compile(r"0(?:[xX][0-9a-fA-F]++|[oO][0-7]++|[bB][01]++)")
_INFINITY: Final = {"Infinity": math.inf, "+Infinity": math.inf, "-Infinity": -math.inf}


class Undefined(Enum):
    """The type of UNDEFINED, so that a type checker can tell it from a value."""

    UNDEFINED = "undefined"


# JavaScript's undefined: a key with it vanishes, unlike one with null.
UNDEFINED: Final = Undefined.UNDEFINED


def printed(value: Any) -> str | None:
    """A value as a reader should see it: numbers as JavaScript prints them; None when there is nothing to see.

    Nothing to see are null, blank or invisible text, objects and lists (they'd print as code), and numbers that aren't
    finite.
    """
    if isinstance(value, str):
        return value if _VISIBLE.search(value) else None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        text = number_text(value)
        return None if text in _INFINITY or text == "NaN" else text
    return None


def number_text(value: float) -> str:
    """A number as JavaScript prints it; whole ones below 1e21 keep every digit, as order numbers need."""
    if isinstance(value, int):
        if abs(value) < _EXPONENT_INT_MIN:
            return str(value)
        value = double(value)
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    digits, _, exponent = repr(value or 0.0).partition("e")
    digits = digits.removesuffix(".0")
    if not exponent:
        return digits
    if int(exponent) in _PLAIN_EXPONENTS:
        return format(Decimal(repr(value)), "f")
    return f"{digits}e{int(exponent):+d}"


def js_text(value: Any, depth: int = 0) -> str:
    """A value in a Segment template: null and undefined are nothing, a list is its items with commas."""
    if isinstance(value, list):
        return ",".join([js_text(each, deeper(depth)) for each in value])
    return _scalar_text(value)


def liquid_text(value: Any, depth: int = 0) -> str:
    """A value that Liquid prints: as `js_text`, but for a list, whose items follow each other without a comma."""
    if isinstance(value, list):
        return "".join([liquid_text(each, deeper(depth)) for each in value])
    return _scalar_text(value)


def _scalar_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or value is UNDEFINED:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return number_text(value)
    return "[object Object]"


def number_of(value: Any) -> float:
    """A value as JavaScript's Number() reads it: NaN for what is no number; null, false and blank text are 0.

    A list is read as the text it prints.
    """
    if isinstance(value, list):
        value = js_text(value)
    if isinstance(value, str):
        return _number_of_text(value.strip(JS_SPACES))
    if isinstance(value, bool | int | float):
        return double(value)
    return 0.0 if value is None else math.nan


def _number_of_text(text: str) -> float:
    if not text:
        return 0.0
    if _DECIMAL.fullmatch(text):
        return float(text)
    if _RADIX.fullmatch(text):
        return double(int(text, 0))
    return _INFINITY.get(text, math.nan)


def json_text(value: Any, depth: int = 0) -> str:
    """Compact JSON, as JSON.stringify writes it: non-ASCII kept, 5.0 as 5, numbers that aren't finite as null."""
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, dict):
        pairs = [(key, each) for key, each in value.items() if each is not UNDEFINED]
        return "{" + ",".join([f"{_quoted(key)}:{json_text(each, deeper(depth))}" for key, each in pairs]) + "}"
    if isinstance(value, list):
        return "[" + ",".join([json_text(each, deeper(depth)) for each in value]) + "]"
    if value is None or value is UNDEFINED:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = number_text(value)
    return "null" if text in _INFINITY or text == "NaN" else text


def parsed_json(text: str) -> Any:
    """What JSON.parse makes of a text. Raises: ValueError, for bad JSON and beyond DEPTH_MAX levels."""
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    check_depth(value)
    return value


def check_depth(value: Any, depth: int = 0) -> None:
    """Raises: ValueError, when a value is nested deeper than DEPTH_MAX levels."""
    if isinstance(value, dict | list):
        level = deeper(depth)
        for each in value.values() if isinstance(value, dict) else value:
            if isinstance(each, dict | list):
                check_depth(each, level)


TOO_DEEP: Final = f"a value is nested deeper than {DEPTH_MAX} levels"


def deeper(depth: int) -> int:
    """The next level of a walk. Raises: ValueError, beyond DEPTH_MAX."""
    if depth >= DEPTH_MAX:
        raise ValueError(TOO_DEEP)
    return depth + 1


_escaped: Final[Callable[[str], str]] = json.JSONEncoder(ensure_ascii=False).encode
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def _quoted(text: str) -> str:
    """A text as a JSON string; half a surrogate pair is escaped, as it can't be sent."""
    quoted = _escaped(text)
    return quoted if quoted.isascii() else _SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", quoted)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
