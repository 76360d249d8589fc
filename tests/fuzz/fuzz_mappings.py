"""Coverage-guided fuzzing of mappings and Liquid: nothing but MappingError escapes, and no input takes long.

Atheris is no dependency: make a virtual environment with it, python-liquid and msgspec, then
`PYTHONPATH=. python tests/fuzz/fuzz_mappings.py -max_total_time=600 -timeout=5 CORPUS_FOLDER`.
"""

import sys

import atheris

with atheris.instrument_imports(include=["streamer", "liquid"]):
    from streamer.core.mapping import compile_mapping, compile_value
    from streamer.errors import MappingError

NAMES = [
    "@path",
    "@template",
    "@literal",
    "@if",
    "@case",
    "@replace",
    "@arrayPath",
    "@flatten",
    "@merge",
    "@transform",
    "@json",
    "@liquid",
    "@excludeWhenNull",
    "@nope",
    "__segment_internal_directive",
    "_metadata",
    "a",
]
OPTIONS = [
    "exists",
    "blank",
    "then",
    "else",
    "operator",
    "value",
    "pattern",
    "replacement",
    "pattern2",
    "replacement2",
    "global",
    "ignorecase",
    "separator",
    "omitArrays",
    "objects",
    "direction",
    "apply",
    "mapping",
    "mode",
]
WORDS = [
    "$.properties.a",
    "$.properties.items",
    "$.",
    "properties['a'][0].1",
    "lower",
    "upper",
    "left",
    "right",
    "encode",
    "decode",
    "{{properties.a}}",
    "{{{properties.a}}}",
    ".",
    "$&$`$'",
    '{"k":[1,2.50]}',
    "\u0131",
    "x",
]
LIQUID = [
    "{{",
    "}}",
    "{%",
    "%}",
    "-",
    "|",
    ":",
    ",",
    "'",
    '"',
    ".",
    "[",
    "]",
    "(",
    "..",
    ")",
    "\\",
    "if",
    "elsif",
    "else",
    "endif",
    "unless",
    "endunless",
    "endcapture",
    "cycle",
    "liquid",
    "raw",
    "endraw",
    "comment",
    "endcomment",
    "#",
    "x",
    "properties.a",
    "properties.items",
    "properties.huge",
    "profile",
    "traits",
    "missing",
    "contains",
    "and",
    "or",
    "==",
    "!=",
    "<",
    ">=",
    "empty",
    "blank",
    "nil",
    "true",
    "1",
    "-2.5",
    "1e9",
    "json",
    "url_decode",
    "base64_decode",
    "sum",
    "first",
    "size",
    *(" ", "\n", "assign x = ", "capture x", "increment x", "decrement x", "echo ", "for x in y", "append: x"),
    *("replace: 'a', x", "split: ''", "join: x", "default: 'd'", "date: '%Y %9N'", "times: 2", "round: 1", "push: 1"),
    *("where: 'k'", "slice: 0, 2", "truncate: 3", "divided_by: 0", "strip: x", "slugify: 'pretty'", "modulo: 0"),
]
DEEP = []
for _ in range(90):
    DEEP = [DEEP]
EVENT = {
    "type": "track",
    "timestamp": "2026-01-02T03:04:05Z",
    "properties": {
        "a": "Añ🙂 <b>x</b>",
        "items": [{"k": 1, "a": 1.5}, {"k": None}, [1, [2]], "t", True],
        "n": -1e21,
        "big": 10**400,
        "deep": DEEP,
        "x": "",
        "huge": "ab" * 8000,
    },
    "profile": {"traits": {"x": None, "now": "now"}},
}


def scalar(data: atheris.FuzzedDataProvider):
    match data.ConsumeIntInRange(0, 7):
        case 0:
            return None
        case 1:
            return data.ConsumeBool()
        case 2:
            return data.ConsumeInt(8)
        case 3:
            return data.ConsumeFloat()
        case 4:
            return data.ConsumeUnicode(20)
        case 5:
            return liquid(data)
    return data.PickValueInList(WORDS)


def liquid(data: atheris.FuzzedDataProvider) -> str:
    return "".join(data.PickValueInList(LIQUID) for _ in range(data.ConsumeIntInRange(0, 40)))


def tree(data: atheris.FuzzedDataProvider, depth: int):
    kind = data.ConsumeIntInRange(0, 9)
    if depth > 6 or kind < 3:
        return scalar(data)
    if kind == 3:
        return [tree(data, depth + 1) for _ in range(data.ConsumeIntInRange(0, 3))]
    if kind == 4:
        return {data.PickValueInList(NAMES): tree(data, depth + 1) for _ in range(data.ConsumeIntInRange(0, 3))}
    options = {data.PickValueInList(OPTIONS): tree(data, depth + 1) for _ in range(data.ConsumeIntInRange(0, 5))}
    return {data.PickValueInList(NAMES): options if kind < 8 else tree(data, depth + 1)}


def check(use) -> None:
    try:
        use()
    except MappingError as error:
        if not all(path and text for path, text in error.faults or [("", "")]):
            raise AssertionError(error.faults) from error


def one_input(raw: bytes) -> None:
    data = atheris.FuzzedDataProvider(raw)
    match data.ConsumeIntInRange(0, 3):
        case 0:
            obj = liquid(data)
        case 1:
            obj = data.ConsumeUnicodeNoSurrogates(2000)
        case _:
            obj = {"out": tree(data, 0), "more": tree(data, 0)}
    check(lambda: compile_mapping(obj if isinstance(obj, dict) else {"out": obj})(EVENT))
    for missing in ("suppress", "empty"):
        check(lambda missing=missing: compile_value(obj, path="body", missing=missing).resolve(EVENT))


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
