"""What the gateway holds and nobody wants any more: it is asked back until that is known, and every end is told."""

import json

import pytest
from msgspec.structs import replace

from streamer.core import attempts, following, leaving, merging, plan, recall, state
from streamer.core.attempts import Moment
from streamer.core.channels import Sender
from streamer.core.delivery import Accepted, Origin, Refused, Unknown
from streamer.core.erasure import Forget, erase, erase_orders, is_over
from streamer.core.following import Callback, LateAnswer, Resolution
from streamer.core.outcomes import Outcomes, Verdict
from streamer.core.recall import ASK_AGAIN_MS, due_for_recall, take_recall
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import RuleDefaults, RuleSet
from streamer.core.sends import AT_GATEWAY, RECALLED, UNKNOWN, WATCHED, send_bytes
from streamer.core.state import DETAIL_BYTES_MAX, FOLLOWED_BYTES_MAX, Person

NOW_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
MINUTE_MS = 60_000
AT_MS = NOW_MS + 60 * MINUTE_MS
PHONE = "+15551230001"
SENDERS = {"service": Sender("service", "main", service_sid="MG" + "0" * 32)}
OUTCOMES = Outcomes({30003: Verdict("later", schedule="unreachable")}, {})
ONCE = {"once_per": {"key": "properties.order", "within": "24h"}}
LOST = Unknown("timeout")


def rules(**keys):
    send = {"to": PHONE, "body": "Hi Ada", "send_at": "2026-01-01T01:00:00Z", **keys.pop("send", {})}
    document = {"when": 'type = "track"', "send": send, **keys}
    return RuleSet.of([compile_rule("m", document, SENDERS, RuleDefaults("US", "service", 3_600.0))], outcomes=OUTCOMES)


class Story:
    """One person, of whom Twilio is given one message at NOW_MS for AT_MS."""

    def __init__(self, answer=Accepted("SM1", "scheduled"), **keys):  # noqa: B008
        self.rules = rules(**keys)
        self.person = Person()
        self.now_ms = NOW_MS
        self.key = "u:1"
        self.count = 0
        self.post(answer)

    @property
    def moment(self):
        return Moment(self.key, self.rules, self.now_ms)

    @property
    def send(self):
        [send] = self.person.followed
        return send

    def post(self, answer):
        self.count += 1
        event = {"type": "track", "messageId": f"m{self.count}", "properties": {"order": 7}}
        origin = Origin("u:1", "events", 0, self.count, self.now_ms, self.now_ms)
        plan.apply_event(self.person, event, origin, self.rules, self.now_ms)
        leaving.begin(self.person, self.moment)
        attempts.settle(self.person, answer, self.moment)
        self.person.out.clear()

    def recall(self, reason="superseded", detail="Order Cancelled"):
        recall.recall(self.person, self.send, self.moment, reason, detail)

    def hear(self, answer):
        """The gateway's answer to the request that is due."""
        [send] = due_for_recall(self.person, self.now_ms)
        assert take_recall(self.person, send, answer, self.moment)

    def told(self):
        """What was said since the outcome: (event, status, reason, detail, sid, outcome)."""
        events = [json.loads(each.value) for each in self.person.outgoing]
        names = ("status", "reason", "detail", "twilio_sid", "outcome")
        return [(each["event"], *(each["properties"][name] for name in names)) for each in events]

    def said(self, **fields):
        return following.encode(Callback(self.send.id, **{"attempt": 1, "sid": "SM1", "status": "sent", **fields}))


def test_what_the_gateway_holds_is_followed_until_its_time_and_then_no_more():
    story = Story()
    send = story.send
    assert (AT_GATEWAY, AT_MS, "SM1", "accepted") == (send.reason, send.until_ms, send.sid, send.told)
    assert AT_MS == story.person.timer_ms()
    story.now_ms = AT_MS
    assert not following.end_overdue(story.person, AT_MS - 1, story.moment)
    assert following.end_overdue(story.person, AT_MS, story.moment)
    assert ([], []) == (story.person.followed, story.told())


