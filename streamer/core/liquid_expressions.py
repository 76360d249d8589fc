"""Expressions of python-liquid's tree as closures over a `Frame`: paths, conditions, and values through filters.

Truth, comparison and member access are liquidjs'. Where holes must have values, one that is missing stays `Missing`
through every filter but `default`, so that no filter makes a text of nothing.
"""

import difflib
import math
from collections.abc import Callable
from typing import Any, Final

from liquid.builtin.expressions import FilteredExpression, KeywordArgument, Nil, Path
from liquid.builtin.expressions import Literal as LiteralExpression
from liquid.builtin.expressions.filtered import Filter as FilterCall
from liquid.builtin.expressions.logical import (
    BooleanExpression,
    ContainsExpression,
    EqExpression,
    GeExpression,
    GtExpression,
    LeExpression,
    LogicalAndExpression,
    LogicalOrExpression,
    LtExpression,
    NeExpression,
)
from liquid.builtin.expressions.primitive import Blank, Empty
from liquid.expression import Expression
from msgspec import Struct

from streamer.core.caret import describe
from streamer.core.js_text import JS_SPACES, liquid_text, number_of, printed
from streamer.core.liquid_filters import FILTERS, FILTERS_OFF, Filter, bounded, equal, is_numeric
from streamer.core.liquid_parse import LiquidFault, fault_at
from streamer.core.liquid_values import HALF_PAIR, member, unescaped, unknown
from streamer.core.template import Holes, Missing
from streamer.core.work import ITEM_COST, Work

# One condition recurses on each of its parts.
CONDITION_PARTS_MAX: Final = 20
OUTPUT_CHARS_MAX: Final = 16_384
# What calling a filter costs, whatever it is given: 2 µs.
CALL_COST: Final = 16


class Frame:
    """One rendering: what it reads, what it has set, what it has printed."""

    __slots__ = ("counters", "cycles", "locals", "out", "scope", "work", "written")

    def __init__(self, scope: Any, work: Work) -> None:
        self.scope = scope
        self.work = work
        self.locals: dict[str, Any] = {}
        self.counters: dict[str, int] = {}
        self.cycles: dict[tuple[str, ...], int] = {}
        self.out: list[str] = []
        self.written = 0

    def write(self, text: str) -> None:
        """Print a text. Raises: ValueError, beyond OUTPUT_CHARS_MAX, captured texts included."""
        self.written += len(text)
        if self.written > OUTPUT_CHARS_MAX:
            raise ValueError(f"makes more than {OUTPUT_CHARS_MAX} characters")
        self.out.append(text)


Reader = Callable[[Frame], Any]


class Compiled(Struct, frozen=True):
    """A value of an expression; `origin` is the path whose absence would be its absence, if it reads one."""

    read: Reader
    origin: str | None


