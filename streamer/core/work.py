"""How much one evaluation may do: counted in characters and items, where a clock would let one send end otherwise than
its repetition.
"""

from typing import Any, Final

# At most 50 ms of the slowest filter; a message of 1600 characters needs a few thousand.
WORK_MAX: Final = 131_072
# What visiting an item of a list or a key of an object costs, where one character of a text costs 1.
ITEM_COST: Final = 8


class Work:
    """What is left of one evaluation's allowance."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = WORK_MAX

    def spend(self, amount: int) -> None:
        """Count `amount` characters or items. Raises: ValueError, when the allowance is used up."""
        self.left -= amount
        if self.left < 0:
            raise ValueError(f"takes more than {WORK_MAX} characters and items of work")

    def spend_whole(self, value: Any) -> None:
        """Count a value that is gone through to its last text. Raises: ValueError, when the allowance is used up."""
        if isinstance(value, str):
            self.spend(len(value))
            return
        pending = [value]
        while pending:
            each = pending.pop()
            if isinstance(each, str):
                self.spend(len(each))
            elif isinstance(each, list | dict):
                self.spend(ITEM_COST * (1 + len(each)))
                pending += each if isinstance(each, list) else [*each, *each.values()]
