"""What comes after an outcome: an unknown send is looked for, never blindly repeated, and every step is told."""

import json

import pytest

from streamer.core import attempts, following, leaving, plan
from streamer.core.attempts import Moment
from streamer.core.channels import Sender
from streamer.core.delivery import ATTEMPT_TAG, Accepted, Attempt, Found, Origin, Refused, Unknown
from streamer.core.following import Callback, LateAnswer, Resolution
from streamer.core.outcomes import Outcomes, Verdict
from streamer.core.profile import Update
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import RuleDefaults, RuleSet
from streamer.core.sends import send_bytes
from streamer.core.state import FOLLOWED_BYTES_MAX, Person
from streamer.errors import BadRecord

NOW_MS = 1_767_225_600_000
HOUR_MS = 3_600_000
SENDERS = {
    "shop": Sender("shop", "main", number="+15550006789"),
    "service": Sender("service", "main", service_sid="MG" + "0" * 32),
}
OUTCOMES = Outcomes({30003: Verdict("later", schedule="unreachable"), 30005: Verdict("recipient")}, {})


def rules(**keys):
    send = {"body": "Order {{properties.n}}", **keys.pop("send", {})}
    document = {"when": 'type = "track" and event = "Shipped"', "send": send, **keys}
    return RuleSet.of([compile_rule("m", document, SENDERS, RuleDefaults("US", "shop", 3_600.0))], outcomes=OUTCOMES)


class Story:
    """One person, whose sends are posted and answered one by one."""

    def __init__(self, **keys):
        self.rules = rules(**keys)
        self.person = Person(traits=[Update(1, "m0", {"phone": "+15551230001"})])
        self.now_ms = NOW_MS
        self.count = 0

    @property
    def moment(self):
        return Moment("u:1", self.rules, self.now_ms)

    def post(self, answer):
        """A send, its request, and the answer; returns its id."""
        self.count += 1
        event = {"type": "track", "event": "Shipped", "messageId": f"m{self.count}", "properties": {"n": self.count}}
        origin = Origin("u:1", "events", 0, self.count, self.now_ms, self.now_ms)
        plan.apply_event(self.person, event, origin, self.rules, self.now_ms)
        return self.answer(answer)

    def answer(self, answer):
        send = leaving.begin(self.person, self.moment)
        attempts.settle(self.person, answer, self.moment)
        return send.id

    def look(self, *listed, is_had=True):
        """The next look at the gateway's list, at its time."""
        self.now_ms = max(self.now_ms, min(send.until_ms for send in self.person.followed))
        for send in following.due_for_a_look(self.person, self.now_ms):
            following.look(self.person, send, listed if is_had else None, self.moment)

    def release(self):
        """What is held becomes due."""
        self.now_ms = max([self.now_ms, *(send.until_ms for send in self.person.held)])
        assert attempts.release(self.person, self.now_ms, self.now_ms)

    def told(self):
        """What was said since the last outcome: (event, status, attempt, sid, outcome)."""
        events = [json.loads(each.value) for each in self.person.outgoing]
        return [
            (each["event"], *(each["properties"][name] for name in ("status", "attempt", "twilio_sid", "outcome")))
            for each in events
        ]

    def outcomes(self):
        return [self.person.decision(sent).outcome for sent in self.person.decided]


def found(sid="SM1", body="Order 1", created_ms=NOW_MS, tags=None, sender_from="+15550006789", **more):
    return Found(sid, body, created_ms, tags, "queued", sender_from=sender_from, **more)


def tagged(sent, number=1, sid="SM1", **more):
    return found(sid, tags={ATTEMPT_TAG: Attempt(sent, number, "u:1").id}, **more)


LOST = Unknown("timeout")


def test_an_unknown_send_says_so_at_once_and_is_looked_for_after_half_a_minute():
    story = Story()
    story.post(LOST)
    assert story.outcomes() == ["unknown"]
    assert following.due_for_a_look(story.person, NOW_MS + 29_999) == []
    assert len(following.due_for_a_look(story.person, NOW_MS + 30_000)) == 1
    assert story.person.timer_ms() == NOW_MS + 30_000


def test_it_blocks_nobody():
    story = Story()
    story.post(LOST)
    story.post(Accepted("SM2", "queued"))
    assert story.outcomes() == ["unknown", "accepted"]


