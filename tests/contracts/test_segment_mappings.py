"""Our mappings make what Segment's own package makes, on generated directive trees, Liquid texts and numbers.

The generator keeps clear of the original's accidents, which `directives`, `directive_paths` and `liquid_sandbox` list:
members behind 0, "" or null, falsy literals, keys that look like indexes, comparisons with null, half emoji.
`MAPPINGS_SEED=7 pytest …` compares other ones.
"""

import itertools
import json
import os
import random
import struct

from streamer.core.js_text import UNDEFINED, json_text
from streamer.core.mapping import compile_mapping
from streamer.errors import MappingError
from tests.node import ask

SEED = int(os.environ.get("MAPPINGS_SEED", "1"))
PAIRS = 600

TEXTS = [
    "Ana",
    "HeLLo Wörld",
    "straße \ufb01 \u0131 ΣΑΣ",
    "<b>&</b> x",
    "a-b-c",
    " padded ",
    "19.9",
    "12px",
    "x$y",
    "",
    "K\u212a\u017f",
    "2026-01-02T03:04:05.678Z",
    "1767323045",
    '{"k":[1,2.50,"é"]}',
    "{oops",
    "true",
    "a\nb\r\nc",
    "\u01c5 İi",
    "%41+b",
    "été",
]
PLAIN_FILTERS = [
    "abs",
    "ceil",
    "floor",
    "upcase",
    "downcase",
    "capitalize",
    "strip",
    "lstrip",
    "rstrip",
    "strip_html",
    "strip_newlines",
    "escape",
    "escape_once",
    "size",
    "first",
    "last",
    "compact",
    "sum",
    "normalize_whitespace",
    "number_of_words",
    "url_encode",
    "cgi_escape",
    "uri_escape",
    "slugify",
    "base64_encode",
    "sha256",
    "pop",
    "shift",
    "xml_escape",
    "raw",
]
TEXT_FILTERS = ["append", "prepend", "remove", "remove_first", "remove_last", "split", "join", "push", "unshift"]
NUMBERS = [0, 1, -3, 5.0, 19.9, 0.1, -0.5, 2.5, 1e21, 1.5e-7, 123456789.125, 2**53 - 1, 1.005, -1e300, 1e-6, 100]
NAMES = ["a", "b", "c", "d e", "f_g"]
LIQUID_NAMES = ["a", "b", "c", "f_g"]