def test_nothing_is_kept_of_what_it_says():
    """It may lie there for weeks, and is not posted again."""
    assert "Hi Ada" not in repr(Story().send)


def test_what_is_sent_at_once_or_has_no_sid_is_not_followed():
    """What Twilio has sent can't be asked back, and nothing without its SID."""
    assert [] == Story(send={"send_at": "2025-12-31T01:00:00Z"}).person.followed
    assert [] == Story(Accepted("", "scheduled")).person.followed


@pytest.mark.parametrize(
    ("answer", "status"), [(True, "cancelled"), (False, "not_cancelled")], ids=["in time", "too late"]
)
def test_a_recalled_send_ends_as_the_gateway_says_and_tells_why(answer, status):
    story = Story()
    story.now_ms += MINUTE_MS
    story.recall()
    assert (RECALLED, story.now_ms) == (story.send.reason, story.person.timer_ms())
    story.hear(answer)
    assert [] == story.person.followed
    assert [("SMS Resolved", status, "superseded", "Order Cancelled", "SM1", "accepted")] == story.told()


def test_a_request_that_was_not_answered_is_made_again_until_it_is():
    story = Story()
    story.recall()
    for _ in range(3):
        story.hear(None)
        assert [] == due_for_recall(story.person, story.now_ms + ASK_AGAIN_MS - 1)
        story.now_ms += ASK_AGAIN_MS
    assert [] == story.told()
    story.hear(True)
    assert ["cancelled"] == [each[1] for each in story.told()]


def test_once_its_time_has_passed_nobody_asks_for_ever():
    story = Story()
    story.recall()
    while story.person.followed:
        assert story.now_ms <= AT_MS + ASK_AGAIN_MS
        story.hear(None)
        story.now_ms += ASK_AGAIN_MS
    assert [("SMS Resolved", "not_cancelled", "not_answered", "superseded", "SM1", "accepted")] == story.told()


def test_its_time_alone_ends_no_recall():
    """It is still asked: only the gateway knows whether it came in time."""
    story = Story()
    story.recall()
    story.now_ms = AT_MS
    assert not following.end_overdue(story.person, AT_MS, story.moment)
    story.hear(False)
    assert ["not_cancelled"] == [each[1] for each in story.told()]


def test_a_send_is_recalled_once_for_its_first_reason():
    story = Story()
    story.recall("superseded")
    recalled = story.send
    story.now_ms += 1
    story.recall("forgotten")
    assert recalled == story.send


def test_an_answer_comes_to_nothing_once_its_send_is_settled():
    story = Story()
    story.recall()
    send = story.send
    story.hear(True)
    assert not take_recall(story.person, send, True, story.moment)
    assert 1 == len(story.told())


def test_the_callback_of_a_cancel_settles_it_where_its_answer_was_lost():
    """Asked again, Twilio may say that it is too late for what it canceled the first time."""
    story = Story()
    story.recall()
    assert not following.take_callback(story.person, story.said(status="canceled", sid="SM2"), story.moment)
    assert following.take_callback(story.person, story.said(status="canceled"), story.moment)
    assert [("SMS Resolved", "cancelled", "superseded", "Order Cancelled", "SM1", "accepted")] == story.told()


@pytest.mark.parametrize("is_recalled", [False, True])
def test_no_other_word_of_its_message_changes_anything(is_recalled):
    story = Story()
    if is_recalled:
        story.recall()
    sent = story.send.id
    for said in (story.said(), story.said(status="failed", code=30003), story.said(attempt=2, sid="SM9")):
        assert not following.take_callback(story.person, said, story.moment)
    for answer in (Accepted("SM1", "scheduled"), Refused("gateway_busy", kind="retry")):
        assert not following.take_answer(story.person, following.encode(LateAnswer(sent, 1, answer)), story.moment)
    for verdict in following.VERDICTS:
        said = following.encode(Resolution(sent, 1, verdict))
        assert not following.take_resolution(story.person, said, story.moment)
    assert ([], 1) == (story.told(), len(story.person.followed))


