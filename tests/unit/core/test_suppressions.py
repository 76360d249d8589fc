"""Who said STOP is kept by number and group of senders, in a form that people can read and write."""

import pytest
from msgspec.structs import replace

from streamer.core import attempts, following, leaving, plan, state
from streamer.core.attempts import Moment
from streamer.core.channels import Sender
from streamer.core.delivery import Accepted, Found, Origin, Refused, Unknown
from streamer.core.following import Callback, LateAnswer
from streamer.core.outcomes import OPTOUT, Outcomes, Verdict
from streamer.core.profile import Update
from streamer.core.rehearsal import Rehearsal
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import RuleDefaults, RuleSet
from streamer.core.sends import SUPPRESSION_KIND, Outgoing
from streamer.core.state import Person
from streamer.core.suppressions import EVERYONE, Suppression, Suppressions, decode, encode, key_of, read_key
from streamer.errors import BadRecord

NOW_MS = 1_767_225_600_000
ADA, BOB = "+14155550100", "+14155550101"
SAID = encode(Suppression(1, "21610", "ab" * 16))


def stopped(*keys):
    made = Suppressions()
    for key in keys:
        made.put(key, SAID)
    return made


def test_a_stop_is_about_one_number_and_one_group():
    known = stopped(key_of(ADA, "alerts"))
    assert known.stops(ADA, "alerts")
    assert not known.stops(BOB, "alerts")
    assert not known.stops(ADA, "shop")


def test_a_stop_to_everyone_is_about_every_group():
    known = stopped(key_of(ADA, EVERYONE))
    assert [known.stops(ADA, group) for group in ("alerts", "shop", EVERYONE)] == [True] * 3
    assert not known.stops(BOB, "shop")


def test_a_tombstone_lifts_a_stop_of_its_own_key_only():
    known = stopped(key_of(ADA, "alerts"), key_of(BOB, "alerts"), key_of(ADA, EVERYONE))
    known.put(key_of(ADA, EVERYONE), None)
    assert [known.stops(ADA, "alerts"), known.stops(ADA, "shop"), known.stops(BOB, "alerts")] == [True, False, True]
    known.put(key_of(ADA, "alerts"), None)
    known.put(key_of(ADA, "never-heard-of"), None)
    assert not known.stops(ADA, "alerts")


def test_its_length_counts_each_key_once():
    known = stopped(key_of(ADA, "alerts"), key_of(ADA, "alerts"), key_of(ADA, "shop"), key_of(BOB, EVERYONE))
    assert len(known) == 3
    for _ in range(2):
        known.put(key_of(ADA, "shop"), None)
    assert len(known) == 2


def test_a_record_is_readable_json_under_a_readable_key():
    """Whoever imports a list of opt-outs writes these by hand."""
    assert key_of(ADA, "alerts") == b"+14155550100/alerts"
    assert read_key(key_of(ADA, "alerts")) == (ADA, "alerts")
    assert encode(Suppression(5, "21610", "ab")) == b'{"at_ms":5,"reason":"21610","source":"ab"}'
    assert decode(b"{}") == Suppression(0, "import", "")
    assert decode(b'{"reason":"complained","by":"Eve"}') == Suppression(0, "complained", "")


@pytest.mark.parametrize(
    "key",
    [
        None,
        b"",
        b"+14155550100",
        b"+14155550100/",
        b"/alerts",
        b"14155550100/alerts",
        b"+04155550100/alerts",
        b"+1 415/alerts",
        b"+1_415/alerts",
        b"+" + b"1" * 19 + b"/alerts",
        b"+14155550100/al/erts",
        b"+14155550100/al erts",
        b"+14155550100/" + b"g" * 65,
        b"+14155550100/\xff",
        "+١٤١٥٥٥٥/alerts".encode(),
    ],
)
def test_a_key_that_is_not_a_number_and_a_group_is_refused_without_its_number(key):
    known = Suppressions()
    with pytest.raises(BadRecord) as refused:
        known.put(key, SAID)
    assert "5550100/" not in str(refused.value).replace("+14155550100/alerts", "")
    assert len(known) == 0


@pytest.mark.parametrize(
    "value", [b"", b"STOP", b"[]", b'{"at_ms":-1}', b'{"at_ms":"1"}', b'{"reason":"' + b"x" * 65 + b'"}', b"\xff"]
)
def test_a_value_of_another_shape_is_refused_and_changes_nothing(value):
    known = stopped(key_of(ADA, "alerts"))
    with pytest.raises(BadRecord):
        known.put(key_of(BOB, "alerts"), value)
    with pytest.raises(BadRecord):
        known.put(key_of(ADA, "alerts"), value)
    assert (len(known), known.stops(ADA, "alerts"), known.stops(BOB, "alerts")) == (1, True, False)


@pytest.mark.parametrize("number", ["", "shop", "+"])
def test_what_is_no_number_is_not_stopped(number):
    assert not stopped(key_of(ADA, EVERYONE)).stops(number, "alerts")