class Generator:
    """Events, and mappings that read them."""

    def __init__(self, seed, counts=False):
        self.counts = counts  # as `increment` writes into the event there, another directive would see it
        self.random = random.Random(seed)
        self.one = self.random.choice

    def many(self, make, least, most):
        return [make() for _ in range(self.random.randint(least, most))]

    def number(self):
        if self.random.random() < 0.5:
            return self.one(NUMBERS)
        if self.random.random() < 0.5:
            return round(self.random.uniform(-1000, 1000), self.random.randint(0, 4))
        number = struct.unpack("d", self.random.randbytes(8))[0]
        return number if number - number == 0 else 7

    def scalar(self):
        kind = self.random.randrange(8)
        return [None, True, False, self.number(), self.number()][kind] if kind < 5 else self.one(TEXTS)

    def value(self, depth=0):
        kind = self.random.randrange(8)
        if depth > 2 or kind < 4:
            return self.scalar()
        if kind == 4:
            return self.many(lambda: self.one([*TEXTS[:8], 5, 2.5, True]), 0, 3)
        if kind == 5:
            return self.many(lambda: self.object(depth + 1), 1, 3)
        return self.object(depth + 1)

    def object(self, depth=0):
        return {self.one(NAMES): self.value(depth) for _ in range(self.random.randint(1, 4))}

    def event(self):
        return {"type": "track", "event": "Order Completed", "properties": self.object(), "traits": self.object()}

    def steps(self, scope, names=NAMES):
        """The keys of something in `scope`, or of something missing from an object."""
        value, keys = scope, []
        while isinstance(value, dict | list) and value and (not keys or self.random.random() < 0.8):
            if isinstance(value, list):
                key = self.random.randrange(len(value))
                value = value[key]
            elif self.random.random() < 0.05:
                return [*keys, "zz"]
            else:
                key = self.one([key for key in value if key in (*names, "properties", "traits", "type")] or ["zz"])
                value = value.get(key)
            keys.append(key)
        return keys

    def path(self, scope):
        def written(key):
            if isinstance(key, int):
                return self.one([f"[{key}]", f".{key}"])
            return f".{key}" if " " not in key or self.random.random() < 0.5 else self.one([f"['{key}']", f'["{key}"]'])

        return self.one(["$.", ""]) + "".join(map(written, self.steps(scope))).removeprefix(".")

    def node(self, scope, depth=0):
        if depth > 3 or self.random.random() < 0.15:
            return self.one([self.one(TEXTS[:10]), self.number(), None, True])
        if self.random.random() < 0.2:
            return {self.one(NAMES): self.node(scope, depth + 1) for _ in range(self.random.randint(0, 3))}
        if self.random.random() < 0.1:
            return self.many(lambda: self.node(scope, depth + 1), 0, 3)
        return self.directive(scope, depth)

    def directive(self, scope, depth):
        makers = [
            self.path_,
            self.template,
            self.literal,
            self.if_,
            self.case,
            self.replace,
            self.array_path,
            self.liquid_,
        ]
        return self.one([*makers, self.flatten, self.merge, self.transform, self.json, self.exclude])(scope, depth + 1)

    def directive_or(self, text, scope, depth):
        return text if self.random.random() < 0.3 or depth > 3 else self.directive(scope, depth)

    def path_(self, scope, _):
        return {"@path": self.path(scope)}

    def template(self, scope, _):
        def part():
            hole = self.path(scope).removeprefix("$.") or "type"
            return self.one([f"{{{{{hole}}}}}", f"{{{{{{ {hole} }}}}}}", "Hi ", " $& ", "{", "é", "{{}}"])

        return {"@template": "".join(self.many(part, 0, 4))}

    def literal(self, scope, depth):
        return {"@literal": self.node(scope, depth)}

    def if_(self, scope, depth):
        options = {self.one(["exists", "blank"]): self.one([self.path_(scope, 0), self.directive(scope, depth), "x"])}
        options["then"] = self.node(scope, depth)
        if self.random.random() < 0.8:
            options["else"] = self.node(scope, depth) or "other"
        return {"@if": options}

    def case(self, scope, depth):
        operator = self.one(["lower", "upper"])
        return {"@case": {"operator": operator, "value": self.directive_or("straße ﬁ ΑΣ", scope, depth)}}

    def replace(self, scope, depth):
        options = {
            "value": self.directive_or("a.b.a", scope, depth),
            "pattern": self.one(["a", ".", "-", "ß", "k", "true", "1", "İ", "ss"]),
        }
        for key, values in (
            ("replacement", ["", "x", "[$&]", "$$", "$`$'", "$1", "$"]),
            ("ignorecase", [True, False]),
            ("global", [True, False]),
        ):
            if self.random.random() < 0.6:
                options[key] = self.one(values)
        if self.random.random() < 0.3:
            options |= {"pattern2": self.one(["a", "b", "x", "."]), "replacement2": self.one(["", "_", "$&$&"])}
        return {"@replace": options}

    def array_path(self, scope, depth):
        path = self.path(scope)
        found = compile_mapping({"out": {"@path": path}})(scope).get("out")
        item = found[0] if isinstance(found, list) and found else found
        if isinstance(found, list) and not all(isinstance(each, dict) for each in found):
            return {"@arrayPath": [path]}
        shape = (
            {name: self.node(item, depth) for name in NAMES[:2]} if isinstance(item, dict) else {"a": {"@path": "$.a"}}
        )
        return {"@arrayPath": [self.one([path, {"@path": path}]), shape]}

    def flatten(self, scope, depth):
        options = {"value": self.node(scope, depth), "separator": self.one([".", "_", "--"])}
        return {"@flatten": options | ({"omitArrays": True} if self.random.random() < 0.3 else {})}

    def merge(self, scope, depth):
        parts = self.many(
            lambda: self.one([{"@path": "$.traits"}, {self.one(NAMES): self.node(scope, depth) for _ in range(2)}]),
            0,
            3,
        )
        return {"@merge": {"objects": parts, "direction": self.one(["left", "right"])}}

    def transform(self, scope, depth):
        apply = {name: self.node(scope, depth) for name in NAMES[:3]}
        return {
            "@transform": {"apply": apply, "mapping": {name: {"@path": f"$.{self.one(NAMES)}"} for name in NAMES[:2]}}
        }

    def json(self, scope, depth):
        value = self.node(scope, depth)
        return {"@json": {"mode": self.one(["encode", "decode"]), "value": value or [value]}}

    def exclude(self, scope, depth):
        return {"@excludeWhenNull": self.node(scope, depth)}

    def liquid_(self, scope, _=0):
        text = self.liquid(scope)
        return {"@liquid": text if len(text) <= 1000 else "short"}

    def liquid_path(self, scope):
        keys = self.steps(scope, LIQUID_NAMES) or ["zz"]
        keys = keys if isinstance(keys[0], str) and " " not in keys[0] else ["zz"]
        rest = "".join(
            f"[{key}]" if isinstance(key, int) else f".{key}" if " " not in key else f"['{key}']" for key in keys[1:]
        )
        return keys[0] + rest

    def liquid(self, scope, depth=0):
        return "".join(self.many(lambda: self.liquid_part(scope, depth), 1, 4))

    def liquid_part(self, scope, depth):
        kind = self.random.randrange(12)
        if kind < 6 or depth > 1:
            return f"{{{{{self.one(['', '-'])} {self.liquid_value(scope)} {self.one(['', '-'])}}}}}"
        if kind == 6:
            return self.one(
                ["Hi ", " \n x \n", "{% raw %}{{x}}{% endraw %}", "{% comment %}{{ a }}{% endcomment %}", "100% }"]
            )
        if kind < 9:
            tag, inner = self.one(["if", "unless"]), self.liquid(scope, depth + 1)
            other = self.one(["", "{% else %}" + self.liquid(scope, depth + 1)])
            return f"{{% {tag} {self.condition(scope)} %}}{inner}{other}{{% end{tag} %}}"
        if kind == 9:
            return f"{{% assign v = {self.liquid_value(scope)} %}}{{{{ v | {self.filter(scope)} }}}}"
        if kind == 10:
            return f"{{% capture w %}}{self.liquid(scope, depth + 1)}{{% endcapture %}}{{{{ w | size }}}}{{{{ w }}}}"
        return self.one(
            [
                "{% increment n %}{% decrement n %}{{ n }}" if self.counts else "",
                "{% liquid assign q = 5\n echo q | times: 3 %}",
                "{%- # x -%}",
            ]
        )

    def liquid_value(self, scope):
        if self.random.random() < 0.1:
            month, hour = self.random.randint(1, 9), self.random.randint(0, 9)
            return f"'2026-0{month}-11T0{hour}:04:05.6Z' | date: '{self.date_format('sZY')}'"
        path = self.liquid_path(scope)
        first = self.one([path, path, f"{path}.{self.one(['size', 'first', 'last'])}", "'a b'", "2.5", "-7", "true"])
        return " | ".join([first, *self.many(lambda: self.filter(scope), 0, 3)])

    def filter(self, scope):
        n, m = self.random.randint(-3, 6), self.random.randint(1, 4)
        text = self.one(["'a'", "' '", "'b-'", "'é'", "'.'"])
        number = self.one([str(n), "2.5", "0.1", self.liquid_path(scope)])
        now = f"at_most: 9 | at_least: 0 | plus: {self.random.randint(0, 2**31)}"
        maker = self.one([
            lambda: self.one(PLAIN_FILTERS),
            lambda: f"{self.one(['plus', 'minus', 'times', 'divided_by', 'modulo', 'at_least', 'at_most'])}: {number}",
            lambda: f"round: {m}",
            lambda: self.one(["compact | json", "plus: 0 | to_integer"]),  # as null and undefined differ to these
            lambda: f"{now} | date: '{self.date_format()}', {60 * n}",
            lambda: f"{self.one(TEXT_FILTERS)}: {text}",
            lambda: f"{self.one(['replace', 'replace_first', 'replace_last'])}: {text}, {self.one(['b', 'xy', '']) !r}",
            lambda: f"slice: {n}, {m}",
            lambda: f"{self.one(['truncate', 'truncatewords'])}: {m + 3}",
            lambda: f"truncate: {m + 3}, {text}",
            lambda: f"default: {self.one([text, number])}",
            lambda: "default: 'd', allow_false: true",
            lambda: f"slugify: '{self.one(['raw', 'pretty', 'ascii', 'latin', 'none'])}'",
            lambda: f"where: 'a', {self.one(['5', 'true'])}",
        ])  # fmt: skip
        return maker()

    def date_format(self, marks="aAbBCdeHIjklLmMNpPqSuwyYzht%"):
        flags, width = self.one(["", "", "-", "_", "0", "^"]), self.one(["", "", "5"])
        return " ".join(self.many(lambda: f"%{flags}{width}{self.one(marks)}", 1, 4))

    def condition(self, scope):
        left, right = self.liquid_path(scope), self.one(["'Ana'", "5", "2.5", "true", "nil", "empty", "blank", "''"])
        one = self.one(
            [left, f"{left} {self.one(['==', '!='])} {right}", f"{left} contains 'a'", f"3 {self.one(['<', '>='])} 2.5"]
        )
        return one if self.random.random() < 0.7 else f"{one} {self.one(['and', 'or'])} {left}"


