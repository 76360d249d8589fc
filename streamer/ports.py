"""What the pipeline asks of the outside world: Protocols only, each with a shipped fake in `testing`.

`RecordSource` reads, `RecordSink` writes, `GroupOffsets` sees what others have read, `Changelog` restores, `StateStore`
remembers, `SmsGateway` sends, finds and cancels, `Clock` tells the time.
Adapters translate their client's errors into `errors` at the edge; none of them passes a port.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from streamer.core.delivery import Answer, Attempt, Found, Message


class Partition(NamedTuple):
    """One partition of one topic; equal to the client library's own pair."""

    topic: str
    partition: int


class Record(Protocol):
    """One consumed Kafka record. `timestamp` is the broker's, in ms since the epoch."""

    @property
    def topic(self) -> str:
        """The topic it came from."""

    @property
    def partition(self) -> int:
        """The partition it came from."""

    @property
    def offset(self) -> int:
        """Its place there."""

    @property
    def timestamp(self) -> int:
        """The broker's, ms since the epoch."""

    @property
    def key(self) -> bytes | None:
        """Its key."""

    @property
    def value(self) -> bytes | None:
        """Its value; None is a tombstone."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes]]:
        """Its headers, in order."""


class End(NamedTuple):
    """Where a partition ends: all that had come to it before `as_of_s` lies below `offset`.

    `as_of_ms` is the wall's time of that moment; both are 0 while none can be named.
    """

    offset: int
    as_of_s: float = 0.0
    as_of_ms: int = 0


class Committed(NamedTuple):
    """What a group has committed of a partition: the next offset to read, and the text beside it."""

    offset: int
    note: str


class AssignmentListener(Protocol):
    """Told by a `RecordSource` when a tenure of partitions begins and ends."""

    async def on_assigned(self, partitions: frozenset[Partition]) -> None:
        """A tenure began; everything is paused. Must return within a second."""

    async def on_revoked(self, partitions: frozenset[Partition]) -> None:
        """The tenure ends when this returns: stop, drain, commit."""


class RecordSource(Protocol):
    """One member of a consumer group. Each tenure starts with every partition closed: `open` fetches it."""

    async def start(self, listener: AssignmentListener) -> None:
        """Join the group. Raises: BrokerUnusable."""

    async def poll(self, records_max: int) -> Mapping[Partition, Sequence[Record]]:
        """The next records, at most `records_max`, perhaps none. Raises: BrokerUnusable when offsets are gone."""

    async def committed(self, partition: Partition) -> int:
        """The committed offset, or the log's start where none is."""

    def open(self, partition: Partition, offset: int) -> None:
        """Begin to fetch there. Nothing, if the tenure is over."""

    def end(self, partition: Partition) -> End | None:
        """The broker's end offset as of the last fetch, up to where it can be read; or None before one."""

    def position(self, partition: Partition) -> int | None:
        """The next offset to fetch, or None where nothing is fetched.

        What lies below was returned by `poll`, or never will be: aborted records, and markers of transactions.
        """

    def pause(self, partitions: Iterable[Partition]) -> None:
        """Stop fetching these; what was fetched and not polled is dropped and read again."""

    def resume(self, partitions: Iterable[Partition]) -> None:
        """Fetch these again."""

    async def commit(self, offsets: Mapping[Partition, int], notes: Mapping[Partition, str] | None = None) -> bool:
        """Commit the next offsets to read, each with its note for `GroupOffsets`: at most 4 096 characters, else "".

        False: the tenure is over, or the broker did not answer in time.
        """

    async def stop(self) -> None:
        """Leave the group. The listener's `on_revoked` runs first."""


class RecordSink(Protocol):
    """Writes records in order, per partition, acks=all, and says when each is safe."""

    @property
    def records_pending(self) -> int:
        """Records appended and not yet acked."""

    @property
    def bytes_pending(self) -> int:
        """Their keys and values."""

    def append(
        self,
        partition: Partition,
        key: bytes,
        value: bytes | None,
        headers: list[tuple[str, bytes]] | None = None,
        on_ack: Callable[[int], None] | None = None,
    ) -> None:
        """Queue one record; `on_ack(offset)` runs once it is safe. The caller bounds what is pending."""

    async def run(self) -> None:
        """Write what is appended until `stop`. Raises: BrokerUnusable, when a record can't be written after retries."""

    async def flush(self) -> None:
        """Return when nothing is pending."""

    async def stop(self) -> None:
        """End `run` and close the connection; what is still pending is not written."""


