"""How much one evaluation may do: counted in characters and items, where a clock would let one send end otherwise than
its repetition.
"""

from typing import Final

# About 5 ms of the slowest filter; a message of 1600 characters needs a few thousand.
WORK_MAX: Final = 262_144


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
