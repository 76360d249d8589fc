"""YAML with places: documents composed safely, and their faults collected, each with its file, line and column.

A hostile document costs seconds at most: aliases, tags, depth and number of nodes are refused where they begin.
Invariant: no fault shows a value, since any value can be a secret in the wrong place; only keys and names are shown.
"""

import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, NoReturn

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from streamer.errors import ConfigError, Fault

DOCUMENT_BYTES_MAX: Final = 1 << 20
DEPTH_MAX: Final = 32  # no configuration is deeper than 4; the composer recurses, and would meet Python's own limit
NODES_MAX: Final = 20_000  # the keys and values of 2 000 senders; composed in about a second, 1 MiB of them in 30 s
SHOWN_CHARS_MAX: Final = 60  # of a name in a fault

_TAG: Final = "tag:yaml.org,2002:"
SCALARS: Final = {
    "str": "text",
    "timestamp": "text",  # a date stays as it was written
    "value": "text",  # a lone "="
    "merge": "text",  # "<<": a key like any other, so it is reported as unknown
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "null": "nothing",
}
# A dollar before a hole is money: "${{properties.total}}".
_VARIABLE: Final = re.compile(r"\$\{(?!\{)([^}]*)\}")
_INDEX: Final = re.compile(r"\[?(?P<at>[0-9]{1,6})\]?[./]?")
_VARIABLE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_QUOTED: Final = re.compile(r"""'[^']*'|"[^"]*\"""")


class Mark:
    """A place in a file; lines and columns count from 1."""

    __slots__ = ("column", "line")

    def __init__(self, line: int, column: int) -> None:
        self.line = line
        self.column = column


class Faults:
    """Every fault found so far, over all files."""

    def __init__(self) -> None:
        self._files: dict[str, int] = {}
        self._paths: set[tuple[str, str]] = set()
        self._found: list[tuple[int, Fault]] = []

    def __contains__(self, place: tuple[str, str]) -> bool:
        """Whether a (file, path) has a fault already."""
        return place in self._paths

    def concern(self, file: str) -> bool:
        """Whether a file has any."""
        return file in self._files

    def add(self, file: str, mark: Mark, path: str, text: str) -> None:
        """Note one fault; `path` is the dotted path of the value, "" for the whole file.

        Further lines of `text` are shown indented below the first.
        """
        self._paths.add((file, path))
        order = self._files.setdefault(file, len(self._files))
        first, *others = ("".join(c if c.isprintable() else " " for c in line) for line in text.split("\n"))
        subject = f"{path}: " if path else ""
        lines = [f"{subject}{first}", *(f"    {line}" for line in others)]
        self._found.append((order, Fault(file, mark.line, mark.column, "\n".join(lines))))

    def found(self) -> list[Fault]:
        """The faults in the order of files and lines."""
        return [fault for _, fault in sorted(self._found, key=lambda each: (each[0], each[1].line, each[1].column))]

    def raise_any(self) -> None:
        """Raises: ConfigError with the faults; nothing if there is none."""
        if found := self.found():
            raise ConfigError("\n".join(f"{at.file}:{at.line}:{at.column}: {at.text}" for at in found), found)


class Document:
    """One YAML file: its root node once composed, and where its faults and its `${NAME}` go.

    `environ` None: variables are refused. `needs_variables` False: a missing one is read as "". `first_line` is where
    it begins in a file that holds more.
    """

    def __init__(
        self,
        file: str,
        faults: Faults,
        environ: Mapping[str, str] | None,
        needs_variables: bool,
        nodes_max: int = NODES_MAX,
        first_line: int = 1,
    ) -> None:
        self.file = file
        self.faults = faults
        self.environ = environ
        self.needs_variables = needs_variables
        self.nodes_max = nodes_max
        self.first_line = first_line
        self.root: Node | None = None

    def fault(self, mark: Mark, path: str, text: str) -> None:
        """Note a fault of this file."""
        self.faults.add(self.file, mark, path, text)

    def read(self, file: Path) -> bool:
        """Set `root` from a file. False: it could not be read, which is noted."""
        try:
            if file.is_file():
                with file.open("rb") as stream:
                    return self.compose(stream.read(DOCUMENT_BYTES_MAX + 1))
            text = "not a file"
        except OSError as error:
            text = f"cannot be read: {error.strerror}"
        self.fault(Mark(1, 1), "", text)
        return False

    def compose(self, content: bytes) -> bool:
        """Set `root`, of kind null if the file is empty. False: it could not be read, which is noted."""
        if len(content) > DOCUMENT_BYTES_MAX:
            self.fault(Mark(1, 1), "", f"larger than {DOCUMENT_BYTES_MAX >> 20} MiB; a configuration is a few KB")
            return False
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            self.fault(Mark(line, 1), "", "not UTF-8; save the file in that encoding")
            return False
        self.root = self._compose_text(text)
        return self.root is not None

    def mark_at(self, path: str) -> Mark:
        """The place at a path, or that of the deepest of its parents that there is.

        Keys are parted by dots or, inside a directive, slashes, as in `send.body/@if/then`; a list's items are numbers.
        """
        node, mark, rest = self.root, mark_of(self.root.start_mark if self.root else None), path
        while rest:
            found = _child(node, rest)
            if found is None:
                break
            node, start, used = found
            mark, rest = mark_of(start), rest[used:]
        return mark

    def _compose_text(self, text: str) -> Node | None:
        loader = None
        try:
            loader = _Loader(text)
            loader.nodes_max = self.nodes_max
            loader.line = self.first_line - 1
            node: Node | None = loader.get_single_node()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            problem = " ".join(part for part in (error.context, error.problem) if part)
            is_indent = mark is not None and _is_tab_indenting(text, mark.index)
            said = "use spaces: a tab cannot indent" if is_indent else _QUOTED.sub(_unquoted, problem)
            self.fault(mark_of(mark), "", f"not YAML: {said}")
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + self.first_line
            self.fault(Mark(line, 1), "", "not YAML: a control character; write it as an escape in quotes")
        except (ValueError, OverflowError):  # an escape or a %YAML version whose number is out of range
            self.fault(mark_of(loader.get_mark() if loader else None), "", "not YAML: a number out of range")
        else:
            return node or ScalarNode(f"{_TAG}null", "")
        return None

    def resolve(self, text: str, path: str, mark: Mark) -> str | None:
        """A text with its `${NAME}` replaced; None if one is missing, which is noted if it is needed."""
        names = _VARIABLE.findall(text)
        for name in names:
            if fault := self._variable_fault(name):
                self.fault(mark, path, fault)
        environ = self.environ or {}
        if not all(_VARIABLE_NAME.fullmatch(name) and environ.get(name) for name in names):
            return None
        return _VARIABLE.sub(lambda found: environ[found[1]], text)

    def _variable_fault(self, name: str) -> str:
        if self.environ is None:
            return "${…} is read in streamer.yaml only, so that a message can never carry a secret; remove it"
        if not _VARIABLE_NAME.fullmatch(name):
            return "${…} must hold the name of an environment variable: letters, digits and _"
        value = self.environ.get(name, "")
        if not value and self.needs_variables:
            return f"environment variable {name} is not set or empty; export it before the start"
        if not _is_encodable(value):
            return f"environment variable {name} is not UTF-8"
        return ""