class GroupOffsets(Protocol):
    """What any group has committed, whether or not it has members now; and how far it is from the end."""

    async def read(self, group: str, topics: Sequence[str]) -> Mapping[Partition, Committed | None]:
        """Of every partition of `topics` what `group` has committed, or None. Raises: BrokerUnusable.

        Bounded in time; a caller may try again. A broker may keep no notes: then all are "".
        """

    async def ends(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """Where each ends, up to where it can be read; asked of the broker after the call. Raises: BrokerUnusable."""

    async def close(self) -> None:
        """Close the connections."""


class Log(NamedTuple):
    """One partition of a changelog as it is now: what tells whether a local copy of it can be used.

    `cluster` is the broker's own id. Tombstones are kept for `delete_retention_ms` at least.
    """

    cluster: str
    topic: str
    partition: int
    start: int
    end: int
    delete_retention_ms: int


class Changelog(Protocol):
    """Reads one partition of a compacted topic, outside any group."""

    async def read(
        self,
        partition: Partition,
        begin: Callable[[Log], Awaitable[int]],
        apply: Callable[[Sequence[Record]], Awaitable[None]],
        end: int | None = None,
    ) -> int:
        """Give every record from the offset that `begin` says to `apply`, in order; returns the end offset.

        That is the log's of this moment, or `end`, below which all is known to be written: it is waited for where a
        leader that just changed lacks it. Nothing at or beyond it is given. Raises: BrokerUnusable.
        """


class StateStore(Protocol):
    """The encoded state records of the partitions this process owns: those whose write is acked.

    A *copy* is what an earlier tenure left of a partition: complete up to an offset of the changelog; some of its
    records may be newer, and reading the changelog from there on makes it exact. `get`, `put` and `count` never wait.
    """

    async def open(self, log: Log) -> int | None:
        """Begin a tenure. Returns up to which offset the copy found is complete; None: there is none, all is read.

        A copy that can't be used is said and thrown away. Raises: StoreUnusable.
        """

    async def busy(self, partition: int) -> Sequence[bytes]:
        """The keys whose records have something left to do, by their header (`core.state.has_business`)."""

    async def fill(self, partition: int, records: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Put what a restore has read, in order. Raises: StoreUnusable."""

    async def save(self, offsets: Mapping[int, int]) -> None:
        """Told every second: below each partition's offset every record is put, and its outcomes are published.

        Writes out what is due. Raises: StoreUnusable.
        """

    async def close(self, partition: int, offset: int | None) -> None:
        """The tenure is over; `offset` as for `save`, or None where the restore did not end. Raises: StoreUnusable."""

    async def stop(self) -> None:
        """Leave a copy of every partition for the next start. Raises: StoreUnusable."""

    def get(self, partition: int, key: bytes) -> bytes | None:
        """The record of `key`, or None."""

    def put(self, partition: int, key: bytes, value: bytes | None) -> None:
        """Set the record of `key`; None deletes it."""

    def count(self, partition: int) -> int:
        """How many keys a partition holds."""


class SmsGateway(Protocol):
    """Sends one message by one request. Never retries: the answer says what is known of it."""

    async def create(self, message: Message, attempt: Attempt) -> Answer:
        """POST the message once, marked with its attempt. Raises: nothing; a lost reply is the answer `Unknown`."""

    async def find(self, to: str, channel: str, since_ms: int) -> tuple[Found, ...] | None:
        """All messages to an address created at or after `since_ms`, newest first; None: they could not all be had.

        Times have whole seconds, so those of the second that `since_ms` lies in are there too. What was created a
        moment ago may not be listed yet. Raises: nothing.
        """

    async def cancel(self, sid: str) -> bool | None:
        """Ask once that the message be not sent; asking again does no harm. True: it is cancelled, or was before.

        False: it is not to be cancelled any more, for it was sent, has failed, or there is none. None: not known.
        Raises: nothing.
        """

    async def close(self) -> None:
        """Close the connections."""


class Clock(Protocol):
    """The time, so that tests can own it."""

    def now_s(self) -> float:
        """Monotonic seconds."""

    def now_ms(self) -> int:
        """Wall time, ms since the epoch, UTC."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
