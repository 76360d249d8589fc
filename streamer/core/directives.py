"""Segment's 13 mapping-kit directives, each compiled to a closure over a scope and the `Work` of one evaluation.

Results are the original's; what differs is decided:
- what the original finds out on every event (no operator, no separator, a filter that is off) is found at load;
- `LEFT` and `Encode` are refused: the original accepts and then ignores them;
- paths: see `directive_paths`; a value's own braces are never holes;
- outside of `Holes.ORIGINAL`, which Segment's exports need, false, 0 and "" are values like others (the original drops
  them after `else` and refuses or drops them elsewhere), options that aren't known are refused, @template reads `$.`
  and refuses what can't be a path, and @replace of nothing is nothing rather than "";
- there, what never does what it says is refused: an index of `*`, a tag in @template, a hole in a replacement, a shape
  that is no object, both conditions in one @if.
"""

import json
from collections.abc import Callable
from typing import Any, Final

from msgspec.structs import replace

from streamer.core.directive_objects import defined, flattened, merged, without_nulls
from streamer.core.directive_paths import compile_directive_path
from streamer.core.directive_texts import compile_js_template, replaced
from streamer.core.js_text import UNDEFINED, js_text, json_text, parsed_json
from streamer.core.liquid_values import HALF_PAIR
from streamer.core.mapping_tree import (
    MARKS,
    NOTHING,
    At,
    Compiler,
    Directive,
    Node,
    constant,
    guarded,
    is_directive,
    is_whole,
)
from streamer.core.template import HoleMissing
from streamer.core.work import Work

LIQUID_CHARS_MAX: Final = 1000
PATTERN_CHARS_MAX: Final = 10
SEPARATOR_CHARS_MAX: Final = 100
# What compiling one character of a path or template that the event brings costs, in units of `Work`.
COMPILE_COST: Final = 16


def _path(tree: Compiler, arg: Any, at: At) -> Node:
    """The value at a path: UNDEFINED, so that its key vanishes, where there is none."""
    if not isinstance(arg, str):
        return _by_text(tree, arg, at, lambda text, scope, _: compile_directive_path(text).read(scope))
    try:
        path = compile_directive_path(arg, is_strict=not tree.is_original)
    except ValueError as exc:
        return tree.fault(at.path, str(exc))
    tree.reads(path, at)
    read = path.read
    return Node(lambda scope, _: read(scope))


def _template(tree: Compiler, arg: Any, at: At) -> Node:
    """A text with holes."""
    is_strict = not tree.is_original
    if not isinstance(arg, str):
        return _by_text(tree, arg, at, _dynamic_template(tree, at))
    tree.chars += len(arg)
    try:
        template = compile_js_template(arg, is_strict=is_strict)
    except ValueError as exc:
        return tree.fault(at.path, str(exc))
    for path, _ in template.holes:
        tree.reads(path, at)
    if not template.holes:
        return constant(template.start)
    render = template.renderer(tree.holes)
    return Node(guarded(at.path, lambda scope, work: _spent(render(scope, work), work)))


def _dynamic_template(tree: Compiler, at: At) -> Callable[[str, Any, Work], str]:
    """What makes the text of a template that the event brings. No fault shows it: it may hold anything."""

    def render(text: str, scope: Any, work: Work) -> str:
        try:
            template = compile_js_template(text, is_strict=not tree.is_original)
        except ValueError:
            raise ValueError("the text is not a template: too long, too many holes, or one that is no path") from None
        try:
            return _spent(template.renderer(tree.holes)(scope, work), work)
        except HoleMissing:
            raise HoleMissing(at.path) from None

    return render


def _by_text(tree: Compiler, arg: Any, at: At, use: Any) -> Node:
    """A directive whose argument is another, which makes the text to use."""
    if not is_directive(arg):
        return tree.fault(at.path, "must be a text or a directive")
    inner = tree.node(arg, replace(at, keeps=False)).read

    def read(scope: Any, work: Work) -> Any:
        text = inner(scope, work)
        if not isinstance(text, str):
            raise ValueError(f"a text is needed, not {_kind(text)}")
        work.spend(COMPILE_COST * (4 + len(text)))
        return use(text, scope, work)

    return Node(guarded(at.path, read))


def _literal(tree: Compiler, arg: Any, at: At) -> Node:
    """Any value, in which directives are resolved and texts are not."""
    return tree.node(arg, replace(at, is_literal=True))


