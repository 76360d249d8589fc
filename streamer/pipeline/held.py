"""What is held in one partition, by key: for an attempt at a time, or for a turn with its account.

And whose time has come while their sender is busy: they wait for their turn as they are stored, undecided. So an
opening that a million people waited for costs a look at each, and then what their senders' paces let through.
"""

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush

from streamer.core.sends import POLICIES, QUEUED, Parked, Send
from streamer.core.state import Waiting
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

    def defer(self, key: bytes, person: Waiting, handled_ms: int) -> bool:
        """Have a person of whom something is due wait for their turn; False if some of it has nobody to wait for.

        They take it in the line of the first sender that they would wait for, undecided, and are rung there. Nothing is
        written: after a restart their record's timer brings them back. A look costs 9 µs in all.
        """
        services, first = self._services, None
        for each in _due(person, handled_ms):
            rule = services.mappings.by_id.get(each.mapping)
            if rule is None or each.reason not in POLICIES:
                return False
            sender = rule.action.senders.get(each.sender if isinstance(each, Send) else rule.action.sender)
            if sender is None or sender.name in services.lone_senders:  # the event names it; its own partition sends
                return False
            dispatcher = services.dispatchers.get(sender.account)
            if dispatcher is None or dispatcher.is_free(sender.name, rule.id):
                return False
            first = first or (dispatcher, sender.name, rule)
        if first is None:
            return False
        dispatcher, name, rule = first
        dispatcher.queue_person(self._owner, key, name, rule.id, is_urgent=rule.is_urgent)
        return True


def _due(person: Waiting, handled_ms: int) -> Iterator[Parked | Send]:
    """Of what waits for a time or for the profile, and of what is followed, that whose time has come."""
    every: tuple[Parked | Send, ...] = (*person.parked, *person.held, *person.followed)
    return (each for each in every if 0 < each.until_ms <= handled_ms)
