"""One person's sends under any history, against a plain model of the gateway and of what must have been told."""

import json
import sys
from collections import defaultdict
from datetime import UTC, datetime

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streamer.core import attempts, erasure, following, leaving, recall, sends, state
from streamer.core.attempts import Moment
from streamer.core.channels import Sender
from streamer.core.delivery import ATTEMPT_TAG, Accepted, Attempt, Found, Origin, Refused, Unknown
from streamer.core.erasure import Forget
from streamer.core.fair import Group
from streamer.core.following import Callback, LateAnswer, Resolution
from streamer.core.handling import handle
from streamer.core.hop import ANSWER, CALLBACK, EVENT, FORGET, LINK, MERGE, RESOLVE, Hop
from streamer.core.outcomes import Outcomes, Verdict
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import RuleDefaults, RuleSet
from streamer.core.sends import EVENT_KIND
from streamer.core.state import Person

VISITOR, USER = "a:0", "u:1"
NOW_MS = 1_767_225_600_000
MINUTE_MS = 60_000
DAY_MS = 86_400_000
MAX_AGE_S = 6 * 3_600.0
RECORD_BYTES_MAX = 900_000  # of what a broker takes
EVENTS_MAX = 24  # their outcomes all fit into the record
SENDERS = {
    "shop": Sender("shop", "main", number="+15550006789"),
    "service": Sender("service", "main", service_sid="MG" + "0" * 32),
}
OUTCOMES = Outcomes({30003: Verdict("later", schedule="unreachable"), 30005: Verdict("recipient")}, {})
REFUSALS = [
    Refused("gateway_busy", 20429, 429, "retry"),
    Refused("not_sent", kind="retry", retry_after_s=90.0),
    Refused("later", 30001, 400, "later", schedule="queue"),
    Refused("stop", 20003, 401, "stop", "account"),
    Refused("recipient", 21211, 400, "recipient"),
    Refused("optout", 21610, 400, "optout"),
]
LOST = [Unknown("timeout"), Unknown("connection_lost"), Unknown("gateway_error", 500)]
OPEN = {"", "not_created", "ambiguous", "unknown"}  # what was told last of a send that may still be found
listings = st.sampled_from([0, 0, 60_000, 20 * MINUTE_MS, None])
crashes = st.sampled_from(["", "", "", "before", "after"])


def rules(on_unknown, retries_accepted, body, is_scheduled):
    keys = {"on_unknown": on_unknown, "retry_after_accepted": retries_accepted}
    later = {"from": "service", "send_at": "{{properties.at}}"} if is_scheduled else {}
    document = {"when": 'event = "Shipped"', "send": {"to": "+15551230001", "body": body, **later}, **keys}
    return RuleSet.of([compile_rule("m", document, SENDERS, RuleDefaults("US", "shop", MAX_AGE_S))], outcomes=OUTCOMES)


class Request:
    """One that left. `sid` is of the message that it created, which lists show from `listed_ms` on."""

    def __init__(self, attempt, message, posted_ms, sid, listed_ms):
        self.attempt, self.message = attempt, message
        self.posted_ms, self.sid, self.listed_ms = posted_ms, sid, listed_ms
        self.is_canceled = False


class Gateway:
    """Everything that left, whatever became of whom it came from."""

    def __init__(self):
        self.requests = {}  # by attempt id
        self.has_tags = True

    def take(self, attempt, message, now_ms, is_creating, listed_after_ms):
        assert attempt.id not in self.requests, "an attempt leaves once"
        sid = f"SM{len(self.requests)}" if is_creating else ""
        listed_ms = float("inf") if listed_after_ms is None else now_ms + listed_after_ms
        self.requests[attempt.id] = Request(attempt, message, now_ms, sid, listed_ms)
        return self.requests[attempt.id]

    def created(self):
        return [each for each in self.requests.values() if each.sid]

    def cancel(self, sid, now_ms):
        [request] = [each for each in self.created() if each.sid == sid]
        request.is_canceled |= now_ms < request.message.send_at_ms
        return request.is_canceled

    def find(self, since_ms, now_ms):
        return tuple(
            Found(
                each.sid,
                each.message.body,
                each.posted_ms // 1_000 * 1_000,
                tags={ATTEMPT_TAG: each.attempt.id} if self.has_tags else None,
                status="sent",
                sender_from=each.message.sender_from,
                direction="outbound-api",
            )
            for each in reversed(self.created())
            if each.listed_ms <= now_ms and each.posted_ms >= since_ms
        )


