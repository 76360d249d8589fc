"""A run of the engine without Kafka, Twilio or a clock: events in, what would be sent and when, and why not.

It calls what the router and the owner call, in their order, on time that the caller moves; every request is answered at
once: accepted, unless a `Reply` says otherwise. Nothing lags here: the time up to which all is handled is the present,
a retry comes at the earliest time that its schedule has, and what was stopped goes again when its breaker would try it.
What follows an unknown outcome is not played. `streamer test` runs whole stories on it (`story`), `streamer try` one
event (`trial`).
"""

from collections import deque
from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from streamer.core import attempts, consent, erasure, leaving, plan, records
from streamer.core.attempts import Moment
from streamer.core.breaker import DOUBLINGS_MAX, OPEN_FIRST_S, OPEN_MAX_S
from streamer.core.delivery import ACCEPTED, SUPPRESSED, Accepted, Answer, Decision, Message, Origin
from streamer.core.handling import Handled, handle
from streamer.core.hop import EVENT, Hop, headers_of, read_hop
from streamer.core.links import LatelyLinked, target_at
from streamer.core.plan import Passage
from streamer.core.profile import Update, fold
from streamer.core.routing import Place, Routed, routed
from streamer.core.rules import RuleSet
from streamer.core.sends import BREAKER, EVENT_KIND, LATER, SUPPRESSION_KIND, Parked, Send
from streamer.core.state import Person
from streamer.core.suppressions import Suppressions

TOPIC: Final = "rehearsal"
HOMES_MAX: Final = 8  # pointers that are followed for a picture
TIMERS_MAX: Final = 100_000  # a person's waiting sends are 24 KB, some 40; a story has a thousand events at most
JITTER: Final = 0.0  # a retry comes when its schedule has it at the earliest, so that a story can name the time
STATUSES_MAX: Final = 1_000  # a reply's code below is an HTTP status that came without a code of Twilio's
_REFUSED: Final = 400


class Reply(Struct, frozen=True):
    """How Twilio answers the first `times` requests (0: all) of this mapping, to this number, from this sender.

    `code` is Twilio's, or an HTTP status alone. What is "" may be anything.
    """

    code: int
    mapping: str = ""
    to: str = ""
    sender: str = ""
    times: int = 0

    def is_for(self, send: Send) -> bool:
        """Whether it answers the request of a send."""
        asked = ((self.mapping, send.mapping), (self.to, send.message.to), (self.sender, send.sender))
        return all(not mine or mine == its for mine, its in asked)


class Sent(Struct, frozen=True):
    """One message that would leave, at `at_ms`, for the event at `offset` of the story.

    `held_for`: the policies that it waited for.
    """

    at_ms: int
    key: str
    offset: int
    mapping: str
    sender: str
    parts: int
    message: Message
    held_for: str = ""


class Ended(Struct, frozen=True):
    """One matched (event, mapping) that would end without a message, or with none that is known of."""

    at_ms: int
    key: str
    offset: int
    decision: Decision


