"""Policies under any history: against a plain model, nothing leaves that must not, and nothing is held for ever.

A visitor and a user are two people until a link makes them one; owners die, and records move and come again.
"""

import json
import os
import sys
from collections import Counter, defaultdict

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streamer.core import attempts, following, leaving, plan, sends, state
from streamer.core.attempts import Moment
from streamer.core.channels import Sender
from streamer.core.consent import CONSENT_EVENT, OPT_IN, ConsentRules
from streamer.core.delivery import Accepted, Origin, Refused, Unknown, send_id
from streamer.core.fair import Group
from streamer.core.handling import handle
from streamer.core.holding import Command, encode_command
from streamer.core.hop import ANSWER, CANCEL, EVENT, LINK, MERGE, RELEASE, RESOLVE, Hop
from streamer.core.identity import person_of
from streamer.core.limits import SPARE, Limit
from streamer.core.people import People
from streamer.core.policies import Common, Holdout
from streamer.core.quiet_hours import compile_quiet_hours
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import RuleDefaults, RuleSet
from streamer.core.sends import LIMIT, POLICIES, QUIET
from streamer.core.state import COUNTED_MAX, Person
from tests.property.policy_model import HOUR_MS, STRICT, Event, Known, Mapping, Posting

EXAMPLES = int(os.environ.get("STREAMER_POLICIES", "250"))  # 15 s
VISITOR, USER = "a:0", "u:1"
MINUTE_MS = 60_000
DAY_MS = 24 * HOUR_MS
# A Thursday before each change of clocks that is in the weeks to come: of the Americas, of Europe, of both back, and
# of New Zealand and Lord Howe.
STARTS_MS = [1_772_712_000_000, 1_774_526_400_000, 1_792_670_400_000, 1_774_958_400_000]
ZONES = ["America/New_York", "Europe/London", "America/Havana", "Australia/Lord_Howe", "Pacific/Auckland"]
NUMBERS = ["+12122001234", "+447400123456", "+61412345678"]  # of one zone, of four with one clock, of eight
SENDERS = {name: Sender(name, "main", number=number) for name, number in (("shop", "+15550006789"), ("b", "+15550002"))}
ALL = (4, 3, "all", "hold")  # in three hours
HOURS = {"open": {"mon-fri": "09:00-18:00", "sat": "10:00-14:00"}, "zone": "Etc/UTC", "spread": "45m"}
COMMON = Common(
    limits=(Limit(4, "3h", 3 * 3600.0, "all"),),
    quiet=compile_quiet_hours(HOURS, {}),
    exempt={"service": frozenset({"limits", "quiet_hours", "consent"})},
)
PLAIN = {
    "promo": Mapping("news", ((1, 1, "mapping", "hold"), (2, "day", "category", "hold"), ALL), True, True, 48),
    "weekly": Mapping("news", ((3, "week", "category", "drop"), ALL), True, max_age_h=168, delay_h=2),
    "burst": Mapping("tips", ((1, "day", "mapping", "drop"), ALL), True, True, 72),
    "once": Mapping("tips", ((2, 26, "category", "hold"), ALL), True, max_age_h=72),
    "plain": Mapping("", (ALL,), True, True, 48),
    "service": Mapping("service", max_age_h=24),
}
NAMES = {"A": ["promo", "service", "weekly"], "B": ["burst", "once", "plain"], "Cancelled": ["plain"]}
KEYS = {
    "promo": {"else": [{"send": {"from": "b", "body": "promo by b {{properties.order}}"}}]},
    "weekly": {"send": {"delay": "2h"}},
    "burst": {"collapse": {"key": "properties.order", "wait": "10m", "keep": "count"}},
    "once": {"once_per": {"key": "properties.order", "within": "24h"}},
    "plain": {"on_unknown": "resend"},
    "service": {},
}
BODY = {"burst": "{{collapse.count}}"}
ANSWERS = {
    "accepted": Accepted("SM1", "queued"),
    "optout": Refused("optout", 21610, 400, "optout"),
    "message": Refused("message", 30000, 400, "message"),
    "retry": Refused("gateway_busy", 20429, 429, "retry"),
    "later": Refused("later", 30001, 400, "later", schedule="queue"),
    "stop": Refused("stop", 20003, 401, "stop", "account"),
    "unknown": Unknown("timeout"),
}
answers = st.sampled_from([*["accepted"] * 6, *ANSWERS])
who = st.sampled_from([VISITOR, USER, USER])
orders = st.sampled_from([1, 1, 2, 3, 4, 5])