def _if(tree: Compiler, arg: Any, at: At) -> Node:
    """One of two values: by whether one exists, or else by whether it isn't blank."""
    options = tree.options(arg, at, ("exists", "blank", "then", "else"))
    if options is None:
        return NOTHING
    key = "exists" if "exists" in options else "blank"
    if key not in options:
        return tree.fault(at.path, "needs `exists` or `blank`")
    if not tree.is_original and "exists" in options and "blank" in options:
        tree.fault(at.path, "takes `exists` or `blank`, not both")
    condition = tree.node(options[key], at.under(key))
    if _is_falsy(options[key]) and _is_falsy(options.get("blank")):
        tree.fault(at.under(key).path, "is the same for every event")
    then = _branch(tree, options, "then", at)
    otherwise = _branch(tree, options, "else", at)
    if tree.is_original and _is_falsy(options.get("else")):
        otherwise = NOTHING
    read, read_then, read_otherwise = condition.read, then.read, otherwise.read
    is_met = _exists if key == "exists" else _is_not_blank

    def choose(scope: Any, work: Work) -> Any:
        try:
            value = read(scope, work)
        except HoleMissing:
            value = UNDEFINED
        if isinstance(value, list) and is_met is _is_not_blank:
            work.spend_whole(value)
        return read_then(scope, work) if is_met(value) else read_otherwise(scope, work)

    return Node(guarded(at.path, choose))


def _branch(tree: Compiler, options: dict[str, Any], key: str, at: At) -> Node:
    return tree.node(options[key], replace(at.under(key), keeps=at.keeps)) if key in options else NOTHING


def _exists(value: Any) -> bool:
    return value is not None and value is not UNDEFINED


def _is_not_blank(value: Any) -> bool:
    """0, false and a list that prints as nothing are blank too, as by JavaScript's `!= ''`."""
    if isinstance(value, list):
        return js_text(value) != ""
    return _exists(value) and (isinstance(value, dict) or bool(value))


def _is_falsy(value: Any) -> bool:
    return not isinstance(value, dict | list) and not value


def _case(tree: Compiler, arg: Any, at: At) -> Node:
    """A text in lower or upper case; other values as they are."""
    options = tree.options(arg, at, ("operator", "value"))
    if options is None:
        return NOTHING
    operator = options.get("operator")
    if "operator" not in options:
        tree.fault(at.path, "needs `operator`")
    elif operator not in ("lower", "upper"):
        tree.fault(at.under("operator").path, "must be lower or upper")
    value = _text_or_directive(tree, options, "value", at)
    if "value" not in options or (tree.is_original and options["value"] == ""):
        return NOTHING
    read, change = value.read, str.lower if operator == "lower" else str.upper

    def read_changed(scope: Any, work: Work) -> Any:
        text = read(scope, work)
        return _spent(change(_spent(text, work)), work) if isinstance(text, str) else text

    return Node(guarded(at.path, read_changed))


def _text_or_directive(tree: Compiler, options: dict[str, Any], key: str, at: At) -> Node:
    """An option that is a text or a directive; NOTHING where it is absent."""
    value = options.get(key, UNDEFINED)
    if value is UNDEFINED:
        return NOTHING
    if not isinstance(value, str) and not is_directive(value):
        return tree.fault(at.under(key).path, "must be a text or a directive")
    return tree.node(value, replace(at.under(key), keeps=at.keeps))


def _replace(tree: Compiler, arg: Any, at: At) -> Node:
    """A text with one or two literal patterns replaced."""
    names = ("value", "pattern", "replacement", "pattern2", "replacement2", "global", "ignorecase")
    options = tree.options(arg, at, names)
    if options is None:
        return NOTHING
    for key in ("value", "pattern"):
        if key not in options:
            tree.fault(at.path, f"needs `{key}`")
    pairs = [
        (_pattern(tree, options, "pattern", at, least=1), _pattern(tree, options, "replacement", at)),
        (_pattern(tree, options, "pattern2", at), _pattern(tree, options, "replacement2", at)),
    ]
    for key in ("replacement", "replacement2"):
        if not tree.is_original and any(mark in str(options.get(key)) for mark in MARKS):
            tree.fault(at.under(key).path, "a `{{` or `{%` is sent as it stands here; fill holes in the `value`")
    is_global = _flag(tree, options, "global", at, default=True)
    ignores_case = _flag(tree, options, "ignorecase", at, default=False)
    value = _text_or_directive(tree, options, "value", at)
    if tree.is_original and options.get("value") == "":
        return NOTHING
    read, otherwise = value.read, "" if tree.is_original else UNDEFINED

    def read_replaced(scope: Any, work: Work) -> Any:
        text = read(scope, work)
        if isinstance(text, bool | int | float):
            text = js_text(text)
        if not isinstance(text, str):
            return otherwise
        for pattern, replacement in pairs:
            if pattern:
                text = replaced(text, pattern, replacement, work, is_global=is_global, ignores_case=ignores_case)
                work.spend(len(text))
        return text

    return Node(guarded(at.path, read_replaced))


