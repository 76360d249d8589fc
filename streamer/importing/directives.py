"""What the value of a mapping's field holds: a constant, a directive, and which fields of the event it prints.

Directives are kept as they are: streamer evaluates them too, and says which it refuses. Only what differs has to be
known here.
Source: facts/segment.md, section 8.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from streamer.core.mapping import compile_value
from streamer.core.mapping_tree import is_directive
from streamer.errors import MappingError
from streamer.importing.javascript import number_text

_HOLE: Final = re.compile(r"\{\{\{?\s*(.*?)\s*\}?\}\}", re.DOTALL)
_DOTTED: Final = re.compile(r"[A-Za-z_]\w*(?:\.\w+)*", re.ASCII)
_LIQUID_PATH: Final = re.compile(r"[A-Za-z_][\w.-]*")
_PLAIN_HOLE: Final = re.compile(r"\{\{\s*[A-Za-z_]\w*(?:[.\[][\w.\[\]-]*)?\s*\}\}")
_TRIPLE: Final = re.compile(r"(?<!\{)\{(\{\{\s*[A-Za-z_]\w*(?:[.\[][\w.\[\]-]*)?\s*\}\})\}(?!\})")
_BRACES: Final = re.compile(r"\{\{|\{%")
_NO_TEXT: Final = ("@template", "@liquid", "@path", "@literal", "_metadata")
_DIRECTION: Final = ("left", "right")


def name_of(value: Any) -> str:
    """The name of a directive such as `@path`, or "" for anything else."""
    names = [key for key in value if key != "_metadata"] if isinstance(value, dict) else []
    return names[0] if len(names) == 1 and names[0].startswith("@") else ""


def is_blank(value: Any) -> bool:
    """What Segment removes before it looks: null and ""."""
    return value is None or value == ""


def constant(value: Any) -> str | None:
    """The text of a value that no event changes; None for a directive, a list or an object."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value) if isinstance(value, int) else number_text(value)
    if isinstance(value, str):
        return value
    name = name_of(value)
    argument = value[name] if name else None
    if name == "@literal" or (name in ("@template", "@liquid") and "{" not in str(argument)):
        return constant(argument)
    return None


def has_braces(value: Any) -> bool:
    """Whether a text that is no template at Segment holds `{{…}}`: it is sent as it stands there."""
    if isinstance(value, str):
        return "{{" in value
    if isinstance(value, list):
        return any(has_braces(item) for item in value)
    return isinstance(value, dict) and any(has_braces(value[key]) for key in value if key not in _NO_TEXT)


def as_template(value: Any) -> Any:
    """Plain texts as ours, also those in lists and objects: templates if their braces are, else marked as text."""
    if isinstance(value, list):
        return [as_template(item) for item in value]
    if isinstance(value, dict) and not is_directive(value):
        return {key: as_template(item) for key, item in value.items()}
    if not isinstance(value, str):
        return value
    text = _TRIPLE.sub(r"\1", value)  # in @template three braces mean what two do
    is_odd = _BRACES.search(_PLAIN_HOLE.sub("", text)) or fault_of(text)
    return {"@literal": value} if is_odd else text


def fault_of(value: Any) -> str:
    """Why streamer refuses a value when it loads, with the place in it; or ""."""
    try:
        compile_value(value, path="", missing="suppress")
    except MappingError as error:
        path, text = error.faults[0]
        said = text.partition("\n")[0]
        return said if path == "/" else f"{path}: {said}"
    return ""


def printed_paths(value: Any) -> Iterator[str]:
    """The paths whose values become part of the message, in order; conditions are none."""
    if isinstance(value, list):
        for item in value:
            yield from printed_paths(item)
        return
    name = name_of(value)
    argument = value[name] if name else None
    if name == "@path" and isinstance(argument, str):
        yield argument.removeprefix("$.")
    elif name in ("@template", "@liquid") and isinstance(argument, str):
        yield from _holes(argument)
    elif name == "@if" and isinstance(argument, dict):
        for key in ("then", "else"):
            yield from printed_paths(argument.get(key))
    elif name in ("@case", "@replace", "@json") and isinstance(argument, dict):
        yield from printed_paths(argument.get("value"))
    elif isinstance(value, dict) and not name:
        for item in value.values():
            yield from printed_paths(item)


def _holes(template: str) -> Iterator[str]:
    for hole in _HOLE.findall(template):
        path = _LIQUID_PATH.match(hole)
        if path and "default" not in hole:
            yield path[0]


def with_values(value: Any, event: Mapping[str, Any]) -> str | None:
    """What Segment prints of a template for an event, nothing where a value is missing; None if that isn't simply told.

    Plain paths in @template only, to texts, whole numbers, true and false.
    """
    template = value["@template"] if name_of(value) == "@template" else None
    if not isinstance(template, str):
        return None
    texts = []
    for hole in _HOLE.findall(template):
        found = _at(event, hole) if _DOTTED.fullmatch(hole) else event
        text = "" if found is None else constant(found)
        if text is None or isinstance(found, float | dict):
            return None
        texts.append(text)
    parts = iter(texts)
    return _HOLE.sub(lambda _: next(parts), template)


def _at(event: Mapping[str, Any], path: str) -> Any:
    node: Any = event
    for key in path.split("."):
        node = node.get(key) if isinstance(node, dict) else None
    return node


def chosen(value: Any, name_for: Callable[[str], str]) -> Any:
    """A choice among constants (`@if`, `@literal`) with each replaced by `name_for` it.

    Raises: ValueError, if a branch is no constant, or `name_for` raises it.
    """
    text = constant(value)
    if text is not None:
        return name_for(text)
    argument = value["@if"] if name_of(value) == "@if" else None
    if not isinstance(argument, dict):
        raise ValueError("is read from each event")
    return {"@if": {k: chosen(v, name_for) if k in ("then", "else") else v for k, v in argument.items()}}


def accidents(value: Any) -> Iterator[tuple[str, str]]:
    """The accidents of Segment's directives in a value: what was written, and what Segment makes of it."""
    if isinstance(value, list):
        for item in value:
            yield from accidents(item)
    elif isinstance(value, dict):
        name = name_of(value)
        if name:
            yield from _accident(name, value[name])
        for item in value.values():
            yield from accidents(item)


def _accident(name: str, argument: Any) -> Iterator[tuple[str, str]]:
    fields = argument if isinstance(argument, dict) else {}
    if name == "@template" and isinstance(argument, str) and re.search(r"\{\{\s*\$", argument):
        yield "{{$.…}} in @template", "prints nothing there"
    if name == "@if" and "blank" in fields:
        yield "@if with blank", "takes the `then` of what is NOT blank, and 0, false and [] count as blank"
    if name == "@merge" and fields.get("direction") not in (None, *_DIRECTION):
        yield f"@merge with direction {str(fields['direction'])[:20]}", "merges to the right"
    if name == "@replace" and any("$" in str(fields.get(key, "")) for key in ("replacement", "replacement2")):
        yield "$ in the replacement of @replace", "expands $& and $$"
    if name == "@path" and isinstance(argument, str) and re.search(r"\[['\"][^\]]*\.", argument):
        yield f"a quoted key with a dot in @path {argument[:40]}", "splits it at the dot"