def test_a_callback_with_our_token_proves_it():
    story = Story()
    sent = story.post(LOST)
    said = following.encode(Callback(sent, 1, "SM7", "sent"))
    assert following.take_callback(story.person, said, story.moment)
    assert story.told() == [("SMS Resolved", "accepted", 1, "SM7", "unknown")]
    assert not story.person.followed
    assert not following.take_callback(story.person, said, story.moment), "the next status tells nothing new of it"


def test_the_list_proves_it_by_the_tag_whatever_else_is_there():
    story = Story()
    sent = story.post(LOST)
    story.look(found("SM8"), tagged(sent, sid="SM9", body="changed"), tagged(b"x" * 16, sid="SM10"))
    assert story.told() == [("SMS Resolved", "accepted", 1, "SM9", "unknown")]


def test_without_tags_an_equal_body_since_the_posting_proves_it():
    story = Story()
    story.post(LOST)
    story.look(
        found("SM1", body="Order 2"), found("SM2", created_ms=NOW_MS - 61_000), found("SM3"),
        found("SM4", sender_from="+15550000000"), found("SM5", direction="inbound"),
    )  # fmt: skip
    assert [each[3] for each in story.told()] == ["SM3"]


def test_another_attempts_tag_is_another_message():
    story = Story()
    sent = story.post(LOST)
    story.look(tagged(sent, 2))
    assert story.told() == []


def test_two_candidates_stay_unknown_and_are_left_to_a_person():
    story = Story()
    sent = story.post(LOST)
    story.look(found("SM1"), found("SM2"))
    assert story.told() == [("SMS Resolved", "ambiguous", 1, "", "unknown")]
    assert following.due_for_a_look(story.person, NOW_MS + HOUR_MS) == []
    said = following.encode(Resolution(sent, 1, "accepted", "SM2"))
    assert following.take_resolution(story.person, said, story.moment)
    assert story.told()[1:] == [("SMS Resolved", "accepted", 1, "SM2", "unknown")]


def test_a_sid_that_another_send_holds_is_no_candidate():
    story = Story(send={"body": "Hi"})
    story.post(Accepted("SM1", "queued"))
    story.post(LOST)
    story.post(LOST)
    story.look(found("SM1", body="Hi"), found("SM2", body="Hi"))
    assert [each[3] for each in story.told()] == ["SM2"], "one is adopted; the other's list shows none but taken ones"


def test_a_body_that_a_service_may_change_proves_nothing_by_being_another():
    """Links are shortened: taken for another message, it would be sent again."""
    story = Story(send={"from": "service"}, on_unknown="resend")
    story.post(LOST)
    service = {"service_sid": "MG" + "0" * 32, "sender_from": ""}
    story.look(found("SM1", body="Order 1 https://sho.rt/1", **service))
    assert [each[1] for each in story.told()] == ["ambiguous"]


def test_three_misses_over_five_minutes_mean_not_created():
    story = Story()
    story.post(LOST)
    story.look()
    story.look()
    assert story.told() == []
    story.look()
    assert story.now_ms - (NOW_MS + 30_000) == 300_000
    assert story.told() == [("SMS Resolved", "not_created", 1, "", "unknown")]
    assert len(story.person.followed) == 1, "a person may still decide"


def test_a_list_that_cannot_be_had_is_no_miss():
    story = Story()
    story.post(LOST)
    for _ in range(50):
        story.look(is_had=False)
    assert story.told() == []
    assert story.person.followed[0].checks == 0


def test_what_was_not_created_is_sent_again_where_the_mapping_says_so():
    story = Story(on_unknown="resend")
    sent = story.post(LOST)
    for _ in range(3):
        story.look()
    story.release()
    assert story.answer(Accepted("SM2", "queued")) == sent
    assert [each[1:4] for each in story.told()] == [("not_created", 1, ""), ("accepted", 2, "SM2")]
    assert story.outcomes() == ["unknown"], "the outcome that is out stays as it was"


def test_a_callback_for_the_first_attempt_stops_the_second():
    """It was created after all, later than the list showed in five minutes."""
    story = Story(on_unknown="resend")
    sent = story.post(LOST)
    for _ in range(3):
        story.look()
    assert following.take_callback(story.person, following.encode(Callback(sent, 1, "SM1", "sent")), story.moment)
    assert not story.person.held
    assert [each[1:4] for each in story.told()] == [("not_created", 1, ""), ("accepted", 1, "SM1")]


