"""What both engines share: the stamp of a local copy, when it may be used, and the lock on a partition's files.

A copy is only ever a shortcut: whatever is wrong with one, the changelog has it all.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct

from streamer.errors import CopyUnusable
from streamer.ports import Log
from streamer.telemetry import STORES_REBUILT, logger

TORN: Final = "torn"  # not whole, or a checksum is wrong
OTHER_FORMAT: Final = "other_format"
OTHER_CLUSTER: Final = "other_cluster"
OTHER_TOPIC: Final = "other_topic"
BEHIND_START: Final = "behind_start"  # records that it lacks are deleted
BEYOND_END: Final = "beyond_end"  # the topic was made again
TOO_OLD: Final = "too_old"  # a tombstone that it lacks may be gone
UNREADABLE: Final = "unreadable"  # no permission, or the disk fails
UNFINISHED: Final = "unfinished"  # the process ended before its first restore did
LOCK_POLL_S: Final = 0.05

log = logger(__name__)


class Stamp(Struct, frozen=True, array_like=True):
    """What a copy is of, up to which changelog offset it is complete, and when it was saved (wall ms)."""

    cluster: str
    topic: str
    partition: int
    offset: int
    saved_ms: int


def stamp_of(changelog: Log, offset: int, now_ms: int) -> Stamp:
    """The stamp of what is saved now."""
    return Stamp(changelog.cluster, changelog.topic, changelog.partition, offset, now_ms)


def max_age_ms(changelog: Log) -> int:
    """How old a copy may be: half of what the changelog keeps tombstones for, so that none is missed while it reads."""
    return changelog.delete_retention_ms // 2


def judge(stamp: Stamp, changelog: Log, now_ms: int) -> None:
    """Raises: CopyUnusable, unless reading `changelog` from the stamp's offset on makes its copy exact."""
    if stamp.cluster != changelog.cluster:
        raise CopyUnusable(OTHER_CLUSTER, f"of cluster {stamp.cluster}, this is {changelog.cluster}")
    if (stamp.topic, stamp.partition) != (changelog.topic, changelog.partition):
        raise CopyUnusable(OTHER_TOPIC, f"of {stamp.topic}/{stamp.partition}")
    if stamp.offset < changelog.start:
        raise CopyUnusable(BEHIND_START, f"at offset {stamp.offset}, the changelog begins at {changelog.start}")
    if stamp.offset > changelog.end:
        raise CopyUnusable(BEYOND_END, f"at offset {stamp.offset}, the changelog ends at {changelog.end}")
    if abs(now_ms - stamp.saved_ms) > max_age_ms(changelog):  # a clock that went back by so much tells nothing
        raise CopyUnusable(TOO_OLD, f"saved {(now_ms - stamp.saved_ms) // 1000} s ago")


def say_rebuilt(changelog: Log, unusable: CopyUnusable) -> None:
    """Log and count that a partition is read from its changelog's start though there was a copy."""
    STORES_REBUILT.labels(unusable.reason).inc()
    log.warning(
        "store.rebuilt",
        topic=changelog.topic,
        partition=changelog.partition,
        reason=unusable.reason,
        detail=unusable.detail,
    )


def take_lock(path: Path, wait_s: float) -> int | None:
    """A descriptor that holds the lock of `path` until it is closed, or None: another has it. Blocks up to `wait_s`.

    Raises: OSError. The kernel gives it back when its process ends, however it ends.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    give_up_s = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= give_up_s:
                os.close(descriptor)
                return None
            time.sleep(LOCK_POLL_S)
        else:
            return descriptor


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold the lock of `path` within the block; False: another process has it. Raises: OSError."""
    descriptor = take_lock(path, 0.0)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` outlive a power loss. Raises: OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make `folder`, readable by its owner alone: it holds people's traits. Raises: OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
