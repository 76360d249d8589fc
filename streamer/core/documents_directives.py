"""Directives as they are written: an object whose one key begins with @ stands for what it yields for an event.

Only described here, never decoded by these types. Source: Segment's mapping kit.
"""

from __future__ import annotations  # directives hold directives

from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, Struct, UnsetType, field

from streamer.core.documents import chosen, needs_any, says

REPLACE_CHARS_MAX: Final = 10  # Segment's limits
LIQUID_CHARS_MAX: Final = 1000


class If(Struct, forbid_unknown_fields=True):
    """A choice between two values."""

    exists: Annotated[Value, says("`then` is taken if this is there and not null.")] = UNSET
    blank: Annotated[Value, says("`then` is taken unless this is blank; asked only without `exists`.")] = UNSET
    then: Annotated[Value, says("What is yielded if the condition holds.")] = UNSET
    else_: Annotated[Value, says("What is yielded if not; nothing if left out.")] = field(name="else", default=UNSET)


class Case(Struct, forbid_unknown_fields=True):
    """A text in other letters."""

    operator: Annotated[str, says("Into which letters."), chosen(("lower", "upper"))]
    value: Annotated[Text, says("The text; what is no text passes as it is.")]


class Replace(Struct, forbid_unknown_fields=True):
    """A text with parts of it replaced."""

    value: Annotated[Text, says("The text; a number, true and false become text.")]
    pattern: Annotated[str, says("What to look for, literally."), Meta(min_length=1, max_length=REPLACE_CHARS_MAX)]
    replacement: Annotated[Short | UnsetType, says("What to put in its place.")] = UNSET
    pattern2: Annotated[Short | UnsetType, says("What to look for after that.")] = UNSET
    replacement2: Annotated[Short | UnsetType, says("What to put in the place of `pattern2`.")] = UNSET
    global_: Annotated[bool, says("Everywhere, and not only at the first place.")] = field(name="global", default=True)
    ignorecase: Annotated[bool, says("Whether upper and lower case letters are the same.")] = False


class Flatten(Struct, forbid_unknown_fields=True):
    """An object with its nested keys joined."""

    value: Annotated[Value, says("The object.")]
    separator: Annotated[str, says("What stands between the joined keys.", ".")]
    omit_arrays: Annotated[bool, says("Leave lists as they are.")] = field(name="omitArrays", default=False)


class Merge(Struct, forbid_unknown_fields=True):
    """Several objects as one."""

    objects: Annotated[list[Object], says("The objects, or directives that yield them.")]
    direction: Annotated[
        str, says("Which object wins where they share a key: the leftmost or the rightmost."), chosen(("left", "right"))
    ]


class Transform(Struct, forbid_unknown_fields=True):
    """Two mappings, one after the other."""

    apply: Annotated[Value, says("The first mapping, over the event.")]
    mapping: Annotated[Value, says("The second mapping, which sees only what the first one yields.")]


class Json(Struct, forbid_unknown_fields=True):
    """JSON text from a value, or a value from JSON text."""

    mode: Annotated[str, says("encode makes text, decode reads text."), chosen(("encode", "decode"))]
    value: Annotated[Value, says("What to encode, or the text to decode; text that is no JSON stays as it is.")]


class Directive(Struct, forbid_unknown_fields=True):
    """An object whose one key begins with @ stands for what it yields for an event; `schemas` takes the keys apart."""

    path: Annotated[Text | UnsetType, says("The value at a path.", "$.properties.total", "$.profile.traits.phone")] = (
        field(name="@path", default=UNSET)
    )
    template: Annotated[
        Text | UnsetType, says("A text with {{path}} holes; a hole without a value is empty.", "{{properties.city}}")
    ] = field(name="@template", default=UNSET)
    literal: Annotated[Value, says("The value itself.")] = field(name="@literal", default=UNSET)
    if_: Annotated[
        If | UnsetType, says("One of two values, by whether a third is there."), needs_any("exists", "blank")
    ] = field(name="@if", default=UNSET)
    case: Annotated[Case | UnsetType, says("A text in lower or upper case.")] = field(name="@case", default=UNSET)
    replace: Annotated[Replace | UnsetType, says("A text with parts of it replaced.")] = field(
        name="@replace", default=UNSET
    )
    array_path: Annotated[list[Any] | UnsetType, says("The list at a path, each item made anew."), ARRAY_PATH] = field(
        name="@arrayPath", default=UNSET
    )
    flatten: Annotated[Flatten | UnsetType, says("An object with its nested keys joined.")] = field(
        name="@flatten", default=UNSET
    )
    merge: Annotated[Merge | UnsetType, says("Several objects as one.")] = field(name="@merge", default=UNSET)
    transform: Annotated[Transform | UnsetType, says("A mapping of what another mapping yields.")] = field(
        name="@transform", default=UNSET
    )
    json: Annotated[Json | UnsetType, says("JSON text from a value, or a value from JSON text.")] = field(
        name="@json", default=UNSET
    )
    liquid: Annotated[Liquid | UnsetType, says("A Liquid template.", "{{ properties.name | upcase }}")] = field(
        name="@liquid", default=UNSET
    )
    exclude_when_null: Annotated[Value, says("The value, or nothing at all if it is null.")] = field(
        name="@excludeWhenNull", default=UNSET
    )
    metadata: Annotated[Any, says("Notes of the tool that wrote the directive; nothing reads them.")] = field(
        name="_metadata", default=UNSET
    )


_DIRECTIVE: Final = {"$ref": "#/$defs/Directive"}
_VALUE: Final = {"$ref": "#/$defs/Value"}
# Any JSON value in which an object with an @ key is a directive. It holds itself, which no alias can, so it is written
# out; `schemas` puts it among the definitions of each schema that refers to it.
VALUE: Final[dict[str, Any]] = {
    "title": "Value",
    "description": "Any value; each directive in it, at any depth, is replaced by what it yields.",
    "anyOf": [
        _DIRECTIVE,
        {"type": "object", "propertyNames": {"not": {"pattern": "^@"}}, "additionalProperties": _VALUE},
        {"type": "array", "items": _VALUE},
        {"type": ["string", "number", "boolean", "null"]},
    ],
}
# The path, then the shape of an item; the shape's paths begin at the item.
ARRAY_PATH: Final = Meta(
    examples=[["$.properties.products", {"sku": {"@path": "$.sku"}}]],
    extra_json_schema={
        "prefixItems": [{"anyOf": [{"type": "string"}, _DIRECTIVE]}, _VALUE],
        "minItems": 1,
        "maxItems": 2,
    },
)
Value = Annotated[Any, Meta(extra_json_schema=_VALUE)]
Object = Annotated[Any, Meta(extra_json_schema={"type": "object", **_VALUE})]
Text = str | Directive
Short = Annotated[str, Meta(max_length=REPLACE_CHARS_MAX)]
Liquid = Annotated[str, Meta(max_length=LIQUID_CHARS_MAX)]
