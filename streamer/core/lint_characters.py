"""Characters outside GSM-7 that people paste without wanting to: what stands for them, and what they are called."""

import unicodedata
from collections.abc import Iterable
from typing import Final

from streamer.core.segments import GSM7_BASIC, GSM7_EXTENSION

SHOWN_MAX: Final = 3

# Typographic forms of what every phone's alphabet has: word processors put them in, nobody misses them.
_INSTEAD: Final = {
    "'": "\u2018\u2019\u201a\u201b\u2032\u2035\u02b9\u02bc\u00b4\u0060\uff07",
    '"': "\u201c\u201d\u201e\u201f\u2033\u2036\u00ab\u00bb\u02ba\uff02",
    "<": "\u2039",
    ">": "\u203a",
    "-": "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2043\ufe58\ufe63\uff0d",
    "...": "\u2026",
    ".": "\u2024\u00b7\u3002",
    "*": "\u2022\u2219\u2217\u204e",
    "/": "\u2044\u2215",
    "~": "\u223c\uff5e",
    "|": "\u00a6\uff5c",
    "!": "\uff01",
    "?": "\uff1f",
    ",": "\uff0c",
    ":": "\u2236\uff1a",
    ";": "\uff1b",
    "+": "\uff0b",
    "%": "\uff05",
    "(c)": "\u00a9",
    "(r)": "\u00ae",
    "TM": "\u2122",
    " ": "\t\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000",
    "\n": "\u2028\u2029\u0085",
    "": "\u00ad\u200b\u200c\u200e\u200f\u2060\ufeff",
}
LOOK_ALIKES: Final = {character: instead for instead, characters in _INSTEAD.items() for character in characters}
_TABLE: Final = str.maketrans(LOOK_ALIKES)
_WORDS: Final = {" ": "write a space", "\n": "write a line break", "": "remove it"}
# They only join or colour the character before: an emoji is told by its own.
_JOINERS: Final = frozenset("\u200d\ufe0e\ufe0f")


def replaced(text: str) -> str:
    """`text` with every character that has a look-alike in GSM-7 replaced by it."""
    return text.translate(_TABLE)


def without(text: str) -> str:
    """`text` in GSM-7: look-alikes in place of what has one, the rest left out."""
    return "".join(c for c in replaced(text) if c in GSM7_BASIC or c in GSM7_EXTENSION)


def outside(texts: Iterable[str]) -> list[str]:
    """The characters of `texts` that GSM-7 lacks, each once, in their order; joiners only if there is nothing else."""
    characters = dict.fromkeys(c for text in texts for c in text if c not in GSM7_BASIC and c not in GSM7_EXTENSION)
    return [c for c in characters if c not in _JOINERS] or list(characters)


def is_script(characters: Iterable[str]) -> bool:
    """Whether there is a letter among them that nothing stands for: a language that is written in UCS-2 anyway."""
    return any(c not in LOOK_ALIKES and unicodedata.category(c).startswith("L") for c in characters)


def listed(characters: list[str]) -> str:
    """The first of some characters by code point, each with what to write instead where there is something."""
    shown = [_described(c) for c in characters[:SHOWN_MAX]]
    more = len(characters) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _described(character: str) -> str:
    code = f"U+{ord(character):04X}"
    is_visible = character.isprintable() and unicodedata.category(character)[0] in "LNPS"
    name = character if is_visible else unicodedata.name(character, "")
    way_out = ""
    if character in LOOK_ALIKES:
        instead = LOOK_ALIKES[character]
        way_out = f"({_WORDS.get(instead, f'write {instead}')})"
    return " ".join(part for part in (code, name, way_out) if part)