def _is_tab_indenting(text: str, index: int) -> bool:
    """Whether there is a tab with nothing but white space before it in its line."""
    return text[index : index + 1] == "\t" and not text[text.rfind("\n", 0, index) + 1 : index].strip()


def _child(node: Node | None, path: str) -> tuple[Node, Any, int] | None:
    """The child of a node that a path begins with, where it starts, and how many characters of the path it takes."""
    if isinstance(node, MappingNode):
        for key, value in node.value:
            # A key may itself hold dots or slashes.
            if (
                isinstance(key, ScalarNode)
                and path.startswith(key.value)
                and path[len(key.value) :][:1] in ("", *"./[")
            ):
                return value, key.start_mark, len(key.value) + (path[len(key.value) :][:1] in tuple("./"))
    if isinstance(node, SequenceNode) and (index := _INDEX.match(path)) and int(index["at"]) < len(node.value):
        item = node.value[int(index["at"])]
        return item, item.start_mark, index.end()
    return None


def mark_of(mark: Any) -> Mark:
    """A place as people count it; the parser's own marks count from 0, and None is the file's start."""
    return Mark(mark.line + 1, mark.column + 1) if mark else Mark(1, 1)


def shown(name: str) -> str:
    """A name fit to be shown: one line, and not too long."""
    text = name if name.isprintable() and name else ascii(name)
    return text if len(text) <= SHOWN_CHARS_MAX else text[: SHOWN_CHARS_MAX - 1] + "…"


def join(path: str, key: str) -> str:
    """The dotted path of a key, fit to be shown."""
    return f"{path}.{shown(key)}" if path else shown(key)


def nearest(name: str, known: Collection[str]) -> str:
    """The way out of an unknown name: the nearest known one, else all of them."""
    by_lower = {each.lower(): each for each in known}
    matches = get_close_matches(name[:SHOWN_CHARS_MAX].lower(), by_lower, n=1)
    if matches:
        return f'did you mean "{by_lower[matches[0]]}"?'
    return f"known here: {', '.join(known)}" if known else "none is known here"


def kind_of(node: Node) -> str:
    """The tag of a node without its prefix: a key of SCALARS, `seq` or `map`."""
    return str(node.tag).removeprefix(_TAG)


def found_at(node: Node) -> str:
    """What a node is, to be told to people."""
    if isinstance(node, MappingNode):
        return "a mapping"
    if isinstance(node, SequenceNode):
        return "a list" if node.value else "an empty list"
    return SCALARS.get(kind_of(node), "something of another tag")


class _Loader(yaml.SafeLoader):
    """Composes nodes, and refuses what could cost or mean more than it shows."""

    nodes_max = NODES_MAX
    _depth = 0
    _nodes = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            self._refuse("aliases (*) are refused; write the value out, or put text that begins with * in quotes")
        tag = getattr(event, "tag", None)
        if tag is not None and tag.removeprefix(_TAG) not in (*SCALARS, "seq", "map", "!"):
            self._refuse("tags (!) are refused; put text that begins with ! in quotes")
        if self._depth >= DEPTH_MAX:
            self._refuse(f"nested deeper than {DEPTH_MAX} levels")
        self._nodes += 1
        if self._nodes > self.nodes_max:
            self._refuse(f"more than {self.nodes_max} keys and values")
        self._depth += 1
        node: Node | None = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(node, ScalarNode) and not _is_encodable(node.value):
            self._refuse("half a surrogate pair; write the character itself")
        return node

    def _refuse(self, problem: str) -> NoReturn:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def _unquoted(quoted: re.Match[str]) -> str:
    """What the parser stumbled over, unless it may be part of a secret: one character such as `\\t`, or a `<token>`."""
    inner = quoted[0][1:-1].removeprefix("\\")
    return quoted[0] if len(inner) <= 1 or inner.startswith("<") else "…"


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
