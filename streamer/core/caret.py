"""Where in a text something is wrong, shown to the person who wrote it: line, column and a caret."""

from typing import NamedTuple

# A line is shown in a window around the fault, so that a 10 KB line stays readable in a terminal of 100 columns.
WINDOW_BEFORE_CHARS = 60
WINDOW_AFTER_CHARS = 30


class Place(NamedTuple):
    """A place in a text: `line` and `column` count from 1; `excerpt` is the line with a caret below it."""

    line: int
    column: int
    excerpt: str


def place(text: str, offset: int) -> Place:
    """The place of the character at `offset`, which may be one past the end."""
    line_start = text.rfind("\n", 0, offset) + 1
    line_end = text.find("\n", offset)
    line = text[line_start : len(text) if line_end < 0 else line_end]
    at = offset - line_start
    window_start = max(0, at - WINDOW_BEFORE_CHARS)
    # One printed column a character, or the caret would point beside the fault.
    shown = "".join(c if c.isprintable() else " " for c in line[window_start : at + WINDOW_AFTER_CHARS])
    return Place(text.count("\n", 0, offset) + 1, at + 1, f"  {shown}\n  {' ' * (at - window_start)}^")


def describe(text: str, offset: int, fault: str) -> str:
    """`fault` with its line and column, and the excerpt below."""
    where = place(text, offset)
    return f"line {where.line}, column {where.column}: {fault}\n{where.excerpt}"
