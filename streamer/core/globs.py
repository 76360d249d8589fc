r"""Globs for `match`: `*` any characters, `?` one, `[a-z]` and `[!a-z]` (or `[^a-z]`) one of a set, `\x` x itself.

A glob fits the whole text or not at all; case counts. There is no backtracking, hence no pattern that explodes: plain
parts between stars are found one after the other, and a glob with `?` or sets runs as a set of states, one bit each
in an integer, so that a text costs one step a character whatever the pattern. Such a glob takes texts of at most
2 048 characters, and fits none that is longer.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import accumulate
from operator import xor
from sys import maxunicode
from typing import Final

Matcher = Callable[[str], bool]
# A text as long costs 0.3 ms (0.6 with a pattern of 256 characters); names, and addresses of pages, are shorter.
TEXT_CHARS_MAX: Final = 2048
# The characters that one place of a glob takes: code points from the first to the second, in order, not overlapping.
_Ranges = tuple[tuple[int, int], ...]

_ANY: _Ranges = ((0, maxunicode),)


def compile_glob(pattern: str) -> Matcher:
    """The test of `pattern`: 0.2 µs with stars alone, else 0.15 µs a character (1 µs for a pattern of 10 KB).

    Raises: ValueError, with what is wrong: an open or empty set, a range that runs backwards, a `\\` at the end.
    """
    places = list(_places(pattern))
    if all(each is None or (len(each) == 1 and each[0][0] == each[0][1]) for each in places):
        return _parts_matcher(_parts(places))
    return _states_matcher(places)


def _places(pattern: str) -> Iterator[_Ranges | None]:
    """What each place of `pattern` takes; None is a star."""
    at = 0
    while at < len(pattern):
        match pattern[at]:
            case "*":
                yield None
                at += 1
            case "?":
                yield _ANY
                at += 1
            case "[":
                ranges, at = _set(pattern, at + 1)
                yield ranges
            case _:
                code, at = _character(pattern, at)
                yield ((code, code),)


def _character(pattern: str, at: int) -> tuple[int, int]:
    """The code point of the character at `at`, escaped or not, and where the next one is."""
    if pattern[at] != "\\":
        return ord(pattern[at]), at + 1
    if at + 1 == len(pattern):
        raise ValueError("the pattern ends in a backslash; the character itself is written \\\\")
    return ord(pattern[at + 1]), at + 2


def _set(pattern: str, at: int) -> tuple[_Ranges, int]:
    """The set whose first character is at `at`, and where the next place is."""
    is_negated = pattern[at : at + 1] in ("!", "^")
    at += is_negated
    ranges: list[tuple[int, int]] = []
    while pattern[at : at + 1] != "]":
        if at >= len(pattern):
            raise ValueError("a set of the pattern is never closed: the bracket itself is written \\[")
        low, at = _character(pattern, at)
        high = low
        # A dash before the closing bracket is a dash.
        if pattern[at : at + 1] == "-" and pattern[at + 1 : at + 2] not in ("", "]"):
            high, at = _character(pattern, at + 1)
        if high < low:
            raise ValueError(f"the range {chr(low)!r} to {chr(high)!r} of the pattern runs backwards")
        ranges.append((low, high))
    if not ranges:
        raise ValueError("a set of the pattern is empty; the bracket itself is written \\]")
    merged = _merged(ranges)
    return (_complement(merged) if is_negated else merged), at + 1


def _merged(ranges: list[tuple[int, int]]) -> _Ranges:
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return tuple(merged)


def _complement(ranges: _Ranges) -> _Ranges:
    starts = [0, *(high + 1 for _, high in ranges)]
    ends = [*(low - 1 for low, _ in ranges), maxunicode]
    return tuple((low, high) for low, high in zip(starts, ends, strict=True) if low <= high)


def _parts(places: list[_Ranges | None]) -> list[str]:
    """The plain parts of `places` with a star between each two, where each place takes one character."""
    parts: list[list[str]] = [[]]
    for place in places:
        if place is None:
            parts.append([])
        else:
            parts[-1].append(chr(place[0][0]))
    return ["".join(part) for part in parts]


def _parts_matcher(parts: list[str]) -> Matcher:
    """The test of plain `parts` with a star between each two."""
    if len(parts) == 1:
        (whole,) = parts
        return lambda text: text == whole
    head, tail, between = parts[0], parts[-1], [part for part in parts[1:-1] if part]

    def matches(text: str) -> bool:
        at, end = len(head), len(text) - len(tail)
        if at > end or not text.startswith(head) or not text.endswith(tail):
            return False
        for part in between:
            at = text.find(part, at, end)
            if at < 0:
                return False
            at += len(part)
        return True

    return matches


def _states_matcher(places: list[_Ranges | None]) -> Matcher:
    """The test of `places`, as a set of states: bit n is set when the text so far fits the first n places.

    A star keeps the state before it alive. `takes[i]` has a bit for each place that takes the code points from
    `starts[i - 1]` up to the next start.
    """
    stars, last = 0, 1
    flips: dict[int, int] = {}
    for place in places:
        if place is None:
            stars |= last
            continue
        for low, high in place:
            flips[low] = flips.get(low, 0) ^ last
            flips[high + 1] = flips.get(high + 1, 0) ^ last
        last <<= 1
    starts = sorted(flips)
    takes = [0, *accumulate((flips[start] for start in starts), xor)]

    def matches(text: str) -> bool:
        if len(text) > TEXT_CHARS_MAX:
            return False
        states = 1
        for character in text:
            states = (states & takes[bisect_right(starts, ord(character))]) << 1 | states & stars
            if not states:
                return False
        return states & last != 0

    return matches