def compiled(name, group):
    """A mapping as `PLAIN` has it."""
    plain, keys = PLAIN[name], KEYS[name]
    when = " or ".join(f'event = "{each}"' for each, mappings in NAMES.items() if name in mappings)
    document = {**keys, "when": when, "max_age": f"{plain.max_age_h}h", "identify_wait": "1h"}
    document["send"] = {"body": BODY.get(name, f"{name} {{{{properties.order}}}}"), **keys.get("send", {})}
    if plain.category:
        document["category"] = plain.category
    own = [each for each in plain.limits if each is not ALL]
    if own:
        document["limits"] = [
            {"count": count, "per": per if isinstance(per, str) else f"{per}h", "over": over, "when_full": full}
            for count, per, over, full in own
        ]
    if plain.is_cancelled:
        document["cancel_when"] = {"event": "Cancelled", "key": "properties.order"}
    if name == "once":
        document["holdout"] = {"share": "50%", "group": group}
    return compile_rule(name, document, SENDERS, RuleDefaults("US", "shop", 86_400.0, common=COMMON))


def rule_set(group):
    people = People(consent=ConsentRules(OPT_IN))
    return RuleSet.of([compiled(each, group) for each in PLAIN], people=people, common=COMMON)


GROUPS = {str(at): rule_set(str(at)) for at in range(4)}


