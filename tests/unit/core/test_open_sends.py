"""What an operator sees of sends that go on, and how a decision of one is known to have been taken."""

import msgspec
import pytest

from streamer.core import following
from streamer.core.attempts import Moment
from streamer.core.delivery import Message, Origin
from streamer.core.following import Resolution, encode
from streamer.core.open_sends import STATES, Wanted, by_urgency, is_settled, open_sends
from streamer.core.outcomes import Outcomes
from streamer.core.rules import RuleSet
from streamer.core.sends import AT_GATEWAY, BREAKER, RECALLED, UNKNOWN, UNRESOLVED, WATCHED, Send
from streamer.core.state import Person

NUMBER = "+14155550100"
ORIGIN = Origin("u:ada", "events", 0, 7, 1_000, 1_000)
RULES = RuleSet.of([], outcomes=Outcomes({}, {}))


def send(letter: str, **more) -> Send:
    message = Message("main", "sms", NUMBER, "Hi Ada")
    return Send(letter.encode() * 16, "shipped", "v", ORIGIN, "m1", message, "shop", 1, 1_000, 9_000, **more)


def unknown(letter: str = "u", reason: str = UNKNOWN, attempt: int = 1) -> Send:
    return send(letter, reason=reason, attempt=attempt, posted_ms=2_000, until_ms=5_000, told="unknown")


EVERYTHING = Person(
    due=[send("p", is_posting=True, attempt=2, posted_ms=3_000), send("d")],
    held=[send("h", reason=BREAKER, code=20003)],
    followed=[
        unknown("u"),
        unknown("r", UNRESOLVED),
        send("w", reason=WATCHED, attempt=1, posted_ms=1_500, until_ms=9_000, told="accepted"),
        send("s", reason=AT_GATEWAY, attempt=1, posted_ms=1_600, until_ms=9_000, told="accepted", sid="SM1"),
        send("c", reason=RECALLED, attempt=1, posted_ms=1_700, until_ms=5_000, told="accepted", held_for="forgotten"),
    ],
)


def seen(*states: str) -> str:
    """The first letters of the ids of what is listed."""
    wanted = Wanted(states=frozenset(states or STATES))
    listed = sorted(filter(wanted.takes, open_sends("u:ada", EVERYTHING)), key=by_urgency)
    return "".join(chr(bytes.fromhex(each.send_id)[0]) for each in listed)


def test_what_asks_for_a_person_comes_first():
    """Whoever is on call reads from the top."""
    assert "rucwspdh" == seen()


@pytest.mark.parametrize(
    ("states", "letters"),
    [(("held",), "h"), (("posting", "due"), "pd"), (("unknown",), "u"), (("scheduled", "recalled"), "cs")],
)
def test_states_choose(states, letters):
    assert letters == seen(*states)


def test_mapping_sender_and_age_choose():
    [listed] = open_sends("u:ada", Person(followed=[unknown()]))
    assert Wanted(mapping="shipped", sender="shop", since_max_ms=2_000).takes(listed)
    for other in (Wanted(mapping="late"), Wanted(sender="desk"), Wanted(since_max_ms=1_999)):
        assert not other.takes(listed)


def test_neither_number_nor_body_is_shown():
    """The output goes into tickets and chats."""
    text = msgspec.json.encode(list(open_sends("u:ada", EVERYTHING))).decode()
    assert 8 == text.count("+14*******00")
    assert NUMBER not in text
    assert "Hi Ada" not in text


def test_a_send_is_open_since_its_last_request_or_its_decision():
    since = {each.state: each.since_ms for each in open_sends("u:ada", EVERYTHING)}
    assert {
        "posting": 3_000,
        "due": 1_000,
        "held": 1_000,
        "unknown": 2_000,
        "unresolved": 2_000,
        "watched": 1_500,
        "scheduled": 1_600,
        "recalled": 1_700,
    } == since


def test_a_recalled_send_says_what_for():
    reasons = {each.state: each.reason for each in open_sends("u:ada", EVERYTHING) if each.reason}
    assert {"held": BREAKER, "recalled": "forgotten"} == reasons


@pytest.mark.parametrize("reason", [UNKNOWN, UNRESOLVED])
@pytest.mark.parametrize("verdict", following.VERDICTS)
def test_every_decision_settles_what_is_listed_as_open_to_one(verdict, reason):
    """What the command writes is what the owner takes, and what --wait waits for is what it then writes."""
    person = Person(followed=[unknown(reason=reason)])
    [listed] = open_sends("u:ada", person)
    assert not is_settled(listed, [], person)
    resolution = encode(Resolution(bytes.fromhex(listed.send_id), listed.attempt, verdict))
    assert following.take_resolution(person, resolution, Moment("u:ada", RULES, 3_000))
    assert is_settled(listed, [], person)


def test_the_next_attempts_own_unknown_outcome_is_another():
    """A resend that is lost again was done nevertheless."""
    [listed] = open_sends("u:ada", Person(followed=[unknown(attempt=1)]))
    assert is_settled(listed, [], Person(followed=[unknown(attempt=2)]))


def test_a_send_that_moved_to_another_person_is_not_settled():
    """Its decision goes after it, and may not have come there yet."""
    [listed] = open_sends("a:1", Person(followed=[unknown()]))
    assert not is_settled(listed, [], Person(links=[(1, "u:ada")]))
    assert is_settled(listed, [(1, "u:ada")], Person(links=[(1, "u:ada")])), "it was there already, stranded"


def test_whoever_is_erased_has_nothing_open():
    [listed] = open_sends("u:ada", Person(followed=[unknown()]))
    assert is_settled(listed, [], None)
