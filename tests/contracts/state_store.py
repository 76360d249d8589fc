"""What every `StateStore` does: exact records within a tenure, and a copy after it wherever the engine keeps one."""

from abc import ABC, abstractmethod

import pytest

from streamer.core import state
from streamer.core.delivery import Message, Origin
from streamer.core.sends import Send
from streamer.core.state import Person
from streamer.ports import Log, StateStore
from streamer.telemetry import STORES_REBUILT
from streamer.testing.fakes import ManualClock

DAY_MS = 24 * 60 * 60 * 1000
LOG = Log("cluster", "streamer.state", 1, 0, 100, 7 * DAY_MS)
LONG_KEY = b"u:" + "é".encode() * 512
IDLE = state.encode(Person())


def busy_value():
    origin = Origin("u:1", "in", 0, 0, 1_000, 1_000)
    message = Message("main", "sms", "+15551230001", "Hi", "+15550006789")
    person = Person()
    person.held.append(Send(b"i" * 16, "m", "1", origin, "", message, "shop", 1, 5, 10**13, until_ms=10**13))
    return state.encode(person)


BUSY = busy_value()


def rebuilt(reason):
    """How often a copy was said to be unusable for this reason."""
    return STORES_REBUILT.labels(reason)._value.get()


class StateStoreContract(ABC):
    """Each test works on partition 1 and closes what it opens."""

    clock: ManualClock

    @abstractmethod
    def store(self) -> StateStore:
        """A store of a new process; where the engine keeps copies, over those of the one before."""

    @pytest.fixture(autouse=True)
    def _clock(self):
        self.clock = ManualClock()

    async def opened(self, log=LOG):
        store = self.store()
        assert await store.open(log) is None
        return store

    async def test_a_record_is_got_back(self):
        store = await self.opened()
        store.put(1, b"u:\xff\x00", b"\x01\x00value")
        assert store.get(1, b"u:\xff\x00") == b"\x01\x00value"
        await store.stop()

    @pytest.mark.parametrize("is_saved", [False, True])
    async def test_the_last_put_counts(self, is_saved):
        store = await self.opened()
        store.put(1, b"k", b"\x01\x00one")
        if is_saved:
            await store.save({1: 10})
        store.put(1, b"k", b"\x01\x00two")
        assert (store.get(1, b"k"), store.count(1)) == (b"\x01\x00two", 1)
        await store.save({1: 11})
        assert (store.get(1, b"k"), store.count(1)) == (b"\x01\x00two", 1)
        await store.stop()

    async def test_what_was_never_put_is_none(self):
        store = await self.opened()
        assert store.get(1, b"k") is None
        assert store.count(1) == 0
        await store.stop()

    @pytest.mark.parametrize("is_saved", [False, True])
    async def test_none_deletes_be_there_a_record_or_not(self, is_saved):
        store = await self.opened()
        store.put(1, b"k", BUSY)
        if is_saved:
            await store.save({1: 10})
        store.put(1, b"k", None)
        store.put(1, b"other", None)
        assert (store.get(1, b"k"), store.count(1), await store.busy(1)) == (None, 0, [])
        await store.save({1: 11})
        assert (store.get(1, b"k"), store.count(1), await store.busy(1)) == (None, 0, [])
        await store.stop()

    async def test_partitions_are_apart(self):
        store = await self.opened()
        await store.open(LOG._replace(partition=2))
        store.put(1, b"k", b"\x01\x00one")
        store.put(2, b"k", b"\x01\x00two")
        await store.save({1: 10, 2: 20})
        assert (store.get(1, b"k"), store.get(2, b"k")) == (b"\x01\x00one", b"\x01\x00two")
        await store.close(1, 10)
        assert (store.get(2, b"k"), store.count(2)) == (b"\x01\x00two", 1)
        await store.stop()

    async def test_a_key_of_any_length_is_a_key(self):
        """LMDB's own may have 511 bytes, an identity key 1 026."""
        store = await self.opened()
        other = LONG_KEY[:-1] + b"x"
        store.put(1, LONG_KEY, BUSY)
        store.put(1, other, IDLE)
        await store.save({1: 10})
        assert (store.get(1, LONG_KEY), store.get(1, other), store.count(1)) == (BUSY, IDLE, 2)
        assert await store.busy(1) == [LONG_KEY]
        await store.stop()

    async def test_a_fill_puts_in_order(self):
        store = await self.opened()
        await store.fill(1, [(b"a", IDLE), (b"b", IDLE), (b"a", BUSY), (b"b", None), (b"c", None)])
        assert (store.get(1, b"a"), store.get(1, b"b"), store.count(1)) == (BUSY, None, 1)
        await store.fill(1, [(b"a", None), (b"d", IDLE)])
        assert (store.get(1, b"a"), store.get(1, b"d"), store.count(1)) == (None, IDLE, 1)
        await store.stop()

    async def test_the_busy_are_those_with_something_left_to_do(self):
        store = await self.opened()
        await store.fill(1, [(f"u:{n}".encode(), BUSY if n % 3 == 0 else IDLE) for n in range(10)])
        store.put(1, b"u:0", IDLE)
        store.put(1, b"u:1", BUSY)
        assert sorted(await store.busy(1)) == [b"u:1", b"u:3", b"u:6", b"u:9"]
        await store.stop()

    async def test_a_tenure_that_never_ended_its_restore_leaves_no_copy(self):
        """It would pass for whole."""
        store = await self.opened()
        await store.fill(1, [(b"k", IDLE)])
        await store.close(1, None)
        assert await store.open(LOG) is None
        assert (store.get(1, b"k"), store.count(1)) == (None, 0)
        await store.stop()