class Policies(RuleBasedStateMachine):
    """`people` are in their owners' memory and `stored` on the changelog; `known` is what the model has of each."""

    @initialize(
        start=st.sampled_from(STARTS_MS),
        group=st.sampled_from(sorted(GROUPS)),
        is_known=st.sampled_from([True, True, True, False]),
    )
    def begins(self, start, group, is_known):
        self.now_ms = self.newest_ms = start
        self.handled_ms = 0
        self.rules, self.holdout = GROUPS[group], Holdout(0.5, group)
        self.people = {VISITOR: Person(), USER: Person()}
        self.stored = {key: state.encode(person) for key, person in self.people.items()}
        self.known = {VISITOR: Known(), USER: Known()}
        self.moved = None  # what the visitor's record knew
        self.is_linked, self.linked_ms = False, 0
        self.inbox = {VISITOR: [], USER: []}
        self.records = []  # all that were sent to a key
        self.ways = {}  # key to the request that is answered to its owner
        self.orphans = []
        self.expected, self.events = {}, {}  # send id to its mapping, and to its event
        self.outcomes = {}
        self.released, self.forced = set(), set()
        self.ended = set()
        self.stands_for = defaultdict(set)
        self.number = 0
        for key in (USER, VISITOR) if is_known else ():
            self.says(key, "identify", traits={"phone": NUMBERS[0], "timezone": ZONES[0]})
            self.says(key, "track", CONSENT_EVENT, preferences={"news": True, "tips": True})

    # ── records ────────────────────────────────────────────────────────────

    def moment(self, key):
        return Moment(key, self.rules, self.now_ms)

    def says(self, key, kind, name="", order=0, at_ms=None, zone="", traits=None, preferences=None):
        """An event of somebody comes in."""
        self.number += 1
        at_ms = self.now_ms if at_ms is None else at_ms
        event = {"type": kind, "messageId": f"m{self.number}", "properties": {"order": order}}
        event |= {"userId": key[2:]} if key == USER else {"anonymousId": key[2:]}
        event |= {"event": name} if name else {}
        event |= {"traits": traits} if traits else {}
        context = {"timezone": zone} if zone else {}
        if preferences:
            context["consent"] = {"categoryPreferences": preferences}
        hop = self.hop(EVENT, json.dumps({**event, "context": context}).encode(), key, at_ms)
        said = Event(event["messageId"], name, at_ms, order, zone)
        for mapping in NAMES.get(name, ()) if kind == "track" else ():
            sent = send_id(mapping, hop.origin, said.message_id).hex()
            self.expected[sent], self.events[sent] = mapping, said
        self.put(key, hop)

    def hop(self, kind, value, key, at_ms=0):
        self.number += 1
        return Hop(kind, Origin(key, "in", 0, self.number, at_ms or self.now_ms, self.now_ms), value)

    def put(self, key, hop):
        if hop.kind in (EVENT, LINK, CANCEL):
            self.records.append((key, hop))
        self.inbox[key].append(hop)
        self.read_on(key)

    def read_on(self, key):
        """An owner handles what came for a key, as long as nothing of it is due."""
        person = self.people[key]
        while self.inbox[key] and not person.due:
            hop = self.inbox[key].pop(0)
            before = list(person.parked)
            handled = handle(person, key, hop, self.rules, self.now_ms)
            for target in handled.forward:
                self.inbox[target].append(Hop(hop.kind, hop.origin, hop.value, hop.hops + 1, handled.is_repeat))
                person.note_seen(state.place_of(hop.origin, hop.hops), hop.origin.offset)
            if not handled.forward:
                self.learn(key, hop)
            self.newest_ms = max(self.newest_ms, self.now_ms)
            self.write(key, before)
            if handled.forward:
                self.read_on(USER)

    def learn(self, key, hop):
        """The model hears the same."""
        known = self.known[key]
        if hop.kind == MERGE and self.moved is not None:
            known.take_in(self.moved)
            self.moved = None
        if hop.kind != EVENT or hop.is_repeat:
            return
        event = json.loads(hop.value)
        at_ms, message_id = hop.origin.event_ms, event["messageId"]
        known.hear_traits(at_ms, message_id, event.get("traits") or {})
        for category, is_wanted in event["context"].get("consent", {}).get("categoryPreferences", {}).items():
            known.hear_consent(at_ms, category, STRICT[0] if is_wanted else STRICT[2])
        if event.get("event") == "Cancelled":
            known.cancels[event["properties"]["order"]].add((at_ms, message_id))

    def write(self, key, before=None):
        """What changed is stored, then acted upon."""
        person = self.people[key]
        self.stored[key] = state.encode(person)
        assert state.decode(self.stored[key]) == person, "what is stored is what was in memory"
        if before is not None:
            self.nothing_waits_for_nothing(key, before)
        self.publish(key)

    def publish(self, key):
        person = self.people[key]
        for sent in person.out:
            decision = person.decision(sent)
            told = (decision.outcome, decision.reason, decision.detail)
            assert self.outcomes.setdefault(sent.hex(), told) == told, "one outcome, which is never another"
            if decision.reason == "collapsed":
                self.stands_for[decision.detail].add(sent.hex())
            if decision.outcome != "unknown":
                self.ended.add(sent.hex())
        for each in person.outgoing:
            if each.kind == MERGE:
                origin = Origin(person_of(key), "state", 0, self.number, each.event_ms, self.now_ms)
                self.inbox[each.key].append(Hop(MERGE, origin, each.value, 1))
                self.merge_record = self.inbox[each.key][-1]
        person.out.clear()
        person.outgoing.clear()

    # ── what comes ─────────────────────────────────────────────────────────

    @rule(key=who, name=st.sampled_from("AB"), order=orders, zone=st.sampled_from(["", "", "Asia/Kolkata"]),
          age_m=st.sampled_from([0, 0, 0, 5, 90, 600]))  # fmt: skip
    def event_comes(self, key, name, order, zone, age_m):
        self.says(key, "track", name, order, self.now_ms - age_m * MINUTE_MS, zone)

    @rule(key=who, order=orders, age_m=st.sampled_from([0, 1, 30, 600, 3_000, 3_000, -1]))
    def something_is_cancelled(self, key, order, age_m):
        """By one that is itself of a mapping; perhaps before what it cancels is read, which may be older."""
        self.says(key, "track", "Cancelled", order, self.now_ms - age_m * MINUTE_MS)

    @rule(key=who, zone=st.sampled_from(ZONES), age_m=st.sampled_from([0, 0, 30]))
    def person_moves(self, key, zone, age_m):
        self.says(key, "identify", at_ms=self.now_ms - age_m * MINUTE_MS, traits={"timezone": zone})

    @rule(key=who, number=st.sampled_from(NUMBERS))
    def phone_changes(self, key, number):
        self.says(key, "identify", traits={"phone": number})

    @rule(key=who, category=st.sampled_from(["news", "tips"]), is_wanted=st.sampled_from([True, True, False]))
    def consent_changes(self, key, category, is_wanted):
        self.says(key, "track", CONSENT_EVENT, preferences={category: is_wanted})

    @precondition(lambda self: not self.is_linked and not self.people[VISITOR].due)
    @rule()
    def visitor_turns_out_to_be_the_user(self):
        known = self.known[VISITOR]
        self.is_linked, self.linked_ms = True, self.now_ms
        self.moved, self.known[VISITOR] = known, Known()
        self.put(VISITOR, self.hop(LINK, USER.encode(), VISITOR))

    @precondition(lambda self: self.is_linked)
    @rule()
    def move_comes(self):
        self.read_on(USER)

    @precondition(lambda self: self.is_linked and self.moved is None)
    @rule()
    def move_comes_again(self):
        self.inbox[USER].append(self.merge_record)
        self.read_on(USER)

    @precondition(lambda self: self.records)
    @rule(data=st.data())
    def record_comes_again(self, data):
        key, hop = data.draw(st.sampled_from(self.records))
        self.inbox[key].append(hop)
        self.read_on(key)

    @rule(data=st.data(), key=who, kind=st.sampled_from([CANCEL, RELEASE]), is_forced=st.booleans())
    def somebody_commands(self, data, key, kind, is_forced):
        person = self.people[key]
        waiting = [each.id for each in (*person.parked, *person.held)]
        if not waiting or person.due:
            return
        sent = data.draw(st.sampled_from(waiting))
        if kind == RELEASE:
            self.released.add(sent.hex())
        if kind == RELEASE and is_forced:
            self.forced.add(sent.hex())
        self.inbox[key].append(self.hop(kind, encode_command(Command(sent, "Ann", is_forced)), key))
        self.read_on(key)
        if kind == CANCEL:
            assert sent.hex() in self.ended or not self.people[key].is_waiting(sent), "it is ended"

    # ── time ───────────────────────────────────────────────────────────────

    @rule(minutes=st.sampled_from([1, 10, 45, 60, 180, 600, 1_440, 2_880, 5 * 1_440]))
    def time_passes(self, minutes):
        self.now_ms += minutes * MINUTE_MS

    @rule(seconds=st.sampled_from([1, 60, 3_600, 7_200]))
    def clock_is_set_back(self, seconds):
        self.now_ms -= seconds * 1_000

    @rule(lag_m=st.sampled_from([0, 0, 0, 5, 120]))
    def timers_ring(self, lag_m):
        """What is handled may lag behind the wall."""
        self.handled_ms = max(self.handled_ms, self.now_ms - lag_m * MINUTE_MS)
        for key in self.people:
            self.ring(key)

    @rule(answer=answers, is_sent=st.booleans())
    def the_next_thing_waited_for_comes(self, answer, is_sent):
        times = [each.until_ms for person in self.people.values() for each in (*person.parked, *person.held)]
        if times:
            self.now_ms = max(self.now_ms, min(times))
            self.timers_ring(0)
        if is_sent:
            self.all_that_is_due_leaves(answer)

    @rule(key=who, name=st.sampled_from("AB"), order=orders, answer=answers, count=st.integers(1, 3))
    def events_come_and_their_messages_leave(self, key, name, order, answer, count):
        """What chance alone seldom brings about."""
        for number in range(count):
            self.says(key, "track", name, order + number, self.now_ms - (count - number))
            self.all_that_is_due_leaves(answer)

    def all_that_is_due_leaves(self, answer):
        while self.ways:
            self.answer_comes(answer)
        while any(map(self.may_begin, self.people)):
            self.attempt_is_made(answer, is_answered=True)

    @rule(key=who, hour=st.integers(14, 17), answer=answers)
    def a_day_passes_and_it_is_noon_somewhere(self, key, hour, answer):
        self.now_ms = (self.now_ms // DAY_MS + 1) * DAY_MS + hour * HOUR_MS
        self.timers_ring(0)
        self.events_come_and_their_messages_leave(key, "B", 1, answer, 1)

    def ring(self, key):
        person, moment = self.people[key], self.moment(key)
        self.newest_ms = max(self.newest_ms, self.now_ms)
        before = list(person.parked)
        plan.ring(person, self.rules, self.handled_ms, self.now_ms, moment.passage)
        attempts.release(person, self.now_ms, self.handled_ms)
        following.end_overdue(person, self.handled_ms, moment)
        self.write(key, before)
        self.read_on(key)

    # ── attempts ───────────────────────────────────────────────────────────

    def may_begin(self, key):
        person = self.people[key]
        return bool(person.due) and not person.due[0].is_posting

    @precondition(lambda self: any(map(self.may_begin, self.people)))
    @rule(answer=answers, is_answered=st.sampled_from([True, True, True, False]))
    def attempt_is_made(self, answer, is_answered):
        key = next(filter(self.may_begin, self.people))
        person, before = self.people[key], list(self.people[key].parked)
        send = leaving.begin(person, self.moment(key))
        self.write(key, before)
        if send is None:
            self.read_on(key)
            return
        self.may_leave(key, send)
        if is_answered:
            self.answer(key, answer)

    @precondition(lambda self: self.ways)
    @rule(answer=answers)
    def answer_comes(self, answer):
        self.answer(next(iter(self.ways)), answer)

    def answer(self, key, kind):
        posting, person = self.ways.pop(key), self.people[key]
        attempts.settle(person, ANSWERS[kind], self.moment(key))
        posting.is_refused = posting.was_told = isinstance(ANSWERS[kind], Refused)
        self.write(key)
        self.read_on(key)

    @precondition(lambda self: self.ways)
    @rule()
    def intent_is_taken_back(self):
        key = next(iter(self.ways))
        posting = self.ways.pop(key)
        attempts.unbegin(self.people[key])
        posting.is_refused = posting.was_told = True
        self.write(key)

    @precondition(lambda self: any(map(self.may_begin, self.people)))
    @rule(reason=st.sampled_from(sorted(sends.QUEUED)))
    def send_waits_for_its_turn(self, reason):
        key = next(filter(self.may_begin, self.people))
        attempts.hold(self.people[key], self.moment(key), reason)
        self.write(key)
        self.read_on(key)

    @rule(key=who, seconds=st.sampled_from([0, 2, 600]))
    def turn_comes(self, key, seconds):
        self.now_ms += seconds * 1_000
        for send in [each for each in self.people[key].held if each.reason in sends.QUEUED][:1]:
            group = attempts.group_of(send)
            assert isinstance(group, Group)
            attempts.release_queued(self.people[key], "main", send.sender, group)
            self.write(key)

    @precondition(lambda self: any(map(self.may_begin, self.people)))
    @rule()
    def breaker_turns_it_aside(self):
        key = next(filter(self.may_begin, self.people))
        leaving.turn_aside(self.people[key])
        self.write(key)

    @rule(key=who)
    def owner_dies(self, key):
        """The next one begins with what is stored; who waits for an answer is no one's any more."""
        if key in self.ways:
            self.orphans.append((key, self.ways.pop(key)))
        self.people[key] = state.decode(self.stored[key])
        if attempts.interrupted(self.people[key], self.moment(key)):
            self.write(key)
        self.read_on(key)

    @precondition(lambda self: self.orphans)
    @rule(kind=st.sampled_from(["accepted", "message", "later"]))
    def former_owner_hears_late(self, kind):
        key, posting = self.orphans.pop(0)
        posting.is_refused = kind != "accepted"
        said = following.LateAnswer(bytes.fromhex(posting.send), posting.attempt, ANSWERS[kind])
        self.put(key, self.hop(ANSWER, following.encode(said), key))

    @rule(key=who, verdict=st.sampled_from(["resend", "resend", "not_created"]), is_cancelled=st.booleans())
    def somebody_decides_of_an_unknown_one(self, key, verdict, is_cancelled):
        """Perhaps it is not even wanted any more."""
        for send in [each for each in self.people[key].followed if each.reason == sends.UNKNOWN][:1]:
            if is_cancelled:
                self.says(key, "track", "Cancelled", self.events[send.id.hex()].order)
            for known in (*self.known.values(), *([self.moved] if self.moved else [])):
                for each in known.posted:
                    if (each.send, each.attempt) == (send.id.hex(), send.attempt):
                        each.is_refused = True
            self.put(
                key, self.hop(RESOLVE, following.encode(following.Resolution(send.id, send.attempt, verdict)), key)
            )

    # ── what must hold ─────────────────────────────────────────────────────

    def may_leave(self, key, send):
        """Asked of every request that leaves."""
        sent, known = send.id.hex(), self.known[key]
        mapping, event, to = PLAIN[send.mapping], self.events[send.id.hex()], send.message.to
        assert sent not in self.ended, "what has its outcome does not leave"
        assert self.now_ms <= event.at_ms + (mapping.max_age_h + mapping.delay_h) * HOUR_MS, "nothing leaves too old"
        if mapping.delay_h and sent not in self.released:
            latest_ms = max(self.now_ms, self.newest_ms)  # by which it was decided
            assert latest_ms >= event.at_ms + mapping.delay_h * HOUR_MS, "nothing leaves before its time"
        if mapping.category in ("news", "tips"):
            assert known.agrees(mapping.category), "nobody gets what they did not ask for"
        if send.mapping == "once" and send.decided_ms > self.linked_ms:
            assert not self.holdout.has(key), "who is held out gets nothing"
        if mapping.is_cancelled:
            assert not known.cancelled(event), "what was cancelled never leaves"
        if mapping.is_quiet and sent not in self.forced:
            assert known.is_open(event, to, self.now_ms), "nothing leaves outside of a window"
        if sent not in self.forced:
            assert not known.full(mapping, send.mapping, event, to, self.now_ms, with_told=False), (
                "no count is exceeded"
            )
        if send.mapping == "burst":
            assert str(1 + self.collapsed(sent)) == send.message.body, "it says how many it stands for"
        if send.mapping == "once" and send.attempt == 1:
            for each in known.posted:
                is_same = each.mapping == "once" and each.event.order == event.order and each.send != sent
                assert each.is_refused or not is_same or abs(each.event.at_ms - event.at_ms) > DAY_MS, "one of a key"
        posting = Posting(sent, send.attempt, send.mapping, mapping.category, self.now_ms, event)
        if send.mapping != "service":
            known.posted.append(posting)
        self.ways[key] = posting

    def collapsed(self, sent):
        return sum(1 + self.collapsed(each) for each in self.stands_for[sent])

    def nothing_waits_for_nothing(self, key, before):
        """What was just put off finds its hours closed, or a limit full."""
        person, known = self.people[key], self.known[key]
        for each in person.parked:
            if each in before or each.reason not in (QUIET, LIMIT):
                continue
            mapping, event = PLAIN[each.mapping], self.events[each.id.hex()]
            if any(one.group == each.group != b"" and one.until_ms == each.until_ms for one in before):
                continue  # one more of a burst that waits
            to = known.traits["phone"][2]
            is_open = known.is_open(event, to, self.now_ms)
            assert not is_open or known.full(mapping, each.mapping, event, to, self.now_ms), "it could have left"
            assert each.until_ms > self.now_ms

    @invariant()
    def what_is_kept_is_bounded(self):
        for person in self.people.values():
            counted = person.counted
            assert sum(map(len, counted.values())) <= COUNTED_MAX
            assert all(len(times) <= self.rules.counting.newest + SPARE for times in counted.values())
            assert all(times == sorted(times) for times in counted.values())
            assert person.waiting_bytes() <= state.WAITING_BYTES_MAX
            ids = [each.id for each in (*person.due, *person.held, *person.parked)]
            assert len(ids) == len(set(ids)), "a send stands in one place"
            assert max(Counter(each.group for each in person.parked if each.group).values(), default=0) <= 1
            waits = [each for each in (*person.parked, *person.held) if each.reason in POLICIES]
            assert not waits or state.timer_ms(state.encode(person)), "what waits for a time is rung for"

    def teardown(self):
        """Nothing goes wrong any more, and weeks pass: then everything has its outcome, and nothing waits."""
        if sys.exc_info()[0] is not None or not hasattr(self, "inbox"):
            return
        self.now_ms = max(self.now_ms, self.newest_ms, self.handled_ms)  # the clock is right again
        for _ in range(16 * 8):  # three hours each: 7 days of age, a week's limit, and what was tried again since
            self.handled_ms = max(self.handled_ms, self.now_ms)
            for key in (VISITOR, USER):
                self.go_on(key)
            if not any(self.inbox.values()) and not any(self.waiting(key) for key in self.people):
                break
            self.now_ms += 3 * HOUR_MS
        for key in self.people:
            assert not self.inbox[key]
            assert not self.waiting(key), "nothing is held for ever"
        assert self.expected.keys() == self.outcomes.keys(), "each event of a mapping has one outcome"

    def waiting(self, key):
        person = self.people[key]
        return [*person.due, *person.held, *person.parked]

    def go_on(self, key):
        for _ in range(1_000):
            if key in self.ways:
                self.answer(key, "accepted")
            for send in [each for each in self.people[key].held if each.reason in sends.QUEUED]:
                attempts.release_queued(self.people[key], "main", send.sender, attempts.group_of(send))
            self.ring(key)
            if not self.may_begin(key):
                return
            while self.may_begin(key):
                send = leaving.begin(self.people[key], self.moment(key))
                self.write(key)
                if send is not None:
                    self.may_leave(key, send)
                    self.answer(key, "accepted")
                self.read_on(key)
        raise AssertionError("it never rests")


TestPolicies = Policies.TestCase
TestPolicies.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=60,
    suppress_health_check=list(HealthCheck),
    deadline=None,
    report_multiple_bugs=False,
)