class Expressions:
    """Compiles the expressions of one template and notes the paths they read and the names that the template sets."""

    def __init__(self, text: str, holes: Holes, roots: frozenset[str] | None) -> None:
        self.text = text
        self.holes = holes
        self.roots = roots
        self.paths: dict[str, None] = {}
        self.origins: dict[str, str] = {}

    def condition(self, expression: Expression) -> Callable[[Frame], bool]:
        """The truth of a condition. Raises: LiquidFault."""
        inner = expression.expression if isinstance(expression, BooleanExpression) else expression
        if _parts(inner) > CONDITION_PARTS_MAX:
            fault = f"a condition has at most {CONDITION_PARTS_MAX} parts"
            raise fault_at(self.text, expression.token, fault)
        read = self.value(inner).read
        return lambda frame: is_true(read(frame))

    def filtered(self, expression: Expression) -> Compiled:
        """A value through its filters. Raises: LiquidFault."""
        if not isinstance(expression, FilteredExpression) or not expression.filters:
            return self.value(expression.left if isinstance(expression, FilteredExpression) else expression)
        left = self.value(expression.left)
        steps = [_Step(self, call) for call in expression.filters]
        origin = next((path for path in (left.origin, *(step.origin for step in steps)) if path is not None), None)
        if self.holes is Holes.SUPPRESS:
            read = _strict_chain(left, steps, origin or "")
        else:
            read = _chain(left.read, steps, prints_code=self.holes is Holes.ORIGINAL)
        if origin is None and self.holes is not Holes.ORIGINAL:
            self._try(read, steps[-1])
        return Compiled(read, origin)

    def _try(self, read: Reader, last: "_Step") -> None:
        """Make a constant once. Raises: LiquidFault, where that fails, or where it is nothing and mustn't be."""
        if isinstance(_made(read), Missing):
            raise fault_at(self.text, last.token, f"`{last.name}` has nothing to work with or makes nothing here")

    def value(self, expression: Expression) -> Compiled:
        """A value without filters. Raises: LiquidFault, for what Segment's Liquid has not."""
        if isinstance(expression, Path):
            return self._path(expression)
        if isinstance(expression, LiteralExpression):
            literal = expression.value
            try:
                return _constant(unescaped(literal) if isinstance(literal, str) else literal)
            except UnicodeError:
                raise fault_at(self.text, expression.token, HALF_PAIR) from None
        if isinstance(expression, Nil):
            return _constant(None)
        if isinstance(expression, Empty | Blank):
            return _constant("")
        if isinstance(expression, LogicalAndExpression | LogicalOrExpression):
            return self._logical(expression)
        if isinstance(expression, EqExpression | NeExpression):
            return self._equality(expression)
        comparison = _COMPARISONS.get(type(expression))
        if comparison is None:
            raise fault_at(self.text, expression.token, "this is not understood here")
        left, right = self.value(expression.left).read, self.value(expression.right).read  # type: ignore[attr-defined]
        return Compiled(lambda frame: comparison(frame.work, known(left(frame)), known(right(frame))), None)

    def _logical(self, expression: LogicalAndExpression | LogicalOrExpression) -> Compiled:
        left, right = self.value(expression.left).read, self.value(expression.right).read
        if isinstance(expression, LogicalAndExpression):
            return Compiled(lambda frame: is_true(left(frame)) and is_true(right(frame)), None)
        return Compiled(lambda frame: is_true(left(frame)) or is_true(right(frame)), None)

    def _equality(self, expression: EqExpression | NeExpression) -> Compiled:
        wanted = isinstance(expression, EqExpression)
        for one, other in ((expression.left, expression.right), (expression.right, expression.left)):
            if isinstance(one, Empty | Blank):
                return self._emptiness(other, _is_empty if isinstance(one, Empty) else _is_blank, wanted)
        left, right = self.value(expression.left).read, self.value(expression.right).read
        return Compiled(lambda frame: equal(frame.work, known(left(frame)), known(right(frame))) is wanted, None)

    def _emptiness(self, expression: Expression, is_so: Callable[[Any], bool], wanted: bool) -> Compiled:
        read = self.value(expression).read

        def is_as_wanted(frame: Frame) -> bool:
            value = known(read(frame))
            frame.work.spend(_size(value))
            return is_so(value) is wanted

        return Compiled(is_as_wanted, None)

    def _path(self, path: Path) -> Compiled:
        root, *rest = path.path
        if not isinstance(root, str):
            raise fault_at(self.text, path.token, "a path begins with a name")
        keys = [self._path(key).read if isinstance(key, Path) else key for key in rest]
        text = _path_text(path)
        is_local = root in self.origins
        if not is_local:
            if self.roots is not None and (fault := unknown(path.path, self.roots)):
                raise fault_at(self.text, path.token, fault)
            self.paths[text] = None
        return Compiled(_path_reader(root, keys, is_local), (self.origins[root] or text) if is_local else text)


