"""A household shares a phone: messages are counted with the number, whoever they are for, and leave from its record."""

import msgspec
import pytest
from msgspec.structs import replace

from streamer.core import attempts, away, following, leaving
from streamer.core.attempts import Moment
from streamer.core.away import Order, Returned
from streamer.core.delivery import Refused, Unknown
from streamer.core.erasure import Forget, encode_forget
from streamer.core.handling import handle
from streamer.core.hop import EVENT, FORGET, ORDER, RETURNED, Hop
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import RuleDefaults
from streamer.core.sends import LIMIT
from streamer.core.state import SEEN_MAX, Person
from streamer.errors import BadRecord, MappingError
from tests.unit.core.town import MINUTE_MS, NOW_MS, SENDERS, Town, identify, rule, track

PHONE = "+15551230001"
NUMBER = f"n:{PHONE}"
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
MESSAGE = Refused("message", 21617, 400, "message")


def household(per="24h", when_full="hold", **keys):
    """Two people of one phone, and a mapping that writes to it once in a while."""
    limit = {"count": 1, "per": per, "over": "number", "when_full": when_full}
    town = Town(rule(keys=(("limits", [limit]), *keys.items()), max_age_s=3 * 86_400.0))
    return town.event("u:1", identify(phone=PHONE), -2).event("u:2", identify(phone=PHONE), -1)


def test_it_is_sent_from_its_numbers_record_and_its_outcome_stands_in_the_persons():
    town = household().event("u:1", track(1))
    assert [(NUMBER, "Order 1")] == town.sent
    [outcome] = town.outcomes
    assert ("accepted", "u:1") == (outcome.outcome, outcome.person)
    assert outcome.send_id in town.person("u:1").decided
    assert ({}, {"shipped/": [NOW_MS]}) == (town.person("u:1").away, town.person(NUMBER).counted)


def test_the_second_of_a_household_waits_until_the_first_counts_no_more():
    town = household().event("u:1", track(1), 0).event("u:2", track(2), 1)
    [waiting] = town.person("u:2").parked
    assert (LIMIT, NOW_MS + DAY_MS) == (waiting.reason, waiting.until_ms)
    assert "limit 1 per 24h over number" == waiting.held_for
    town.tell(DAY_MS - 1)
    assert 1 == len(town.sent)
    town.tell(DAY_MS)
    assert [(NUMBER, "Order 1"), (NUMBER, "Order 2")] == town.run().sent
    assert "limit 1 per 24h over number" == town.outcomes[-1].held_for


def test_what_waited_says_what_is_true_when_it_leaves():
    """It is decided again in its person's record, which knows them."""
    town = household().event("u:1", track(1), 0).event("u:2", track(2), 1)
    town.event("u:2", identify("i9", phone="+15551239999"), 2)
    assert [(NUMBER, "Order 1"), ("n:+15551239999", "Order 2")] == town.sent


def test_it_may_be_dropped_instead():
    town = household(when_full="drop").event("u:1", track(1), 0).event("u:2", track(2), 1)
    ended = town.outcomes[-1]
    assert ("suppressed", LIMIT, "1 per 24h over number") == (ended.outcome, ended.reason, ended.detail)
    assert ended.send_id in town.person("u:2").decided


def test_a_message_that_was_refused_does_not_count_with_the_number():
    town = household()
    town.answer = MESSAGE
    town.event("u:1", track(1), 0)
    assert {} == town.person(NUMBER).counted
    town.answer = Town().answer
    assert (NUMBER, "Order 2") == town.event("u:2", track(2), 1).sent[-1]


def test_a_persons_own_limit_is_asked_before_it_leaves_and_given_back_with_the_number():
    own = {"count": 1, "per": "1h", "over": "mapping"}
    shared = {"count": 5, "per": "24h", "over": "number"}
    town = Town(rule(keys=(("limits", [own, shared]),)))
    town.event("u:1", identify(phone=PHONE), -1).event("u:1", track(1), 0)
    assert {"shipped/": [NOW_MS]} == town.person("u:1").counted
    town.event("u:1", track(2), 1)
    assert [NOW_MS + HOUR_MS] == [each.until_ms for each in town.person("u:1").parked]
    town.answer = MESSAGE
    town.tell(HOUR_MS)
    town.run()
    assert ({"shipped/": [NOW_MS]}, 2) == (town.person("u:1").counted, len(town.outcomes))


def test_one_that_comes_back_twice_waits_once():
    """The number's owner may die between two writes; so may the person's."""
    town = household().event("u:1", track(1), 0).event("u:2", track(2), 1)
    [waiting] = town.person("u:2").parked
    returned = Returned(NOW_MS, _send(waiting), NOW_MS + HOUR_MS, LIMIT, "again")
    town.put(RETURNED, "u:2", msgspec.msgpack.encode(returned)).run()
    assert [waiting] == town.person("u:2").parked


def test_one_that_came_back_and_left_again_is_not_called_back_by_an_older_word():
    town = household().event("u:1", track(1), 0).event("u:2", track(2), 1)
    [waiting] = town.person("u:2").parked
    town.now_ms = NOW_MS + DAY_MS
    town.tell(DAY_MS)
    assert [ORDER] == [hop.kind for _, hop in town.way]
    order = msgspec.msgpack.decode(town.way[0][1].value, type=Order)
    older = Returned(order.number - 1, replace(order.send, person=""), NOW_MS + 2 * DAY_MS, LIMIT, "older")
    town.way.insert(0, ("u:2", Hop(RETURNED, town.way[0][1].origin, msgspec.msgpack.encode(older), 1)))
    town.run()
    assert ([], (NUMBER, "Order 2")) == (town.person("u:2").parked, town.sent[-1])
    assert 2 == len(town.sent)
    assert waiting.id in town.person("u:2").decided


