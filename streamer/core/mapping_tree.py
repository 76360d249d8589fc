"""Compiles a JSON tree with directives and templates in it to closures, collecting every fault with its path.

A node reads a scope, which is an event or an item of a list, within the `Work` of one evaluation. `directives` has the
directives themselves, `mapping` what others use. Depth, nodes and characters are bounded: no tree exhausts the stack.
"""

import difflib
import math
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from streamer.core.directive_objects import defined
from streamer.core.directive_paths import DirectivePath
from streamer.core.js_text import UNDEFINED, liquid_text, printed
from streamer.core.liquid_parse import LiquidFault
from streamer.core.liquid_sandbox import compile_liquid
from streamer.core.liquid_values import HALF_PAIR, unknown
from streamer.core.template import HoleMissing, Holes, Missing, Template, compile_template
from streamer.core.work import ITEM_COST, Work
from streamer.errors import MappingError, TemplateError

DEPTH_MAX: Final = 32
NODES_MAX: Final = 5000
CHARS_MAX: Final = 262_144
FAULTS_MAX: Final = 100
PLAIN_HOLES_MAX: Final = 20
MARKS: Final = ("{{", "{%")
_LIQUID_MEMBERS: Final = ("size", "first", "last")

Read = Callable[[Any, Work], Any]


class NotConstant(Enum):
    """The type of NOT_CONSTANT, so that a type checker can tell it from a value."""

    NOT_CONSTANT = "not constant"


# Stands for the value of what depends on the event.
NOT_CONSTANT: Final = NotConstant.NOT_CONSTANT


class Node(Struct, frozen=True):
    """A compiled part: its reader, its value if it has the same for every event, and the template it is, if plain."""

    read: Read
    constant: Any = NOT_CONSTANT
    template: Template | None = None


class At(Struct, frozen=True):
    """Where a part stands. `prefix` leads from the event to the scope (None: it isn't of the event); `keeps` says that
    an object keeps its undefined keys, for @merge, which lets them delete others.
    """

    path: str
    depth: int = 0
    prefix: str | None = ""
    keeps: bool = False
    is_literal: bool = False

    def under(self, key: str | int) -> "At":
        """The place of a member or item."""
        return replace(self, path=f"{self.path}/{key}", depth=self.depth + 1, keeps=False)


def constant(value: Any) -> Node:
    """The node of a value that is the same for every event."""
    return Node(lambda _scope, _work: value, value)


NOTHING: Final = constant(UNDEFINED)
Directive = Callable[["Compiler", Any, At], Node]


