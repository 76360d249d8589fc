"""One tenure's claim on its state partition: the epoch that its records bear, and whether anybody else writes there.

An owner writes a claim (a record under CLAIM_KEY) before it restores. The claim's offset is its *epoch*; who claims
later has a higher one, and of two records of a person that of the higher epoch counts, wherever it lies (`restore`).

Acks say where records lie: of an owner that is alone each lies right behind the last. Where one doesn't, somebody else
wrote in between, and nothing follows from it (no request, no delivery event, no committed offset) until the *gap* is
read. With a higher epoch in it we are the one who has lost the partition: what we wrote behind the other's claim was
never acted upon. With a lower one it is the other, and our records are written again, lest compaction keep theirs.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from streamer.core.identity import RESERVED
from streamer.core.state import CLAIM_KEY, encode_claim, epoch_of, tombstone_headers
from streamer.errors import BrokerUnusable
from streamer.ports import Changelog, Log, Partition, Record, RecordSink
from streamer.telemetry import RECORDS_FENCED, logger

CLAIMS_MAX: Final = 5  # tries, where the broker doesn't say where a record lies
TURN_RECORDS: Final = 200  # written again in one turn of the loop: some 5 ms

NOWHERE: Final = -2  # no ack says so: -1 is of a record whose place was not told

log = logger(__name__)


def _nothing(_at: int) -> None:
    """What follows from a record of which nothing does."""


async def claim(sink: RecordSink, place: Partition) -> int:
    """Write a claim of a state partition; returns its offset, the epoch. Raises: BrokerUnusable."""
    for _ in range(CLAIMS_MAX):
        said: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        sink.append(place, CLAIM_KEY, encode_claim(), None, partial(_tell, said))
        at = await said
        if at >= 0:
            return at
    raise BrokerUnusable(f"the broker doesn't say at which offsets of {place.topic} it stores records")


def _tell(said: "asyncio.Future[int]", at: int) -> None:
    if not said.done():  # the tenure may have ended meanwhile
        said.set_result(at)


class _Held(NamedTuple):
    at: int
    on_ack: Callable[..., None]
    about: tuple[Any, ...]


class Claim:
    """The writes of one tenure to its state partition. All but `settled` changes state without an await.

    `on_gap` is called when an ack shows a gap, and not again before `fill_gaps` has ended.
    """

    def __init__(self, sink: RecordSink, place: Partition, epoch: int, on_gap: Callable[[], None]) -> None:
        self.place = place
        self.epoch = epoch
        self.is_lost = False  # somebody claimed the partition after us
        self._is_over = False
        self._sink = sink
        self._on_gap = on_gap
        self._known = epoch + 1  # everything between the claim and here is known to be ours, or to be overruled
        self._next = self._known  # where our next record lies if we are alone; NOWHERE while acks are held back
        self._held: deque[_Held] = deque()  # acks behind a gap; bounded by what is pending
        self._tombstone = tombstone_headers(epoch)
        self._settled = asyncio.Event()
        self._settled.set()

    def append(self, key: bytes, value: bytes | None, on_ack: Callable[..., None] = _nothing, *about: Any) -> None:
        """Queue one record; `on_ack(*about, offset)` runs once it is safe, and the partition was ours up to there.

        Costs 0.2 µs more than the sink's own.
        """
        if not self._is_over:
            headers = self._tombstone if value is None else None
            self._sink.append(self.place, key, value, headers, partial(self._acked, on_ack, about))

    def close(self) -> None:
        """The tenure is over: nothing more is written, and nothing follows from what was."""
        self._is_over = True
        self._next = NOWHERE
        self._held.clear()
        self._settled.set()

    async def settled(self) -> None:
        """Return when nothing is held back."""
        await self._settled.wait()

    def _acked(self, on_ack: Callable[..., None], about: tuple[Any, ...], at: int) -> None:
        if at == self._next:
            self._next = at + 1
            on_ack(*about, at)
        elif not self._is_over:
            self._acked_elsewhere(_Held(at, on_ack, about))

    def _acked_elsewhere(self, held: "_Held") -> None:
        """Not right behind the last one: in what has been read already, or behind a gap."""
        if self._held or not 0 <= held.at < self._next:
            self._held.append(held)
        else:
            held.on_ack(*held.about, held.at)
        if len(self._held) == 1 and self._next != NOWHERE:
            self._known, self._next = self._next, NOWHERE
            self._settled.clear()
            self._on_gap()

    async def fill_gaps(self, changelog: Changelog, write_again: Callable[[bytes], None]) -> None:
        """Read the gaps until none is left, have what was overruled written again, and let go on what was held.

        Ends early where the tenure does, or the claim is found to be lost. Raises: BrokerUnusable.
        """
        while self._held:
            held = len(self._held)
            is_told = all(each.at >= 0 for each in self._held)  # else it lies below the log's end of this moment
            overruled, end = await self._read(changelog, self._held[-1].at + 1 if is_told else None)
            if self._is_over:
                return
            if overruled:
                RECORDS_FENCED.inc(len(overruled))
                log.warning(
                    "owner.fenced_writes", partition=self.place.partition, begin=self._known, keys=len(overruled)
                )
            for number, key in enumerate(overruled):
                if number % TURN_RECORDS == 0:
                    await asyncio.sleep(0)  # heartbeats share the loop
                write_again(key)
            self._known = max(self._known, end)
            self._let_go(held)
        if not self._is_over:
            self._next = self._known
        self._settled.set()

    def _let_go(self, count: int) -> None:
        """Acknowledge the first so many, and those that follow them without a gap."""
        while self._held and (count > 0 or 0 <= self._held[0].at <= self._known):
            held = self._held.popleft()
            self._known = max(self._known, held.at + 1)
            count -= 1
            held.on_ack(*held.about, held.at)

    async def _read(self, changelog: Changelog, end: int | None) -> tuple[list[bytes], int]:
        """Of whom the last record up to `end` is of a lower epoch than ours; a higher one loses the claim."""
        last: dict[bytes, int] = {}  # bounded by whom others wrote within a stall
        highest = self.epoch

        async def begin(_log: Log) -> int:
            return self._known

        async def apply(records: Sequence[Record]) -> None:
            nonlocal highest
            for record in records:
                key = record.key or b""
                if key == CLAIM_KEY:
                    highest = max(highest, record.offset)
                elif not key.startswith(RESERVED):
                    last[key] = epoch_of(record.value, record.headers)
                    highest = max(highest, last[key])

        end = await changelog.read(self.place, begin, apply, end)
        if highest > self.epoch:
            self.is_lost = True
            self.close()
        return [key for key, epoch in last.items() if epoch < self.epoch], end
