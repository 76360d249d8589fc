"""Every person that the changelog holds, partition by partition, as of its end when the reading began.

Of each key the record of the highest epoch counts, and of those the last, as in `pipeline.restore`.
"""

from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

from streamer.core.identity import RESERVED, SENDER_PREFIX
from streamer.core.state import Person, decode, epoch_of
from streamer.kafka.inspection import Inspector, Span
from streamer.ports import Partition

READINGS = 2  # of a partition; for a progress bar
SENDERS = SENDER_PREFIX.encode()  # begins the keys of records that are no person's


class Kept(NamedTuple):
    """A person's latest record and where it stands."""

    offset: int
    key: str
    person: Person


async def people_of(
    inspector: Inspector, partition: Partition, span: Span, advance: Callable[[int], None]
) -> AsyncIterator[Kept]:
    """The people of a partition in the order of those of their records that count in `span`.

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
            if not key.startswith((RESERVED, SENDERS)):
                epoch = epoch_of(record.value, record.headers)
                latest[key] = max(latest.get(key, (0, -1)), (epoch, record.offset))
        at = _advanced(at, records[-1].offset if records else at - 1, advance)
    _advanced(at, span.end - 1, advance)
    at = span.start
    async for records in inspector.records(partition, span):
        for record in records:
            key = record.key or b""
            if latest.get(key, (0, -1))[1] == record.offset and record.value is not None:
                yield Kept(record.offset, key.decode(), decode(record.value))
        at = _advanced(at, records[-1].offset if records else at - 1, advance)
    _advanced(at, span.end - 1, advance)


def _advanced(at: int, last: int, advance: Callable[[int], None]) -> int:
    """Tell how far it went since `at`; returns the next offset."""
    advance(last + 1 - at)
    return last + 1
