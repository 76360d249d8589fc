"""A run of the engine without Kafka, Twilio or a clock: events in, what would be sent and when, and why not.

It calls what the router and the owner call, in their order, on time that the caller moves; every request is accepted at
once. Nothing lags here: the time up to which all is handled is the present. `streamer test` runs whole stories on it
(`story`), `streamer try` one event (`trial`).
"""

from collections import deque
from collections.abc import Mapping
from heapq import heappop, heappush
from typing import Any, Final

from msgspec import Struct

from streamer.core import attempts, erasure, leaving, plan, records
from streamer.core.attempts import Moment
from streamer.core.delivery import SUPPRESSED, Accepted, Decision, Message, Origin
from streamer.core.handling import Handled, handle
from streamer.core.hop import EVENT, Hop, headers_of, read_hop
from streamer.core.links import LatelyLinked, target_at
from streamer.core.plan import Passage
from streamer.core.profile import Update, fold
from streamer.core.routing import Place, Routed, routed
from streamer.core.rules import RuleSet
from streamer.core.sends import EVENT_KIND, SUPPRESSION_KIND, Parked, Send
from streamer.core.state import Person
from streamer.core.suppressions import Suppressions

TOPIC: Final = "rehearsal"
HOMES_MAX: Final = 8  # pointers that are followed for a picture
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
        self.suppressions = Suppressions()
        self.sent: list[Sent] = []
        self.suppressed: list[Suppressed] = []
        self._offset = 0
        self._lately = LatelyLinked()
        self._timers_max = timers_max
        self._timers: list[tuple[int, str]] = []
        self._timer_of: dict[str, int] = {}  # by key the last of its timers

    def know(self, key: str, traits: Mapping[str, Any]) -> None:
        """Give a person traits from before everything that will happen."""
        person = self.people.setdefault(key, Person())
        person.traits = fold(person.traits, Update(0, "", dict(traits))).updates

    def home(self, key: str, event_ms: int) -> str:
        """The key whose record has the person that an event of `key` is about, as far as is known by now."""
        for _ in range(HOMES_MAX):
            person = self.people.get(key)
            if person is None or not person.links:
                break
            key = target_at(person.links, event_ms)
        return key

    def feed(self, value: bytes) -> plan.Applied:
        """One event arrives now, as the bytes that a producer wrote. Raises: BadRecord, where it is a dead letter."""
        offset, self._offset = self._offset, self._offset + 1
        slim = records.slim(value)
        place = Place(TOPIC, 0, offset, self.now_ms)
        applied = plan.Applied(is_changed=False)
        waiting = deque(routed(slim, value, place, self.rules, self._lately))
        while waiting:
            record = waiting.popleft()
            hop = read_hop(*record)
            handled = self._handle(record.key.decode(), hop, waiting)
            is_decided = hop.kind == EVENT and not handled.forward and not hop.is_repeat
            if is_decided and not applied.matched:  # a delete of both ids is decided under each of them
                applied = handled.applied
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
        return self._ring(until_ms) and not self.waiting()

    def waiting(self) -> list[Send | Parked]:
        """The sends that are held and the events that are parked, in the order of their times."""
        held: list[Send | Parked] = []
        for person in self.people.values():
            held += [*person.held, *person.parked]
        return sorted(held, key=lambda each: each.until_ms)

    def key_of(self, slim: records.Slim) -> str:
        """The identity key of an event, "" if it is nobody's."""
        return self.rules.people.identities.key(slim.user_id, slim.anonymous_id) or ""

    def _origin(self, slim: records.Slim, offset: int) -> Origin:
        return records.origin(slim, self.key_of(slim) or None, TOPIC, 0, offset, self.now_ms)

    def _handle(self, key: str, hop: Hop, waiting: deque[Routed]) -> Handled:
        """Have one record change its person, send what is due, and queue what follows from it elsewhere."""
        person = self.people.setdefault(key, Person())
        handled = handle(person, key, hop, self.rules, self.now_ms, self.suppressions)
        outgoing, person.outgoing = person.outgoing, []
        for each in outgoing:
            if each.kind == SUPPRESSION_KIND:
                self.suppressions.put(each.key.encode(), each.value)
            elif each.kind != EVENT_KIND:
                origin = Origin(key, TOPIC, 0, hop.origin.offset, each.event_ms, self.now_ms)
                waiting.append(Routed(each.key.encode(), each.value, headers_of(each.kind, origin, hop.hops + 1)))
        for target in handled.forward:
            headers = headers_of(hop.kind, hop.origin, hop.hops + 1, is_repeat=handled.is_repeat)
            waiting.append(Routed(target.encode(), hop.value, headers))
        self._settle(key, person)
        return handled

    def _ring(self, to_ms: int) -> bool:
        """Every timer until then, each at its time. False: there were more than `timers_max`."""
        left = self._timers_max
        while left and self._timers and self._timers[0][0] <= to_ms:
            due_ms, key = heappop(self._timers)
            person = self.people.get(key)
            if person is None or person.timer_ms() != due_ms:
                continue  # what it was for is done, or comes at another time
            left -= 1
            self._timer_of[key] = 0  # it rang: what still has this time is rung again
            self.now_ms = max(self.now_ms, due_ms)
            attempts.release(person, self.now_ms, self.now_ms)
            plan.ring(person, self.rules, self.now_ms, self.now_ms, Passage(key=key, stops=self.suppressions))
            self._settle(key, person)
            if erasure.is_over(person, self.now_ms):
                del self.people[key]
        return not self._timers or self._timers[0][0] > to_ms

    def _settle(self, key: str, person: Person) -> None:
        """Accept whatever is due, in order, and note what was decided."""
        while person.due:
            moment = Moment(key, self.rules, self.now_ms, stops=self.suppressions)
            send = leaving.begin(person, moment)
            if send is None:
                continue
            self.sent.append(
                Sent(self.now_ms, key, send.origin.offset, send.mapping, send.sender, send.parts, send.message)
            )
            attempts.settle(person, Accepted(f"SM{len(self.sent):032x}", "queued"), moment)
        for send_id in person.out:
            decision = person.decision(send_id)
            assert decision is not None, "an outcome listed in `out` is stored"
            if decision.outcome == SUPPRESSED:
                self.suppressed.append(Suppressed(self.now_ms, key, decision.origin.offset, decision))
        person.out.clear()
        timer_ms = person.timer_ms()
        if timer_ms and timer_ms != self._timer_of.get(key):
            heappush(self._timers, (timer_ms, key))
        self._timer_of[key] = timer_ms