class Life(RuleBasedStateMachine):
    """`person` is in an owner's memory and `stored` on the changelog; `inbox` has records that wait to be read."""

    @initialize(
        on_unknown=st.sampled_from(["hold", "resend"]),
        retries_accepted=st.booleans(),
        body=st.sampled_from(["Order {{properties.n}}", "Hi", "{{properties.n}} " + "x" * 1_500]),
        has_tags=st.booleans(),
        is_scheduled=st.booleans(),
    )
    def begins(self, on_unknown, retries_accepted, body, has_tags, is_scheduled):
        self.may_resend, self.retries_accepted = on_unknown == "resend", retries_accepted
        self.are_alike = body == "Hi"
        self.sender = "service" if is_scheduled else "shop"
        self.rules = rules(on_unknown, retries_accepted, body, is_scheduled)
        self.gateway = Gateway()
        self.gateway.has_tags = has_tags
        self.key, self.now_ms = VISITOR, NOW_MS
        self.person, self.stored = Person(), state.encode(Person())
        self.pointer = None  # what is left of the visitor once they are a user
        self.inbox, self.events, self.looks = [], [], []
        self.way = None  # the request that is answered to this owner
        self.orphans = []  # those whose owner is gone
        self.grounds = defaultdict(set)  # of an attempt's id: why another may follow it
        self.misses = defaultdict(int)
        self.texts = {}  # event by messageId
        self.outcome = {}  # by send id
        self.told = defaultdict(list)  # statuses by send id
        self.recalled = set()  # SIDs of what was recalled, and of which nothing is told
        self.held_sids = {}  # SID to the send that holds it
        self.is_judging = False
        self.offset = 0

    # ── the owner ──────────────────────────────────────────────────────────

    @property
    def moment(self):
        return Moment(self.key, self.rules, self.now_ms)

    def write(self, crash=""):
        """What changed is stored, then acted upon; or the process dies before or after. False: it died."""
        if crash != "before":
            self.stored = state.encode(self.person)
            assert state.decode(self.stored) == self.person
            assert len(self.stored) <= RECORD_BYTES_MAX
        if crash:
            self.restart()
            return False
        self.publish(self.person, self.key)
        return True

    def restart(self):
        """Another owner begins with what is stored; who waits for an answer there is no one's any more."""
        self.looks = []
        if self.way is not None:
            self.orphans.append(self.way)
            self.way = None
        self.person = state.decode(self.stored)
        self.publish(self.person, self.key)
        if attempts.interrupted(self.person, self.moment):
            self.write()

    def publish(self, person, key):
        for send_id in person.out:
            event = json.loads(attempts.delivery.delivery_event(key, person.decision(send_id)))
            self.hear(event, self.outcome.setdefault(send_id.hex(), event["properties"]["outcome"]))
        for each in person.outgoing:
            if each.kind == EVENT_KIND:
                event = json.loads(each.value)
                if "send_id" in event["properties"]:
                    self.hear(event, event["properties"]["outcome"])
        person.out.clear()
        person.outgoing.clear()

    def hear(self, event, outcome):
        """What is published of a send: one outcome, and under each messageId always the same."""
        said, message_id = event["properties"], event["messageId"]
        sent = said["send_id"]
        assert outcome == said["outcome"] == self.outcome[sent], "one outcome, which is never another"
        is_new = message_id not in self.texts
        assert self.texts.setdefault(message_id, event) == event, "what is told again is told alike"
        if is_new and said["status"]:
            self.told[sent].append(said["status"])
        if (said["status"] or said["outcome"]) == "accepted" and said["twilio_sid"]:
            self.holds(said)
        if said["status"] in ("cancelled", "not_cancelled"):
            [request] = [each for each in self.gateway.created() if each.sid == said["twilio_sid"]]
            assert said["status"] == "not_cancelled" or request.is_canceled, "nobody is told so who gets it"
            self.recalled.discard(request.sid)

    def holds(self, said):
        sent, sid = said["send_id"], said["twilio_sid"]
        if self.held_sids.setdefault(sid, sent) != sent:
            # What a list made likely a token may disprove; and what was erased is no longer known.
            assert self.person.erased_ms or not self.is_judging, "no message is two sends'"
            assert self.are_alike
            self.held_sids[sid] = sent
        [request] = [each for each in self.gateway.created() if each.sid == sid]
        if self.gateway.has_tags or not self.are_alike:
            assert request.attempt.send_id.hex() == sent

    def hop(self, kind, value, event_ms=0):
        self.offset += 1
        origin = Origin(VISITOR, "in", 0, self.offset, event_ms or self.now_ms, self.now_ms)
        return Hop(kind, origin, value)

    # ── events, and their repeats ──────────────────────────────────────────

    @precondition(lambda self: len(self.events) < EVENTS_MAX)
    @rule(age_m=st.sampled_from([0, 0, 0, 100, 350]))
    def event_comes(self, age_m):
        number = len(self.events)
        value = {"type": "track", "event": "Shipped", "messageId": f"m{number}", "properties": {"n": number}}
        value["properties"]["at"] = datetime.fromtimestamp(self.now_ms / 1000 + 3_600, UTC).isoformat()
        value["anonymousId"] = "0"
        self.events.append(self.hop(EVENT, json.dumps(value).encode(), self.now_ms - age_m * MINUTE_MS))
        self.inbox.append((VISITOR, self.events[-1]))

    @precondition(lambda self: self.events)
    @rule(data=st.data())
    def event_comes_again(self, data):
        hop = data.draw(st.sampled_from(self.events))
        self.inbox.append((VISITOR, hop))

    @precondition(lambda self: self.inbox and not self.person.due)
    @rule(crash=crashes)
    def record_is_read(self, crash):
        key, hop = self.inbox[0]
        if key == VISITOR and self.pointer is not None:
            self.inbox.pop(0)
            return self.pass_on(hop)
        expected = self.expect(hop) if crash != "before" else None
        handle(self.person, self.key, hop, self.rules, self.now_ms)
        if self.write(crash) or crash == "after":
            self.inbox.pop(0)
        if expected and not crash:
            assert self.told[expected][-1] in ("accepted", "retrying", "failed"), "its message was heard of"
        return None

    def pass_on(self, hop):
        """What comes to the visitor goes on to the user they turned out to be, behind the move."""
        handled = handle(self.pointer, VISITOR, hop, self.rules, self.now_ms)
        for target in handled.forward:
            self.inbox.append((target, Hop(hop.kind, hop.origin, hop.value, hop.hops + 1, handled.is_repeat)))
            self.pointer.note_seen(state.place_of(hop.origin, hop.hops), hop.origin.offset)
        self.publish(self.pointer, VISITOR)

    def expect(self, hop):
        """The send of which a record proves that its message exists, where that is not known yet."""
        if hop.kind == CALLBACK:
            said = following._callback.decode(hop.value)
            is_created = True
        elif hop.kind == ANSWER:
            said = following._answer.decode(hop.value)
            is_created = isinstance(said.answer, Accepted)
        else:
            if hop.kind == RESOLVE:
                self.note_resend(following._resolution.decode(hop.value))
            return None
        sent = said.send_id.hex()
        waits = any(each.id == said.send_id for each in (*self.person.followed, *self.person.held))
        last = (self.told[sent] or [""])[-1]
        self.note(hop, said)
        is_known = is_created and (said.sid if hop.kind == CALLBACK else said.answer.sid) in self.held_sids
        may_tell = is_created and waits and self.outcome.get(sent) == "unknown" and last in OPEN
        return sent if may_tell and not is_known else None

    def note_resend(self, said):
        """What a person says is a ground, if the send is one to be decided."""
        for each in self.person.followed:
            if each.id == said.send_id and said.verdict == "resend":
                self.grounds[Attempt(each.id, each.attempt, "").id].add("decided")

    def note(self, hop, said):
        """What a record says of an attempt, as a ground for the next."""
        attempt = Attempt(said.send_id, said.attempt, "").id
        if hop.kind == ANSWER and isinstance(said.answer, Refused):
            self.grounds[attempt].add("refused")
        if hop.kind == CALLBACK and self.retries_accepted and said.status in following.FAILED_STATUSES:
            self.grounds[attempt].add("failed")

    # ── attempts ───────────────────────────────────────────────────────────

    @precondition(lambda self: self.person.due and not self.person.due[0].is_posting)
    @rule(crash=crashes)
    def attempt_begins(self, crash):
        leaving.begin(self.person, self.moment)
        self.write(crash)

    @precondition(lambda self: self.is_posting() and self.way is None)
    @rule(crash=crashes)
    def intent_is_taken_back(self, crash):
        attempts.unbegin(self.person)
        self.write(crash)

    @precondition(lambda self: self.person.due and not self.person.due[0].is_posting)
    @rule(reason=st.sampled_from(sorted(sends.QUEUED)), crash=crashes)
    def send_is_held_for_its_turn(self, reason, crash):
        attempts.hold(self.person, self.moment, reason)
        self.write(crash)

    @precondition(lambda self: self.person.held)
    @rule()
    def turn_comes(self):
        attempts.release_queued(self.person, "main", self.sender, Group("m", "1 555"))

    @precondition(lambda self: self.person.held)
    @rule(is_waiting=st.booleans())
    def time_of_an_attempt_comes(self, is_waiting):
        if is_waiting:
            self.now_ms = max(self.now_ms, min(send.until_ms for send in self.person.held))
        attempts.release(self.person, self.now_ms, self.now_ms)

    def is_posting(self):
        return bool(self.person.due) and self.person.due[0].is_posting

    @precondition(lambda self: self.is_posting() and self.way is None)
    @rule(is_creating=st.booleans(), listed_after_ms=listings)
    def request_leaves(self, is_creating, listed_after_ms):
        send = self.person.due[0]
        assert self.now_ms <= send.expires_ms or send.posted_ms <= send.expires_ms, "nothing leaves too old"
        if send.attempt > 1:
            before = Attempt(send.id, send.attempt - 1, "").id
            assert self.grounds[before] or before not in self.gateway.requests, "an attempt follows a proof"
            assert not self.is_absent_unproven(before)
        attempt = Attempt(send.id, send.attempt, send.origin.key)
        self.way = self.gateway.take(attempt, send.message, self.now_ms, is_creating, listed_after_ms)

    def is_absent_unproven(self, attempt):
        return self.grounds[attempt] == {"absent"} and not (self.may_resend and self.misses[attempt] >= 3)

    def answers(self, request):
        return st.sampled_from([Accepted(request.sid, "queued"), *LOST] if request.sid else [*REFUSALS, *LOST])

    @precondition(lambda self: self.way is not None)
    @rule(data=st.data(), crash=crashes)
    def answer_comes(self, data, crash):
        answer = data.draw(self.answers(self.way))
        if crash != "before":
            self.settle(answer)
        else:
            attempts.settle(self.person, answer, self.moment)
        if crash != "before":
            self.way = None
        self.write(crash)

    def settle(self, answer):
        if isinstance(answer, Refused):
            self.grounds[self.way.attempt.id].add("refused")
        attempts.settle(self.person, answer, self.moment)

    @rule()
    def owner_dies(self):
        self.restart()

    @precondition(lambda self: self.orphans)
    @rule(data=st.data())
    def former_owner_hears_late(self, data):
        request = data.draw(st.sampled_from(self.orphans))
        answer = data.draw(self.answers(request))
        if not isinstance(answer, Unknown):
            said = LateAnswer(request.attempt.send_id, request.attempt.number, answer)
            self.inbox.append((VISITOR, self.hop(ANSWER, following.encode(said))))
        self.orphans.remove(request)

    @precondition(lambda self: self.way is None and len(self.events) < EVENTS_MAX)
    @rule(data=st.data(), is_creating=st.booleans(), listed_after_ms=listings, crash=crashes)
    def another_goes_all_the_way(self, data, is_creating, listed_after_ms, crash):
        """What chance alone seldom brings about: a request and its answer."""
        if not self.person.due:
            self.event_comes(0)
            while self.inbox and not self.person.due:
                self.record_is_read("")
        if self.person.due and not self.is_posting():
            self.attempt_begins("")
        if self.is_posting():
            self.request_leaves(is_creating, listed_after_ms)
            self.answer_comes(data, crash)

    # ── what comes after an outcome ────────────────────────────────────────

    @precondition(lambda self: self.gateway.created())
    @rule(
        data=st.data(),
        status=st.sampled_from(["queued", "delivered", "undelivered", "failed"]),
        is_read=st.booleans(),
    )
    def callback_comes(self, data, status, is_read):
        request = data.draw(st.sampled_from(self.gateway.created()))
        status = following.CANCELED if request.is_canceled else status
        code = data.draw(st.sampled_from([30003, 30005])) if status in following.FAILED_STATUSES else 0
        said = Callback(request.attempt.send_id, request.attempt.number, request.sid, status, code)
        self.inbox.append((VISITOR, self.hop(CALLBACK, following.encode(said))))
        while is_read and self.inbox and not self.person.due:
            self.record_is_read("")

    @precondition(lambda self: any(send.reason == sends.WATCHED for send in self.person.followed))
    @rule()
    def accepted_one_fails_and_is_attempted_again(self):
        for send in [each for each in self.person.followed if each.reason == sends.WATCHED][:1]:
            request = self.gateway.requests[Attempt(send.id, send.attempt, "").id]
            said = Callback(send.id, send.attempt, request.sid, "undelivered", 30003)
            self.inbox.append((VISITOR, self.hop(CALLBACK, following.encode(said))))
            while self.inbox and not self.person.due:
                self.record_is_read("")
            if self.person.held:
                self.time_of_an_attempt_comes(is_waiting=True)

    @precondition(lambda self: self.person.followed)
    @rule(is_had=st.sampled_from([True, True, True, False]))
    def list_is_asked_for(self, is_had):
        asked = {send.id for send, _ in self.looks}
        for send in following.due_for_a_look(self.person, self.now_ms):
            if send.id not in asked:
                listed = self.gateway.find(following.since_ms(send), self.now_ms) if is_had else None
                self.looks.append((send, listed))

    @precondition(lambda self: any(send.reason == sends.UNKNOWN for send in self.person.followed))
    @rule()
    def a_look_is_due_and_done(self):
        times = [send.until_ms for send in self.person.followed if send.reason == sends.UNKNOWN]
        self.now_ms = max(self.now_ms, min(times))
        self.list_is_asked_for(is_had=True)
        while self.looks:
            self.list_is_judged("")

    @precondition(lambda self: self.looks)
    @rule(crash=crashes)
    def list_is_judged(self, crash):
        send, listed = self.looks.pop(0)
        attempt = Attempt(send.id, send.attempt, "").id
        if send in self.person.followed and listed is not None and crash != "before":
            self.misses[attempt] += 1
            if self.misses[attempt] >= 3:
                self.grounds[attempt].add("absent")
        if following.look(self.person, send, listed, self.moment):
            self.is_judging = crash != "before"
            self.write(crash)
            self.is_judging = False

    @precondition(lambda self: any(send.reason == sends.AT_GATEWAY for send in self.person.followed))
    @rule(data=st.data(), crash=crashes)
    def message_is_not_wanted_any_more(self, data, crash):
        there = [send for send in self.person.followed if send.reason == sends.AT_GATEWAY]
        recall.recall(self.person, data.draw(st.sampled_from(there)), self.moment, "superseded")
        self.note_recalled(crash)
        self.write(crash)

    def note_recalled(self, crash):
        """What is recalled now will be told of, unless the record that says so is lost."""
        if crash != "before":
            self.recalled |= {send.sid for send in self.person.followed if send.reason == sends.RECALLED}

    @precondition(lambda self: recall.due_for_recall(self.person, self.now_ms))
    @rule(is_heard=st.booleans(), crash=crashes)
    def gateway_is_asked_not_to_send(self, is_heard, crash):
        send = recall.due_for_recall(self.person, self.now_ms)[0]
        answer = self.gateway.cancel(send.sid, self.now_ms)
        assert recall.take_recall(self.person, send, answer if is_heard else None, self.moment)
        self.write(crash)

    @precondition(lambda self: self.outcome)
    @rule(data=st.data(), verdict=st.sampled_from(following.VERDICTS))
    def person_decides(self, data, verdict):
        send_id = bytes.fromhex(data.draw(st.sampled_from(sorted(self.outcome))))
        sids = [each.sid for each in self.gateway.created() if each.attempt.send_id == send_id]
        if verdict == "accepted" and not sids:
            return
        attempt = next((send.attempt for send in self.person.followed if send.id == send_id), 1)
        said = Resolution(send_id, attempt, verdict, sids[-1] if verdict == "accepted" else "")
        self.inbox.append((VISITOR, self.hop(RESOLVE, following.encode(said))))

    @rule()
    def nobody_decides_in_time(self):
        if following.end_overdue(self.person, self.now_ms, self.moment):
            self.write()

    # ── around it ──────────────────────────────────────────────────────────

    @rule(seconds=st.sampled_from([1, 30, 135, 165, 900, 3_600, 5 * 3_600, 8 * 86_400, -30, -3_600]))
    def clock_moves(self, seconds):
        self.now_ms += seconds * 1_000

    @precondition(lambda self: not self.person.due and self.pointer is None)
    @rule(repeats=st.integers(1, 2))
    def person_turns_out_to_be_another(self, repeats):
        handle(self.person, self.key, self.hop(LINK, USER.encode()), self.rules, self.now_ms)
        moved = next((each for each in self.person.outgoing if each.kind == MERGE), None)
        self.write()
        if moved is None:  # they were erased a moment ago
            return
        self.pointer, self.key, self.person = self.person, USER, Person()
        self.stored = state.encode(self.person)
        self.looks = []
        for _ in range(repeats):
            self.inbox.append((USER, self.hop(MERGE, moved.value, moved.event_ms)))

    @precondition(lambda self: not self.person.due)
    @rule(crash=crashes)
    def person_is_erased(self, crash):
        hop = self.hop(FORGET, erasure.encode_forget(Forget()))
        if self.person.erased_ms < self.now_ms:
            handle(self.person, self.key, hop, self.rules, self.now_ms)
            there = [send for send in self.person.followed if send.origin.event_ms <= self.person.erased_ms]
            assert all(send.reason == sends.RECALLED for send in there), "nothing of theirs is left to be sent"
            self.note_recalled(crash)
            self.write(crash)

    @invariant()
    def what_is_kept_is_bounded(self):
        person = self.person
        assert sum(map(sends.send_bytes, person.followed)) <= state.FOLLOWED_BYTES_MAX
        assert person.waiting_bytes() <= state.WAITING_BYTES_MAX
        assert len(person.adopted) <= state.ADOPTED_MAX
        ids = [each.id for each in (*person.due, *person.held, *person.followed)]
        assert len(ids) == len(set(ids)), "a send stands in one place"

    def teardown(self):
        """Nothing goes wrong any more, and weeks pass: then everything has been told, and nothing waits."""
        if sys.exc_info()[0] is not None or not hasattr(self, "key"):
            return
        for _ in range(2_000):
            if not self.go_on():
                break
        else:
            raise AssertionError("it never rests")
        self.everything_was_told()

    def go_on(self):
        """One thing of what is left to do."""
        person = self.person
        if self.way is not None:
            accepted = Accepted(self.way.sid, "queued")
            self.settle(accepted if self.way.sid else REFUSALS[-1])
            self.way = None
            self.write()
        elif self.is_posting():
            self.request_leaves(is_creating=True, listed_after_ms=0)
        elif person.due:
            self.attempt_begins("")
        elif self.inbox:
            self.record_is_read("")
        elif self.looks:
            self.list_is_judged("")
        elif person.held or person.followed:
            times = [each.until_ms for each in (*person.held, *person.followed)]
            self.now_ms = max(self.now_ms, min(times))
            attempts.release(person, self.now_ms, self.now_ms)
            attempts.release_queued(person, "main", self.sender, Group("m", "1 555"))
            self.list_is_asked_for(is_had=True)
            while recall.due_for_recall(person, self.now_ms):
                self.gateway_is_asked_not_to_send(is_heard=True, crash="")
            self.nobody_decides_in_time()
        else:
            return False
        return True

    def everything_was_told(self):
        assert not self.recalled, "of what was recalled it is told whether that was in time"
        created = {each.attempt.send_id.hex() for each in self.gateway.created()}
        sends = {attempts.delivery.send_id("m", hop.origin, f"m{n}").hex() for n, hop in enumerate(self.events)}
        assert sends == self.outcome.keys(), "each event has its outcome, and nothing else has one"
        for sent, outcome in self.outcome.items():
            statuses = self.told[sent]
            assert statuses[-1:] != ["unknown"], "a later attempt is looked for too"
            if outcome == "accepted":
                assert sent in created
            if outcome in ("failed", "suppressed"):
                assert sent not in created
                assert not statuses
            if outcome == "unknown":
                assert statuses, "an unknown one ends in a resolution"
                assert statuses[-1] in {
                    *("accepted", "failed", "given_up", "suppressed", "not_created", "retrying"),
                    *("cancelled", "not_cancelled"),
                }
            if not (self.may_resend or self.retries_accepted) and not any(
                "decided" in reasons for reasons in self.grounds.values()
            ):
                mine = [each for each in self.gateway.created() if each.attempt.send_id.hex() == sent]
                assert len(mine) <= 1, "one message a send"


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=200,
    stateful_step_count=80,
    suppress_health_check=list(HealthCheck),
    deadline=None,
    report_multiple_bugs=False,
)
