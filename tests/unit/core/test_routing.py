"""What becomes of an input record: the event under its person's key, a link for each key it joins, or nothing."""

import json

import pytest

from streamer.core.channels import Sender
from streamer.core.hop import EVENT, LINK, read_hop
from streamer.core.identity import Identities
from streamer.core.links import LatelyLinked
from streamer.core.people import People
from streamer.core.records import slim
from streamer.core.routing import Place, routed
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import RuleDefaults, RuleSet
from streamer.errors import BadRecord

NOW_MS = 1_767_225_600_000
PLACE = Place("in", 3, 42, NOW_MS)


def rules(people=None, when='type = "track" and event = "Shipped"'):
    document = {"when": when, "send": {"body": "Hi"}}
    sender = {"shop": Sender("shop", "main", number="+15550006789")}
    return RuleSet.of([compile_rule("m", document, sender, RuleDefaults("US", "shop", 60.0))], people=people)


def of(event, people=None, lately=None):
    """What an event becomes: (kind, key, value) in order; the value of an event is itself."""
    value = event if isinstance(event, bytes) else json.dumps(event).encode()
    found = routed(slim(value), value, PLACE, rules(people), lately or LatelyLinked())
    said = []
    for each in found:
        hop = read_hop(*each)
        assert (hop.origin.topic, hop.origin.partition, hop.origin.offset) == ("in", 3, 42)
        assert (hop.hops, hop.is_repeat, hop.origin.key) == (0, False, each.key.decode())
        assert hop.value == value if hop.kind == EVENT else hop.kind == LINK
        said.append((hop.kind, hop.origin.key, "" if hop.kind == EVENT else hop.value.decode()))
    return said


def track(name="Shipped", **fields):
    return {"type": "track", "event": name, **fields}


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (track(userId="1"), [(EVENT, "u:1", "")]),
        (track(anonymousId="d"), [(EVENT, "a:d", "")]),
        (track(userId="1", anonymousId="d"), [(EVENT, "u:1", ""), (LINK, "a:d", "u:1")]),
        (track("Other", userId="1"), []),
        (track("Other", userId="1", anonymousId="d"), [(LINK, "a:d", "u:1")]),
        (track("Other", userId="null", anonymousId="d"), []),
        (track(userId="null", anonymousId="d"), [(EVENT, "a:d", "")]),
        ({"type": "page", "userId": "1"}, []),
        ({"type": "page", "userId": "1", "anonymousId": "d"}, [(LINK, "a:d", "u:1")]),
        ({"type": "identify", "userId": "1"}, [(EVENT, "u:1", "")]),
        (
            {"type": "alias", "userId": "1", "previousId": "old"},
            [(EVENT, "u:1", ""), (LINK, "u:old", "u:1"), (LINK, "a:old", "u:1")],
        ),
        ({"type": "delete", "userId": "1"}, [(EVENT, "u:1", "")]),
        ({"type": "delete", "userId": "1", "anonymousId": "d"}, [(EVENT, "u:1", ""), (EVENT, "a:d", "")]),
        ({"type": "delete", "anonymousId": "d"}, [(EVENT, "a:d", "")]),
        (track("Segment Consent Preference Updated", userId="1"), [(EVENT, "u:1", "")]),
    ],
)
def test_what_an_event_becomes(event, expected):
    """A link keeps an event's own time, and goes under the key whose events it speaks of."""
    assert expected == of(event)


def test_a_link_that_was_just_sent_is_not_sent_again():
    lately = LatelyLinked()
    assert [EVENT, LINK] == [kind for kind, *_ in of(track(userId="1", anonymousId="d"), lately=lately)]
    assert [EVENT] == [kind for kind, *_ in of(track(userId="1", anonymousId="d"), lately=lately)]
    assert [] == of(track("Other", userId="1", anonymousId="d"), lately=lately)


def test_an_event_of_blocked_ids_is_a_dead_letter_only_where_somebody_wants_it():
    """A page view of nobody is nothing to look at."""
    assert [] == of(track("Other", userId="null", anonymousId="0"))
    with pytest.raises(BadRecord, match="no_user_anon_id"):
        of(track(userId="null", anonymousId="0"))


def test_the_configured_ids_are_blocked():
    people = People(Identities(("1",)))
    assert [(EVENT, "a:d", "")] == of(track(userId="1", anonymousId="d"), people)


def test_traits_in_the_context_are_wanted_where_they_are_kept():
    event = track("Other", userId="1", context={"traits": {"phone": "+1"}})
    assert [] == of(event)
    assert [(EVENT, "u:1", "")] == of(event, People(updates_from_context=True))


def test_what_can_not_be_kept_is_refused_before_it_hops():
    with pytest.raises(BadRecord):
        of(json.dumps(track(userId="1", properties={"x": 2**64})).encode())


def test_an_event_that_states_a_subscription_is_needed_though_no_mapping_asks_for_it():
    """Of every type and name: an opt-out must not depend on what the mappings read."""
    context = {"messaging_subscriptions": [{"key": "+15550001111", "type": "SMS", "status": "UNSUBSCRIBED"}]}
    for kind in ("page", "track"):
        event = {"type": kind, "event": "Other", "userId": "1", "context": context}
        assert [(EVENT, "u:1", "")] == of(event)
        assert [] == of({**event, "context": {}})
