"""What the demo shows: its steps, the progress as it goes, and the summary; calm, and plain where no terminal is.

Needs rich, of the extra `demo`.
"""

import time
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from streamer.cli.demo_summary import Summary

PLAIN_WIDTH: Final = 120  # of lines that go to a file or a pipe
PLAIN_EVERY_S: Final = 1.0
WIDE_COLUMNS: Final = 100  # a reason with its example takes 98
FAULTS_SHOWN_MAX: Final = 12
_BAR_WIDTH: Final = 46


class Progress(NamedTuple):
    """How far a run is. `expected`: the outcomes there must be in the end, which follows from the events alone."""

    total: int
    read: int
    expected: int
    accepted: int
    suppressed: int
    failed: int
    in_flight: int

    @property
    def decided(self) -> int:
        """The outcomes there are."""
        return self.accepted + self.suppressed + self.failed


class View(Protocol):
    """Where a run tells how it goes."""

    def step(self, name: str, detail: str) -> None:
        """Something has started."""

    def show(self, progress: Progress, elapsed_s: float) -> None:
        """How far it is."""


class Silent:
    """Shows nothing: for `--json`."""

    def step(self, name: str, detail: str) -> None:
        """Nothing."""

    def show(self, progress: Progress, elapsed_s: float) -> None:
        """Nothing."""