def _pattern(tree: Compiler, options: dict[str, Any], key: str, at: At, least: int = 0) -> str:
    value = options.get(key, "" if key != "pattern" else "?")
    if not isinstance(value, str):
        tree.fault(at.under(key).path, "must be a text")
        return ""
    if not is_whole(value):
        tree.fault(at.under(key).path, HALF_PAIR)
    if not least <= len(value) <= PATTERN_CHARS_MAX:
        tree.fault(at.under(key).path, f"must have {least} to {PATTERN_CHARS_MAX} characters")
    return value


def _flag(tree: Compiler, options: dict[str, Any], key: str, at: At, *, default: bool) -> bool:
    value = options.get(key, default)
    if not isinstance(value, bool):
        tree.fault(at.under(key).path, "must be true or false")
    return value is True


def _array_path(tree: Compiler, arg: Any, at: At) -> Node:
    """A list, each item in the given shape; an object alone is a list of one."""
    if not isinstance(arg, list) or not arg:
        return tree.fault(at.path, "must be a list of a path and perhaps a shape")
    root = _path(tree, arg[0], at) if isinstance(arg[0], str) else _array_root(tree, arg[0], at)
    prefix = _item_prefix(arg[0], at)
    size = tree.size
    shape = tree.node(arg[1], replace(at.under(1), prefix=prefix)) if len(arg) > 1 else NOTHING
    cost = 1 + tree.size - size
    if len(arg) > 2 and not tree.is_original:
        tree.fault(at.path, "must be a list of a path and perhaps a shape")
    if len(arg) > 1 and not tree.is_original and not isinstance(arg[1], dict):
        tree.fault(at.under(1).path, "a shape is an object, made of each item")
    if len(arg) < 2 or not isinstance(arg[1], dict) or not arg[1]:
        return root
    read, read_item = root.read, shape.read

    def read_items(scope: Any, work: Work) -> Any:
        items = read(scope, work)
        if not isinstance(items, dict | list):
            return items
        items = items if isinstance(items, list) else [items]
        work.spend(cost * len(items))
        try:
            return [read_item(item, work) for item in items]
        except HoleMissing as hole:
            raise HoleMissing((prefix or "") + hole.path) from None

    return Node(guarded(at.path, read_items))


def _array_root(tree: Compiler, arg: Any, at: At) -> Node:
    if not is_directive(arg):
        return tree.fault(at.path, "must begin with a path or a directive")
    return tree.node(arg, replace(at.under(0), path=at.path))


def _item_prefix(root: Any, at: At) -> str | None:
    """What leads from the event to an item, if that can be told."""
    if at.prefix is None or not isinstance(root, str):
        return None
    try:
        text = compile_directive_path(root).text
    except ValueError:
        return None
    return f"{at.prefix}{text}[]." if text else at.prefix


def _flatten(tree: Compiler, arg: Any, at: At) -> Node:
    """An object of one level."""
    options = tree.options(arg, at, ("value", "separator", "omitArrays"))
    if options is None:
        return NOTHING
    separator = options.get("separator")
    if "separator" not in options or separator == "":
        tree.fault(at.path, "needs `separator`")
    elif not isinstance(separator, str) or len(separator) > SEPARATOR_CHARS_MAX:
        tree.fault(at.under("separator").path, f"must be a text of at most {SEPARATOR_CHARS_MAX} characters")
    omits_lists = _flag(tree, options, "omitArrays", at, default=False)
    read = _required(tree, options, "value", at).read
    joint = str(separator)

    def read_flat(scope: Any, work: Work) -> dict[str, Any]:
        return flattened(read(scope, work), joint, omits_lists=omits_lists, work=work)

    return Node(guarded(at.path, read_flat))


def _required(tree: Compiler, options: dict[str, Any], key: str, at: At) -> Node:
    if key not in options:
        return tree.fault(at.path, f"needs `{key}`")
    return tree.node(options[key], at.under(key))


