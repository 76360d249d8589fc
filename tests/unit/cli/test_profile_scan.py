"""The people of a changelog partition: the latest record of each key, whatever compaction has left beside it."""

from collections.abc import Sequence

import pytest

from streamer.cli.profile_scan import READINGS, people_of, person_of
from streamer.core.profile import Update
from streamer.core.state import CHECKPOINT_KEY, Person, encode, encode_checkpoint, tombstone_headers
from streamer.errors import StateUnreadable
from streamer.kafka.inspection import Inspector, Span
from streamer.ports import Partition
from streamer.testing.memory_log import MemoryRecord

PLACE = Partition("streamer.state", 0)


class Written(Inspector):
    """An inspector of records that are given, in batches of two."""

    def __init__(self, records: Sequence[MemoryRecord]) -> None:
        self._records = records

    async def records(self, partition, span):
        assert partition == PLACE
        found = [each for each in self._records if span.start <= each.offset < span.end]
        for start in range(0, len(found), 2):
            yield found[start : start + 2]


def record(offset: int, key: bytes, age: int | None, epoch: int = 0) -> MemoryRecord:
    value = None if age is None else encode(Person(traits=[Update(1, "m", {"age": age})]), epoch)
    return MemoryRecord(*PLACE, offset, 0, key, value, [])


async def read(records, span):
    """What is found, and how much of the progress was told."""
    told = []
    people = [
        (each.offset, each.key, each.person.traits[0].traits["age"])
        async for each in people_of(Written(records), PLACE, span, told.append)
    ]
    return people, sum(told)


async def test_only_the_latest_record_of_each_key_counts_and_none_of_the_deleted():
    records = [
        record(3, b"u:ada", 1),
        record(4, b"u:bob", 2),
        record(8, b"u:ada", 3),
        record(9, b"u:cy", 4),
        record(11, b"u:bob", None),
        record(12, b"u:cy", None),
        record(13, b"u:cy", 5),
        MemoryRecord(*PLACE, 14, 0, CHECKPOINT_KEY, encode_checkpoint(7), []),
    ]
    assert ([(8, "u:ada", 3), (13, "u:cy", 5)], READINGS * 17) == await read(records, Span(3, 20))


async def test_what_is_written_after_the_end_is_not_taken_for_the_latest():
    """A service that goes on writing would hide people from an audit."""
    records = [record(0, b"u:ada", 1), record(1, b"u:ada", 2)]
    assert ([(0, "u:ada", 1)], READINGS) == await read(records, Span(0, 1))


async def test_a_record_of_another_format_is_said_and_not_passed_by():
    with pytest.raises(StateUnreadable, match="format"):
        await read([MemoryRecord(*PLACE, 0, 0, b"u:ada", b"\x01", [])], Span(0, 1))


async def one(records, span):
    """What is found of u:ada, and how much of the progress was told."""
    told = []
    kept = await person_of(Written(records), PLACE, span, "u:ada", told.append)
    return kept and (kept.offset, kept.person.traits[0].traits["age"], kept.epoch), sum(told)


async def test_of_one_key_the_last_record_of_its_last_owner_counts():
    """A former owner that still writes is not believed, as in a restore."""
    records = [
        record(3, b"u:ada", 1, 3),
        record(4, b"u:bob", 9, 9),
        record(5, b"u:ada", 2, 7),
        record(6, b"u:ada", 3, 7),
    ]
    assert ((6, 3, 7), 7) == await one([*records, record(8, b"u:ada", 4, 3)], Span(3, 10))
    assert (None, 1) == await one(records, Span(4, 5))


async def test_of_one_key_that_was_deleted_nothing_is_found():
    deleted = MemoryRecord(*PLACE, 4, 0, b"u:ada", None, tombstone_headers(7))
    records = [record(3, b"u:ada", 1, 7), deleted, record(5, b"u:ada", 2, 3)]
    assert (None, 7) == await one(records, Span(3, 10))
    assert (None, 7) == await one([], Span(3, 10))