class Screen:
    """Shows a run on the terminal, in place; or as a line a second where there is none. Ends with its context."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        if not self.console.is_terminal:
            self.console = Console(highlight=False, width=PLAIN_WIDTH)
        self._live = Live(console=self.console, refresh_per_second=10, transient=True)
        self._shown_s = 0.0

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()

    def title(self, events: int) -> None:
        """The first line."""
        self.console.print()
        self.console.print(f"  [bold]streamer demo[/bold]  [dim]a shop's day in {events:,} events[/dim]")
        self.console.print()

    def step(self, name: str, detail: str) -> None:
        """One line with a tick."""
        self.console.print(f"  [green]✓[/green] {name:<22} [dim]{escape(detail)}[/dim]")

    def show(self, progress: Progress, elapsed_s: float) -> None:
        """The block of progress, or its line."""
        if self.console.is_terminal:
            self._live.update(_block(progress, elapsed_s))
        elif time.monotonic() - self._shown_s >= PLAIN_EVERY_S:
            self._shown_s = time.monotonic()
            self.console.print(f"  {_line(progress, elapsed_s)}")

    def summary(self, summary: Summary) -> None:
        """The end: what happened, why not more, whether it adds up."""
        self.console.print()
        _totals(self.console, summary)
        _section(self.console, "Why a matched event was not sent")
        _rows(self.console, [(row.words, row.count, row.example) for row in summary.not_sent])
        _section(self.console, "Why an event could not be used")
        _rows(self.console, [(row.reason, row.count, row.example) for row in summary.dead_letters])
        self.console.print()
        if summary.is_right:
            _right(self.console, summary)
        else:
            _wrong(self.console, summary)


def _block(progress: Progress, elapsed_s: float) -> Group:
    bar = Table.grid(padding=(0, 2))
    bar.add_row(
        "  events read",
        ProgressBar(progress.total, progress.read, width=_BAR_WIDTH, complete_style="cyan", finished_style="cyan"),
        f"{progress.read:,} of {progress.total:,}",
    )
    bar.add_row(
        "  outcomes",
        ProgressBar(
            progress.expected, progress.decided, width=_BAR_WIDTH, complete_style="green", finished_style="green"
        ),
        f"{progress.decided:,} of {progress.expected:,} expected",
    )
    counts = Text.assemble(
        "  ",
        ("accepted ", "dim"), (f"{progress.accepted:,}", "bold green"),
        ("    suppressed ", "dim"), f"{progress.suppressed:,}",
        ("    failed ", "dim"), f"{progress.failed:,}",
        ("    in flight ", "dim"), f"{progress.in_flight:,}",
        ("    ", ""), f"{_rate(progress, elapsed_s):,.0f}", (" messages/s", "dim"),
    )  # fmt: skip
    return Group("", bar, "", counts)


def _line(progress: Progress, elapsed_s: float) -> str:
    outcomes = f"{progress.decided:,} of {progress.expected:,} expected outcomes"
    return (
        f"{elapsed_s:5.1f} s  read {progress.read:,} of {progress.total:,}; {outcomes}:"
        f" accepted {progress.accepted:,}, suppressed {progress.suppressed:,}, failed {progress.failed:,};"
        f" in flight {progress.in_flight:,}"
    )


def _rate(progress: Progress, elapsed_s: float) -> float:
    return progress.accepted / elapsed_s if elapsed_s > 0 else 0.0


def _put(console: Console, *parts: str | tuple[str, str]) -> None:
    """One line, cut where the terminal ends; a part may carry its style."""
    console.print(Text.assemble("  ", *parts), no_wrap=True, overflow="ellipsis")


def _section(console: Console, title: str) -> None:
    console.print()
    _put(console, (title, "bold"))


def _totals(console: Console, summary: Summary) -> None:
    """The funnel from events to messages."""
    unusable = summary.read_events - summary.usable_events
    for count, style, name, more in (
        (summary.read_events, "bold", "events read", f"{summary.repeated_events:,} came twice, as producers do"),
        (unusable, "bold", "not usable", "each is kept as a dead letter, with its reason"),
        (summary.matched, "bold", "matched a mapping", "the others concern no message"),
        (summary.accepted, "bold green", "accepted by Twilio", "one message each, the repeated events too"),
        (summary.suppressed_and_failed, "bold", "not sent", "each has an outcome with its reason"),
    ):
        _put(console, (f"{count:>7,}", style), f"  {name:<20}", (more, "dim"))


def _rows(console: Console, rows: list[tuple[str, int, str]]) -> None:
    """What, how often, and one example: a line each, or two where the terminal is narrow."""
    width = max((len(words) for words, _, _ in rows), default=0)
    for words, count, example in rows:
        said, shown = f"{words:<{width}}  {count:>6,}", (f"  e.g. {example}", "dim")
        if console.width >= WIDE_COLUMNS:
            _put(console, said, shown)
        else:
            _put(console, said)
            _put(console, "  ", shown)


def _wrong(console: Console, summary: Summary) -> None:
    faults = summary.faults
    _put(console, (f"✗ It does not add up: {len(faults):,} faults", "bold red"))
    for fault in faults[:FAULTS_SHOWN_MAX]:
        console.print(Text(f"    {fault}"))
    if len(faults) > FAULTS_SHOWN_MAX:
        _put(console, f"  … and {len(faults) - FAULTS_SHOWN_MAX:,} more")
    console.print(Text(f"  The service's log and configuration: {summary.folder}"), soft_wrap=True)


def _right(console: Console, summary: Summary) -> None:
    times = summary.times
    _put(console, ("✓", "green"), (" It adds up", "bold"), ", checked outcome by outcome and message by message:")
    sums = f"{summary.matched:,} matched = {summary.accepted:,} accepted + {summary.suppressed_and_failed:,} not sent"
    _put(console, f"  {sums}; Twilio holds {summary.twilio_messages:,}")
    console.print()
    events_per_s, sends_per_s = summary.read_events / times.work_s, summary.accepted / times.work_s
    rates = f"{times.work_s:.1f} s of work: {events_per_s:,.0f} events/s, {sends_per_s:,.0f} messages/s"
    _put(console, (f"{rates}; {times.total_s:.1f} s in all", "dim"))
    busy = f'; {summary.twilio_busy} times "too busy", then asked again' if summary.twilio_busy else ""
    _put(console, (f"Fake Twilio: 20 to 60 ms an answer{busy}", "dim"))
    _put(console, (f"--seed {summary.seed} makes this day again, not the order in which its topics are read:", "dim"))
    _put(console, ("a few outcomes may differ, as a phone is read before an event or after it", "dim"))


def next_steps(console: Console, streamer: str, kept: Path | None) -> None:
    """What to look at next, as commands; `streamer` is how ours is called here, `kept` the folder if it stays."""
    look = f"ls {kept}" if kept else f"{streamer} demo --keep shop"
    rows = [
        (look, "the configuration and the log of this run" if kept else "keep the configuration and the log"),
        (f"{streamer} check --config {kept or 'shop'}", "what that configuration means"),
        (f"{streamer} fake-twilio", "the fake alone, for your own tests"),
        (f"{streamer} run --help", "the service on your Kafka and Twilio"),
    ]
    _section(console, "Next")
    width = max(len(command) for command, _ in rows)
    for command, words in rows:
        _put(console, (f"{command:<{width}}  ", "cyan"), (words, "dim"))
    console.print()
