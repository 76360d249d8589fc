"""The `lmdb` engine keeps the contract; its files are exact, locked, and rebuilt whenever they could be wrong."""

import asyncio
import contextlib
import resource

import lmdb
import msgspec
import pytest

from streamer.errors import StoreUnusable
from streamer.store import local
from streamer.store.disk import LmdbStore
from streamer.store.environment import CHUNK_RECORDS, Environment
from tests.contracts.state_store import BUSY, IDLE, LOG, CopyContract

PEOPLE = 3 * CHUNK_RECORDS


@contextlib.contextmanager
def files_of_at_most(size):
    """What a full disk is to a process: writes fail."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class TestLmdbStore(CopyContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.folder = tmp_path / "state"

    def store(self):
        return LmdbStore(self.folder, self.clock)

    def path(self, topic="streamer.state"):
        return self.folder / topic / "1.lmdb"

    async def crowd(self):
        """One process comes and goes, with many people."""
        await self.leave(**{f"u:{n}": IDLE + b"x" * 300 for n in range(PEOPLE)})

    async def test_what_is_put_while_a_flush_is_under_way_is_seen_and_kept(self):
        store = await self.opened()
        await store.fill(1, [(f"u:{n}".encode(), IDLE) for n in range(PEOPLE)])
        for n in range(PEOPLE):
            store.put(1, f"u:{n}".encode(), BUSY)
        async with asyncio.TaskGroup() as tasks:
            saving = tasks.create_task(store.save({1: 10}), name="save")
            await asyncio.sleep(0)
            while not saving.done():
                assert store.get(1, b"u:7") == BUSY
                store.put(1, b"late", BUSY)
                await asyncio.sleep(0)
        assert (store.get(1, b"late"), store.count(1)) == (BUSY, PEOPLE + 1)
        await store.close(1, 11)
        again = self.store()
        assert await again.open(LOG) == 11
        assert (again.get(1, b"late"), again.count(1), len(await again.busy(1))) == (BUSY, PEOPLE + 1, PEOPLE + 1)
        await again.stop()

    async def test_what_a_dead_process_had_saved_is_a_copy_and_the_rest_is_not_there(self):
        """The offset is in the transaction of its records, so the changelog brings back exactly what is missing."""
        store = await self.opened()
        store.put(1, b"a", BUSY)
        await store.save({1: 40})
        store.put(1, b"b", BUSY)
        self.die(store)
        again = self.store()
        assert await again.open(LOG) == 40
        assert (again.get(1, b"a"), again.get(1, b"b"), await again.busy(1)) == (BUSY, None, [b"a"])
        await again.stop()

    async def test_a_process_that_dies_in_its_first_restore_leaves_nothing(self):
        store = await self.opened()
        await store.fill(1, [(b"a", IDLE)])
        self.die(store)
        await self.is_rebuilt("unfinished")

    @staticmethod
    def die(store):
        """Its lock is given back and nothing else is done."""
        open_files = store._tenures[1].environment
        open_files._env.close()
        open_files._give_back()

    async def test_two_processes_never_have_one_partition(self):
        store = await self.opened()
        other = LmdbStore(self.folder, self.clock, lock_wait_s=0.0)
        with pytest.raises(StoreUnusable, match="in use by another process"):
            await other.open(LOG)
        store.put(1, b"a", BUSY)
        await store.close(1, 40)
        assert await other.open(LOG) == 40
        await other.stop()

    async def test_a_file_cut_off_is_rebuilt(self):
        """Touched beyond its end, the kernel would end the process."""
        await self.crowd()
        data = self.path() / "data.mdb"
        with data.open("r+b") as file:
            file.truncate(data.stat().st_size // 2 // 4096 * 4096)
        await self.is_rebuilt("torn")

    async def test_a_file_cut_off_is_rebuilt_after_a_death_too(self):
        store = await self.opened()
        await store.fill(1, [(f"u:{n}".encode(), IDLE + b"x" * 300) for n in range(PEOPLE)])
        await store.save({1: 50})
        self.die(store)
        data = self.path() / "data.mdb"
        with data.open("r+b") as file:
            file.truncate(data.stat().st_size // 2 // 4096 * 4096)
        await self.is_rebuilt("torn")

    async def test_pages_that_a_power_loss_left_behind_are_found(self):
        """Another boot than the one that wrote: what was not synced is gone."""
        await self.crowd()
        (self.path() / "mark").write_text("another boot", encoding="utf-8")
        self.overwrite(b"\0" * 4096, 40 * 4096)
        await self.is_rebuilt("torn")

    async def test_a_sound_file_after_a_power_loss_is_used(self):
        await self.crowd()
        (self.path() / "mark").write_text("another boot", encoding="utf-8")
        store = self.store()
        assert await store.open(LOG) == 50
        assert store.count(1) == PEOPLE
        await store.stop()

    def overwrite(self, what, at):
        with (self.path() / "data.mdb").open("r+b") as file:
            file.seek(at)
            file.write(what)

    @pytest.mark.parametrize("junk", [b"", b"x", b"\xff" * 8192])
    async def test_a_file_of_anything_else_is_rebuilt(self, junk):
        await self.leave(a=BUSY)
        (self.path() / "data.mdb").write_bytes(junk)
        await self.is_rebuilt("torn")

    async def test_a_record_that_changed_on_the_disk_stops_the_process_and_the_next_rebuilds_it(self):
        """Going on would treat a known person as new, or as somebody else."""
        await self.leave(a=IDLE + b"x" * 100)
        content = (self.path() / "data.mdb").read_bytes()
        self.overwrite(b"y", content.index(b"x" * 100))
        store = self.store()
        assert await store.open(LOG) == 50
        with pytest.raises(StoreUnusable, match="damaged"):
            store.get(1, b"a")
        self.die(store)
        await self.is_rebuilt("torn")

    async def test_an_older_format_is_rebuilt(self):
        await self.leave(a=BUSY)
        files = lmdb.open(str(self.path()), max_dbs=3)
        with files.begin(write=True) as txn:
            txn.put(b"stamp", msgspec.msgpack.encode((0, "whatever")), db=files.open_db(b"meta", txn))
        files.close()
        await self.is_rebuilt("other_format")

    async def test_it_grows_when_it_is_full(self):
        store = LmdbStore(self.folder, self.clock, map_bytes=256 * 1024)
        await store.open(LOG)
        for n in range(PEOPLE):
            store.put(1, f"u:{n}".encode(), IDLE + b"x" * 300)
        await store.save({1: 10})
        await store.fill(1, [(f"a:{n}".encode(), IDLE + b"x" * 300) for n in range(PEOPLE)])
        await store.close(1, 11)
        again = self.store()
        assert await again.open(LOG) == 11
        assert again.count(1) == 2 * PEOPLE
        await again.stop()

    async def test_a_full_disk_stops_the_process_with_a_way_out(self):
        store = await self.opened()
        store.put(1, b"a", BUSY)
        await store.save({1: 40})
        for n in range(PEOPLE):
            store.put(1, f"u:{n}".encode(), IDLE + b"x" * 300)
        with (
            files_of_at_most((self.path() / "data.mdb").stat().st_size),
            pytest.raises(StoreUnusable, match="Make room"),
        ):
            await store.save({1: 50})
        assert store.get(1, b"u:7") == IDLE + b"x" * 300
        self.die(store)
        again = self.store()
        assert await again.open(LOG) == 40
        assert again.get(1, b"a") == BUSY
        await again.stop()

    async def test_a_folder_that_cannot_be_made_stops_the_process(self):
        self.folder.parent.mkdir(exist_ok=True)
        self.folder.write_text("a file", encoding="utf-8")
        with pytest.raises(StoreUnusable, match="can't be written"):
            await self.store().open(LOG)

    async def test_an_open_that_was_cut_off_gives_its_lock_back_at_close(self):
        """A tenure may end at any point of it; the next one opens the same files."""
        store = self.store()
        opening = asyncio.ensure_future(store.open(LOG))
        await asyncio.sleep(0)
        opening.cancel()
        await store.close(1, None)
        assert await store.open(LOG) is None
        await store.stop()

    def test_a_lock_is_one_process_at_a_time(self, tmp_path):
        with local.locked(tmp_path / "lock") as is_first, local.locked(tmp_path / "lock") as is_second:
            assert (is_first, is_second) == (True, False)

    def test_an_environment_is_closed_twice_without_harm(self):
        files = Environment(self.folder, LOG)
        files.open(1)
        files.close()
        files.close()
