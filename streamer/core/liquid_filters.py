"""The filters of Liquid that Segment leaves on, with liquidjs' results: numbers are doubles, texts JavaScript's.

A filter takes the run's `Work`, the value and its arguments, and raises ValueError for what it can't do. Texts count in
characters, not UTF-16 units, so that no emoji is cut in half. Unlike liquidjs, which ignores filters that it doesn't
know, every name must be one of these; `sample` isn't, being random.
"""

import hashlib
import hmac
import math
import re
import unicodedata
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote, unquote

from msgspec import Struct

from streamer.core.js_text import JS_SPACES, deeper, js_text, json_text, liquid_text, number_of, printed
from streamer.core.liquid_dates import FORMAT_DEFAULT, moment_of, written
from streamer.core.work import ITEM_COST, Work

# A message has 1600 characters; no value on the way to one needs more.
TEXT_CHARS_MAX: Final = 32_768
PATTERN_CHARS_MAX: Final = 200

FILTERS_OFF: Final = (
    "array_to_sentence_string", "concat", "find", "find_exp", "find_index", "find_index_exp", "group_by",
    "group_by_exp", "has", "has_exp", "map", "newline_to_br", "reject", "reject_exp", "reverse", "sample", "sort",
    "sort_natural", "type", "uniq", "where_exp",
)  # fmt: skip


class Filter(Struct, frozen=True):
    """A filter: its function, how many arguments it takes, and whether lists and objects are values to it.

    `walks` says that it goes through all that is in them, `cost` is what one character costs it, in units of `Work`.
    With `sample`, a value that it can do, constant arguments are tried at load.
    Where holes must have values, `takes_numbers` says that value and first argument must be numbers, and `fits` whether
    the value and arguments make a result that a reader can use.
    """

    call: Callable[..., Any]
    least: int
    most: int
    takes_lists: bool = False
    walks: bool = True
    cost: int = 1
    sample: Any = None
    takes_numbers: bool = False
    fits: Callable[..., bool] | None = None


def number(value: Any) -> float:
    """A value as a math filter reads it: what is no number is 0."""
    read = number_of(value)
    return 0.0 if math.isnan(read) else read


def is_numeric(value: Any) -> bool:
    """Whether a value is a finite number or the text of one."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return (is_number or (isinstance(value, str) and printed(value) is not None)) and math.isfinite(number_of(value))


def bounded(length: int) -> None:
    """Raises: ValueError, when a text or list of this length would be too long."""
    if length > TEXT_CHARS_MAX:
        raise ValueError(f"a value of {length} characters or items; at most {TEXT_CHARS_MAX}")


def _integer(value: Any) -> int:
    """An argument that counts, cut to a whole number within bounds."""
    return int(max(-1e9, min(1e9, number(value))))


def _pattern(value: Any) -> str:
    """A text that is looked for where Python's search costs the product of both lengths."""
    text = liquid_text(value)
    if len(text) > PATTERN_CHARS_MAX:
        raise ValueError(f"a pattern of {len(text)} characters; at most {PATTERN_CHARS_MAX}")
    return text


