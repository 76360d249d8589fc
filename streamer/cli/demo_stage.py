"""Around the demo: its folder, its broker, its view, and how it ends."""

import asyncio
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click
import uvloop

from streamer.cli.demo import Options
from streamer.cli.demo_run import Settings, play
from streamer.cli.demo_service import LOG_NAME
from streamer.cli.demo_summary import Summary, as_json
from streamer.cli.demo_view import Screen, Silent, View, next_steps
from streamer.errors import StreamerError, first
from streamer.testing.brokers import Broker, start_tansu

EXIT_RIGHT: Final = 0
EXIT_WRONG: Final = 1
EXIT_INTERRUPTED: Final = 130
LOG_LINES: Final = 8


def perform(options: Options) -> int:
    """Play the demo and print its end; returns the exit code. Raises: StreamerError."""
    folder = _folder(options.keep)
    code = EXIT_WRONG
    try:
        code = _quiet(options, folder) if options.is_json else _shown(options, folder)
    except (KeyboardInterrupt, asyncio.CancelledError):
        code = EXIT_INTERRUPTED
        click.echo("interrupted; everything it had started has ended", err=True)
    finally:
        is_wanted = code == EXIT_WRONG and (folder / LOG_NAME).exists()
        if options.keep is None and not is_wanted:
            shutil.rmtree(folder, ignore_errors=True)
    return code


def _quiet(options: Options, folder: Path) -> int:
    summary = _played(options, folder, Silent())
    click.echo(as_json(summary))
    return EXIT_RIGHT if summary.is_right else EXIT_WRONG


def _shown(options: Options, folder: Path) -> int:
    screen = Screen()
    screen.title(options.events)
    with screen:
        summary = _played(options, folder, screen)
    screen.summary(summary)
    if summary.is_right:
        next_steps(screen.console, _command(), options.keep)
    return EXIT_RIGHT if summary.is_right else EXIT_WRONG


def _command() -> str:
    """How this command can be called again: by its name, or by the path it was called with."""
    if shutil.which("streamer"):
        return "streamer"
    return "python -m streamer" if Path(sys.argv[0]).name == "__main__.py" else sys.argv[0]


def _folder(keep: Path | None) -> Path:
    """The folder of this run; nobody's files are overwritten."""
    if keep is None:
        return Path(tempfile.mkdtemp(prefix="streamer-demo-"))
    keep.mkdir(parents=True, exist_ok=True)
    if any(keep.iterdir()):
        raise click.UsageError(f"--keep {keep}: the folder isn't empty")
    return keep


def _played(options: Options, folder: Path, view: View) -> Summary:
    """Play on a broker that lives as long. Raises: StreamerError, after the end of the service's log."""
    try:
        with _broker(options.kafka, folder) as broker, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            is_own = options.kafka is None
            view.step("an embedded broker" if is_own else "your broker", f"Kafka's protocol at {broker.bootstrap}")
            settings = Settings(
                options.events, options.seed, folder, broker.bootstrap, is_own, is_kept=bool(options.keep)
            )
            return runner.run(_until_signal(settings, view))
    except* StreamerError as errors:
        log = folder / LOG_NAME
        if log.is_file():
            click.echo("\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:]), err=True)
        raise first(errors) from None


async def _until_signal(settings: Settings, view: View) -> Summary:
    """Ctrl-C, SIGTERM and a closed terminal cancel it, so that every part is ended; also where SIGINT was ignored."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await play(settings, view)


@contextmanager
def _broker(given: str | None, folder: Path) -> Iterator[Broker]:
    with Broker(given, "given") if given else start_tansu(folder) as broker:
        yield broker
