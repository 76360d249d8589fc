"""Typed reading of one YAML mapping, key by key; read after `config_yaml`.

Whatever is wrong with a value is noted at its place, and reading goes on with the default: all is told at once.
"""

import re
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from streamer.config_yaml import SCALARS, Document, Mark, found_at, join, kind_of, mark_of, nearest
from streamer.core.duration import parse_duration_s

NUMBER_CHARS_MAX: Final = 64  # YAML 1.1 reads 1:2:3 in base 60, at a cost quadratic in its length
_TEXT: Final = (SCALARS["str"],)
TEXT_OR_NUMBER: Final = (SCALARS["str"], SCALARS["int"])
_BOOLEANS: Final = {"yes": True, "no": False, "true": True, "false": False, "on": True, "off": False}
_ON: Final = "on"  # a key of `else`: true to YAML 1.1, and text to YAML 1.2, which editors read
_UNITS_MS: Final = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
# `$NAME` or `${NAME`: meant for the environment, and not replaced.
_LOOSE_VARIABLE: Final = re.compile(r"\$([A-Za-z_]\w*|\{[A-Za-z_]\w*(?![\w}]))", re.ASCII)

Check = Callable[[str], str]
"""Says what is wrong with a text, or ""."""


class Section:
    """One YAML mapping being read: each known key is asked for once, then `close` names those nobody asked for.

    A value with a fault is noted and read as its default, so that reading goes on to the next fault.
    """

    def __init__(
        self,
        document: Document,
        node: Node | None,
        path: str = "",
        mark: Mark | None = None,
        key_kinds: Collection[str] = _TEXT,
    ) -> None:
        self.document = document
        self.path = path
        self.mark = mark or Mark(1, 1)
        self._is_quiet = False  # about missing keys: a fault of its own says why they are
        self._asked: dict[str, None] = {}
        self._entries: dict[str, tuple[Mark, Node]] = {}
        if isinstance(node, MappingNode):
            self._entries = dict(_entries(document, node, path, key_kinds))
        elif node is not None and kind_of(node) != "null":
            self._is_quiet = True
            document.fault(self.mark, path, f"expected a mapping of keys to values, found {found_at(node)}")

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def fault(self, key: str | None, text: str, mark: Mark | None = None) -> None:
        """Note a fault of a key, at its place unless `mark` is given; None is this whole section."""
        path = self.path if key is None else join(self.path, key)
        self.document.fault(mark or self.mark_of(key), path, text)

    def mark_of(self, key: str | None) -> Mark:
        """The place of a key, or of this section's own if it isn't there."""
        return self._entries[key][0] if key in self._entries else self.mark

    def text(self, key: str, default: str | None = None, check: Check | None = None) -> str:
        """A text, required if `default` is None; may be empty only if `default` is. `check` is asked unless it is."""
        node = self._take(key, is_required=default is None)
        if node is None:
            return default or ""
        value = self._text_of(node, join(self.path, key), self.mark_of(key))
        if value is None:
            return default or ""
        wrong = check(value) if value and check else ""
        if not value and default != "":
            wrong = "is empty; give it a value" if default is None else "is empty; give it a value or remove the key"
        if wrong:
            is_loose = _LOOSE_VARIABLE.search(self._written(key))
            self.fault(key, f"{wrong}; the environment's variables are written ${{NAME}}" if is_loose else wrong)
            return default or ""
        return value

    def secret(self, key: str, default: str | None = None) -> str:
        """A text of any shape, except one that is written like a variable and would be taken as it stands."""
        is_loose = _LOOSE_VARIABLE.fullmatch(self._written(key))
        fault = "looks like a variable and is read as it stands" if is_loose else ""
        return self.text(key, default, lambda _value: fault)

    def choice(self, key: str, default: str, choices: Collection[str]) -> str:
        """One of some words."""
        return self.text(key, default, lambda value: "" if value in choices else f"must be {either(choices)}")

    def texts(self, key: str, is_required: bool = False) -> list[tuple[str, Mark]]:
        """A list of at least one text, each with its place."""
        node = self._take(key, is_required)
        if node is None:
            return []
        if not isinstance(node, SequenceNode) or not node.value:
            self.fault(key, f"expected a list of at least one text, as in [a, b]; found {found_at(node)}")
            return []
        marks = [mark_of(item.start_mark) for item in node.value]
        values = [
            self._text_of(*each) for each in zip(node.value, [join(self.path, key)] * len(marks), marks, strict=True)
        ]
        return [(value, mark) for value, mark in zip(values, marks, strict=True) if value is not None]

    def whole(self, key: str, default: int, low: int, high: int) -> int:
        """A whole number within bounds."""
        node = self._take(key)
        if node is None:
            return default
        value = scalar(node)
        if kind_of(node) != "int":
            self.fault(key, f"expected a whole number, found {found_at(node)}")
        elif not isinstance(value, int) or not low <= value <= high:
            self.fault(key, f"must be from {low} to {high}")
        else:
            return value
        return default

    def number(self, key: str, default: float, low: float, high: float) -> float:
        """A number within bounds."""
        node = self._take(key)
        if node is None:
            return default
        value = scalar(node)
        if kind_of(node) not in ("int", "float"):
            self.fault(key, f"expected a number, found {found_at(node)}")
        elif value is None or not low <= value <= high:
            self.fault(key, f"must be from {low:g} to {high:g}")
        else:
            return float(value)
        return default

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        node = self._take(key)
        if node is None:
            return default
        value = scalar(node) if kind_of(node) == "bool" else None
        if isinstance(value, bool):
            return value
        self.fault(key, f"expected true or false, found {found_at(node)}")
        return default

    def duration_s(self, key: str, default_s: float, low_s: float, high_s: float) -> float:
        """A duration such as 10m, in seconds, within bounds."""
        if key in self._entries and kind_of(self._entries[key][1]) in ("int", "float"):
            self._take(key)
            self.fault(key, "a duration needs its unit, as in 10s, 5m or 24h")
            return default_s
        text = self.text(key, "", lambda value: _duration_fault(value, low_s, high_s))
        return parse_duration_s(text) if text else default_s

    def plain(self, key: str, default: Any) -> Any:
        """The value under a key as dicts, lists, texts, numbers and booleans, for a reader of its own."""
        node = self._take(key)
        if node is None:
            return default
        return _plain(self.document, node, join(self.path, key), self.mark_of(key))

    def is_mapping(self, key: str) -> bool:
        """Whether a key is there and has a mapping, for keys that may also have a text."""
        return key in self._entries and isinstance(self._entries[key][1], MappingNode)

    def section(self, key: str, is_required: bool = False, key_kinds: Collection[str] = _TEXT) -> "Section":
        """The mapping under a key; an empty one if it isn't there. `key_kinds`, of SCALARS, are those of its keys."""
        node = self._take(key, is_required, may_be_null=True)
        child = Section(self.document, node, join(self.path, key), self.mark_of(key), key_kinds)
        if node is None and (is_required or self._is_quiet):
            child._is_quiet = True
        return child

    def sections(self, key: str) -> dict[str, "Section"]:
        """A mapping of names to mappings."""
        parent = self.section(key)
        return {name: parent.section(name) for name in parent._entries}

    def items(self, key: str, is_required: bool = False) -> list["Section"]:
        """A list of mappings."""
        node = self._take(key, is_required)
        if node is None:
            return []
        if not isinstance(node, SequenceNode):
            self.fault(key, f"expected a list, found {found_at(node)}")
            return []
        path = join(self.path, key)
        return [
            Section(self.document, item, f"{path}[{index}]", mark_of(item.start_mark))
            for index, item in enumerate(node.value)
        ]

    def close(self) -> None:
        """Note every key that nobody asked for, with the nearest that is known."""
        for key in self._entries:
            if key not in self._asked:
                self.fault(key, f"unknown key; {nearest(key, self._asked)}")

    def _written(self, key: str) -> str:
        """A scalar as it stands in the file, before its variables are replaced; "" for anything else."""
        node = self._entries[key][1] if key in self._entries else None
        return str(node.value) if isinstance(node, ScalarNode) else ""

    def _take(self, key: str, is_required: bool = False, may_be_null: bool = False) -> Node | None:
        self._asked[key] = None
        entry = self._entries.get(key)
        if entry is None:
            if is_required and not self._is_quiet:
                self.fault(key, "is missing; it is required")
            return None
        if kind_of(entry[1]) == "null" and not may_be_null:
            self.fault(key, "has no value; give it one or remove the key")
            return None
        return entry[1]

    def _text_of(self, node: Node, path: str, mark: Mark) -> str | None:
        if SCALARS.get(kind_of(node)) == "text" and isinstance(node, ScalarNode):
            return self.document.resolve(node.value, path, mark)
        way_out = "; put it in quotes" if isinstance(node, ScalarNode) else ""
        self.document.fault(mark, path, f"expected text, found {found_at(node)}{way_out}")
        return None


