"""The YAML blocks of a Markdown file, each with its place, so that examples are held to what they are examples of."""

import re
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

MAPPING: Final = "mapping"
CONFIG: Final = "config"

_FENCE: Final = re.compile(r"(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,})(?P<info>[^\n]*)")
_YAML: Final = re.compile(r"\s*ya?ml\b", re.IGNORECASE)
_KEY: Final = re.compile(r"""( *)["']?([A-Za-z_]\w*)["']?[ ]*:(?:\s|$)""")


class Block(Struct, frozen=True):
    """One YAML document in a Markdown file, and the line that it begins on, counted from 1."""

    line: int
    text: str

    @property
    def kind(self) -> str:
        """MAPPING, CONFIG or "", told by the outermost keys, so that one with a fault is still known for what it is."""
        keys = [match.groups() for line in self.text.split("\n") if (match := _KEY.match(line))]
        outermost = min((len(indent) for indent, _ in keys), default=0)
        names = {name for indent, name in keys if len(indent) == outermost}
        if {"when", "send"} <= names:
            return MAPPING
        return CONFIG if {"kafka", "topics"} <= names else ""


def yaml_blocks(text: str) -> Iterator[Block]:
    """The documents in blocks fenced as ```yaml or ```yml; one that is never closed goes to the end."""
    opened: re.Match[str] | None = None
    first, inside = 0, [""]
    for number, line in enumerate([*text.split("\n"), None], start=1):
        match = _FENCE.fullmatch(line.rstrip("\r")) if line is not None else None
        if opened is None:
            if match and not (match["fence"][0] == "`" and "`" in match["info"]):
                opened, first, inside = match, number + 1, []
        elif line is None or (match and match["fence"].startswith(opened["fence"]) and not match["info"].strip()):
            if _YAML.match(opened["info"]):
                yield from _documents(inside, first, opened["indent"])
            opened = None
        else:
            inside.append(line)


def _documents(lines: list[str], first: int, indent: str) -> Iterator[Block]:
    """The documents of one block, between lines of three dashes."""
    start = 0
    for at in [*(at for at, line in enumerate(lines) if line.rstrip() == f"{indent}---"), len(lines)]:
        if any(line.strip() for line in lines[start:at]):
            yield Block(first + start, "\n".join(lines[start:at]) + "\n")
        start = at + 1
