"""One partition of the `lmdb` engine on disk: an environment, what is not flushed to it yet, and its lock.

Databases: `records` (slot to value and crc32), `busy` (slot to key of those with something left to do), `meta` (the
stamp). Commits sync the data and not the meta page (MDB_NOMETASYNC): a power loss may take back the last transactions,
never break an older one, and the offset in the same transaction says which. LMDB has no checksums of its own, so
values bear one, and after a power loss or where a file's size is not what it was every page is verified.
"""

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Final
from zlib import crc32

import lmdb
import msgspec
from lmdb.verify import VerifyError, verify

from streamer.core.state import has_business
from streamer.errors import CopyUnusable, StoreUnusable
from streamer.ports import Log
from streamer.store import local
from streamer.store.local import Stamp

FORMAT: Final = 1
MAP_BYTES: Final = 256 * 1024 * 1024  # of address space, doubled when it is full
CHUNK_RECORDS: Final = 2_000  # a transaction: its dirty pages, 8 MB at worst, stay allocated
SLOT_BYTES_MAX: Final = 511  # LMDB's longest key; an identity key may have 1 026
LOCK_WAIT_S: Final = 10.0  # another worker may just be closing it
CLOSED: Final = "closed"
TORN: Final = "torn"
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_CRC_BYTES: Final = 4
_CRC_RESIDUE: Final = 0x2144DF1C  # crc32 of anything followed by its own crc32, little-endian
_STAMP: Final = b"stamp"

_encode: Final = msgspec.msgpack.Encoder().encode
_decode_meta: Final = msgspec.msgpack.Decoder(tuple[int, Stamp]).decode


