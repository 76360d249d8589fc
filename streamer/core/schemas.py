"""JSON Schemas of documents, from the types that describe them.

Dialect: draft 2020-12, in which a `$ref` may have siblings.
"""

from inspect import cleandoc
from typing import Any, Final

import msgspec

from streamer.core.documents import Document
from streamer.core.documents_directives import VALUE

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
VERSION: Final = 1  # of every schema; it changes when a document that was right is refused
_REF: Final = "#/$defs/"
_SAYS_NOTHING: Final[tuple[tuple[str, Any], ...]] = (("required", []), ("default", None))


def schema_of(document: Document) -> dict[str, Any]:
    """The JSON Schema of one kind of document."""
    (root,), definitions = msgspec.json.schema_components([document.type])
    top = definitions.pop(root.pop("$ref").removeprefix(_REF))
    head = {
        "$schema": DIALECT,
        "$id": f"urn:streamer:schema:{document.name}:{VERSION}",
        "title": document.title,
        "description": top.pop("description"),
    }
    top.pop("title")
    if "Directive" in definitions:
        definitions |= {"Value": VALUE, **_directives(definitions["Directive"])}
    schema = head | top | root
    if definitions:
        schema["$defs"] = {name: definitions[name] for name in sorted(definitions)}
    return _tidied(schema)  # type: ignore[no-any-return]  # a dict stays one


def schema_json(document: Document) -> bytes:
    """The JSON text of a document's schema, the same to the byte on every machine."""
    return msgspec.json.format(msgspec.json.encode(schema_of(document)), indent=2) + b"\n"


def _directives(together: dict[str, Any]) -> dict[str, Any]:
    """A schema for each directive, and their union, from one that has the keys of all."""
    shared = {key: each for key, each in together["properties"].items() if not key.startswith("@")}
    each = {
        key: {
            "title": key,
            "description": argument["description"],
            "type": "object",
            "properties": {key: argument, **shared},
            "required": [key],
            "additionalProperties": False,
        }
        for key, argument in together["properties"].items()
        if key not in shared
    }
    union = {
        "title": "Directive",
        "description": "An object whose one key begins with @ stands for what it yields for an event.",
        "anyOf": [{"$ref": _REF + key} for key in each],
    }
    return {**each, "Directive": union}


def _tidied(value: Any) -> Any:
    """The same without what says nothing; of a docstring the first paragraph, which is the one for users."""
    if isinstance(value, dict):
        return {
            key: cleandoc(each).split("\n\n")[0] if key == "description" and isinstance(each, str) else _tidied(each)
            for key, each in value.items()
            if (key, each) not in _SAYS_NOTHING
        }
    return [_tidied(each) for each in value] if isinstance(value, list) else value
