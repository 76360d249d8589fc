"""What paths and quoted texts mean in Liquid: where a path may begin, what a member is, which escapes there are."""

import difflib
import re
from collections.abc import Sequence
from typing import Any, Final

from streamer.core.js_text import number_text

PROFILE_PARTS: Final = ("traits", "audiences", "consent")
HALF_PAIR: Final = "half a surrogate pair; write the character itself"

_ESCAPE: Final = re.compile(r"\\(?:u(?P<hex>[0-9a-fA-F]{0,4})|(?P<octal>[0-7]{1,3})|(?P<plain>.?))", re.DOTALL)
_ESCAPED: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def unknown(keys: Sequence[Any], roots: frozenset[str]) -> str:
    """The fault of a path that begins with nothing that an event or a profile has, or ""."""
    root, second = keys[0], keys[1] if len(keys) > 1 else None
    if root in roots:
        if root != "profile" or not isinstance(second, str) or second in PROFILE_PARTS:
            return ""
        near = difflib.get_close_matches(second[:40], PROFILE_PARTS, n=1)
        hint = f"did you mean `profile.{near[0]}`?" if near else f"`profile` has {', '.join(PROFILE_PARTS)}"
        return f"`profile.{second[:40]}` is nowhere; {hint}"
    near = difflib.get_close_matches(root[:40], sorted(roots), n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"a path begins with {', '.join(sorted(roots))}"
    return f"`{root[:40]}` is no field of an event; {hint}"


def member(value: Any, key: Any) -> Any:
    """A member of a value, by liquidjs' rules: own keys, indexes from either end, `size`, `first` and `last`."""
    if isinstance(value, dict):
        if isinstance(key, int | float) and not isinstance(key, bool):
            key = number_text(key)
        if isinstance(key, str):
            return value[key] if key in value else len(value) if key == "size" else None
        return None
    if not isinstance(value, str | list):
        return None
    if key == "size":
        return len(value)
    if isinstance(value, list) and key in ("first", "last"):
        return value[0 if key == "first" else -1] if value else None
    return _item(value, key)


def _item(value: str | list[Any], key: Any) -> Any:
    if isinstance(key, str) and key.isascii() and key.isdigit() and len(key) < 9:
        key = int(key)
    if isinstance(key, float) and key.is_integer():
        key = int(key)
    if not isinstance(key, int) or isinstance(key, bool):
        return None
    least = -len(value) if isinstance(value, list) else 0
    return value[key] if least <= key < len(value) else None


def unescaped(text: str) -> str:
    """A quoted text with its backslashes read: \\n, \\t, \\u00e9, and every other character for itself.

    Raises: UnicodeError, for half a surrogate pair.
    """

    def character(escape: re.Match[str]) -> str:
        if escape["hex"] is not None:
            return chr(int(escape["hex"] or "0", 16))
        if escape["octal"] is not None:
            return chr(int(escape["octal"], 8))
        return _ESCAPED.get(escape["plain"], escape["plain"])

    if "\\" not in text:
        return text
    # Two escapes that are a pair become the one character they mean.
    return _ESCAPE.sub(character, text).encode("utf-16", "surrogatepass").decode("utf-16")