class Rehearsal:
    """People, a time and what became of their events so far. Units: ms since the epoch.

    `timers_max` bounds the releases of one `advance` or `finish`, so that no defect of a rule can hang them. Of the
    `replies` the first that is for a request, and not used up, answers it. `stops`: who said STOP by now.
    """

    def __init__(
        self, rules: RuleSet, now_ms: int, timers_max: int = TIMERS_MAX, replies: Sequence[Reply] = ()
    ) -> None:
        self.rules = rules
        self.now_ms = now_ms
        self.people: dict[str, Person] = {}
        self.stops = Suppressions()
        self.sent: list[Sent] = []
        self.ended: list[Ended] = []
        self._replies = tuple(replies)
        self._left = [reply.times or -1 for reply in replies]  # of each how often it still answers; below 0: always
        self._offset = 0
        self._lately = LatelyLinked()
        self._timers_max = timers_max
        self._timers: list[tuple[int, str]] = []
        self._timer_of: dict[str, int] = {}  # by key the last of its timers

    @property
    def suppressed(self) -> list[Ended]:
        """What was decided not to be sent."""
        return [each for each in self.ended if each.decision.outcome == SUPPRESSED]

    def know(self, key: str, traits: Mapping[str, Any]) -> None:
        """Give a person traits from before everything that will happen, and the consents that these state."""
        person = self.people.setdefault(key, Person())
        person.traits = fold(person.traits, Update(0, "", dict(traits))).updates
        said = consent.statements_of({"type": "identify", "traits": traits}, self.rules.people.consent)
        consent.apply(person.consent, said.statements, 0)

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
        handled = handle(person, key, hop, self.rules, self.now_ms, self.stops)
        self._carry(key, person, waiting, hop)
        for target in handled.forward:
            headers = headers_of(hop.kind, hop.origin, hop.hops + 1, is_repeat=handled.is_repeat)
            waiting.append(Routed(target.encode(), hop.value, headers))
        self._settle(key, person)
        self._carry(key, person, waiting, hop)
        return handled

    def _carry(self, key: str, person: Person, waiting: deque[Routed], hop: Hop | None = None) -> None:
        """Take what a record lists, by `hop` or by a timer, to where it belongs."""
        outgoing, person.outgoing = person.outgoing, []
        offset, hops = (hop.origin.offset, hop.hops) if hop else (0, 0)
        for each in outgoing:
            if each.kind == SUPPRESSION_KIND:
                self.stops.put(each.key.encode(), each.value)
            elif each.kind != EVENT_KIND:
                origin = Origin(key, TOPIC, 0, offset, each.event_ms, self.now_ms)
                waiting.append(Routed(each.key.encode(), each.value, headers_of(each.kind, origin, hops + 1)))

    def _ring(self, to_ms: int) -> bool:
        """Every timer until then, each at its time. False: there were more than `timers_max`."""
        left = self._timers_max
        while left and self._timers and self._timers[0][0] <= to_ms:
            due_ms, key = heappop(self._timers)
            person = self.people.get(key)
            if person is None or _timer_ms(person) != due_ms:
                continue  # what it was for is done, or comes at another time
            left -= 1
            self._timer_of[key] = 0  # what it leaves may be due at the same time
            self.now_ms = max(self.now_ms, due_ms)
            attempts.release(person, self.now_ms, self.now_ms)
            plan.ring(person, self.rules, self.now_ms, self.now_ms, Passage(key=key, stops=self.stops))
            self._settle(key, person)
            waiting: deque[Routed] = deque()
            self._carry(key, person, waiting)
            while waiting:
                record = waiting.popleft()
                self._handle(record.key.decode(), read_hop(*record), waiting)
            if erasure.is_over(person, self.now_ms):
                del self.people[key]
        return not self._timers or self._timers[0][0] > to_ms

    def _settle(self, key: str, person: Person) -> None:
        """Have whatever is due answered, in order, and note what became of it."""
        moment = Moment(key, self.rules, self.now_ms, JITTER, self.stops)
        while person.due:
            if home := leaving.home_of(person.due[0], moment, ()):
                leaving.send_away(person, moment, home)
                continue
            send = leaving.begin(person, moment)
            if send is None:
                continue
            answer = self._answer(send)
            if isinstance(answer, Accepted):
                self.sent.append(_sent(self.now_ms, key, send))
            held = attempts.settle(person, answer, moment)
            if held is not None and held.reason == BREAKER:
                person.held[person.held.index(held)] = _behind_breaker(held, self.now_ms)
        for send_id in person.out:
            decision = person.decision(send_id)
            assert decision is not None, "an outcome listed in `out` is stored"
            if decision.outcome != ACCEPTED:
                self.ended.append(Ended(self.now_ms, key, decision.origin.offset, decision))
        person.out.clear()
        timer_ms = _timer_ms(person)
        if timer_ms and timer_ms != self._timer_of.get(key):
            heappush(self._timers, (timer_ms, key))
        self._timer_of[key] = timer_ms

    def _answer(self, send: Send) -> Answer:
        """What Twilio says to the request of a send."""
        for at, reply in enumerate(self._replies):
            if self._left[at] and reply.is_for(send):
                self._left[at] -= 1
                is_status = reply.code < STATUSES_MAX
                status, code = (reply.code, 0) if is_status else (_REFUSED, reply.code)
                return self.rules.outcomes.refusal(status, code)
        return Accepted(f"SM{len(self.sent) + 1:032x}", "queued")


def _sent(at_ms: int, key: str, send: Send) -> Sent:
    return Sent(at_ms, key, send.origin.offset, send.mapping, send.sender, send.parts, send.message, send.held_for)


def _behind_breaker(send: Send, now_ms: int) -> Send:
    """A send that was stopped, as it goes again: when its breaker would let it through, were it alone."""
    open_s = min(OPEN_MAX_S, OPEN_FIRST_S * 2.0 ** min(send.attempt - 1, DOUBLINGS_MAX))
    return replace(send, reason=LATER, until_ms=now_ms + int(open_s * 1000))


def _timer_ms(person: Person) -> int:
    """When something of a person is due, 0: nothing. Nothing is followed here, and every retry has its time."""
    times = [parked.until_ms for parked in person.parked] + [send.until_ms for send in person.held]
    if person.keep_ms and not (times or person.traits or person.due or person.followed):
        times.append(person.keep_ms)
    return min(times, default=0)