class _Step:
    """One filter of a chain."""

    def __init__(self, expressions: Expressions, call: FilterCall) -> None:
        self.text = expressions.text
        self.token = call.token
        self.name = call.name
        self.filter = self._known(len([each for each in call.args if not isinstance(each, KeywordArgument)]))
        self.args = []
        self.allows_false: Reader | None = None
        for arg in call.args:
            compiled = expressions.value(arg.value)
            if not isinstance(arg, KeywordArgument):
                self.args.append(compiled)
            elif self.name == "default" and arg.name == "allow_false":
                self.allows_false = compiled.read
            else:
                raise fault_at(self.text, arg.token, f"`{self.name}` takes no argument named `{arg.name[:40]}`")
        self.origin = next((arg.origin for arg in self.args if arg.origin is not None), None)
        if expressions.holes is not Holes.ORIGINAL:
            self._try_constants(expressions.holes)

    def _try_constants(self, holes: Holes) -> None:
        """Raises: LiquidFault, where the arguments fail for every event."""
        needs_number = self.filter.takes_numbers and holes is Holes.SUPPRESS and self.args
        if needs_number and self.args[0].origin is None and not is_numeric(_made(self.args[0].read)):
            raise fault_at(self.text, self.token, f"`{self.name}` takes a number")
        if self.filter.sample is not None and self.origin is None:
            _made(lambda frame: self.apply(frame, self.filter.sample, [known(arg.read(frame)) for arg in self.args]))

    def _known(self, count: int) -> Filter:
        """The filter of this name, which takes `count` arguments. Raises: LiquidFault."""
        known = _DEFAULT if self.name == "default" else FILTERS.get(self.name)
        if self.name in FILTERS_OFF:
            fault = f"the filter `{self.name}` is off"
        elif known is None:
            near = difflib.get_close_matches(self.name[:40], [*FILTERS, "default"], n=1)
            fault = f"unknown filter `{self.name[:40]}`" + (f"; did you mean `{near[0]}`?" if near else "")
        elif not known.least <= count <= known.most:
            wanted = f"{known.least}" if known.least == known.most else f"{known.least} to {known.most}"
            fault = f"the filter `{self.name}` takes {wanted} arguments, not {count}"
        else:
            return known
        raise fault_at(self.text, self.token, fault)

    def apply(self, frame: Frame, value: Any, args: list[Any]) -> Any:
        """The filter's result, within bounds. Raises: ValueError, showing the filter's place."""
        work = frame.work
        try:
            work.spend(CALL_COST)
            cost = self.filter.cost
            if self.filter.walks and isinstance(value, list | dict):
                work.spend_whole(value)
            else:
                work.spend(cost * _size(value))
            for arg in args:  # a list among them is printed
                work.spend(cost * len(arg)) if isinstance(arg, str) else work.spend_whole(arg)
            result = self.filter.call(work, value, *args)
            size = _size(result)
            bounded(size)
            work.spend(size)
        except UnicodeError:  # whose own words hold the value
            raise ValueError(describe(self.text, self.token.start_index, f"`{self.name}`: not UTF-8")) from None
        except (ValueError, ArithmeticError) as exc:
            raise ValueError(describe(self.text, self.token.start_index, f"`{self.name}`: {exc}")) from exc
        return result


def _chain(left: Reader, steps: list[_Step], *, prints_code: bool) -> Reader:
    """Filters as liquidjs runs them: what is missing is null to them, and what is no text unless `prints_code`."""

    def read(frame: Frame) -> Any:
        value = known(left(frame))
        for step in steps:
            if step.filter is _DEFAULT:
                if _wants_default(step, frame, value):
                    value = step.args[0].read(frame) if step.args else None
            else:
                args = [known(arg.read(frame)) for arg in step.args]
                if not prints_code:
                    value = None if _is_code(value, step) else value
                    args = [None if _is_code(arg, step) else arg for arg in args]
                value = step.apply(frame, value, args)
        return value

    return read


def _made(read: Reader) -> Any:
    """A constant. Raises: LiquidFault, showing the filter that can't."""
    try:
        return read(Frame({}, Work()))
    except ValueError as exc:
        raise LiquidFault(str(exc)) from exc


def _strict_chain(left: Compiled, steps: list[_Step], origin: str) -> Reader:
    """Filters that only `default` can rescue from a missing value, be it the first one or an argument.

    A blank text that the author wrote is none: `{{ '' | append: name }}`.
    """

    def read(frame: Frame) -> Any:
        value = left.read(frame)
        is_written = left.origin is None and isinstance(value, str)
        for step in steps:
            if step.filter is _DEFAULT:
                frame.work.spend(_size(value))
                if isinstance(value, Missing) or _is_nothing(value) or _wants_default(step, frame, value):
                    value = step.args[0].read(frame) if step.args else None
            elif isinstance(value, Missing):
                continue
            elif (_is_nothing(value) and not is_written) or _is_code(value, step):
                value = Missing(origin)
            else:
                args = [arg.read(frame) for arg in step.args]
                value = _missing_of(step, args) or _fitting(step, frame, value, args, origin)
            is_written = False
        return Missing(origin) if value is None else value

    return read


