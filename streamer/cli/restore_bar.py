"""The progress bar of a restore, while a service that was started by hand is not ready yet."""

import asyncio
import sys
from collections.abc import Callable
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from streamer.http.server import Status

SHOW_EVERY_S: Final = 0.25


class RestoreBar:
    """One bar on a terminal's standard error; elsewhere nothing, for the logs say it too. `status` is asked for it."""

    def __init__(self) -> None:
        self.status: Callable[[], Status] | None = None
        self._console = Console(stderr=True)

    async def run(self) -> None:
        """Show how far the restore is until the service is ready; then leave no trace. End it by cancelling."""
        if not sys.stderr.isatty():
            return
        columns = TextColumn("restoring state"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        with Progress(*columns, console=self._console, transient=True, auto_refresh=False) as progress:
            task = progress.add_task("", total=None, visible=False)
            while True:
                await asyncio.sleep(SHOW_EVERY_S)
                status = None if self.status is None else self.status()
                if status is not None and status.is_ready:
                    return
                if status is not None and status.restoring:
                    done = status.restoring - status.unrestored
                    progress.update(task, total=status.restoring, completed=done, visible=True)
                    progress.refresh()