def marked(value):
    """A value as the oracle writes it."""
    if value is UNDEFINED:
        return {"$undefined": True}
    if isinstance(value, dict):
        return {key: marked(each) for key, each in value.items()}
    return [marked(each) for each in value] if isinstance(value, list) else value


def ours(mapping, event):
    try:
        return {"ok": json.loads(json_text(marked(compile_mapping(mapping)(event))))}
    except MappingError as error:
        return {"error": str(error)}


def differing(pairs):
    """What we and the original make of each pair, where it isn't the same; an error is an error, whatever its text."""
    answers = ask("mappings.js", [{"mapping": mapping, "event": event} for mapping, event in pairs])
    for (mapping, event), theirs in zip(pairs, answers, strict=True):
        mine = ours(mapping, event)
        if ("error" in mine) != ("error" in theirs) or mine.get("ok") != theirs.get("ok"):
            yield json.dumps({"mapping": mapping, "event": event, "theirs": theirs, "ours": mine}, ensure_ascii=False)


def test_directive_trees_make_what_the_original_makes():
    made = Generator(SEED)
    pairs = []
    for _ in range(PAIRS):
        event = made.event()
        pairs.append(({name: made.node(event) for name in ("out", "also")}, event))
    assert "" == "\n".join(differing(pairs))


