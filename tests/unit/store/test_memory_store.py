"""The `memory` engine keeps the contract without a disk and with one; its snapshots are whole or nothing."""

import asyncio

import pytest

from streamer.store import snapshot
from streamer.store.local import Stamp, locked
from streamer.store.memory import KEEP_S, SNAPSHOT_EVERY_S, MemoryStore
from streamer.store.snapshot import BLOCK_RECORDS, SnapshotFolder
from tests.contracts.state_store import BUSY, IDLE, LOG, CopyContract, StateStoreContract

STAMP = Stamp("cluster", "streamer.state", 1, 50, 1)


class TestWithoutDisk(StateStoreContract):
    def store(self):
        return MemoryStore()


class TestWithSnapshots(CopyContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.folder = tmp_path / "state"

    def store(self):
        return MemoryStore(SnapshotFolder(self.folder, self.clock))

    def path(self, topic="streamer.state"):
        return self.folder / topic / "1.snapshot"

    async def test_a_file_cut_off_anywhere_is_rebuilt(self):
        await self.leave(a=BUSY, b=IDLE)
        whole = self.path().read_bytes()
        for length in range(len(whole)):
            self.path().write_bytes(whole[:length])
            assert await self.store().open(LOG) is None
            assert not self.path().exists()
        self.path().write_bytes(whole[:-1])
        await self.is_rebuilt("torn")

    async def test_any_byte_that_is_not_what_was_written_is_found(self):
        await self.leave(a=BUSY, b=IDLE)
        whole = self.path().read_bytes()
        for at in range(len(whole)):
            self.path().write_bytes(whole[:at] + bytes((whole[at] ^ 0x10,)) + whole[at + 1 :])
            assert await self.store().open(LOG) is None

    async def test_an_older_format_is_rebuilt(self):
        await self.leave(a=BUSY)
        whole = bytearray(self.path().read_bytes())
        whole[len(snapshot.MAGIC)] = 0
        self.path().write_bytes(whole)
        await self.is_rebuilt("other_format")

    async def test_a_file_that_can_not_be_read_is_rebuilt(self):
        """A link to itself: for root too, to whom no mode forbids anything."""
        await self.leave(a=BUSY)
        self.path().unlink()
        self.path().symlink_to(self.path())
        await self.is_rebuilt("unreadable")

    async def test_a_folder_in_its_place_is_rebuilt_and_the_process_goes_on(self):
        """As any other thing that can't be read; it can't be replaced either, so no snapshot is written."""
        self.path().mkdir(parents=True)
        store = self.store()
        assert await store.open(LOG) is None
        store.put(1, b"a", IDLE)
        await store.close(1, 10)
        await store.stop()
        assert self.path().is_dir()

    async def test_a_full_disk_leaves_the_snapshot_before_and_the_process_goes_on(self):
        await self.leave(a=BUSY)
        self.path().with_suffix(".tmp").symlink_to("/dev/full")
        await self.leave(offset=60, b=IDLE)
        store = self.store()
        assert await store.open(LOG) == 50
        assert store.get(1, b"a") == BUSY
        assert not self.path().with_suffix(".tmp").exists()

    async def test_another_process_that_writes_is_not_disturbed(self):
        await self.leave(a=BUSY)
        with locked(self.path().with_suffix(".lock")) as is_ours:
            assert is_ours
            await self.leave(offset=60, b=IDLE)
        assert await self.store().open(LOG) == 50

    async def test_a_process_that_lost_the_partition_never_replaces_a_later_snapshot(self):
        """Both are right, but the later one saves the next start more."""
        first, second = self.store(), self.store()
        for store, offset in ((first, 40), (second, 60)):
            await store.open(LOG)
            store.put(1, b"a", IDLE)
            await store.close(1, offset)
        await second.stop()
        await first.stop()
        assert await self.store().open(LOG) == 60

    async def test_a_partition_that_comes_back_in_time_is_still_in_memory(self):
        store = self.store()
        await store.open(LOG)
        store.put(1, b"a", BUSY)
        await store.close(1, 40)
        self.clock.advance(KEEP_S - 1)
        await store.save({})
        assert not self.path().exists()
        assert await store.open(LOG) == 40
        assert store.get(1, b"a") == BUSY
        self.clock.advance(KEEP_S)
        await store.save({1: 41})
        assert store.get(1, b"a") == BUSY

    async def test_one_that_does_not_is_let_go_with_a_snapshot(self):
        store = self.store()
        await store.open(LOG)
        store.put(1, b"a", BUSY)
        await store.close(1, 40)
        self.clock.advance(KEEP_S)
        await store.save({})
        assert (store.get(1, b"a"), store.count(1)) == (None, 0)
        assert await self.store().open(LOG) == 40

    async def test_one_that_comes_back_to_another_log_is_read_again(self):
        store = self.store()
        await store.open(LOG)
        store.put(1, b"a", BUSY)
        await store.close(1, 40)
        assert await store.open(LOG._replace(end=39)) is None
        assert store.get(1, b"a") is None

    async def test_a_snapshot_is_written_every_few_minutes_and_only_if_it_says_more(self):
        store = self.store()
        await store.open(LOG)
        store.put(1, b"a", IDLE)
        await store.save({1: 40})
        assert not self.path().exists()
        self.clock.advance(SNAPSHOT_EVERY_S)
        await store.save({1: 40})
        written = self.path().stat().st_mtime_ns
        self.clock.advance(SNAPSHOT_EVERY_S)
        await store.save({1: 40})
        assert self.path().stat().st_mtime_ns == written
        assert await self.store().open(LOG) == 40

    async def test_records_put_while_a_snapshot_is_written_do_not_break_it(self):
        """It is of a copy of the dict, so nothing changes under it."""
        store = self.store()
        await store.open(LOG)
        await store.fill(1, [(f"u:{n}".encode(), IDLE) for n in range(5 * BLOCK_RECORDS)])
        self.clock.advance(SNAPSHOT_EVERY_S)
        async with asyncio.TaskGroup() as tasks:
            saving = tasks.create_task(store.save({1: 40}), name="save")
            number = 0
            while not saving.done():
                store.put(1, f"a:{number}".encode(), BUSY)
                number += 1
                await asyncio.sleep(0)
        again = self.store()
        assert await again.open(LOG) == 40
        assert 5 * BLOCK_RECORDS <= again.count(1) < 5 * BLOCK_RECORDS + number

    @pytest.mark.parametrize("count", [0, 1, BLOCK_RECORDS, BLOCK_RECORDS + 1])
    def test_a_snapshot_of_any_size_is_read_back(self, tmp_path, count):
        records = {f"u:{n}".encode(): b"\x01\x00" + bytes(n % 700) for n in range(count)}
        snapshot.write(tmp_path / "1.snapshot", STAMP, records)
        assert snapshot.read(tmp_path / "1.snapshot", LOG, 1) == (STAMP, records)
        assert (tmp_path / "1.snapshot").stat().st_mode & 0o077 == 0
