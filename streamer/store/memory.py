"""The `memory` engine: one dict of encoded records per partition. A restart reads the changelog."""


class MemoryStore:
    """Encoded state records by partition and key. Bounded by the people of the owned partitions."""

    def __init__(self) -> None:
        self._partitions: dict[int, dict[bytes, bytes]] = {}

    def get(self, partition: int, key: bytes) -> bytes | None:
        """The record of `key`, or None."""
        return self._partitions.get(partition, {}).get(key)

    def put(self, partition: int, key: bytes, value: bytes | None) -> None:
        """Set the record of `key`; None deletes it."""
        records = self._partitions.get(partition)
        if records is None:
            records = self._partitions[partition] = {}
        if value is None:
            records.pop(key, None)
        else:
            records[key] = value

    def drop(self, partition: int) -> None:
        """Forget a whole partition."""
        self._partitions.pop(partition, None)

    def count(self, partition: int) -> int:
        """How many keys a partition holds."""
        return len(self._partitions.get(partition, ()))
