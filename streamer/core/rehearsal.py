"""A run of the engine without Kafka, Twilio or a clock: events in, what would be sent and when, and why not.

It calls what the router and the owner call, in their order, on time that the caller moves; every request is accepted at
once. Nothing lags here: the time up to which all is handled is the present. `streamer test` runs whole stories on it
(`story`), `streamer try` one event (`trial`).
"""

from collections.abc import Mapping
from heapq import heappop, heappush
from typing import Any, Final

from msgspec import Struct

from streamer.core import plan, records
from streamer.core.delivery import SUPPRESSED, Accepted, Decision, Message, Origin
from streamer.core.profile import fold
from streamer.core.rules import RuleSet
from streamer.core.state import Person, Send

TOPIC: Final = "rehearsal"
TIMERS_MAX: Final = 100_000  # a person's waiting sends are 24 KB, some 40; a story has a thousand events at most


class Sent(Struct, frozen=True):
    """One message that would leave, at `at_ms`, for the event at `offset` of the story."""

    at_ms: int
    key: str
    offset: int
    mapping: str
    sender: str
    parts: int
    message: Message


class Suppressed(Struct, frozen=True):
    """One matched (event, mapping) that would end without a message."""

    at_ms: int
    key: str
    offset: int
    decision: Decision


class Rehearsal:
    """People, a time and what became of their events so far. Units: ms since the epoch.

    `timers_max` bounds the releases of one `advance` or `finish`, so that no defect of a rule can hang them.
    """

    def __init__(self, rules: RuleSet, now_ms: int, timers_max: int = TIMERS_MAX) -> None:
        self.rules = rules
        self.now_ms = now_ms
        self.people: dict[str, Person] = {}
        self.sent: list[Sent] = []
        self.suppressed: list[Suppressed] = []
        self._offset = 0
        self._timers_max = timers_max
        self._timers: list[tuple[int, str]] = []

    def know(self, key: str, traits: Mapping[str, Any]) -> None:
        """Give a person traits from before everything that will happen."""
        fold(self.people.setdefault(key, Person()).traits, traits, 0)

    def feed(self, value: bytes) -> plan.Applied:
        """One event arrives now, as the bytes that a producer wrote. Raises: BadRecord, where it is a dead letter."""
        offset, self._offset = self._offset, self._offset + 1
        slim = records.slim(value)
        if slim.type != "identify" and not self.rules.candidates(slim.type, slim.event):
            return plan.Applied(is_changed=False)  # the router reads no further
        event, origin = records.full(value), self._origin(slim, offset)
        person = self.people.setdefault(origin.key, Person())
        applied = plan.apply_event(person, event, origin, self.rules, self.now_ms)
        for send in applied.held:
            heappush(self._timers, (send.until_ms, origin.key))
        self._settle(origin.key, person)
        return applied

    def read(self, value: bytes) -> tuple[Origin, dict[str, Any]]:
        """The next event as a router and an owner read it, of whatever type. Raises: BadRecord."""
        slim = records.slim(value)
        event = records.full(value)
        return self._origin(slim, self._offset), event

    def advance(self, to_ms: int) -> bool:
        """Let time pass, and release what was held until then. False: not all, for `timers_max` were; time stopped."""
        if not self._ring(to_ms):
            return False
        self.now_ms = max(self.now_ms, to_ms)
        return True

    def finish(self, until_ms: int) -> bool:
        """Let all the time pass that something waits for, and no more. False: some of it lies beyond `until_ms`."""
        return self._ring(until_ms) and not self._timers

    def waiting(self) -> list[Send]:
        """The sends that are held, in the order of their times."""
        held = [send for person in self.people.values() for send in person.held]
        return sorted(held, key=lambda send: send.until_ms)

    def _origin(self, slim: records.Slim, offset: int) -> Origin:
        return records.origin(slim, TOPIC, 0, offset, self.now_ms)

    def _ring(self, to_ms: int) -> bool:
        """Every timer until then, each at its time. False: there were more than `timers_max`."""
        for _ in range(self._timers_max):
            if not self._timers or self._timers[0][0] > to_ms:
                break
            due_ms, key = heappop(self._timers)
            self.now_ms = max(self.now_ms, due_ms)
            person = self.people[key]
            if plan.release(person, self.now_ms, self.now_ms):
                self._settle(key, person)
        return not self._timers or self._timers[0][0] > to_ms

    def _settle(self, key: str, person: Person) -> None:
        """Accept whatever is due, in order, and note what was decided."""
        while person.due:
            send = plan.begin(person, self.now_ms)
            if send is None:
                continue
            if not send.is_posting:
                heappush(self._timers, (send.until_ms, key))
                continue
            self.sent.append(
                Sent(self.now_ms, key, send.origin.offset, send.mapping, send.sender, send.parts, send.message)
            )
            plan.settle(person, Accepted(f"SM{len(self.sent):032x}", "queued"), self.now_ms, 0.0)
        for send_id in person.out:
            decision = person.decision(send_id)
            assert decision is not None, "an outcome listed in `out` is stored"
            if decision.outcome == SUPPRESSED:
                self.suppressed.append(Suppressed(self.now_ms, key, decision.origin.offset, decision))
        person.out.clear()
