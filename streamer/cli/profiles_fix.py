"""The corrections of `streamer profiles audit --fix`: written to the identify topic at a pace, and resumable.

A correction repeats exactly, so a run that was cut short may be started again from anywhere; the resume file saves the
reading of what is done.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import click
import msgspec
from msgspec import Struct

from streamer.app import connection
from streamer.clock import SystemClock
from streamer.config_model import Config
from streamer.core.audit import Stored, correction
from streamer.errors import BrokerUnusable, StreamerError
from streamer.kafka.inspection import Span, partition_counts
from streamer.kafka.writer import Writer
from streamer.ports import Partition

FLUSH_EVERY: Final = 500  # corrections between two flushes: 0.2 KB each
FLUSH_EVERY_S: Final = 1.0
RESUME_FORMAT: Final = 1
FILE_BYTES_MAX: Final = 1 << 20


class Done(Struct, kw_only=True):
    """A resume file: which run it is of, and per partition the offset below which everything is corrected."""

    format: int = RESUME_FORMAT
    state_topic: str
    topic: str
    traits: list[str]
    done: dict[str, int]


def topic_of(config: Config, topic: str | None) -> str:
    """The topic that corrections go to: the one given, else the only input whose name says so. Raises: UsageError."""
    events = config.topics.events
    if topic is None:
        named = [each for each in events if "identify" in each.lower()]
        if len(named) != 1:
            which = "none" if not named else "more than one"
            raise click.UsageError(
                f"of topics.events {which} is named after identify: choose with --topic"
                f" among {', '.join(named or events)}"
            )
        return named[0]
    if topic not in events:
        raise click.BadParameter(f"is not one of topics.events: {', '.join(events)}", param_hint="--topic")
    return topic


async def require_topic(config: Config, topic: str) -> None:
    """Check that the topic is there, for a broker may make one by being written to. Raises: BrokerUnusable."""
    if not await partition_counts(connection(config.kafka), [topic]):
        raise BrokerUnusable(f"no topic {topic} on the broker; create it, or correct topics.events")


class Progress:
    """How far a run is, in memory and, where one is named, in a file."""

    def __init__(self, file: Path | None, state_topic: str, topic: str, traits: Sequence[str]) -> None:
        self._file = file
        self._said = Done(state_topic=state_topic, topic=topic, traits=sorted(traits), done={})

    def load(self) -> None:
        """Take up what the file says, if there is one. Raises: UsageError, for one that isn't of this run."""
        if self._file is None or not self._file.exists():
            return
        try:
            found = msgspec.json.decode(self._file.read_bytes()[:FILE_BYTES_MAX], type=Done)
        except OSError as error:
            raise click.UsageError(f"--resume {self._file} can't be read: {error.strerror}") from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise click.UsageError(f"--resume {self._file} is no resume file; name another, or a new one") from None
        mine = self._said
        if (found.format, found.state_topic, found.topic, found.traits) != (
            *(mine.format, mine.state_topic, mine.topic),
            mine.traits,
        ):
            raise click.UsageError(
                f"--resume {self._file} is of another run: {found.state_topic} to {found.topic},"
                f" traits {', '.join(found.traits)}; name another file"
            )
        self._said = found

    def left(self, partition: Partition, span: Span) -> Span:
        """What of a partition is still to be read. Raises: StreamerError, if the topic is not the one read before."""
        done = self._said.done.get(str(partition.partition), 0)
        if done > span.end:
            raise StreamerError(
                f"{partition.topic}/{partition.partition} ends at {span.end}, and --resume {self._file} says that"
                f" {done} was reached: the topic was made anew. Remove the file"
            )
        return Span(max(span.start, done), span.end)

    def save(self, partition: int, offset: int) -> None:
        """Everything below `offset` is corrected, and safe. Raises: StreamerError, if that can't be written down.

        The file is whole at every moment: the old one, or the new one.
        """
        self._said.done[str(partition)] = offset
        if self._file is None:
            return
        beside = self._file.with_name(f"{self._file.name}.new")
        try:
            with beside.open("wb") as stream:
                stream.write(msgspec.json.encode(self._said) + b"\n")
                stream.flush()
                os.fsync(stream.fileno())
            beside.replace(self._file)
        except OSError as error:
            raise StreamerError(f"--resume {self._file} can't be written: {error.strerror}") from None


class Corrector:
    """Writes corrections, at most `rate` a second. `integration` is our name in `integrations`."""

    def __init__(self, config: Config, topic: str, rate: float, progress: Progress) -> None:
        self._writer = Writer(connection(config.kafka), is_idempotent=config.kafka.enable_idempotence)
        self._integration = config.mappings.filters.integration
        self._topic = topic
        self._interval_s = 1 / rate
        self._progress = progress
        self._clock = SystemClock()
        self._next_s = self._flushed_s = self._clock.now_s()
        self._unsafe = 0
        self.count = 0

    async def __aenter__(self) -> Self:
        """Connect. Raises: BrokerUnusable."""
        await self._writer.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._writer.__aexit__(kind, error, at)

    async def correct(self, stored: Stored, partition: int, offset: int) -> None:
        """Write one correction, of the record at `offset`. Raises: BrokerUnusable, StreamerError."""
        now_s = self._clock.now_s()
        if now_s < self._next_s:
            await self._clock.sleep(self._next_s - now_s)
        self._next_s = max(self._next_s, now_s) + self._interval_s
        event: Any = correction(stored, self._integration)
        await self._writer.write(self._topic, stored.key[2:].encode(), event)
        self.count += 1
        self._unsafe += 1
        if self._unsafe >= FLUSH_EVERY or self._clock.now_s() - self._flushed_s >= FLUSH_EVERY_S:
            await self.reach(partition, offset)

    async def reach(self, partition: int, offset: int) -> None:
        """Everything below `offset` was looked at: have it safe, and written down. Raises: as `correct`."""
        await self._writer.flush()
        self._unsafe, self._flushed_s = 0, self._clock.now_s()
        self._progress.save(partition, offset)