def test_liquid_texts_print_what_the_original_prints():
    made = Generator(SEED, counts=True)
    pairs = []
    for _ in range(PAIRS):
        event = made.event()
        pairs.append(({"out": made.liquid_(event)}, event))
    assert "" == "\n".join(differing(pairs))


def test_numbers_are_written_as_the_original_writes_them():
    made = Generator(SEED)
    pairs = []
    for _ in range(PAIRS):
        event = {"n": made.number(), "m": made.number()}
        text = {"value": {"@path": "$.n"}, "pattern": "x"}
        mapping = {
            "template": {"@template": "{{n}} {{m}}"},
            "liquid": {"@liquid": "{{n}} {{ n | times: m | round: 2 }}"},
        }
        pairs.append(
            (
                mapping
                | {"replace": {"@replace": text}, "json": {"@json": {"mode": "encode", "value": [{"@path": "n"}]}}},
                event,
            )
        )
    assert "" == "\n".join(differing(pairs))


def test_letters_have_the_original_case():
    """Those that Python's older Unicode maps; and sigma, which looks at its neighbours."""
    letters = [chr(code) for code in range(0x20000) if chr(code).upper() != chr(code) or chr(code).lower() != chr(code)]
    words = letters + ["".join(word) for word in itertools.product("\u0391Σ\u03c3a.'\u0301 İI\u00ad", repeat=3)]
    pairs = [
        ({"out": {"@case": {"operator": operator, "value": {"@path": "$.a"}}}}, {"a": " ".join(words[at : at + 500])})
        for operator in ("lower", "upper")
        for at in range(0, len(words), 500)
    ]
    assert "" == "\n".join(differing(pairs))
