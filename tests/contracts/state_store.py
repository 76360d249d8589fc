"""What every `StateStore` does."""

from abc import ABC, abstractmethod

from streamer.ports import StateStore


class StateStoreContract(ABC):
    @abstractmethod
    def store(self) -> StateStore: ...

    def test_a_record_is_got_back(self):
        store = self.store()
        store.put(1, b"u:\xff\x00", b"value")
        assert store.get(1, b"u:\xff\x00") == b"value"

    def test_the_last_put_counts(self):
        store = self.store()
        store.put(1, b"k", b"one")
        store.put(1, b"k", b"two")
        assert store.get(1, b"k") == b"two"
        assert store.count(1) == 1

    def test_what_was_never_put_is_none(self):
        store = self.store()
        assert store.get(1, b"k") is None
        assert store.count(1) == 0

    def test_none_deletes_be_there_a_record_or_not(self):
        store = self.store()
        store.put(1, b"k", b"value")
        store.put(1, b"k", None)
        store.put(1, b"other", None)
        assert store.get(1, b"k") is None
        assert store.count(1) == 0

    def test_an_empty_value_is_a_value(self):
        store = self.store()
        store.put(1, b"k", b"")
        assert store.get(1, b"k") == b""
        assert store.count(1) == 1

    def test_partitions_are_apart(self):
        store = self.store()
        store.put(1, b"k", b"one")
        store.put(2, b"k", b"two")
        store.drop(1)
        assert store.get(1, b"k") is None
        assert store.get(2, b"k") == b"two"
        assert (store.count(1), store.count(2)) == (0, 1)

    def test_a_dropped_partition_can_be_filled_again_and_dropped_twice(self):
        store = self.store()
        store.drop(1)
        store.put(1, b"k", b"one")
        store.drop(1)
        store.put(1, b"k", b"two")
        assert store.get(1, b"k") == b"two"
