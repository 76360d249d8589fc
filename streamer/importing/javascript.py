"""Text, numbers and members as JavaScript has them, since Segment's trigger language shows them to its users.

Texts are handled in UTF-16 units: a character beyond the basic plane is two of them, as in `"🎉".length`.
"""

import math
import re
from typing import Any, Final, TypeGuard


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Members that every value of a kind inherits: a path in a trigger reaches them.
_OBJECT: Final = _names(
    "constructor hasOwnProperty isPrototypeOf propertyIsEnumerable toLocaleString toString valueOf __proto__ "
    "__defineGetter__ __defineSetter__ __lookupGetter__ __lookupSetter__"
)
_STRING: Final = _OBJECT | _names(
    "anchor at big blink bold charAt charCodeAt codePointAt concat endsWith fixed fontcolor fontsize includes indexOf "
    "isWellFormed italics lastIndexOf link localeCompare match matchAll normalize padEnd padStart repeat replace "
    "replaceAll search slice small split startsWith strike sub substr substring sup toLocaleLowerCase "
    "toLocaleUpperCase toLowerCase toUpperCase toWellFormed trim trimEnd trimLeft trimRight trimStart"
)
_ARRAY: Final = _OBJECT | _names(
    "at concat copyWithin entries every fill filter find findIndex findLast findLastIndex flat flatMap forEach "
    "includes indexOf join keys lastIndexOf map pop push reduce reduceRight reverse shift slice some sort splice "
    "toReversed toSorted toSpliced unshift values with"
)
_NUMBER: Final = _OBJECT | _names("toExponential toFixed toPrecision")
INHERITED: Final = _STRING | _ARRAY | _NUMBER | {"length"}
OBJECT_MEMBERS: Final = _OBJECT

_SPACE: Final = " \t\n\r\v\f\xa0\ufeff\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_DECIMAL: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_RADIX: Final = {"0x": 16, "0o": 8, "0b": 2}
_DIGITS: Final = {16: re.compile(r"[0-9a-fA-F]+"), 8: re.compile(r"[0-7]+"), 2: re.compile(r"[01]+")}
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,9}")
_PLAIN_MAX, _PLAIN_MIN = 1e21, 1e-6  # outside, a number prints with an exponent


class _Host:
    """A value of the language itself, such as a function: true, and neither text, number nor boolean."""


HOST: Final = _Host()


def units(text: str) -> str:
    """`text` with one character a UTF-16 unit."""
    if text.isascii() or all(c <= "\uffff" for c in text):
        return text
    raw = text.encode("utf-16-le", "surrogatepass")
    return "".join(chr(raw[at] | raw[at + 1] << 8) for at in range(0, len(raw), 2))


def joined(text: str) -> str:
    """The inverse of `units`; half a pair becomes the replacement character."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def number_text(number: float) -> str:
    """A number as `String(number)` prints it: 19.9, 5, 1e+21."""
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    if number == int(number) and abs(number) < _PLAIN_MAX:
        return str(int(number))
    if _PLAIN_MIN <= abs(number) < _PLAIN_MAX:
        return _unexponented(repr(number))
    mantissa, _, exponent = repr(number).partition("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent):+d}"


def _unexponented(text: str) -> str:
    """`5e-06` as `0.000005`."""
    mantissa, _, exponent = text.partition("e")
    if not exponent:
        return text
    sign = "-" if mantissa.startswith("-") else ""
    digits = mantissa.lstrip("-").replace(".", "")
    return f"{sign}0.{'0' * (-int(exponent) - 1)}{digits}"


def to_number(value: str | float | bool | None) -> float:
    """`Number(value)`; NaN for what is none."""
    if value is None:
        return math.nan
    return _number_of(value) if isinstance(value, str) else as_double(value)


def as_double(value: float) -> float:
    """A number of any size as the double that JSON numbers are."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _number_of(text: str) -> float:
    text = text.strip(_SPACE)
    if not text:
        return 0.0
    if text.lstrip("+-") == "Infinity" and len(text) <= len("+Infinity"):
        return -math.inf if text[0] == "-" else math.inf
    radix = _RADIX.get(text[:2].lower())
    if radix:
        return as_double(int(text[2:], radix)) if _DIGITS[radix].fullmatch(text[2:]) else math.nan
    return float(text) if _DECIMAL.fullmatch(text) else math.nan


def is_number(value: Any) -> TypeGuard[float]:
    """Whether `typeof value` is number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_falsy(value: Any) -> bool:
    """Whether a condition on `value` alone fails; an empty list or object is true."""
    return value is None or value is False or value == "" or (is_number(value) and value == 0)


def member(value: Any, key: str) -> Any:
    """`value[key]`, None for undefined; inherited members are HOST, and so is all below one."""
    if isinstance(value, dict):
        return value[key] if key in value else _host(key, _OBJECT)
    if isinstance(value, str | list):
        return _element(value, key)
    if value is HOST:
        return _host(key, INHERITED)
    return _host(key, _NUMBER) if is_number(value) else _host(key, _OBJECT)


def _host(key: str, members: frozenset[str] | set[str]) -> Any:
    return HOST if key in members else None


def _element(value: str | list[Any], key: str) -> Any:
    sequence = units(value) if isinstance(value, str) else value
    if key == "length":
        return len(sequence)
    if _INDEX.fullmatch(key):
        return sequence[int(key)] if int(key) < len(sequence) else None
    return _host(key, _STRING if isinstance(value, str) else _ARRAY)