def _merge(tree: Compiler, arg: Any, at: At) -> Node:
    """Objects made one; `left` says that the first one wins."""
    options = tree.options(arg, at, ("objects", "direction"))
    if options is None:
        return NOTHING
    direction = options.get("direction")
    if "direction" not in options:
        tree.fault(at.path, "needs `direction`")
    elif direction not in ("left", "right"):
        tree.fault(at.under("direction").path, "must be left or right")
    objects = options.get("objects")
    if "objects" not in options:
        return tree.fault(at.path, "needs `objects`")
    if not isinstance(objects, list):
        return tree.fault(at.under("objects").path, "must be a list")
    place = at.under("objects")
    reads = [_part(tree, part, replace(place.under(index), keeps=True)) for index, part in enumerate(objects)]
    if direction == "left":
        reads.reverse()
    finish = (lambda whole: whole) if at.keeps else defined

    def read_merged(scope: Any, work: Work) -> dict[str, Any]:
        # In the given order, so that the hole that is named as missing is the first one in the text.
        return finish(merged([read(scope, work) for read in reads], work))

    return Node(guarded(at.path, read_merged))


def _part(tree: Compiler, part: Any, at: At) -> Any:
    if not isinstance(part, dict):
        # The original names the whole here, and its users search for that.
        tree.fault("/", f"{at.path} must be an object or a directive")
    return tree.node(part, at).read


def _transform(tree: Compiler, arg: Any, at: At) -> Node:
    """What one mapping makes of the event, through another, which sees nothing else."""
    options = tree.options(arg, at, ("apply", "mapping"))
    if options is None:
        return NOTHING
    for key in ("apply", "mapping"):
        if key in options and not isinstance(options[key], dict):
            tree.fault(at.under(key).path, "must be an object")
    first = _required(tree, options, "apply", at).read
    second = _branch(tree, options, "mapping", replace(at, prefix=None)).read
    if "mapping" not in options:
        tree.fault(at.path, "needs `mapping`")

    def read(scope: Any, work: Work) -> Any:
        if not isinstance(scope, dict):
            raise ValueError(f"an object is needed, not {_kind(scope)}")
        return second(first(scope, work), work)

    return Node(guarded(at.path, read))


def _json(tree: Compiler, arg: Any, at: At) -> Node:
    """A value as JSON, or JSON as a value; what is no JSON stays as it is."""
    options = tree.options(arg, at, ("mode", "value"))
    if options is None:
        return NOTHING
    mode = options.get("mode")
    if "mode" not in options:
        tree.fault(at.path, "needs `mode`")
    elif mode not in ("encode", "decode"):
        tree.fault(at.under("mode").path, "must be encode or decode")
    read = _required(tree, options, "value", at).read
    if tree.is_original and "value" in options and _is_falsy(options["value"]):
        tree.fault(at.under("value").path, 'a literal null, false, 0 or "" is not accepted')

    def encode(scope: Any, work: Work) -> Any:
        result = read(scope, work)
        if result is UNDEFINED:
            return UNDEFINED
        work.spend_whole(result)
        return _spent(json_text(result), work)

    def decode(scope: Any, work: Work) -> Any:
        text = read(scope, work)
        if not isinstance(text, str):
            return text
        work.spend(len(text))
        try:
            value = parsed_json(text)
        except ValueError:
            return text
        if "\\u" in text and not is_whole(json.dumps(value, ensure_ascii=False)):
            raise ValueError("the JSON holds half a surrogate pair")
        return value

    return Node(guarded(at.path, encode if mode == "encode" else decode))


def _exclude_when_null(tree: Compiler, arg: Any, at: At) -> Node:
    """A value without the nulls in its objects; null itself vanishes."""
    read = tree.node(arg, at).read

    def read_rest(scope: Any, work: Work) -> Any:
        value = read(scope, work)
        return UNDEFINED if value is None else without_nulls(value, work)

    return Node(guarded(at.path, read_rest))


def _liquid(tree: Compiler, arg: Any, at: At) -> Node:
    """A Liquid text."""
    if not isinstance(arg, str):
        return tree.fault(at.path, "must be a text")
    tree.chars += len(arg)
    if len(arg) > LIQUID_CHARS_MAX:
        return tree.fault(at.path, f"{len(arg)} characters; at most {LIQUID_CHARS_MAX}")
    return tree.liquid(arg, at)


def _spent(text: str, work: Work) -> str:
    work.spend(len(text))
    return text


def _kind(value: Any) -> str:
    if value is UNDEFINED:
        return "nothing"
    kinds = {type(None): "null", bool: "a boolean", str: "a text", list: "a list", dict: "an object"}
    return kinds.get(type(value), "a number")


DIRECTIVES: Final[dict[str, Directive]] = {
    "@path": _path,
    "@template": _template,
    "@literal": _literal,
    "@if": _if,
    "@case": _case,
    "@replace": _replace,
    "@arrayPath": _array_path,
    "@flatten": _flatten,
    "@merge": _merge,
    "@transform": _transform,
    "@json": _json,
    "@liquid": _liquid,
    "@excludeWhenNull": _exclude_when_null,
}
