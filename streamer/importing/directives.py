"""What the value of a mapping's field holds: a constant, a directive, and which fields of the event it prints.

Directives are kept as they are: streamer evaluates them too. Only what differs has to be known here.
Source: facts/segment.md, section 8.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from streamer.importing.javascript import number_text

_HOLE: Final = re.compile(r"\{\{\{?\s*(.*?)\s*\}?\}\}", re.DOTALL)
_LIQUID_PATH: Final = re.compile(r"[A-Za-z_][\w.-]*")
_PLAIN_HOLE: Final = re.compile(r"\{\{\s*([A-Za-z_]\w*)(?:[.\[][\w.\[\]-]*)?\s*\}\}")
_ROOT: Final = re.compile(r"[^.\[\]\s]+")
_BRACES: Final = re.compile(r"\{\{|\{%")
# fmt: off
NAMES: Final = frozenset({
    "@path", "@template", "@literal", "@if", "@case", "@replace", "@arrayPath", "@flatten", "@merge", "@transform",
    "@json", "@liquid", "@excludeWhenNull",
})
# What an event can begin a path with, and the profile beside it.
ROOTS: Final = frozenset({
    "type", "event", "userId", "anonymousId", "messageId", "timestamp", "originalTimestamp", "sentAt", "receivedAt",
    "version", "channel", "name", "category", "groupId", "previousId", "properties", "traits", "context",
    "integrations", "profile",
})
# fmt: on
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
    """A plain text as ours: a template if its braces are one, else marked as the text that it is at Segment."""
    is_odd = isinstance(value, str) and bool(_BRACES.search(_PLAIN_HOLE.sub(_unless_unknown, value)))
    return {"@literal": value} if is_odd else value


def _unless_unknown(hole: re.Match[str]) -> str:
    return "" if hole[1] in ROOTS else hole[0]


def fault_of(value: Any) -> str:
    """Why streamer refuses a value when it loads, or "": what no directive is, and paths that begin nowhere.

    Not looked into: the shape of @arrayPath and the mapping of @transform, whose paths begin elsewhere, and Liquid.
    """
    if isinstance(value, list):
        return next(filter(None, map(fault_of, value)), "")
    if not isinstance(value, dict):
        return ""
    name = name_of(value)
    if not name:
        odd = next((key for key in value if key.startswith("@")), "")
        return f"has {odd[:20]} beside other keys" if odd else fault_of(list(value.values()))
    argument = value[name]
    if name not in NAMES:
        return f"has {name[:20]}, which is no directive"
    if name == "@path" and isinstance(argument, str):
        return _path_fault(argument.removeprefix("$."))
    if name == "@template" and isinstance(argument, str):
        return next(filter(None, map(_path_fault, _HOLE.findall(argument))), "")
    if name == "@arrayPath" and isinstance(argument, list):
        return fault_of(argument[:1]) or (_path_fault(argument[0].removeprefix("$.")) if _is_text(argument[:1]) else "")
    if name == "@transform" and isinstance(argument, dict):
        return fault_of(argument.get("apply"))
    return fault_of(argument)


def _is_text(values: list[Any]) -> bool:
    return bool(values) and isinstance(values[0], str)


def _path_fault(path: str) -> str:
    """A path begins with a field of the event; an empty one, or `$.`, is the whole event."""
    root = _ROOT.match(path.removeprefix("$.").strip())
    if root is None or root[0] in ROOTS:
        return ""
    return f"reads {path[:40]}, and no event has a field {root[0][:40]}"


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


def without_values(value: Any) -> str | None:
    """What Segment prints of a template if none of its fields is there; None if that isn't simply told."""
    if name_of(value) == "@template" and isinstance(value["@template"], str):
        return _HOLE.sub("", value["@template"])
    return None


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
