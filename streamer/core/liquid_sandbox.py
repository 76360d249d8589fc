"""Liquid as Segment has it, compiled to closures that reach nothing but the scope: no file, no clock.

`compile_liquid` parses once. Work, texts and output are bounded by counts, never by a clock, so that an event ends the
same way each time. Results are liquidjs'; what differs is decided:
- `for` goes through `collapse.items` alone, which are at most 20, and not within another;
- unknown filters and tags, ranges, parentheses and a stray comma are refused (liquidjs ignores or guesses);
- null and what is missing are the same, and members of the host language (`.length`) aren't seen;
- `increment` and `decrement` don't write into the event, and `cycle` counts by its own candidates;
- texts count in characters, not in UTF-16 units;
- where holes must have values, a constant that prints nothing is refused, and arithmetic with what is no number and a
  joined list with gaps are missing, where liquidjs counts 0 and prints `[object Object]`;
- no fault of an event shows a value of it.
"""

from collections.abc import Callable, Iterable
from typing import Any

from liquid.ast import BlockNode, Node
from liquid.builtin.content import ContentNode
from liquid.builtin.output import OutputNode
from liquid.builtin.tags.assign_tag import AssignNode
from liquid.builtin.tags.capture_tag import CaptureNode
from liquid.builtin.tags.comment_tag import CommentNode
from liquid.builtin.tags.cycle_tag import CycleNode
from liquid.builtin.tags.decrement_tag import DecrementNode
from liquid.builtin.tags.if_tag import IfNode
from liquid.builtin.tags.increment_tag import IncrementNode
from liquid.builtin.tags.unless_tag import UnlessNode
from msgspec import Struct

from streamer.core.js_text import liquid_text, printed
from streamer.core.liquid_expressions import CALL_COST, Compiled, Expressions, Frame, Reader, known
from streamer.core.liquid_parse import ITEMS, LoopNode, fault_at, parse_liquid
from streamer.core.template import HoleMissing, Holes, Missing
from streamer.core.work import Work

FORLOOP = "forloop"
_Step = Callable[[Frame], None]


class Liquid(Struct, frozen=True):
    """A compiled template: `render(scope, work)` is its text; `paths` are all it can read outside of its own names.

    `render` raises HoleMissing, where holes must have values, and ValueError for what a filter can't do and beyond the
    bounds. It takes 8 µs with two holes and a filter in each.
    """

    render: Callable[[Any, Work], str]
    paths: tuple[str, ...]


def compile_liquid(text: str, holes: Holes, roots: frozenset[str] | None = None) -> Liquid:
    """Compile a template. Raises: LiquidFault, with the place; with `roots`, for a path that begins otherwise too."""
    nodes = parse_liquid(text)
    compiler = _Compiler(text, holes, roots)
    steps = compiler.steps(nodes)

    def render(scope: Any, work: Work) -> str:
        work.spend(CALL_COST)
        frame = Frame(scope, work)
        for step in steps:
            step(frame)
        return "".join(frame.out)

    return Liquid(render, tuple(compiler.expressions.paths))