def test_what_is_too_old_by_then_is_not_sent_again():
    story = Story(on_unknown="resend", max_age="2m")
    story.post(LOST)
    for _ in range(3):
        story.look()
    assert [each[1] for each in story.told()] == ["not_created", "failed"]
    assert (story.person.held, story.person.followed) == ([], [])


@pytest.mark.parametrize(
    ("answer", "status", "held"),
    [
        (Accepted("SM3", "queued"), ["accepted"], 0),
        (Refused("recipient", 21211, 400, "recipient"), ["failed"], 0),
        (Refused("gateway_busy", 20429, 429, "retry"), [], 1),
        (Refused("stop", 20003, 401, "stop", "account"), [], 1),
    ],
)
def test_a_former_owners_late_answer_settles_it(answer, status, held):
    story = Story()
    sent = story.post(Unknown("interrupted"))
    said = following.encode(LateAnswer(sent, 1, answer))
    assert following.take_answer(story.person, said, story.moment)
    assert [each[1] for each in story.told()] == status
    assert (len(story.person.held), len(story.person.followed)) == (held, 0)
    assert not following.take_answer(story.person, said, story.moment)


def test_a_person_may_have_it_sent_again_or_say_that_it_was_not_created():
    for verdict, status, held in (("resend", [], 1), ("not_created", ["not_created"], 0)):
        story = Story()
        sent = story.post(LOST)
        said = following.encode(Resolution(sent, 1, verdict))
        assert following.take_resolution(story.person, said, story.moment)
        assert ([each[1] for each in story.told()], len(story.person.held)) == (status, held)
        assert not following.take_resolution(story.person, said, story.moment)


def test_undecided_ones_are_given_up_after_a_week_and_said_so():
    story = Story()
    story.post(LOST)
    for _ in range(3):
        story.look()
    story.now_ms = story.person.timer_ms()
    assert following.end_overdue(story.person, story.now_ms, story.moment)
    assert [each[1] for each in story.told()] == ["not_created", "given_up"]
    assert not story.person.followed


def test_the_oldest_is_given_up_when_too_many_are_followed():
    story = Story(send={"body": "Order {{properties.n}} " + "x" * 1_000})
    for _ in range(30):
        story.post(LOST)
    assert sum(map(send_bytes, story.person.followed)) <= FOLLOWED_BYTES_MAX
    given_up = [each for each in story.told() if each[1] == "given_up"]
    assert len(given_up) + len(story.person.followed) == 30


# ── after an acceptance ───────────────────────────────────────────────────


def failed(sent, code, attempt=1):
    return following.encode(Callback(sent, attempt, "SM1", "undelivered", code))


def test_a_failure_after_the_acceptance_leads_to_another_attempt_only_where_the_mapping_says_so():
    for is_wanted in (False, True):
        story = Story(retry_after_accepted=is_wanted)
        sent = story.post(Accepted("SM1", "queued"))
        changed = following.take_callback(story.person, failed(sent, 30003), story.moment)
        assert (changed, len(story.person.held)) == (is_wanted, int(is_wanted))
        assert [each[1:5] for each in story.told()] == [("retrying", 1, "SM1", "accepted")] * is_wanted


def test_the_next_attempt_waits_by_the_codes_schedule_and_is_told():
    story = Story(retry_after_accepted=True)
    sent = story.post(Accepted("SM1", "queued"))
    following.take_callback(story.person, failed(sent, 30003), story.moment)
    assert story.person.held[0].until_ms >= NOW_MS + 15 * 60_000
    story.release()
    story.answer(Accepted("SM2", "queued"))
    assert [each[1:4] for each in story.told()] == [("retrying", 1, "SM1"), ("accepted", 2, "SM2")]


def test_a_failure_that_no_attempt_can_mend_is_final():
    story = Story(retry_after_accepted=True)
    sent = story.post(Accepted("SM1", "queued"))
    following.take_callback(story.person, failed(sent, 30005), story.moment)
    assert [each[1] for each in story.told()] == ["failed"]
    assert (story.person.held, story.person.followed) == ([], [])


def test_a_status_that_is_no_failure_changes_nothing():
    story = Story(retry_after_accepted=True)
    sent = story.post(Accepted("SM1", "queued"))
    said = following.encode(Callback(sent, 1, "SM1", "delivered"))
    assert not following.take_callback(story.person, said, story.moment)
    assert len(story.person.followed) == 1