def _fitting(step: _Step, frame: Frame, value: Any, args: list[Any], origin: str) -> Any:
    """What a filter makes; Missing, where it would make a wrong price or a list with gaps."""
    filter_ = step.filter
    if filter_.takes_numbers:
        for given, path in (
            (value, origin),
            *((arg, each.origin) for arg, each in zip(args[:1], step.args, strict=False)),
        ):
            if not is_numeric(given):
                return Missing(path or origin)
    made = step.apply(frame, value, args)
    return made if filter_.fits is None or filter_.fits(frame.work, value, *args) else Missing(origin)


def _missing_of(step: _Step, args: list[Any]) -> Missing | None:
    """The first argument of a filter that names a path and has nothing that prints."""
    for compiled, value in zip(step.args, args, strict=True):
        if isinstance(value, Missing):
            return value
        if compiled.origin is not None and printed(value) is None:
            return Missing(compiled.origin)
    return None


def _wants_default(step: _Step, frame: Frame, value: Any) -> bool:
    if isinstance(value, str | list):
        return not value
    if value is False and step.allows_false is not None and is_true(step.allows_false(frame)):
        return False
    return value is None or value is False


_DEFAULT: Final = Filter(lambda _, value: value, 0, 1, takes_lists=True)


def _size(value: Any) -> int:
    return len(value) if isinstance(value, str | list) else 0


def known(value: Any) -> Any:
    """A value for which missing is null."""
    return None if isinstance(value, Missing) else value


def is_true(value: Any) -> bool:
    """Liquid's truth: all but false, null and what is missing."""
    return value is not None and value is not False and not isinstance(value, Missing)


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and printed(value) is None)


def _is_code(value: Any, step: _Step) -> bool:
    """Whether a value would be printed as code: an object or list in a text, a number that isn't finite."""
    if isinstance(value, list | dict):
        return not step.filter.takes_lists
    return isinstance(value, float) and not math.isfinite(value)


def _is_empty(value: Any) -> bool:
    return isinstance(value, str | list | dict) and not value


def _is_blank(value: Any) -> bool:
    return (
        value is None or value is False or _is_empty(value) or (isinstance(value, str) and not value.strip(JS_SPACES))
    )


def _compared(test: Callable[[Any, Any], bool]) -> Callable[[Work, Any, Any], bool]:
    """Texts are compared by character, everything else as JavaScript's numbers; null compares to nothing."""

    def compare(work: Work, left: Any, right: Any) -> bool:
        if isinstance(left, str) and isinstance(right, str):
            work.spend(min(len(left), len(right)))
            return test(left, right)
        for each in (left, right):
            if isinstance(each, str | list):
                work.spend_whole(each)
        return left is not None and right is not None and test(number_of(left), number_of(right))

    return compare


def _contains(work: Work, left: Any, right: Any) -> bool:
    if isinstance(left, list):
        work.spend(ITEM_COST * len(left))
        return any(equal(work, item, right) for item in left)
    if not isinstance(left, str):
        return False
    work.spend(len(left))
    work.spend_whole(right)
    return right is not None and liquid_text(right) in left


_COMPARISONS: Final[dict[type[Expression], Callable[[Work, Any, Any], bool]]] = {
    LtExpression: _compared(lambda left, right: left < right),
    LeExpression: _compared(lambda left, right: left <= right),
    GtExpression: _compared(lambda left, right: left > right),
    GeExpression: _compared(lambda left, right: left >= right),
    ContainsExpression: _contains,
}


def _constant(value: Any) -> Compiled:
    return Compiled(lambda _: value, None)


def _parts(expression: Expression) -> int:
    """How many operators a condition has."""
    count, pending = 0, [expression]
    while pending:
        each = pending.pop()
        if not isinstance(each, Path):
            inner = list(each.children())
            count += len(inner) > 1
            pending += inner
    return count


def _path_text(path: Path) -> str:
    root, *rest = path.path
    return str(root) + "".join(f".{key}" if isinstance(key, str) else f"[{_inner(key)}]" for key in rest)


def _inner(key: int | Path) -> str:
    return _path_text(key) if isinstance(key, Path) else str(key)


def _path_reader(root: str, keys: list[Any], is_local: bool) -> Reader:
    def read(frame: Frame) -> Any:
        if is_local and root in frame.locals:
            value = frame.locals[root]
        else:
            value = member(frame.scope, root)
            if value is None and is_local:
                value = frame.counters.get(root)
        for key in keys:
            if value is None or isinstance(value, Missing):
                break
            value = member(value, key(frame) if callable(key) else key)
        return value

    return read
