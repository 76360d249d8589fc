"""A fuzz target for atheris, run by hand: no text may end in anything but a filter or a FilterError.

    pip install atheris    # in an environment of its own
    PYTHONPATH=. python tests/fuzz/fuzz_filters.py -max_total_time=600 -max_len=400 CORPUS

Without a corpus it starts from the texts of `tests/vectors/filters.json`, written to the folder that is given.
"""

import json
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["streamer"]):
    from streamer.core.filters import compile_filter, parse_filter, print_filter
    from streamer.errors import FilterError

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "filters.json").read_text(encoding="utf-8"))
EVENTS = [
    *VECTORS["events"].values(),
    {"type": "track", "event": "A", "properties": {"a": [1, "x", [True]], "b": 10**400}, "profile": {"traits": []}},
]


def check(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    try:
        compiled = compile_filter(text)
    except FilterError:
        return
    printed = print_filter(compiled.root)
    if len(printed.encode()) < 10_000:
        assert repr(parse_filter(printed)) == repr(compiled.root)
    for event in EVENTS:
        matches = compiled(event)
        assert matches in (True, False)
        assert len(compiled.explain(event)) >= 1
        if matches:
            assert compiled.types is None or event["type"] in compiled.types
            assert compiled.names is None or event.get("event") in compiled.names


def main() -> None:
    folders = [Path(argument) for argument in sys.argv[1:] if not argument.startswith("-")]
    for folder in folders[:1]:
        folder.mkdir(parents=True, exist_ok=True)
        for case in VECTORS["cases"]:
            (folder / case["id"]).write_text(case["fql"], encoding="utf-8")
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