def test_an_accepted_one_that_nothing_is_heard_of_is_forgotten_without_a_word():
    story = Story(retry_after_accepted=True)
    story.post(Accepted("SM1", "queued"))
    assert following.end_overdue(story.person, NOW_MS + HOUR_MS, story.moment)
    assert (story.told(), story.person.followed) == ([], [])


@pytest.mark.parametrize("take", [following.take_callback, following.take_answer, following.take_resolution])
@pytest.mark.parametrize("value", [b"", b"\xc1", b"\x90", b"{}", following.encode(Resolution(b"x" * 16, 1, "maybe"))])
def test_what_no_owner_wrote_is_a_bad_record(take, value):
    """Strangers can write to by-user too."""
    with pytest.raises(BadRecord):
        take(Person(), value, Story().moment)


def test_a_message_that_failed_for_good_gives_its_key_back():
    """No message came of that order; a repeat of its event may send one."""
    story = Story(retry_after_accepted=True, once_per={"key": "properties.n", "within": "24h"})
    sent = story.post(Accepted("SM1", "queued"))
    assert sent in story.person.once
    following.take_callback(story.person, failed(sent, 30005), story.moment)
    assert sent not in story.person.once


def test_a_message_that_failed_for_a_stop_is_not_attempted_again():
    """A stop by callback opens no breaker: each further message would fail alike, at a price."""
    story = Story(retry_after_accepted=True)
    story.rules.outcomes.codes[30034] = Verdict("stop", "sender")
    sent = story.post(Accepted("SM1", "queued"))
    following.take_callback(story.person, failed(sent, 30034), story.moment)
    assert ([each[1] for each in story.told()], story.person.held) == (["failed"], [])


def test_a_decision_that_is_read_again_decides_nothing_of_the_next_attempt():
    """A crash between the resend and its commit brings it back; a third message would follow."""
    story = Story()
    sent = story.post(LOST)
    said = following.encode(Resolution(sent, 1, "resend"))
    assert following.take_resolution(story.person, said, story.moment)
    story.release()
    story.answer(LOST)
    assert not following.take_resolution(story.person, said, story.moment)
    assert not story.person.held


def test_a_message_that_bears_our_tag_is_found_though_our_clock_is_ahead():
    """Else it would be taken for one that was not created, and sent again."""
    story = Story(on_unknown="resend")
    sent = story.post(LOST)
    assert following.since_ms(story.person.followed[0]) <= NOW_MS - 600_000
    story.look(tagged(sent, created_ms=NOW_MS - 600_000))
    assert [each[1] for each in story.told()] == ["accepted"]


@pytest.mark.parametrize("answer", [Refused("recipient", 21614, 400, "recipient"), Accepted("SM2", "queued")])
def test_a_message_that_turns_up_after_the_next_attempts_answer_is_told(answer):
    """Two messages may exist, or one where none was said to: somebody has to know."""
    story = Story(on_unknown="resend")
    sent = story.post(LOST)
    following.take_resolution(story.person, following.encode(Resolution(sent, 1, "resend")), story.moment)
    story.release()
    story.answer(answer)
    said = following.encode(Callback(sent, 1, "SM1", "delivered"))
    assert following.take_callback(story.person, said, story.moment)
    assert story.told()[-1][1:4] == ("accepted", 1, "SM1")
    assert not following.take_callback(story.person, said, story.moment)


LIMITED = {"limits": [{"count": 1, "per": "24h"}]}


def test_an_unknown_send_counts_until_it_is_known_not_to_exist():
    """Counting it as nothing would send one too many, if it was created after all."""
    story = Story(**LIMITED)
    story.post(LOST)
    story.look()
    assert {"m/": [NOW_MS]} == story.person.counted
    for _ in range(2):
        story.look()
    assert ({}, ["unknown"]) == (story.person.counted, story.outcomes())


@pytest.mark.parametrize(("verdict", "counted"), [("not_created", {}), ("accepted", {"m/": [NOW_MS]})])
def test_what_somebody_decides_of_an_unknown_send_counts(verdict, counted):
    story = Story(**LIMITED)
    sent = story.post(LOST)
    assert following.take_resolution(story.person, following.encode(Resolution(sent, 1, verdict)), story.moment)
    assert counted == story.person.counted


def test_one_that_is_attempted_again_counts_as_one():
    story = Story(**LIMITED, on_unknown="resend")
    story.post(LOST)
    for _ in range(3):
        story.look()
    story.release()
    story.answer(Accepted("SM2", "queued"))
    assert {"m/": [story.now_ms]} == story.person.counted