def fields(document: Document) -> Any:
    """A document as dicts, lists, texts, numbers, booleans and None; dates are text, and nothing at all is a dict.

    Faulty keys and scalars are noted.
    """
    root = document.root
    return {} if root is None or kind_of(root) == "null" else _plain(document, root, "", mark_of(root.start_mark))


def scalar(node: Node) -> Any:
    """The value of a number or a boolean as YAML 1.1 reads it; None for nothing, and for what its tag doesn't fit."""
    if not isinstance(node, ScalarNode):
        return None
    kind, text = kind_of(node), str(node.value)
    if kind == "bool":
        return _BOOLEANS.get(text.lower())
    if len(text) <= NUMBER_CHARS_MAX and kind in ("int", "float"):
        constructor = yaml.constructor.SafeConstructor()
        try:
            return constructor.construct_yaml_int(node) if kind == "int" else constructor.construct_yaml_float(node)
        except (ValueError, OverflowError, IndexError):
            return None
    return None


def either(choices: Collection[str]) -> str:
    """`a, b or c`."""
    *others, last = choices
    return f"{', '.join(others)} or {last}" if others else last


def _plain(document: Document, node: Node, path: str, mark: Mark) -> Any:
    if isinstance(node, MappingNode):
        entries = _entries(document, node, path)
        return {key: _plain(document, value, join(path, key), key_mark) for key, (key_mark, value) in entries}
    if isinstance(node, SequenceNode):
        return [
            _plain(document, item, f"{path}[{index}]", mark_of(item.start_mark))
            for index, item in enumerate(node.value)
        ]
    if SCALARS.get(kind_of(node)) == "text":
        return document.resolve(str(node.value), path, mark)
    value = scalar(node)
    if value is None and kind_of(node) != "null":
        document.fault(mark, path, f"not {found_at(node)}; put it in quotes if it is text")
    return value


