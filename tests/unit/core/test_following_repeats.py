"""What comes twice, late, or of an earlier attempt: it makes no message more, and takes back nothing."""

import pytest
from msgspec.structs import replace

from streamer.core import following
from streamer.core.delivery import Accepted, Refused
from streamer.core.following import Callback, LateAnswer, Resolution
from streamer.core.sends import UNKNOWN, WATCHED
from streamer.core.state import ADOPTED_MAX
from tests.unit.core.test_following import LOST, NOW_MS, Story, failed, found, tagged

DAY_MS = 86_400_000


def called_back(sent, status="sent", attempt=1, sid="SM1", code=0):
    return following.encode(Callback(sent, attempt, sid, status, code))


def statuses(story):
    return [each[1] for each in story.told()]


def test_a_repeated_callback_does_not_take_back_the_next_attempt():
    """Twilio repeats callbacks; the failure that it tells of has been heard, and its retry is on its way."""
    story = Story(retry_after_accepted=True)
    sent = story.post(LOST)
    following.take_callback(story.person, called_back(sent), story.moment)
    following.take_callback(story.person, failed(sent, 30003), story.moment)
    assert len(story.person.held) == 1
    for again in (called_back(sent), failed(sent, 30003), called_back(sent, "delivered")):
        assert not following.take_callback(story.person, again, story.moment)
    assert len(story.person.held) == 1
    assert statuses(story) == ["accepted", "retrying"]


def test_nor_does_one_of_a_message_that_a_person_said_was_accepted():
    """Who decides need not know the message's SID."""
    story = Story(retry_after_accepted=True)
    sent = story.post(LOST)
    following.take_resolution(story.person, following.encode(Resolution(sent, 1, "accepted")), story.moment)
    assert following.take_callback(story.person, failed(sent, 30003), story.moment)
    assert not following.take_callback(story.person, failed(sent, 30003), story.moment)
    assert len(story.person.held) == 1


def second_unknown(outcome):
    """A send whose first message failed, be it accepted or found, and whose second is unknown."""
    story = Story(retry_after_accepted=True, on_unknown="resend")
    sent = story.post(outcome)
    if outcome is LOST:
        following.take_callback(story.person, called_back(sent), story.moment)
    following.take_callback(story.person, failed(sent, 30003), story.moment)
    story.release()
    story.answer(LOST)
    assert statuses(story)[-1] == "unknown"
    return story, sent


@pytest.mark.parametrize("outcome", [LOST, Accepted("SM1", "queued")], ids=["unknown", "accepted"])
def test_a_repeated_word_of_the_first_message_says_nothing_of_the_second(outcome):
    story, sent = second_unknown(outcome)
    for said in (called_back(sent), failed(sent, 30003)):
        assert not following.take_callback(story.person, said, story.moment)
    assert (story.person.followed[0].reason, story.person.followed[0].attempt) == (UNKNOWN, 2)


@pytest.mark.parametrize("outcome", [LOST, Accepted("SM1", "queued")], ids=["unknown", "accepted"])
@pytest.mark.parametrize("by", ["callback", "answer", "list"])
def test_the_second_message_is_found_as_the_first_would_be(outcome, by):
    story, sent = second_unknown(outcome)
    if by == "callback":
        assert following.take_callback(story.person, called_back(sent, attempt=2, sid="SM2"), story.moment)
    elif by == "answer":
        said = following.encode(LateAnswer(sent, 2, Accepted("SM2", "queued")))
        assert following.take_answer(story.person, said, story.moment)
    else:
        story.look(tagged(sent, 2, "SM2"))
    assert story.told()[-1][1:4] == ("accepted", 2, "SM2")
    assert [each.reason for each in story.person.followed] == [WATCHED]


def test_a_third_message_that_waits_is_not_made_once_the_second_is_found():
    story, sent = second_unknown(Accepted("SM1", "queued"))
    for _ in range(3):
        story.look()
    assert len(story.person.held) == 1
    assert following.take_callback(story.person, called_back(sent, attempt=2, sid="SM2"), story.moment)
    assert story.person.held == []


def test_a_late_answer_of_what_is_known_to_exist_tells_it_no_second_time():
    """The same event at another time would be another under the same id."""
    story = Story(retry_after_accepted=True)
    sent = story.post(LOST)
    following.take_callback(story.person, called_back(sent), story.moment)
    story.now_ms += 60_000
    said = following.encode(LateAnswer(sent, 1, Accepted("SM1", "queued")))
    assert not following.take_answer(story.person, said, story.moment)
    assert statuses(story) == ["accepted"]