OUTCOMES = Outcomes({21610: Verdict(OPTOUT), 30640: Verdict(OPTOUT), 21614: Verdict("recipient")}, {})
REFUSED = Refused(OPTOUT, 21610, 400, OPTOUT)


def rules(groups=None, **keys):
    document = {"when": 'event = "Shipped"', "send": {"body": "Sent"}, **keys}
    rule = compile_rule(
        "m", document, {"shop": Sender("shop", "main", "+15550006789")}, RuleDefaults("US", "shop", 60.0)
    )
    return RuleSet.of([rule], outcomes=OUTCOMES, stop_groups=groups)


class Story:
    """One person, with one send whose request has left."""

    def __init__(self, groups=None, **keys):
        self.person = Person(traits=[Update(1, "m0", {"phone": ADA})])
        self.moment = Moment("u:1", rules(groups, **keys), NOW_MS)
        origin = Origin("u:1", "events", 0, 1, NOW_MS, NOW_MS)
        event = {"type": "track", "event": "Shipped", "messageId": "m1"}
        plan.apply_event(self.person, event, origin, self.moment.rules, NOW_MS)
        self.send = leaving.begin(self.person, self.moment)

    def settle(self, answer):
        attempts.settle(self.person, answer, self.moment)
        return self

    def hear(self, status, code):
        said = Callback(self.send.id, self.send.attempt, "SM1", status, code)
        assert following.take_callback(self.person, following.encode(said), self.moment)
        return self

    def stops(self):
        """What is listed for the suppressions topic, as (key, reason)."""
        listed = [(each.key, decode(each.value)) for each in self.person.outgoing if each.kind == SUPPRESSION_KIND]
        assert all(said == Suppression(NOW_MS, said.reason, self.send.id.hex()) for _, said in listed)
        return [(key, said.reason) for key, said in listed]


def test_a_refusal_as_opted_out_lists_the_number_for_its_senders_group_with_the_outcome():
    """In the same record, so that neither is ever written without the other."""
    story = Story({"shop": "brand"}).settle(REFUSED)
    assert story.stops() == [(f"{ADA}/brand", "21610")]
    [decision] = [story.person.decision(each) for each in story.person.out]
    assert (decision.outcome, decision.reason, decision.code) == ("failed", OPTOUT, 21610)
    assert state.decode(state.encode(story.person)).outgoing == story.person.outgoing


def test_a_sender_without_a_group_is_one_by_itself():
    assert Story().settle(REFUSED).stops() == [(f"{ADA}/shop", "21610")]


def test_an_opt_out_without_a_code_says_that_it_is_one():
    assert Story().settle(replace(REFUSED, code=0)).stops() == [(f"{ADA}/shop", "optout")]


@pytest.mark.parametrize("answer", [Accepted("SM1", "queued"), Refused("recipient", 21614, 400, "recipient")])
def test_no_other_answer_stops_a_number(answer):
    assert Story().settle(answer).stops() == []


def test_a_former_owners_late_refusal_stops_it_too():
    story = Story().settle(Unknown("interrupted"))
    late = LateAnswer(story.send.id, story.send.attempt, REFUSED)
    assert following.take_answer(story.person, following.encode(late), story.moment)
    assert story.stops() == [(f"{ADA}/shop", "21610")]


@pytest.mark.parametrize("keys", [{}, {"retry_after_accepted": True}])
def test_a_callback_that_is_the_first_word_of_an_unknown_send_stops_it_too(keys):
    story = Story(**keys).settle(Unknown("timeout")).hear("undelivered", 30640)
    assert story.stops() == [(f"{ADA}/shop", "30640")]


def test_a_callback_of_a_followed_send_stops_it_too():
    story = Story(retry_after_accepted=True).settle(Accepted("SM1", "queued")).hear("failed", 30640)
    assert story.stops() == [(f"{ADA}/shop", "30640")]


@pytest.mark.parametrize(("status", "code"), [("delivered", 30640), ("failed", 21614), ("failed", 0)])
def test_a_callback_that_says_anything_else_does_not(status, code):
    assert Story().settle(Unknown("timeout")).hear(status, code).stops() == []


def test_the_gateways_list_may_be_what_says_it():
    story = Story().settle(Unknown("timeout"))
    found = Found("SM1", "Sent", NOW_MS, None, "failed", 30640)
    assert following.look(story.person, story.person.followed[0], [found], story.moment)
    assert story.stops() == [(f"{ADA}/shop", "30640")]


def test_a_number_that_no_key_can_have_is_not_listed():
    """Strangers can write orders: such a record must not be what an owner trips over."""
    story = Story()
    story.person.due[0] = replace(story.send, message=replace(story.send.message, to="nobody"))
    assert story.settle(REFUSED).stops() == []


def test_a_rehearsal_keeps_what_its_people_list():
    story = Rehearsal(rules(), NOW_MS)
    story.know("u:1", {"phone": ADA})
    story.people["u:1"].outgoing.append(Outgoing(f"{ADA}/shop", SUPPRESSION_KIND, SAID, NOW_MS))
    story.feed(b'{"type":"track","event":"Shipped","userId":"1","messageId":"m1"}')
    assert story.stops.stops(ADA, "shop")
