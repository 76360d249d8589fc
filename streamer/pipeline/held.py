"""What is held in one partition, by key: for an attempt at a time, or for a turn with its account."""

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush

from streamer.core.sends import POLICIES, QUEUED, Send
from streamer.pipeline.dispatch import Waiter
from streamer.pipeline.lane import Services


class Held:
    """That of one partition. Bounded by the sends held: 60 bytes each, beside the key."""

    def __init__(self, services: Services, owner: Waiter) -> None:
        self._services = services
        self._owner = owner
        self._attempts: list[tuple[int, bytes]] = []  # a heap of (due ms, key)

    def __len__(self) -> int:
        """How many sends wait for their next attempt."""
        return len(self._attempts)

    def note(self, key: bytes, sends: Iterable[Send]) -> None:
        """Have each send looked at when it is due, or take its turn; one that is noted twice is looked at twice."""
        for send in sends:
            if send.reason in QUEUED:
                self.queue(key, send, is_held=True)
            elif send.reason not in POLICIES:
                heappush(self._attempts, (send.until_ms, key))

    def queue(self, key: bytes, send: Send, *, is_held: bool) -> None:
        """Have a send take its turn; one whose account was taken out of the configuration is looked at, and ends."""
        dispatcher = self._services.dispatchers.get(send.message.account)
        rule = self._services.mappings.by_id.get(send.mapping)
        if dispatcher is None:
            heappush(self._attempts, (0, key))
        else:
            is_urgent = rule is not None and rule.is_urgent
            dispatcher.queue(self._owner, key, send, is_urgent=is_urgent, is_held=is_held)

    def due(self, now_ms: int) -> Iterator[bytes]:
        """The keys of those whose next attempt is due, each once it is asked for."""
        while self._attempts and self._attempts[0][0] <= now_ms:
            yield heappop(self._attempts)[1]