class Compiler:
    """Compiles one tree. A part with a fault becomes NOTHING; the caller looks at `faults` before using it."""

    def __init__(self, directives: Mapping[str, Directive], holes: Holes, roots: frozenset[str] | None) -> None:
        self.directives = directives
        self.holes = holes
        self.roots = roots
        self.faults: list[tuple[str, str]] = []
        self.paths: dict[str, None] = {}
        self.nodes = 0
        self.chars = 0
        self.is_full = False

    @property
    def is_original(self) -> bool:
        """Whether the original's accidents with false, 0 and "" are wanted."""
        return self.holes is Holes.ORIGINAL

    @property
    def is_faulty(self) -> bool:
        """Whether no more faults are kept, so that there is no need to word them."""
        return len(self.faults) >= FAULTS_MAX

    @property
    def size(self) -> int:
        """How large the tree is so far: what evaluating it once costs, in units of `Work`."""
        return ITEM_COST * self.nodes + self.chars

    def fault(self, path: str, text: str) -> Node:
        """Note a fault; the first FAULTS_MAX are kept."""
        if not self.is_faulty:
            self.faults.append((path or "/", text))
        return NOTHING

    def node(self, value: Any, at: At) -> Node:
        """Compile a part."""
        self.nodes += 1
        if at.depth > DEPTH_MAX:
            return self.fault(at.path, f"nested deeper than {DEPTH_MAX} levels")
        if self.is_full:
            return NOTHING
        if self.nodes > NODES_MAX or self.chars > CHARS_MAX:
            self.is_full = True
            return self.fault(at.path, f"more than {NODES_MAX} parts or {CHARS_MAX} characters")
        if isinstance(value, str):
            return self._text(value, at)
        if isinstance(value, dict):
            return self._object(value, at)
        if isinstance(value, list):
            return self._list(value, at)
        if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
            return constant(value)
        return self.fault(at.path, f"{type(value).__name__} is not a JSON value")

    def options(self, value: Any, at: At, known: tuple[str, ...]) -> dict[str, Any] | None:
        """The options of a directive; None, with a fault, for what is no object. Unknown ones are faults, but for the
        original, which ignores them.
        """
        if not isinstance(value, dict) or is_directive(value):
            self.fault(at.path, f"must be an object with {', '.join(known)}")
            return None
        for key in value:
            if key in known:
                continue
            if self.is_original and isinstance(key, str):
                self.node(value[key], at.under(key))  # not used, but checked
            elif not self.is_faulty:
                self.fault(f"{at.path}/{str(key)[:80]}", f"unknown option; {nearest(str(key), known)}")
        return value

    def reads(self, path: DirectivePath, at: At) -> None:
        """Note that a path is read; a fault, where it begins with nothing that there is."""
        if at.prefix is None or not path.text:
            return
        self.paths[at.prefix + path.text] = None
        if (
            not at.prefix
            and self.roots is not None
            and not self.is_faulty
            and (fault := unknown(path.keys, self.roots))
        ):
            self.fault(at.path, fault)

    def liquid(self, text: str, at: At) -> Node:
        """Compile a Liquid text."""
        roots = self.roots if at.prefix == "" else None
        try:
            liquid = compile_liquid(text, self.holes, roots)
        except LiquidFault as exc:
            return self.fault(at.path, str(exc))
        if at.prefix is not None:
            self.paths.update((at.prefix + path, None) for path in liquid.paths)
        return Node(guarded(at.path, liquid.render))

    def _text(self, text: str, at: At) -> Node:
        self.chars += len(text)
        if not is_whole(text):
            return self.fault(at.path, HALF_PAIR)
        if at.is_literal or not any(mark in text for mark in MARKS):
            if not at.is_literal and not self.is_original and ("}}" in text or "%}" in text):
                return self.fault(at.path, "a `}}` or `%}` closes nothing")
            return constant(text)
        template = _plain(text) if at.prefix == "" else None
        if template is None:
            return self.liquid(text, at)
        self.paths.update((path, None) for path in template.paths)
        return Node(guarded(at.path, _rendered(template, self.holes)), template=template)

    def _object(self, value: dict[Any, Any], at: At) -> Node:
        if is_directive(value):
            return self._directive(value, at)
        fields: list[tuple[str, Node]] = []
        for key, item in value.items():
            if isinstance(key, str):
                self.chars += len(key)
                fields.append((key, self.node(item, at.under(key))))
            else:
                self.fault(f"{at.path}/{str(key)[:80]}", "a key is a text; put it into quotes")
        reads = [(key, node.read) for key, node in fields]

        def read_all(scope: Any, work: Work) -> dict[str, Any]:
            return {key: read(scope, work) for key, read in reads}

        def read_defined(scope: Any, work: Work) -> dict[str, Any]:
            result = {}
            for key, read in reads:
                field = read(scope, work)
                if field is not UNDEFINED:
                    result[key] = field
            return result

        is_constant = all(node.constant is not NOT_CONSTANT for _, node in fields)
        whole = defined({key: node.constant for key, node in fields}) if is_constant else NOT_CONSTANT
        return Node(read_all if at.keeps else read_defined, whole)

    def _list(self, items: list[Any], at: At) -> Node:
        nodes = [self.node(item, at.under(index)) for index, item in enumerate(items)]
        reads = [node.read for node in nodes]
        is_constant = all(node.constant is not NOT_CONSTANT for node in nodes)
        whole = [node.constant for node in nodes] if is_constant else NOT_CONSTANT
        return Node(lambda scope, work: [read(scope, work) for read in reads], whole)

    def _directive(self, value: dict[Any, Any], at: At) -> Node:
        names = [key for key in value if isinstance(key, str) and key.startswith("@")]
        others = [key for key in value if key not in names and key != "_metadata"]
        if len(names) > 1 or others:
            return self.fault(at.path, f"a directive stands alone, but here are {', '.join(map(str, value))[:200]}")
        (name,) = names
        compile_directive = self.directives.get(name)
        if compile_directive is None:
            return self.fault(at.path, f"unknown directive {name[:40]}; {nearest(name, tuple(self.directives))}")
        if isinstance(value[name], str) and not is_whole(value[name]):
            return self.fault(f"{at.path}/{name}", HALF_PAIR)
        return compile_directive(self, value[name], replace(at, path=f"{at.path}/{name}", depth=at.depth + 1))


def is_directive(value: Any) -> bool:
    """Whether an object is, or tries to be, a directive."""
    return isinstance(value, dict) and any(isinstance(key, str) and key.startswith("@") for key in value)


def is_whole(text: str) -> bool:
    """Whether a text can be sent: half a surrogate pair is no character."""
    try:
        text.encode()
    except UnicodeError:
        return False
    return True


def guarded(path: str, read: Read) -> Read:
    """A reader whose faults name their place. It raises MappingError for a ValueError of `read`."""

    def read_guarded(scope: Any, work: Work) -> Any:
        try:
            return read(scope, work)
        except ValueError as exc:
            raise MappingError([(path or "/", str(exc))]) from exc

    return read_guarded


def nearest(name: str, known: tuple[str, ...]) -> str:
    """What was perhaps meant by `name`, or what there is."""
    near = difflib.get_close_matches(name[:80], known, n=1)
    return f"did you mean {near[0]}?" if near else f"there is {', '.join(known)}"


def _plain(text: str) -> Template | None:
    """A text whose holes are plain paths, as the join that takes 0.5 µs a hole; None for every other."""
    if "{{-" in text or "-}}" in text or "{%" in text:
        return None
    try:
        template = compile_template(text.replace("{{$.", "{{").replace("{{ $.", "{{ "))
    except TemplateError:
        return None
    is_plain = len(template.holes) <= PLAIN_HOLES_MAX  # more are left to Liquid, which bounds what they make
    return template if is_plain and all(path.keys[-1] not in _LIQUID_MEMBERS for path, _ in template.holes) else None


def _rendered(template: Template, holes: Holes) -> Read:
    if holes is Holes.SUPPRESS:

        def render(scope: Any, work: Work) -> str:
            text = template.render(scope)
            if isinstance(text, Missing):
                raise HoleMissing(text.path)
            work.spend(len(text))
            return text

        return render
    show = liquid_text if holes is Holes.ORIGINAL else _printed_or_empty

    def render_all(scope: Any, work: Work) -> str:
        values = [path.read(scope) for path, _ in template.holes]
        for value in values:
            work.spend_whole(value)
        shown = [show(value) + text_after for value, (_, text_after) in zip(values, template.holes, strict=True)]
        return template.start + "".join(shown)

    return render_all


def _printed_or_empty(value: Any) -> str:
    return printed(value) or ""