def test_one_that_ends_without_a_message_gives_its_key_back():
    """The next event of this order is not a duplicate of what nobody got."""
    story = Story(**ONCE)
    assert [story.send.id] == list(story.person.once)
    story.recall()
    story.hear(True)
    assert {} == story.person.once
    late = Story(**ONCE)
    late.recall()
    late.hear(False)
    assert 1 == len(late.person.once)


def test_a_send_whose_account_was_taken_out_says_so():
    story = Story()
    story.recall()
    recall.leave(story.person, story.send, story.moment)
    assert [("SMS Resolved", "not_cancelled", "account_removed", "superseded", "SM1", "accepted")] == story.told()


def test_a_detail_is_bounded():
    story = Story()
    story.recall(detail="é" * DETAIL_BYTES_MAX)
    assert "é" * (DETAIL_BYTES_MAX // 2) == story.send.detail


# ── found late, and attempted again ────────────────────────────────────────


def test_one_that_was_found_is_held_by_the_gateway_too():
    story = Story(LOST)
    assert UNKNOWN == story.send.reason
    assert following.take_callback(story.person, story.said(sid="SM3", status="scheduled"), story.moment)
    assert (AT_GATEWAY, "SM3", "unknown") == (story.send.reason, story.send.sid, story.send.told)
    story.recall()
    story.hear(True)
    assert ["accepted", "cancelled"] == [each[1] for each in story.told()]


def test_one_that_was_found_after_its_time_is_over():
    story = Story(LOST)
    story.now_ms = AT_MS
    assert following.take_callback(story.person, story.said(sid="SM3"), story.moment)
    assert [] == story.person.followed


def test_a_mapping_that_wants_another_attempt_is_watched_from_its_time_on():
    story = Story(retry_after_accepted=True)
    assert AT_GATEWAY == story.send.reason
    story.now_ms = AT_MS
    assert following.end_overdue(story.person, AT_MS, story.moment)
    assert (WATCHED, AT_MS + 60 * MINUTE_MS) == (story.send.reason, story.send.until_ms)
    assert following.take_callback(story.person, story.said(status="failed", code=30003), story.moment)
    [again] = story.person.held
    assert ("Hi Ada", "") == (again.message.body, again.sid)
    assert ["retrying"] == [each[1] for each in story.told()]


def test_it_may_fail_while_we_think_that_it_is_held():
    """Its time is ours only once all before it is handled."""
    story = Story(retry_after_accepted=True)
    assert following.take_callback(story.person, story.said(status="failed", code=30003), story.moment)
    assert (1, []) == (len(story.person.held), story.person.followed)


def test_what_was_recalled_is_not_attempted_again():
    story = Story(retry_after_accepted=True)
    story.recall()
    assert not following.take_callback(story.person, story.said(status="failed", code=30003), story.moment)
    assert [] == story.person.held


def test_it_is_watched_no_longer_than_it_may_be_attempted():
    story = Story(retry_after_accepted=True)
    story.now_ms = AT_MS + 60 * MINUTE_MS + 1
    assert following.end_overdue(story.person, story.now_ms, story.moment)
    assert [] == story.person.followed


# ── bounds, and the record ─────────────────────────────────────────────────


def test_a_record_holds_it_as_it_is():
    story = Story()
    story.recall()
    story.person.outgoing.clear()
    assert story.person == state.decode(state.encode(story.person))
    assert NOW_MS == state.timer_ms(state.encode(story.person)), "a restart asks for what is due"


def test_too_many_are_given_up_and_of_a_recalled_one_it_is_told():
    story = Story()
    story.recall()
    while len(story.person.followed) == story.count:
        story.post(Accepted(f"SM{story.count + 1}", "scheduled"))
    assert sum(map(send_bytes, story.person.followed)) <= FOLLOWED_BYTES_MAX
    assert ["SM2"] == [each.sid for each in story.person.followed][:1]
    assert [("SMS Resolved", "not_cancelled", "too_many_followed", "superseded", "SM1", "accepted")] == story.told()
    story.post(Accepted("SMx", "scheduled"))
    assert 1 == len(story.told()), "of one that only waited there is nothing to say"


# ── forgotten, and moved ───────────────────────────────────────────────────


def test_whoever_is_forgotten_gets_no_message_that_the_gateway_held():
    story = Story()
    story.now_ms += MINUTE_MS
    assert erase(story.person, "u:1", Forget(), story.now_ms, story.rules, story.now_ms)
    assert (RECALLED, story.now_ms, "forgotten") == (story.send.reason, story.send.until_ms, story.send.held_for)
    assert {} == story.person.decided
    story.person.outgoing.clear()
    assert not is_over(story.person, story.person.keep_ms), "not before it is known"
    story.hear(True)
    assert [("SMS Resolved", "cancelled", "forgotten", "", "SM1", "accepted")] == story.told()
    story.person.outgoing.clear()
    assert is_over(story.person, story.person.keep_ms)
    assert PHONE not in repr(story.person)


def test_what_came_after_the_erasure_stays_there():
    story = Story()
    assert erase(story.person, "u:1", Forget(), NOW_MS - 1, story.rules, NOW_MS)
    assert AT_GATEWAY == story.send.reason


def test_what_a_sender_of_one_owner_has_there_is_recalled_too():
    story = Story()
    story.key = "s:service/u:1"
    assert erase_orders(story.person, "", NOW_MS, story.moment)
    assert (RECALLED, "forgotten") == (story.send.reason, story.send.held_for)
    assert erase_orders(story.person, "", NOW_MS, story.moment) is False
    story.hear(True)
    kinds = [each.kind for each in story.person.outgoing]
    assert ["delivery", "outcome"] == kinds, "the person's own record hears of it"


def moved(story, *, is_recalled=False):
    """The move of a record with such a send."""
    if is_recalled:
        story.recall()
    merging.move_out(story.person, "a:d", "u:1", NOW_MS, NOW_MS)
    assert [] == story.person.followed
    return merging.moved_of(story.person.outgoing[-1].value)


@pytest.mark.parametrize("is_recalled", [False, True])
def test_it_moves_with_its_person(is_recalled):
    story = Story()
    into = Person()
    merging.take_in(into, moved(story, is_recalled=is_recalled), Moment("u:1", story.rules, NOW_MS))
    [send] = into.followed
    assert (RECALLED if is_recalled else AT_GATEWAY, "SM1") == (send.reason, send.sid)
    assert is_recalled == bool(due_for_recall(into, NOW_MS))


@pytest.mark.parametrize("is_recalled", [False, True])
def test_one_that_moves_to_somebody_forgotten_is_recalled(is_recalled):
    story = Story()
    into = Person(erased_ms=NOW_MS)
    merging.take_in(into, moved(story, is_recalled=is_recalled), Moment("u:1", story.rules, NOW_MS))
    [send] = due_for_recall(into, NOW_MS)
    assert ("superseded" if is_recalled else "forgotten") == send.held_for
    assert [] == into.outgoing


def test_an_unknown_one_that_moves_to_somebody_forgotten_is_given_up_as_ever():
    story = Story(LOST)
    into = Person(erased_ms=NOW_MS)
    merging.take_in(into, moved(story), Moment("u:1", story.rules, NOW_MS))
    assert ([], 1) == (into.followed, len(into.outgoing))


def test_an_answer_to_whom_the_send_has_left_changes_nothing():
    story = Story()
    story.recall()
    send = story.send
    moved(story)
    assert not take_recall(story.person, replace(send), True, story.moment)
