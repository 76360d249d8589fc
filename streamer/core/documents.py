"""Documents as people write them, described by types: what each key means and which values it takes.

The types are in `documents_directives`, `documents_mapping`, `documents_tests` and `documents_events`, and beside the
loader in `config_document`; `schemas` makes JSON Schemas of them. Here is what they share.

Invariant: a schema refuses only what the loader refuses too. It stays behind where JSON Schema can't follow: filters,
templates, names declared elsewhere, bounds of a duration.
"""

from typing import Annotated, Final

from msgspec import Meta, Struct

# The dialects of Python and of JavaScript both read these; `[0-9]`, because `\d` is not the same in each.
_REST: Final = (
    r"-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    r"[Tt ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]+)?([Zz]|[+-][0-9]{2}:?[0-9]{2})?"
)
INSTANT: Final = "[0-9]{4}" + _REST
INSTANT_SINCE_1970: Final = "(19[7-9]|[2-9][0-9]{2})[0-9]" + _REST
DURATION: Final = "(?!0+[a-z])[0-9]{1,9}(ms|s|m|h|d)"  # as `duration` reads it, and longer than nothing
WAIT: Final = "[0-9]{1,9}(ms|s|m|h|d)"  # alike, or nothing
OFFSET: Final = r"\+[0-9]{1,9}(ms|s|m|h|d)"


class Document(Struct, frozen=True):
    """One kind of document: the type that describes it. `name` is also that of its schema's file."""

    name: str
    title: str
    type: object


def says(description: str, *examples: object) -> Meta:
    """What a key means, in one sentence, and values that it may have."""
    return Meta(description=description, examples=list(examples) or None)


def shaped(*patterns: str, found: str = "") -> Meta:
    """A text of which the whole has one of some shapes, or in which the pattern `found` is found."""
    whole = f"^(?:{'|'.join(patterns)})$"
    return Meta(pattern=f"{whole}|{found}" if found else whole)


def chosen(words: tuple[str, ...], found: str = "") -> Meta:
    """A text that is one of some words, which editors complete, or in which the pattern `found` is found."""
    words_only = {"enum": list(words)}
    return Meta(extra_json_schema={"anyOf": [words_only, {"pattern": found}]} if found else words_only)


def needs_any(*keys: str) -> Meta:
    """An object that must have at least one of some keys."""
    return Meta(extra_json_schema={"anyOf": [{"required": [key]} for key in keys]})


def needs_one(*keys: str) -> Meta:
    """An object that must have exactly one of some keys."""
    return Meta(extra_json_schema={"oneOf": [{"required": [key]} for key in keys]})


Instant = Annotated[str, shaped(INSTANT)]
