"""The `lmdb` engine: profiles larger than memory. One environment a partition, written every second in a thread.

What is not flushed yet is an overlay in memory, so `get` is exact; a crash loses it, and the offset that was flushed
with the rest says from where the changelog brings it back.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import lmdb

from streamer.ports import Clock, Log
from streamer.store.environment import LOCK_WAIT_S, MAP_BYTES, Environment
from streamer.store.local import max_age_ms, stamp_of

REFRESHES: Final = 100  # within the age that a copy may have: a commit, where nothing happens

Overlay = dict[bytes, bytes | None]


class _Tenure:
    """An environment, and what is put and not flushed to it."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.count = 0
        self._overlay: Overlay = {}
        self._flushing: Overlay = {}  # on its way; visible until it is there
        self._turn = asyncio.Lock()

    def get(self, key: bytes) -> bytes | None:
        for fresh in (self._overlay, self._flushing):
            if key in fresh:
                return fresh[key]
        return self.environment.get(key)

    def put(self, key: bytes, value: bytes | None) -> None:
        self.count += (value is not None) - (self.get(key) is not None)
        self._overlay[key] = value

    def is_due(self, offset: int, now_ms: int) -> bool:
        stamp = self.environment.stamp
        if self._overlay or self._flushing or stamp is None or stamp.offset != offset:
            return True
        return now_ms - stamp.saved_ms >= max_age_ms(self.environment.changelog) / REFRESHES

    async def fill(self, records: Iterable[tuple[bytes, bytes | None]]) -> None:
        self._overlay.update(records)
        await self.flush(None, 0)
        self.count = self.environment.count

    async def flush(self, offset: int | None, now_ms: int) -> None:
        """Write the overlay; with an offset, this makes it a copy. What is put meanwhile waits for the next one."""
        async with self._turn:
            environment = self.environment
            stamp = None if offset is None else stamp_of(environment.changelog, offset, now_ms)
            self._flushing, self._overlay = self._flushing | self._overlay, {}
            if stamp is not None and not environment.is_synced:
                await asyncio.to_thread(environment.settle)
                environment.swap()
            while True:
                try:
                    await asyncio.to_thread(environment.write, self._flushing, stamp)
                    break
                except lmdb.MapFullError:
                    environment.grow()  # here, where no `get` is under way
            self._flushing = {}


class LmdbStore:
    """Encoded state records by partition and key, on disk; in memory are the page cache and a second's writes.

    Only partitions between `open` and `close` can be read or written. `map_bytes` is what an environment begins with.
    """

    def __init__(
        self, folder: Path, clock: Clock, map_bytes: int = MAP_BYTES, lock_wait_s: float = LOCK_WAIT_S
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._map_bytes = map_bytes
        self._lock_wait_s = lock_wait_s
        self._tenures: dict[int, _Tenure] = {}

    async def open(self, log: Log) -> int | None:
        """Open a partition's environment, or make it anew; returns the offset flushed with it, or None."""
        environment = Environment(self._folder, log, self._map_bytes, self._lock_wait_s)
        tenure = self._tenures[log.partition] = _Tenure(environment)  # `close` finds it even if this is cancelled
        await asyncio.to_thread(environment.open, self._clock.now_ms())
        tenure.count = environment.count
        return None if environment.stamp is None else environment.stamp.offset

    async def busy(self, partition: int) -> Sequence[bytes]:
        """The keys with something left to do, from their index."""
        tenure = self._tenures[partition]
        await tenure.flush(None, 0)
        return await asyncio.to_thread(tenure.environment.busy)

    async def fill(self, partition: int, records: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Put what a restore has read, straight to the environment."""
        await self._tenures[partition].fill(records)

    async def save(self, offsets: Mapping[int, int]) -> None:
        """Flush every partition that has something to flush, one after another."""
        for partition, offset in offsets.items():
            tenure, now_ms = self._tenures.get(partition), self._clock.now_ms()
            if tenure is not None and tenure.is_due(offset, now_ms):
                await tenure.flush(offset, now_ms)

    async def close(self, partition: int, offset: int | None) -> None:
        """Flush and close a partition's files; they are another process's now."""
        tenure = self._tenures.pop(partition, None)
        if tenure is None:
            return
        try:
            if offset is not None:
                await tenure.flush(offset, self._clock.now_ms())
        finally:
            await asyncio.to_thread(tenure.environment.close)

    async def stop(self) -> None:
        """Close what is still open."""
        for partition in list(self._tenures):
            await self.close(partition, None)

    def get(self, partition: int, key: bytes) -> bytes | None:
        """The record of `key`, or None. Costs 2 µs, and a read of the disk where it isn't cached."""
        return self._tenures[partition].get(key)

    def put(self, partition: int, key: bytes, value: bytes | None) -> None:
        """Set the record of `key`; None deletes it."""
        self._tenures[partition].put(key, value)

    def count(self, partition: int) -> int:
        """How many keys a partition holds."""
        tenure = self._tenures.get(partition)
        return 0 if tenure is None else tenure.count