class CopyContract(StateStoreContract):
    """What an engine does that keeps copies on disk. `path` is where this partition's data lie."""

    @abstractmethod
    def path(self): ...

    async def leave(self, log=LOG, offset=50, **values):
        """One process comes and goes."""
        store = self.store()
        await store.open(log)
        await store.fill(log.partition, [(key.encode(), value) for key, value in values.items()])
        await store.save({log.partition: offset})
        await store.close(log.partition, offset)
        await store.stop()

    async def test_the_next_process_finds_the_records_and_their_offset(self):
        await self.leave(a=IDLE, b=BUSY, c=None)
        store = self.store()
        assert await store.open(LOG) == 50
        assert (store.get(1, b"a"), store.get(1, b"b"), store.count(1)) == (IDLE, BUSY, 2)
        assert await store.busy(1) == [b"b"]
        await store.stop()

    async def test_what_is_deleted_after_it_was_saved_stays_deleted(self):
        await self.leave(a=BUSY, b=IDLE)
        store = self.store()
        await store.open(LOG)
        await store.fill(1, [(b"a", None)])
        await store.close(1, 60)
        await store.stop()
        again = self.store()
        assert await again.open(LOG) == 60
        assert (again.get(1, b"a"), again.count(1), await again.busy(1)) == (None, 1, [])
        await again.stop()

    async def test_a_cut_off_restore_over_a_copy_leaves_the_copy_usable(self):
        """Its records may be newer than its offset; reading from there again makes it exact."""
        await self.leave(a=IDLE)
        store = self.store()
        await store.open(LOG)
        await store.fill(1, [(b"b", IDLE)])
        await store.close(1, None)
        assert await store.open(LOG) == 50
        assert store.get(1, b"a") == IDLE
        await store.stop()
        again = self.store()
        assert await again.open(LOG) == 50
        await again.stop()

    @pytest.mark.parametrize(
        ("reason", "log"),
        [
            ("other_cluster", LOG._replace(cluster="another")),
            ("behind_start", LOG._replace(start=51)),
            ("beyond_end", LOG._replace(end=49)),
        ],
    )
    async def test_a_copy_of_another_log_is_said_and_rebuilt(self, reason, log):
        await self.leave(a=BUSY)
        await self.is_rebuilt(reason, log)

    @pytest.mark.parametrize("days", [3.51, -3.51])
    async def test_a_copy_older_than_half_the_retention_of_tombstones_is_rebuilt(self, days):
        """A tombstone that it lacks may be gone: a forgotten person would come back."""
        await self.leave(a=BUSY)
        self.clock = ManualClock(self.clock.now_ms() + int(days * DAY_MS))
        await self.is_rebuilt("too_old")

    async def test_a_copy_younger_than_that_is_used(self):
        await self.leave(a=BUSY)
        self.clock.advance(3.49 * DAY_MS / 1000)
        store = self.store()
        assert await store.open(LOG) == 50
        await store.stop()

    async def test_an_idle_partition_of_a_long_lived_process_is_not_too_old(self):
        """Saved once, and nothing to save since: its copy is as good as new."""
        store = await self.opened()
        store.put(1, b"a", IDLE)
        for _ in range(20):
            await store.save({1: 50})
            self.clock.advance(DAY_MS / 1000 / 2)
        await store.stop()
        again = self.store()
        assert await again.open(LOG) == 50
        await again.stop()

    async def test_a_copy_of_another_topic_is_said_and_rebuilt(self):
        await self.leave(LOG._replace(topic="other.state"), a=BUSY)
        self.path().parent.mkdir(parents=True, exist_ok=True)
        self.path("other.state").rename(self.path())
        await self.is_rebuilt("other_topic")

    async def is_rebuilt(self, reason, log=LOG):
        """The copy is said to be unusable, nothing of it is seen, and the next one is good."""
        before = rebuilt(reason)
        store = self.store()
        assert await store.open(log) is None
        assert rebuilt(reason) == before + 1
        assert (store.get(1, b"a"), store.count(1), await store.busy(1)) == (None, 0, [])
        await store.fill(1, [(b"b", IDLE)])
        await store.close(1, log.end)
        await store.stop()
        again = self.store()
        assert await again.open(log) == log.end
        assert (again.get(1, b"b"), again.count(1)) == (IDLE, 1)
        await again.stop()