def _items(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _divided_by(_: Work, value: Any, by: Any, is_whole: Any = False) -> float:
    dividend, divisor = number(value), number(by)
    if divisor == 0:
        sign = math.copysign(1.0, dividend) * math.copysign(1.0, divisor)
        return math.nan if dividend == 0 or math.isnan(dividend) else sign * math.inf
    quotient = dividend / divisor
    return _whole(math.floor, quotient) if number(is_whole) else quotient


def _modulo(_: Work, value: Any, by: Any) -> float:
    dividend, divisor = number(value), number(by)
    if divisor == 0 or math.isinf(dividend):
        return math.nan
    return math.fmod(math.fmod(dividend, divisor) + divisor, divisor)


def _whole(rounding: Callable[[float], int], value: float) -> float:
    return float(rounding(value)) if math.isfinite(value) else value


def _round(_: Work, value: Any, places: Any = 0) -> float:
    """Halves go up, and what is a half but for the last bit of its double is one: 1.005 to two places is 1.01."""
    try:
        scale = math.pow(10, number(places))
    except OverflowError:
        scale = math.inf
    scaled = (number(value) * scale) * (1 + 2**-52)
    if not math.isfinite(scaled):
        return math.nan if math.isinf(scale) else scaled
    whole = math.floor(scaled)
    rounded = float(whole + (scaled - whole >= 0.5))
    return rounded / scale if scale else math.nan if rounded == 0 else math.copysign(math.inf, rounded)


def _stripped(side: str) -> Callable[..., str]:
    def strip(_: Work, value: Any, characters: Any = None) -> str:
        text, gone = liquid_text(value), _pattern(characters) or JS_SPACES
        if side == "left":
            return text.lstrip(gone)
        return text.rstrip(gone) if side == "right" else text.strip(gone)

    return strip


def _replace(_: Work, value: Any, pattern: Any, replacement: Any = None) -> str:
    text, old, new = liquid_text(value), liquid_text(pattern), liquid_text(replacement)
    if not old:
        bounded(len(text) + max(0, len(text) - 1) * len(new))
        return new.join(text)
    bounded(len(text) + text.count(old) * (len(new) - len(old)))
    return text.replace(old, new)


def _replace_last(_: Work, value: Any, pattern: Any, replacement: Any = None) -> str:
    text, old = liquid_text(value), _pattern(pattern)
    at = text.rfind(old)
    return text if at < 0 else text[:at] + liquid_text(replacement) + text[at + len(old) :]


def _split(_: Work, value: Any, separator: Any) -> list[str]:
    text, by = liquid_text(value), liquid_text(separator)
    parts = text.split(by) if by else list(text)
    while parts and not parts[-1]:
        parts.pop()
    return parts


def _truncate(_: Work, value: Any, length: Any = 50, end: Any = "...") -> Any:
    text, tail = liquid_text(value), liquid_text(end)
    return value if len(text) <= _integer(length) else text[: max(0, _integer(length) - len(tail))] + tail


_SPACES: Final = re.compile(f"[{JS_SPACES}]++")


def _truncatewords(_: Work, value: Any, count: Any = 15, end: Any = "...") -> str:
    """As liquidjs, which adds `end` also where there are just `count` words."""
    words, most = _SPACES.split(liquid_text(value)), max(1, _integer(count))
    return " ".join(words[:most]) + (liquid_text(end) if len(words) >= most else "")


def _capitalize(_: Work, value: Any) -> str:
    text = liquid_text(value)
    return text[:1].upper() + text[1:].lower()


_MARKUP: Final = (("<script", "</script>"), ("<style", "</style>"), ("<!--", "-->"), ("<", ">"))


def _strip_html(_: Work, value: Any) -> str:
    text, kept, offset = liquid_text(value), [], 0
    closed = dict(_MARKUP)
    while (start := text.find("<", offset)) >= 0:
        kept.append(text[offset:start])
        for opening, closing in list(closed.items()):
            if text.startswith(opening, start):
                end = text.find(closing, start + len(opening))
                if end >= 0:
                    offset = end + len(closing)
                    break
                del closed[opening]  # no later one is closed either
        else:
            return "".join(kept) + text[start:]
    return "".join(kept) + text[offset:]


_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;"}
_ESCAPES: Final = str.maketrans(_ENTITIES)
_ENTITY: Final = re.compile("|".join(_ENTITIES.values()))
_CHARACTERS: Final = {entity: character for character, entity in _ENTITIES.items()}


def _escape(_: Work, value: Any) -> str:
    return liquid_text(value).translate(_ESCAPES)


def _escape_once(_: Work, value: Any) -> str:
    return _ENTITY.sub(lambda entity: _CHARACTERS[entity[0]], liquid_text(value)).translate(_ESCAPES)


def _url_decode(_: Work, value: Any) -> str:
    text = liquid_text(value)
    if re.search(r"%(?![0-9a-fA-F]{2})", text):
        raise ValueError("a % without two hexadecimal digits")
    return unquote(text, errors="strict").replace("+", " ")


_ACCENTS: Final = str.maketrans(
    dict.fromkeys("àáâãäå", "a") | dict.fromkeys("èéêë", "e") | dict.fromkeys("ìíîï", "i") | dict.fromkeys("ùúûü", "u")
    | dict.fromkeys("òóôõöø", "o") | dict.fromkeys("ýÿ", "y")
    | {"æ": "ae", "ç": "c", "ð": "d", "ñ": "n", "ß": "ss", "œ": "oe", "þ": "th", "ẞ": "SS", "Œ": "OE", "Þ": "TH"}
)  # fmt: skip
_SLUG_MODES: Final = ("default", "raw", "pretty", "ascii", "latin", "none")


def _slugify(_: Work, value: Any, mode: Any = "default", keeps_case: Any = False) -> str:
    text = liquid_text(value)
    if mode not in _SLUG_MODES:
        raise ValueError(f"the mode is none of {', '.join(_SLUG_MODES)}")
    if mode == "latin":
        text = text.translate(_ACCENTS)
    if mode == "raw":
        text = _SPACES.sub("-", text)
    elif mode == "ascii":
        text = re.sub("[^A-Za-z0-9]++", "-", text)
    elif mode != "none":
        also = "._~!$&'()+,;=@" if mode == "pretty" else ""
        kept = [each if _is_word(each) or each in also else "\0" for each in text]
        text = re.sub("\0++", "-", "".join(kept))
    if mode != "none":
        text = text.removeprefix("-").removesuffix("-")
    return text if keeps_case else text.lower()


def _is_word(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] in "LM" or category == "Nd"


def _decoded(_: Work, value: Any) -> str:
    text = liquid_text(value).rstrip("=").replace("-", "+").replace("_", "/")
    return b64decode(text + "=" * (-len(text) % 4), validate=True).decode("utf-8", "replace")


def _join(_: Work, value: Any, separator: Any = None) -> str:
    items, by = _items(value), " " if separator is None else liquid_text(separator)
    bounded(len(by) * max(0, len(items) - 1))
    return by.join([js_text(item) for item in items])


def _all_printed(work: Work, value: Any, _: Any = None) -> bool:
    """Whether every item is something to read: else a list reads `[object Object], , 3`."""
    work.spend(ITEM_COST * _size(work, value))
    return all(printed(item) is not None for item in _items(value))


def _all_numeric(work: Work, value: Any, key: Any = None) -> bool:
    items = _items(value) if key is None else _members(work, _items(value), key)
    work.spend(ITEM_COST * len(items))
    return all(is_numeric(item) for item in items)


def _first(_: Work, value: Any) -> Any:
    return value[0] if isinstance(value, str | list) and value else None if isinstance(value, list) else ""


def _last(_: Work, value: Any) -> Any:
    return value[-1] if isinstance(value, str | list) and value else None if isinstance(value, list) else ""


def _size(_: Work, value: Any) -> int:
    return len(value) if isinstance(value, str | list) else 0


def _members(work: Work, items: list[Any], key: Any) -> list[Any]:
    """What the dotted `key` names in each of a list's items."""
    parts = liquid_text(key).split(".")
    return [_member(work, item, parts) for item in items]


def _member(work: Work, item: Any, parts: list[str]) -> Any:
    for part in parts:
        work.spend(ITEM_COST)
        if not isinstance(item, list | dict):
            return None
        if isinstance(item, list) and part.isdigit() and part.isascii():
            item = item[int(part)] if len(part) < 9 and int(part) < len(item) else None
        else:
            item = item.get(part) if isinstance(item, dict) else None
    return item


def _sum(work: Work, value: Any, key: Any = None) -> float:
    items = _items(value) if key is None else _members(work, _items(value), key)
    total = 0.0
    for item in items:  # in order: `fsum` would round otherwise than JavaScript
        total += number(item)
    return total


def _where(work: Work, value: Any, key: Any, wanted: Any = ...) -> list[Any]:
    items = _items(value)
    pairs = zip(items, _members(work, items, key), strict=True)
    if wanted is ...:
        return [item for item, member in pairs if member is not None and member is not False]
    return [item for item, member in pairs if equal(work, member, wanted)]


def _pushed(_: Work, value: Any, item: Any) -> list[Any]:
    if isinstance(item, list | dict):
        raise ValueError("only a text, a number or a boolean can be put into a list")
    return [*_items(value), item]


def _slice(_: Work, value: Any, start: Any, length: Any = 1) -> Any:
    whole = value if isinstance(value, list) else [] if value is None else liquid_text(value)
    begin, count = _integer(start), _integer(length)
    begin += len(whole) if begin < 0 else 0
    return whole[begin : begin + count] if begin >= 0 and count >= 0 else whole[:0]


def _date(_: Work, value: Any, style: Any = None, offset: Any = None) -> Any:
    if offset is not None and not isinstance(offset, int | float):
        raise ValueError("date: an offset is a number of minutes, as JavaScript counts them: 300 is New York in winter")
    moment = moment_of(value, offset)
    return moment and written(moment, FORMAT_DEFAULT if style is None else liquid_text(style))


def _dated(style: str) -> Callable[..., Any]:
    return lambda work, value: _date(work, value, style)


def _dated_in_words(month: str) -> Callable[..., Any]:
    def date_in_words(_: Work, value: Any, kind: Any = None, country: Any = None) -> Any:
        moment = moment_of(value)
        style = f"%d {month} %Y"
        if kind == "ordinal":
            style = f"{month} %-d%q, %Y" if country == "US" else f"%-d%q {month} %Y"
        return moment and written(moment, style)

    return date_in_words


def equal(work: Work, left: Any, right: Any, depth: int = 0) -> bool:
    """Liquid's `==`: no coercion, null and what is missing alike, lists item by item; an object equals only itself."""
    if isinstance(left, list) and isinstance(right, list):
        work.spend(ITEM_COST * len(left))
        level = deeper(depth)
        return len(left) == len(right) and all(equal(work, a, b, level) for a, b in zip(left, right, strict=True))
    if isinstance(left, bool) or isinstance(right, bool) or isinstance(left, dict):
        return left is right
    if isinstance(left, int | float) and isinstance(right, int | float):
        return left == right
    if isinstance(left, str) and isinstance(right, str):
        work.spend(len(left) if len(left) == len(right) else 0)
    return type(left) is type(right) and bool(left == right)


def _text(function: Callable[[str], Any]) -> Callable[..., Any]:
    return lambda _, value: function(liquid_text(value))


def _json(_: Work, value: Any) -> str | None:
    return None if value is None else json_text(value)


_URL_KEPT: Final = "!~*'()"
FILTERS: Final[dict[str, Filter]] = {
    "abs": Filter(lambda _, value: abs(number(value)), 0, 0, takes_numbers=True),
    "append": Filter(lambda _, value, more: liquid_text(value) + liquid_text(more), 1, 1),
    "at_least": Filter(lambda _, value, least: max(number(value), number(least)), 1, 1, takes_numbers=True),
    "at_most": Filter(lambda _, value, most: min(number(value), number(most)), 1, 1, takes_numbers=True),
    "base64_decode": Filter(_decoded, 0, 0),
    "base64_encode": Filter(_text(lambda text: b64encode(text.encode()).decode()), 0, 0),
    "capitalize": Filter(_capitalize, 0, 0),
    "ceil": Filter(lambda _, value: _whole(math.ceil, number(value)), 0, 0, takes_numbers=True),
    "cgi_escape": Filter(_text(lambda text: quote(text, safe="~").replace("%20", "+")), 0, 0),
    "compact": Filter(
        lambda _, value: [item for item in _items(value) if item is not None], 0, 0, takes_lists=True, walks=False
    ),
    "date": Filter(_date, 0, 2, cost=8, sample=0),
    "date_to_long_string": Filter(_dated_in_words("%B"), 0, 2),
    "date_to_rfc822": Filter(_dated("%a, %d %b %Y %H:%M:%S %z"), 0, 0),
    "date_to_string": Filter(_dated_in_words("%b"), 0, 2),
    "date_to_xmlschema": Filter(_dated("%Y-%m-%dT%H:%M:%S%:z"), 0, 0),
    "divided_by": Filter(_divided_by, 1, 2, takes_numbers=True),
    "downcase": Filter(_text(str.lower), 0, 0),
    "escape": Filter(_escape, 0, 0),
    "escape_once": Filter(_escape_once, 0, 0),
    "first": Filter(_first, 0, 0, takes_lists=True, walks=False),
    "floor": Filter(lambda _, value: _whole(math.floor, number(value)), 0, 0, takes_numbers=True),
    "hmac_sha256": Filter(
        lambda _, value, key: hmac.new(liquid_text(key).encode(), liquid_text(value).encode(), "sha256").hexdigest(),
        1,
        1,
    ),
    "inspect": Filter(_json, 0, 0, takes_lists=True),
    "join": Filter(_join, 0, 1, takes_lists=True, fits=_all_printed),
    "json": Filter(_json, 0, 0, takes_lists=True),
    "jsonify": Filter(_json, 0, 0, takes_lists=True),
    "last": Filter(_last, 0, 0, takes_lists=True, walks=False),
    "lstrip": Filter(_stripped("left"), 0, 1),
    "minus": Filter(lambda _, value, less: number(value) - number(less), 1, 1, takes_numbers=True),
    "modulo": Filter(_modulo, 1, 1, takes_numbers=True),
    "normalize_whitespace": Filter(_text(lambda text: _SPACES.sub(" ", text)), 0, 0),
    "number_of_words": Filter(
        _text(lambda text: len(_SPACES.split(text)) if (text := text.strip(JS_SPACES)) else 0), 0, 0
    ),
    "plus": Filter(lambda _, value, more: number(value) + number(more), 1, 1, takes_numbers=True),
    "pop": Filter(lambda _, value: _items(value)[:-1], 0, 0, takes_lists=True, walks=False),
    "prepend": Filter(lambda _, value, before: liquid_text(before) + liquid_text(value), 1, 1),
    "push": Filter(_pushed, 1, 1, takes_lists=True, walks=False),
    "raw": Filter(lambda _, value: value, 0, 0, takes_lists=True, walks=False),
    "remove": Filter(lambda _, value, gone: liquid_text(value).replace(liquid_text(gone), ""), 1, 1),
    "remove_first": Filter(lambda _, value, gone: liquid_text(value).replace(liquid_text(gone), "", 1), 1, 1),
    "remove_last": Filter(_replace_last, 1, 1),
    "replace": Filter(_replace, 1, 2),
    "replace_first": Filter(
        lambda _, value, old, new=None: liquid_text(value).replace(liquid_text(old), liquid_text(new), 1), 1, 2
    ),
    "replace_last": Filter(_replace_last, 1, 2),
    "round": Filter(_round, 0, 1, takes_numbers=True),
    "rstrip": Filter(_stripped("right"), 0, 1),
    "sha256": Filter(_text(lambda text: hashlib.sha256(text.encode()).hexdigest()), 0, 0),
    "shift": Filter(lambda _, value: _items(value)[1:], 0, 0, takes_lists=True, walks=False),
    "size": Filter(_size, 0, 0, takes_lists=True, walks=False),
    "slice": Filter(_slice, 1, 2, takes_lists=True, walks=False),
    "slugify": Filter(_slugify, 0, 2, cost=8, sample="a"),
    "split": Filter(_split, 1, 1),
    "strip": Filter(_stripped("both"), 0, 1),
    "strip_html": Filter(_strip_html, 0, 0),
    "strip_newlines": Filter(_text(lambda text: text.replace("\r\n", "").replace("\n", "")), 0, 0),
    "sum": Filter(_sum, 0, 1, takes_lists=True, fits=_all_numeric),
    "times": Filter(lambda _, value, by: number(value) * number(by), 1, 1, takes_numbers=True),
    "to_integer": Filter(lambda _, value: number_of(value), 0, 0, takes_numbers=True),
    "truncate": Filter(_truncate, 0, 2),
    "truncatewords": Filter(_truncatewords, 0, 2),
    "unshift": Filter(
        lambda work, value, item: [*_pushed(work, [], item), *_items(value)], 1, 1, takes_lists=True, walks=False
    ),
    "upcase": Filter(_text(str.upper), 0, 0),
    "uri_escape": Filter(_text(lambda text: quote(text, safe=";,/?:@&=+$#[]" + _URL_KEPT)), 0, 0),
    "url_decode": Filter(_url_decode, 0, 0),
    "url_encode": Filter(_text(lambda text: quote(text, safe=_URL_KEPT).replace("%20", "+")), 0, 0),
    "where": Filter(_where, 1, 2, takes_lists=True, walks=False),
    "xml_escape": Filter(_escape, 0, 0),
}