class _Compiler:
    """Turns nodes into steps, in the order of the text, so that a name is known after it was set."""

    def __init__(self, text: str, holes: Holes, roots: frozenset[str] | None) -> None:
        self.text = text
        self.holes = holes
        self.expressions = Expressions(text, holes, roots)

    def steps(self, nodes: Iterable[Node]) -> tuple[_Step, ...]:
        return tuple(step for node in nodes if (step := self.step(node)) is not None)

    def step(self, node: Node) -> _Step | None:
        """The step of a node; None for a comment. Raises: LiquidFault."""
        match node:
            case CommentNode():
                return None
            case ContentNode():
                return _writer(node.text)
            case OutputNode():
                value = self.expressions.filtered(node.expression)
                self._check_prints(value, node)
                return self._output(value)
            case IfNode() | UnlessNode():
                return self._branches(node)
            case AssignNode():
                return self._assign(str(node.name), self.expressions.filtered(node.expression))
            case CaptureNode():
                return self._capture(str(node.name), node.block)
            case IncrementNode() | DecrementNode():
                return self._counter(str(node.name), 1 if isinstance(node, IncrementNode) else -1)
            case CycleNode():
                return self._cycle(node)
            case LoopNode():
                return self._loop(node)
        raise fault_at(self.text, node.token, "this is not understood here")

    def _check_prints(self, value: Compiled, node: OutputNode) -> None:
        """Raises: LiquidFault, for a constant that prints nothing, where holes must have values."""
        if value.origin is not None or self.holes is not Holes.SUPPRESS:
            return
        made = value.read(Frame({}, Work()))
        if printed(made) is None and not (isinstance(made, str) and made):  # a blank is what its author wants
            raise fault_at(self.text, node.expression.token, "this prints nothing, whatever the event is")

    def _output(self, value: Compiled) -> _Step:
        read, origin = value.read, value.origin
        if origin is None or self.holes is Holes.ORIGINAL:
            return lambda frame: frame.write(_spelled(frame, read))
        if self.holes is Holes.EMPTY:

            def output_or_empty(frame: Frame) -> None:
                shown = known(read(frame))
                frame.work.spend(len(shown) if isinstance(shown, str) else 0)
                frame.write(printed(shown) or "")

            return output_or_empty

        def output(frame: Frame) -> None:
            shown = read(frame)
            text = printed(shown)
            if text is None:
                raise HoleMissing(shown.path if isinstance(shown, Missing) else origin)
            frame.write(text)

        return output

    def _branches(self, node: IfNode | UnlessNode) -> _Step:
        first = self.expressions.condition(node.condition)
        wanted = isinstance(node, IfNode)
        then = self.steps(node.consequence.nodes)
        others = [
            (self.expressions.condition(each.expression), self.steps(each.block.nodes)) for each in node.alternatives
        ]
        otherwise = self.steps(node.default.nodes) if node.default else ()

        def branch(frame: Frame) -> None:
            chosen = then if first(frame) is wanted else next((do for is_met, do in others if is_met(frame)), otherwise)
            for step in chosen:
                step(frame)

        return branch

    def _assign(self, name: str, value: Compiled) -> _Step:
        read, origin = value.read, value.origin
        self.expressions.origins[name] = origin or ""
        is_strict = self.holes is Holes.SUPPRESS and origin is not None

        def assign(frame: Frame) -> None:
            result = read(frame)
            frame.work.spend(1)
            frame.locals[name] = Missing(origin or "") if is_strict and result is None else result

        return assign

    def _capture(self, name: str, block: BlockNode) -> _Step:
        steps = self.steps(block.nodes)
        self.expressions.origins[name] = ""

        def capture(frame: Frame) -> None:
            outer, frame.out = frame.out, []
            try:
                for step in steps:
                    step(frame)
                frame.locals[name] = "".join(frame.out)
            except HoleMissing as hole:
                frame.locals[name] = Missing(hole.path)
            frame.out = outer

        return capture

    def _counter(self, name: str, change: int) -> _Step:
        self.expressions.origins.setdefault(name, "")

        def count(frame: Frame) -> None:
            before = frame.counters.get(name, 0)
            frame.counters[name] = before + change
            frame.write(str(before if change > 0 else before + change))

        return count

    def _loop(self, node: LoopNode) -> _Step:
        """Each item by its name, with `forloop` as liquidjs has it. Raises: LiquidFault, for one within another."""
        origins = self.expressions.origins
        if FORLOOP in origins:
            raise fault_at(self.text, node.token, "a loop within a loop")
        read = self.expressions.value(node.path).read
        outer = dict(origins)
        origins |= dict.fromkeys((node.name, FORLOOP), ".".join(ITEMS))
        steps = self.steps(node.nodes)
        for name in (node.name, FORLOOP):
            del origins[name]
        origins |= {name: origin for name, origin in outer.items() if name == node.name}

        def loop(frame: Frame) -> None:
            items = known(read(frame))
            outside = frame.locals
            for at, item in enumerate(items if isinstance(items, list) else ()):
                frame.work.spend(CALL_COST)
                frame.locals = {**outside, node.name: item, FORLOOP: _place(at, len(items))}
                try:
                    for step in steps:
                        step(frame)
                finally:
                    made = frame.locals
                    frame.locals = outside
                    outside.update((name, each) for name, each in made.items() if name not in (node.name, FORLOOP))

        return loop

    def _cycle(self, node: CycleNode) -> _Step:
        group = self.expressions.value(node.group).read if node.group else None
        candidates = [self._output(self.expressions.value(each)) for each in node.args]
        texts = tuple(str(each) for each in node.args)

        def cycle(frame: Frame) -> None:
            key = (_spelled(frame, group) if group else "", *texts)
            at = frame.cycles.get(key, 0)
            frame.cycles[key] = (at + 1) % len(candidates)
            candidates[at](frame)

        return cycle


def _place(at: int, count: int) -> dict[str, Any]:
    """Where a loop is, of `count` items."""
    return {
        "first": at == 0,
        "last": at == count - 1,
        "index": at + 1,
        "index0": at,
        "rindex": count - at,
        "rindex0": count - at - 1,
        "length": count,
    }


def _spelled(frame: Frame, read: Reader) -> str:
    """A value as liquidjs prints it, objects and lists too."""
    value = known(read(frame))
    if isinstance(value, list):
        frame.work.spend_whole(value)
    return liquid_text(value)


def _writer(text: str) -> _Step:
    return lambda frame: frame.write(text)