def test_a_failure_that_is_the_first_word_of_a_lost_message_is_heard_as_one():
    """The callback of its acceptance may never have come."""
    story = Story(retry_after_accepted=True)
    sent = story.post(LOST)
    assert following.take_callback(story.person, failed(sent, 30003), story.moment)
    assert statuses(story) == ["accepted", "retrying"]
    assert len(story.person.held) == 1


def test_a_failure_that_the_list_shows_is_heard_too():
    story = Story(retry_after_accepted=True)
    story.post(LOST)
    story.look(replace(found("SM1"), status="undelivered", error_code=30003))
    assert statuses(story) == ["accepted", "retrying"]


def test_a_late_word_of_an_earlier_attempt_leads_to_no_third_that_bears_the_seconds_number():
    """Both may exist by then: the tag of an attempt names one message."""
    story = Story(on_unknown="resend", retry_after_accepted=True)
    sent = story.post(LOST)
    for _ in range(3):
        story.look()
    story.release()
    story.answer(LOST)
    assert following.take_callback(story.person, called_back(sent, attempt=1), story.moment)
    assert story.told()[-1][1:4] == ("accepted", 1, "SM1")
    following.take_callback(story.person, failed(sent, 30003, attempt=1), story.moment)
    assert story.person.held == []


def test_a_message_that_a_second_attempt_created_is_no_candidate_for_another_send():
    """Its SID is held, though the outcome that is out does not name it."""
    story = Story(send={"body": "Hi"}, on_unknown="resend")
    story.post(LOST)
    for _ in range(3):
        story.look()
    story.release()
    story.answer(Accepted("SM2", "queued"))
    other = Story(send={"body": "Hi"}, on_unknown="resend")
    other.person, other.now_ms, other.count = story.person, story.now_ms, 5
    other.post(LOST)
    before = len(other.told())
    other.look(found("SM2", body="Hi", created_ms=other.now_ms))
    assert other.told()[before:] == [], "a miss"


def test_the_sids_that_are_remembered_are_bounded():
    story = Story()
    for n in range(ADOPTED_MAX + 10):
        sent = story.post(LOST)
        following.take_callback(story.person, called_back(sent, sid=f"SM{n}"), story.moment)
    assert len(story.person.adopted) == ADOPTED_MAX


def test_a_list_that_can_never_be_had_is_asked_for_no_longer_than_a_week():
    """A key may lack the right to read: every such send would be written each half a minute for ever."""
    story = Story()
    story.post(LOST)
    for _ in range(10):
        story.look(is_had=False)
    assert statuses(story) == []
    story.now_ms = NOW_MS + 7 * DAY_MS
    story.look(is_had=False)
    assert statuses(story) == ["given_up"]
    assert not story.person.followed


def test_what_is_not_sent_again_gives_its_key_back():
    """`once_per`: the key of a send without a message is free."""
    for verdict, passing_ms in (("not_created", 0), ("resend", DAY_MS)):
        story = Story(once_per={"key": "properties.n", "within": "24h"})
        sent = story.post(LOST)
        assert sent in story.person.once
        story.now_ms += passing_ms
        following.take_resolution(story.person, following.encode(Resolution(sent, 1, verdict)), story.moment)
        assert sent not in story.person.once
        assert not story.person.held


def test_a_second_attempt_that_waits_and_is_proved_needless_is_not_sent():
    """Whoever tells of the first: its callback, or the former owner that still heard its answer."""
    for kind in ("callback", "answer"):
        story = Story(on_unknown="resend")
        sent = story.post(LOST)
        for _ in range(3):
            story.look()
        if kind == "callback":
            assert following.take_callback(story.person, called_back(sent), story.moment)
        else:
            said = following.encode(LateAnswer(sent, 1, Accepted("SM1", "queued")))
            assert following.take_answer(story.person, said, story.moment)
        assert (story.person.held, story.person.due) == ([], [])


def test_a_late_refusal_of_an_earlier_attempt_changes_nothing():
    story = Story(on_unknown="resend")
    sent = story.post(LOST)
    for _ in range(3):
        story.look()
    story.release()
    story.answer(LOST)
    said = following.encode(LateAnswer(sent, 1, Refused("recipient", 21211, 400, "recipient")))
    assert not following.take_answer(story.person, said, story.moment)
    assert len(story.person.followed) == 1