class Environment:
    """The open files of one partition. `open`, `write`, `settle` and `close` block, and exclude each other.

    `get` may run beside them in the event loop's thread; `grow` and `swap` only there, while no other is under way.
    """

    def __init__(
        self, folder: Path, changelog: Log, map_bytes: int = MAP_BYTES, lock_wait_s: float = LOCK_WAIT_S
    ) -> None:
        self.changelog = changelog
        self.stamp: Stamp | None = None
        self.count = 0
        self._path = folder / changelog.topic / f"{changelog.partition}.lmdb"
        self._data = self._path / "data.mdb"
        self._mark = self._path / "mark"
        self._lock: int | None = None
        self._turn = threading.Lock()
        self._map_bytes = self._map_bytes_first = map_bytes
        self._lock_wait_s = lock_wait_s
        self._is_open = False
        self.is_synced = True

    def open(self, now_ms: int) -> None:
        """Take the lock, and open what is there if it is usable, else an empty one. Raises: StoreUnusable."""
        with self._turn, self._failing():
            local.make_folder(self._path)
            self._lock = local.take_lock(self._path / "lock", self._lock_wait_s)
            if self._lock is None:
                raise StoreUnusable(f"{self._path} is in use by another process: give each its own store.path")
            try:
                self._open_copy(now_ms)
            except CopyUnusable as unusable:
                local.say_rebuilt(self.changelog, unusable)
            try:
                if self.stamp is None:
                    self._empty()
                    self._load(is_synced=False)
                self._write_mark(_boot_id())
            except (OSError, lmdb.Error):
                self._give_back()
                raise

    def get(self, key: bytes) -> bytes | None:
        """The flushed record of `key`; 2 µs. Raises: StoreUnusable, when it is damaged: the next start rebuilds it."""
        try:
            txn = self._env.begin(self._records)  # as a context manager it costs 0.5 µs more
            try:
                found: bytes | None = txn.get(key if len(key) <= SLOT_BYTES_MAX else _slot(key))
            finally:
                txn.abort()
        except lmdb.Error as error:
            raise self._damaged(str(error)) from error
        if found is None:
            return None
        if crc32(found) != _CRC_RESIDUE:
            raise self._damaged("a checksum is wrong")
        return found[:-_CRC_BYTES]

    def busy(self) -> list[bytes]:
        """The keys of the records with something left to do. Raises: StoreUnusable."""
        with self._turn, self._failing(), self._env.begin(self._busy) as txn:
            return [bytes(key) for _, key in txn.cursor()]

    def write(self, records: Mapping[bytes, bytes | None], stamp: Stamp | None) -> None:
        """Commit records, chunk by chunk, and the stamp with the last of them.

        Raises: lmdb.MapFullError: `grow`, and write all of it again; StoreUnusable.
        """
        items = sorted(records.items())  # neighbours share pages
        with self._turn, self._failing():
            for start in range(0, max(1, len(items)), CHUNK_RECORDS):
                is_last = start + CHUNK_RECORDS >= len(items)
                with self._env.begin(write=True) as txn:
                    self._put(txn, items[start : start + CHUNK_RECORDS])
                    if is_last and stamp is not None:
                        txn.put(_STAMP, _encode((FORMAT, stamp)), db=self._meta)
                    self.count = txn.stat(self._records)["entries"]
            if stamp is not None:
                self.stamp = stamp

    def settle(self) -> None:
        """Sync what was written while the copy was being built. Raises: StoreUnusable."""
        with self._turn, self._failing():
            self._env.sync(True)

    def swap(self) -> None:
        """Open the built copy again, syncing from now on. Takes a millisecond."""
        with self._turn, self._failing():
            self._env.close()
            self._load(is_synced=True)

    def grow(self) -> None:
        """Double the space."""
        with self._turn:
            self._map_bytes *= 2
            self._env.set_mapsize(self._map_bytes)

    def close(self) -> None:
        """Close the files and give the lock back. Raises: StoreUnusable."""
        with self._turn, self._failing():
            try:
                if self._is_open:
                    self._env.sync(True)
                    self._env.close()
                    self._is_open = False
                    self._write_mark(f"{CLOSED} {self._data.stat().st_size}")
            finally:
                self._give_back()

    def _open_copy(self, now_ms: int) -> None:
        """Raises: CopyUnusable."""
        if not self._data.exists():
            return
        try:
            self._check_mark()
            self._load(is_synced=True)
            info, stat = self._env.info(), self._env.stat()
            self._map_bytes = max(self._map_bytes, info["map_size"])
            if (info["last_pgno"] + 1) * stat["psize"] > self._data.stat().st_size:
                _verify(self._data)  # touched, what is beyond the end would end this process
            self._read_stamp(now_ms)
        except OSError as error:
            raise CopyUnusable(local.UNREADABLE, str(error.strerror)) from error
        except (lmdb.Error, msgspec.DecodeError) as error:
            raise CopyUnusable(local.TORN, str(error)) from error

    def _check_mark(self) -> None:
        """Verify every page unless it is as it was closed, or its process died and the machine lived: 3 ms a MB."""
        try:
            mark = self._mark.read_text(encoding="utf-8")
        except FileNotFoundError:
            mark = ""
        if mark == TORN:
            raise CopyUnusable(local.TORN, "a record of it was damaged")
        if mark not in (f"{CLOSED} {self._data.stat().st_size}", _boot_id()):
            _verify(self._data)

    def _read_stamp(self, now_ms: int) -> None:
        with self._env.begin(self._meta) as txn:
            raw = txn.get(_STAMP)
            if raw is None:
                raise CopyUnusable(local.UNFINISHED, "its first restore did not end")
            form = msgspec.msgpack.decode(raw)[0]
            if form != FORMAT:
                raise CopyUnusable(local.OTHER_FORMAT, f"format {form}, this version writes {FORMAT}")
            _, stamp = _decode_meta(raw)
            local.judge(stamp, self.changelog, now_ms)
            self.count = txn.stat(self._records)["entries"]
        self.stamp = stamp

    def _load(self, *, is_synced: bool) -> None:
        self._env = lmdb.open(
            str(self._path),
            map_size=self._map_bytes,
            max_dbs=3,
            metasync=False,
            sync=is_synced,
            readahead=False,  # people are read one by one, from anywhere
            mode=0o600,
        )
        self._is_open, self.is_synced = True, is_synced
        with self._env.begin(write=True) as txn:
            self._records, self._busy, self._meta = (self._env.open_db(n, txn) for n in (b"records", b"busy", b"meta"))

    def _empty(self) -> None:
        if self._is_open:
            self._env.close()
            self._is_open = False
        self.count, self._map_bytes = 0, self._map_bytes_first
        for name in ("data.mdb", "lock.mdb", "mark"):
            (self._path / name).unlink(missing_ok=True)

    def _put(self, txn: lmdb.Transaction, items: list[tuple[bytes, bytes | None]]) -> None:
        kept = [(_slot(k), v + crc32(v).to_bytes(_CRC_BYTES, "little")) for k, v in items if v is not None]
        txn.cursor(self._records).putmulti(kept)
        has_busy = txn.stat(self._busy)["entries"] > 0
        for key, value in items:
            if value is None:
                txn.delete(_slot(key), db=self._records)
            if value is not None and has_business(value):
                txn.put(_slot(key), key, db=self._busy)
            elif has_busy:
                txn.delete(_slot(key), db=self._busy)

    def _write_mark(self, text: str) -> None:
        beside = self._mark.with_suffix(".tmp")
        with beside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._mark)
        local.sync_folder(self._path)

    def _give_back(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _damaged(self, what: str) -> StoreUnusable:
        with contextlib.suppress(OSError):
            self._write_mark(TORN)
        return StoreUnusable(f"{self._path} is damaged: {what}. Start again: it is rebuilt from the changelog")

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        """Translate what a full or forbidden disk makes of a call."""
        try:
            yield
        except lmdb.MapFullError:
            raise
        except (OSError, lmdb.Error) as error:
            raise StoreUnusable(
                f"{self._path} can't be written: {error}. Make room, or give streamer the right to write there, or"
                " another store.path; nothing is lost, the changelog has it"
            ) from error


def _verify(data: Path) -> None:
    """Raises: CopyUnusable, where a page is not what LMDB relies on."""
    try:
        problems = verify(str(data), subdir=False)  # type: ignore[no-untyped-call]  # it has no stub
    except (VerifyError, OSError) as error:
        raise CopyUnusable(local.TORN, str(error)) from error
    if problems:
        raise CopyUnusable(local.TORN, problems[0])


def _slot(key: bytes) -> bytes:
    """The key by which LMDB knows an identity key: itself, or its hash where it is too long."""
    return key if len(key) <= SLOT_BYTES_MAX else b"\x01" + blake2b(key, digest_size=32).digest()


def _boot_id() -> str:
    """This boot of the machine; what was written in it and not synced is still in its memory."""
    try:
        return BOOT_ID.read_text(encoding="utf-8").strip()
    except OSError:
        return "unknown"
