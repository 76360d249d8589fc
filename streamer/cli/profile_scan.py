"""Who the changelog holds, as of its end when the reading began: every person of it, or the one of a key.

Of each key the record of the highest epoch counts, and of those the last, as in `pipeline.restore`.
"""

from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

from streamer.core.identity import RESERVED
from streamer.core.state import Person, decode, epoch_of
from streamer.kafka.inspection import Inspector, Span
from streamer.ports import Partition

READINGS = 2  # of a partition; for a progress bar


class Kept(NamedTuple):
    """A person's latest record, where it stands, and its writer's epoch."""

    offset: int
    key: str
    person: Person
    epoch: int


def everybody(_value: bytes) -> bool:
    """Take every record."""
    return True


async def people_of(
    inspector: Inspector,
    partition: Partition,
    span: Span,
    advance: Callable[[int], None],
    is_wanted: Callable[[bytes], bool] = everybody,
) -> AsyncIterator[Kept]:
    """The people of a partition in the order of those of their records that count in `span`.

    `is_wanted` tells from a record's value whether it is decoded at all.
    Raises: StateUnreadable, BrokerUnusable.
    The partition is read READINGS times: first for which record of each key is the latest, as compaction comes late;
    then for those. So what is kept in memory is a key and two numbers per person of one partition, 250 B, whatever
    their records hold; and a record that many newer ones have replaced is never decoded.
    """
    latest: dict[bytes, tuple[int, int]] = {}  # key to the epoch and the offset of the record that counts
    at = span.start
    async for records in inspector.records(partition, span):
        for record in records:
            key = record.key or b""
            if not key.startswith(RESERVED):
                epoch = epoch_of(record.value, record.headers)
                latest[key] = max(latest.get(key, (0, -1)), (epoch, record.offset))
        at = _advanced(at, records[-1].offset if records else at - 1, advance)
    _advanced(at, span.end - 1, advance)
    at = span.start
    async for records in inspector.records(partition, span):
        for record in records:
            key = record.key or b""
            epoch, offset = latest.get(key, (0, -1))
            if offset == record.offset and record.value is not None and is_wanted(record.value):
                yield Kept(record.offset, key.decode(), decode(record.value), epoch)
        at = _advanced(at, records[-1].offset if records else at - 1, advance)
    _advanced(at, span.end - 1, advance)


async def person_of(
    inspector: Inspector, partition: Partition, span: Span, key: str, advance: Callable[[int], None]
) -> Kept | None:
    """The person of one key of a partition, which is read once; None: no record counts. Raises: as above."""
    wanted, latest, value = key.encode(), (0, -1), None
    at = span.start
    async for records in inspector.records(partition, span):
        for record in records:
            if record.key == wanted and (place := (epoch_of(record.value, record.headers), record.offset)) > latest:
                latest, value = place, record.value
        at = _advanced(at, records[-1].offset if records else at - 1, advance)
    _advanced(at, span.end - 1, advance)
    epoch, offset = latest
    return None if value is None else Kept(offset, key, decode(value), epoch)


def _advanced(at: int, last: int, advance: Callable[[int], None]) -> int:
    """Tell how far it went since `at`; returns the next offset."""
    advance(last + 1 - at)
    return last + 1
