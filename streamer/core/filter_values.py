"""How a filter sees JSON values: their kinds, which of them are equal, and numbers as doubles."""

from typing import Any, Final

# Whole numbers from here on are not all doubles; both sides are then rounded alike (JSON numbers are doubles).
EXACT_MAX: Final = 2.0**53


def kind(value: Any) -> str:
    """`null`, `bool`, `number`, `string`, `list` or `object`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "list" if isinstance(value, list) else "object"


def double(number: float) -> float:
    """A whole number rounded to the double that JSON's other readers see; beyond their range it is infinite."""
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


def same(left: Any, right: Any) -> bool:
    """Whether two JSON values are of one kind and equal; lists and objects item by item. As deep as they come."""
    pairs = [(left, right)]
    while pairs:
        one, other = pairs.pop()
        its_kind = kind(one)
        if its_kind != kind(other):
            return False
        if its_kind == "list":
            if len(one) != len(other):
                return False
            pairs.extend(zip(one, other, strict=True))
        elif its_kind == "object":
            if one.keys() != other.keys():
                return False
            pairs.extend((one[key], other[key]) for key in one)
        elif its_kind == "number":
            if double(one) != double(other):
                return False
        elif one != other:
            return False
    return True