def _entries(
    document: Document, node: MappingNode, path: str, kinds: Collection[str] = _TEXT
) -> Iterator[tuple[str, tuple[Mark, Node]]]:
    """The entries whose key is of these kinds and new, the key as it is written; the others are noted."""
    lines: dict[str, int] = {}
    for key, value in node.value:
        mark = mark_of(key.start_mark)
        is_on = isinstance(key, ScalarNode) and key.value == _ON
        if not is_on and (not isinstance(key, ScalarNode) or SCALARS.get(kind_of(key)) not in kinds):
            document.fault(mark, path, f"a key must be text, found {found_at(key)}; put it in quotes")
        elif key.value in lines:
            document.fault(mark, join(path, key.value), f"given twice; first on line {lines[key.value]}")
        else:
            lines[key.value] = mark.line
            yield key.value, (mark, value)


def _duration_fault(text: str, low_s: float, high_s: float) -> str:
    try:
        seconds = parse_duration_s(text)
    except ValueError:
        return "not a duration; write it as in 10s, 5m or 24h"
    if low_s <= seconds <= high_s:
        return ""
    return f"must be from {_duration_text(low_s)} to {_duration_text(high_s)}"


def _duration_text(seconds: float) -> str:
    """A duration as people write it: the whole number of its largest unit."""
    milliseconds = round(seconds * 1000)
    if not milliseconds:
        return "0s"
    unit = next(unit for unit, each_ms in _UNITS_MS.items() if milliseconds >= each_ms and not milliseconds % each_ms)
    return f"{milliseconds // _UNITS_MS[unit]}{unit}"