def test_forgetting_one_of_a_household_leaves_the_other():
    town = household(limits=[{"count": 5, "per": "24h", "over": "number"}])
    town.event("u:1", track(1), 0).event("u:2", track(2), 1)
    assert 2 == len(town.person(NUMBER).decided)
    town.put(FORGET, "u:1", encode_forget(Forget()), 5).run()
    kept = [town.person(NUMBER).decision(each).person for each in town.person(NUMBER).decided]
    assert ["u:2"] == kept


def test_so_many_people_of_one_number_that_they_cannot_be_told_apart_wait():
    """A repeat of a stranger's order would be a second message."""
    crowded = Person(seen={f"orders{number}": 1 for number in range(SEEN_MAX)})
    order = Order(5, replace(_ordered(), person="u:new"))
    assert away.take_order(crowded, NUMBER, msgspec.msgpack.encode(order), NOW_MS)
    [back] = crowded.outgoing
    assert (RETURNED, "u:new", []) == (back.kind, back.key, crowded.due)


@pytest.mark.parametrize("person", ["", "s:slow/u:1", NUMBER, "nobody"])
def test_an_order_of_nobody_is_refused(person):
    value = msgspec.msgpack.encode(Order(5, replace(_ordered(), person=person)))
    with pytest.raises(BadRecord):
        handle(Person(), NUMBER, Hop(ORDER, _ordered().origin, value, 1), Town().rules, NOW_MS)


def test_a_sender_with_one_owner_cannot_be_counted_over_a_number():
    limit = {"count": 1, "per": "day", "over": "number"}
    document = {"when": 'type = "track"', "limits": [limit], "send": {"to": PHONE, "from": "slow", "body": "Hi"}}
    with pytest.raises(MappingError) as raised:
        compile_rule("m", document, SENDERS, RuleDefaults("US", "shop", 60.0))
    assert [("limits", "sender 'slow' has `owner: one`, and is not counted over number; count over all")] == (
        raised.value.faults
    )


def _ordered():
    """A send as it is ordered."""
    town = household()
    town.put(EVENT, "u:1", msgspec.json.encode({"userId": "1", **track(1)})).deliver()
    [(_, hop)] = town.way
    return msgspec.msgpack.decode(hop.value, type=Order).send


def _send(waiting):
    return replace(_ordered(), id=waiting.id, person="")


def test_what_is_attempted_after_its_outcome_waits_in_the_numbers_record():
    """Nobody else knows of it any more: sent back, it would be lost."""
    hours = {"quiet_hours": {"open": {"daily": "00:00-00:01"}, "zone": "UTC"}}
    town = household(**hours, on_unknown="resend")
    town.answer = Unknown("timeout")
    town.event("u:1", track(1))
    person = town.person(NUMBER)
    for _ in range(3):
        [send] = person.followed
        following.look(person, send, [], Moment(NUMBER, town.rules, NOW_MS + HOUR_MS))
    town.now_ms = NOW_MS + HOUR_MS
    attempts.release(person, town.now_ms, town.now_ms)
    assert leaving.begin(person, Moment(NUMBER, town.rules, town.now_ms)) is None
    assert (["quiet_hours"], []) == ([send.reason for send in person.held], person.outgoing[3:])


def test_what_is_tried_instead_is_not_by_a_channel_that_the_person_refused():
    """The number's record does not know what they agreed to."""
    limit = {"count": 5, "per": "24h", "over": "number"}
    keys = {"limits": [limit], "else": [{"send": {"body": "By SMS"}}]}
    document = {"when": 'event = "Shipped"', "send": {"to": PHONE, "channel": "whatsapp", "body": "Hi"}, **keys}
    town = Town(compile_rule("shipped", document, SENDERS, RuleDefaults("US", "shop", 86_400.0)))
    town.person("u:1").consent["any/sms"] = ("unsubscribed", NOW_MS - 1)
    town.answer = Refused("recipient", 63003, 400, "recipient")
    town.event("u:1", track(1))
    assert ["Hi"] == [text for _, text in town.sent]
    assert ("failed", "recipient") == (town.outcomes[-1].outcome, town.outcomes[-1].reason)


def test_one_that_comes_back_to_somebody_forgotten_meanwhile_has_its_outcome():
    town = household().event("u:1", track(1), 0)
    town.put(EVENT, "u:2", msgspec.json.encode({"userId": "2", **track(2)}), 1)
    town.deliver()
    town.deliver()
    assert [RETURNED] == [hop.kind for _, hop in town.way]
    town.way.append(("u:2", Hop(FORGET, town.way[0][1].origin, encode_forget(Forget()), 0)))
    town.way.reverse()
    town.run()
    assert ("suppressed", "forgotten") == (town.outcomes[-1].outcome, town.outcomes[-1].reason)


def test_an_order_of_a_time_to_come_is_refused():
    """All that came after it would count as repeats."""
    value = msgspec.msgpack.encode(Order(NOW_MS + 2 * DAY_MS, replace(_ordered(), person="u:1")))
    with pytest.raises(BadRecord):
        handle(Person(), NUMBER, Hop(ORDER, _ordered().origin, value, 1), Town().rules, NOW_MS)


def test_an_alternative_to_another_number_cannot_be_counted_over_a_number():
    limit = {"count": 1, "per": "day", "over": "number"}
    instead = [{"send": {"to": "+15551239999", "body": "Hi"}}]
    document = {"when": 'type = "track"', "limits": [limit], "send": {"to": PHONE, "body": "Hi"}, "else": instead}
    with pytest.raises(MappingError) as raised:
        compile_rule("m", document, SENDERS, RuleDefaults("US", "shop", 60.0))
    assert ["else.0.send.to"] == [path for path, _ in raised.value.faults]
