"""Snapshots of the `memory` engine: one file a partition, replaced whole, checked whole.

A file is MAGIC with its format, then frames of (length, crc32, payload): the stamp and the count, blocks of keys and
values, and the end mark. It is written beside its place, synced and renamed, so a crash leaves the one before.
"""

import asyncio
import os
import struct
import threading
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final
from zlib import crc32

import msgspec

from streamer.errors import CopyUnusable
from streamer.ports import Clock, Log
from streamer.store import local
from streamer.store.local import Stamp
from streamer.telemetry import SNAPSHOTS, logger

FORMAT: Final = 1
MAGIC: Final = b"streamer snapshot"
BLOCK_RECORDS: Final = 1_000  # 0.4 MB: the event loop waits at most 0.2 ms for the interpreter while one is encoded
END: Final = b"end"
_FRAME: Final = struct.Struct(">II")
FRAME_BYTES_MAX: Final = 2**31  # a block of the largest records; a length beyond is no length

Records = dict[bytes, bytes]
_encode: Final = msgspec.msgpack.Encoder().encode
_decode_head: Final = msgspec.msgpack.Decoder(tuple[Stamp, int]).decode
_decode_block: Final = msgspec.msgpack.Decoder(tuple[list[bytes], list[bytes]]).decode

log = logger(__name__)


class SnapshotFolder:
    """The snapshots of every partition under one folder; its methods do their work in threads."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self.clock = clock
        self._writing = threading.Lock()  # one that its caller no longer waits for may still be under way

    async def load(self, changelog: Log) -> tuple[Stamp, Records] | None:
        """The copy of a partition, or None: there is none, or it can't be used, which is said."""
        return await asyncio.to_thread(self._load, changelog)

    async def write(self, stamp: Stamp, records: Records) -> bool:
        """Replace the snapshot of a partition. False: it could not be written, which is said; the one before stays."""
        return await asyncio.to_thread(self._write, stamp, records)

    def _place(self, topic: str, partition: int) -> Path:
        return self._folder / topic / f"{partition}.snapshot"

    def _load(self, changelog: Log) -> tuple[Stamp, Records] | None:
        path = self._place(changelog.topic, changelog.partition)
        try:
            return read(path, changelog, self.clock.now_ms())
        except FileNotFoundError:
            return None
        except CopyUnusable as unusable:
            local.say_rebuilt(changelog, unusable)
        try:
            path.unlink(missing_ok=True)  # left there, it would keep snapshots with a lower offset from being written
        except OSError as error:
            log.warning("store.snapshot_stays", path=str(path), error=error.strerror)
        return None

    def _write(self, stamp: Stamp, records: Records) -> bool:
        path = self._place(stamp.topic, stamp.partition)
        try:
            local.make_folder(path.parent)
            with self._writing, local.locked(path.with_suffix(".lock")) as is_ours:
                is_written = is_ours and not _is_newer(path, stamp)
                if is_written:
                    write(path, stamp, records)
        except OSError as error:
            SNAPSHOTS.labels("failed").inc()
            # Nothing is lost: without it the next start reads more of the changelog.
            log.warning("store.snapshot_failed", partition=stamp.partition, path=str(path), error=error.strerror)
            return False
        SNAPSHOTS.labels("written" if is_written else "left_to_another").inc()
        return True


def write(path: Path, stamp: Stamp, records: Records) -> None:
    """Replace the file at `path`. Raises: OSError, and the file is as it was."""
    beside = path.with_suffix(".tmp")
    try:
        with beside.open("wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(MAGIC + bytes((FORMAT,)))
            _put(file, _encode((stamp, len(records))))
            keys, values = iter(records.keys()), iter(records.values())
            while block := list(islice(keys, BLOCK_RECORDS)):
                _put(file, _encode((block, list(islice(values, BLOCK_RECORDS)))))
            _put(file, END)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        local.sync_folder(path.parent)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def read(path: Path, changelog: Log, now_ms: int) -> tuple[Stamp, Records]:
    """The whole copy. Raises: FileNotFoundError; CopyUnusable, whatever else is wrong with it."""
    try:
        with path.open("rb") as file:
            stamp, count = _head(file)
            local.judge(stamp, changelog, now_ms)
            records: Records = {}
            for _ in range(0, count, BLOCK_RECORDS):
                keys, values = _decode_block(_take(file))
                records.update(zip(keys, values, strict=True))
            if _take(file) != END or len(records) != count:
                raise CopyUnusable(local.TORN, f"{len(records)} of {count} records")
            return stamp, records
    except FileNotFoundError:
        raise
    except OSError as error:
        raise CopyUnusable(local.UNREADABLE, str(error.strerror)) from error
    except (msgspec.DecodeError, ValueError) as error:
        raise CopyUnusable(local.TORN, str(error)) from error


def _is_newer(path: Path, stamp: Stamp) -> bool:
    """Another process, which owned the partition after us, has left a later copy already."""
    try:
        with path.open("rb") as file:
            known, _ = _head(file)
    except (OSError, CopyUnusable, ValueError):  # msgspec's errors are ValueErrors
        return False
    is_same = (known.cluster, known.topic, known.partition) == (stamp.cluster, stamp.topic, stamp.partition)
    return is_same and known.offset > stamp.offset


def _head(file: BinaryIO) -> tuple[Stamp, int]:
    head = file.read(len(MAGIC) + 1)
    if head[:-1] != MAGIC:
        raise CopyUnusable(local.TORN, "no snapshot begins like this")
    if head[-1] != FORMAT:
        raise CopyUnusable(local.OTHER_FORMAT, f"format {head[-1]}, this version writes {FORMAT}")
    return _decode_head(_take(file))


def _put(file: BinaryIO, payload: bytes) -> None:
    file.write(_FRAME.pack(len(payload), crc32(payload)))
    file.write(payload)


def _take(file: BinaryIO) -> bytes:
    head = file.read(_FRAME.size)
    if len(head) < _FRAME.size:
        raise CopyUnusable(local.TORN, "it ends too early")
    length, checksum = _FRAME.unpack(head)
    payload = file.read(length) if length < FRAME_BYTES_MAX else b""
    if len(payload) != length or crc32(payload) != checksum:
        raise CopyUnusable(local.TORN, "a checksum is wrong")
    return payload
