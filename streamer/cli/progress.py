"""A progress bar on stderr, gone when it is done; nothing where stderr is no terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

_WIDTH: Final = 40


@contextmanager
def progress_bar(what: str, total: int, *, is_shown: bool = True) -> Iterator[Callable[[int], None]]:
    """A bar up to `total`; what is given tells it how much more is done.

    `is_shown` False: no bar, for a command that writes its result to the same terminal meanwhile.
    """
    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(_WIDTH), TaskProgressColumn(), TimeRemainingColumn())
    hidden = not (is_shown and console.is_terminal)
    with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
        task = progress.add_task("", total=max(total, 1))
        yield lambda done: progress.update(task, advance=done)
