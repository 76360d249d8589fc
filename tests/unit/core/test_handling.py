"""One keyed space: whatever comes under whichever key, in whatever order, is decided for its person and once."""

from itertools import permutations

import pytest

from streamer.core.handling import handle
from streamer.core.hop import EVENT, HOPS_MAX, LINK, MERGE
from streamer.core.people import People
from streamer.core.state import Person
from streamer.errors import BadRecord
from tests.unit.core.town import MINUTE_MS, NOW_MS, Town, identify, rule, track

PHONE, OTHER = "+15551230001", "+15551230002"


@pytest.mark.parametrize("value", [b"", b"stranger", b"u:", b"\xff"])
def test_a_link_to_what_is_no_persons_key_is_refused(value):
    with pytest.raises(BadRecord):
        Town().put(LINK, "a:d", value).run()


def test_the_first_link_moves_everything_and_leaves_a_pointer():
    town = Town().event("a:d", identify(phone=PHONE)).event("a:d", track()).link("a:d", "u:1")
    assert ({}, {"phone": PHONE}) == (town.traits("a:d"), town.traits("u:1"))
    pointer = town.person("a:d")
    assert [(NOW_MS, "u:1")] == pointer.links
    assert (pointer.decided, pointer.parked, pointer.held) == ({}, [], [])
    assert ["m1"] == [town.person("u:1").decision(sent).message_id for sent in town.person("u:1").decided]
    assert list(town.person("u:1").merged) == ["a:d"]


def test_what_comes_later_is_forwarded_and_decided_at_the_users():
    town = Town().event("u:1", identify(phone=PHONE)).link("a:d", "u:1").event("a:d", track())
    assert [("u:1", "Order 1")] == town.sent
    assert town.handled[-2].forward == ("u:1",)


def test_whatever_the_order_of_identify_track_and_link_the_message_is_sent_once():
    """Three topics have no common order."""
    steps = [
        lambda town: town.event("a:d", track(), 10, offset=1),
        lambda town: town.event("u:1", identify(phone=PHONE), 20, offset=2),
        lambda town: town.link("a:d", "u:1", 20),
    ]
    for order in permutations(steps):
        town = Town()
        for step in order:
            step(town)
        assert [("u:1", "Order 1")] == town.sent
        for step in order:  # and everything again, after a crash
            step(town)
        assert [("u:1", "Order 1")] == town.sent
        assert {} == town.parked()


def test_a_send_id_never_changes_on_the_way():
    """The event itself gave its key; by whichever key it is decided, its repeat is known."""
    direct = Town().event("a:d", identify(phone=PHONE)).event("a:d", track())
    hopped = Town().event("u:1", identify(phone=PHONE)).link("a:d", "u:1").event("a:d", track())
    assert list(direct.person("a:d").decided) == list(hopped.person("u:1").decided)


@pytest.mark.parametrize("length", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("is_crossed", [False, True])
def test_users_aliased_in_a_circle_are_decided_once_and_nothing_goes_round_for_ever(length, is_crossed):
    """`is_crossed`: every link arrives before any move does."""
    town = Town(rule(to=PHONE))
    for number in range(length):
        town.put(LINK, f"u:c{number}", f"u:c{(number + 1) % length}".encode())
        if not is_crossed:
            town.run()
    for _ in range(length if is_crossed else 0):
        town.deliver()
    town.run()
    town.now_ms += 1
    for _ in range(2):
        for number in range(length):
            town.event(f"u:c{number}", track(number), 1, offset=900 + number)
    assert [f"Order {number}" for number in range(length)] == sorted(text for _, text in town.sent)


def test_a_link_back_closes_no_circle():
    town = Town(rule(to=PHONE)).link("u:1", "u:2").link("u:2", "u:1")
    assert [] == town.person("u:2").links
    assert [("u:2", "Order 1")] == town.event("u:1", track()).sent


def test_a_chain_longer_than_the_hops_is_decided_where_it_ends_and_says_so():
    town = Town(rule(to=PHONE))
    for number in reversed(range(5)):
        town.link(f"u:c{number}", f"u:c{number + 1}")
    town.now_ms += 1
    town.event("u:c0", track(), 1)
    assert [("u:c3", "Order 1")] == town.sent
    assert [False] * HOPS_MAX + [True] == [each.is_stranded for each in town.handled[-4:]]


def test_a_move_is_no_stranded_event():
    town = Town().link("a:d", "u:1")
    assert not any(each.is_stranded for each in town.handled)


def test_on_a_shared_device_each_gets_what_was_done_in_their_time():
    town = Town()
    for user, phone in (("u:1", PHONE), ("u:2", OTHER)):
        town.event(user, identify(phone=phone))
    town.event("a:d", identify(first_name="Ada"), 5)
    town.link("a:d", "u:1", 10).link("a:d", "u:2", 20)
    for order, at in enumerate((0, 10, 19, 20, 99)):
        town.event("a:d", track(order), at)
    assert [("u:1", 0), ("u:1", 1), ("u:1", 2), ("u:2", 3), ("u:2", 4)] == [
        (key, int(text[-1])) for key, text in town.sent
    ]
    assert "first_name" not in town.traits("u:2")
    assert "a:d" in town.person("u:2").merged  # so that forgetting them reaches the device


def test_a_traits_update_of_a_shared_device_goes_to_who_used_it_then():
    town = Town().link("a:d", "u:1", 10).link("a:d", "u:2", 20).event("a:d", identify(city="Rome"), 15)
    assert ({"city": "Rome"}, {}) == (town.traits("u:1"), town.traits("u:2"))


def test_a_record_that_passed_before_another_link_came_goes_the_way_it_went_and_is_only_repeated():
    """It went to the first person then; by the links of now it would be the second's, and be sent again."""
    town = Town(rule(to=PHONE)).link("a:d", "u:1", 10).event("a:d", track(), 30, offset=700)
    assert [("u:1", "Order 1")] == town.sent
    town.link("a:d", "u:2", 20).event("a:d", track(), 30, offset=700)
    assert [("u:1", "Order 1")] == town.sent
    repeats = town.handled[-2:]
    assert [("u:1",), ()] == [each.forward for each in repeats]
    assert [0, 1] == [len(each.applied.repeated) for each in repeats]
    assert not any(each.applied.is_changed for each in repeats)
    assert {} == town.person("u:2").decided


def test_a_repeat_teaches_nothing():
    town = Town().put(EVENT, "u:2", b'{"type":"identify","userId":"2","traits":{"phone":"1"}}', is_repeat=True).run()
    assert {} == town.traits("u:2")


def test_what_was_decided_before_the_move_is_repeated_after_it_under_the_key_it_was_decided_by():
    """Its delivery event must be the same to the byte."""
    town = Town().event("a:d", identify(phone=PHONE)).event("a:d", track(), offset=700).link("a:d", "u:1")
    town.event("a:d", track(), offset=700)
    [sent] = town.handled[-1].applied.repeated
    assert "a:d" == town.person("u:1").decision(sent).person
    assert 1 == len(town.sent)


def test_an_identify_of_an_anonymous_person_with_a_phone_is_enough():
    assert [("a:d", "Order 1")] == Town().event("a:d", identify(phone=PHONE)).event("a:d", track()).sent


def test_traits_in_the_context_are_seen_by_their_event_alone_unless_they_are_kept():
    event = track(context={"traits": {"phone": PHONE}})
    for people, later in ((None, 1), (People(updates_from_context=True), 2)):
        town = Town(people=people).event("u:1", event).event("u:1", track(2))
        assert later == len(town.sent)


def test_kept_traits_of_the_context_have_parked_events_decided_too():
    town = Town(people=People(updates_from_context=True)).event("u:1", track(1))
    town.event("u:1", track(2, context={"traits": {"phone": PHONE}}))
    assert ["Order 1", "Order 2"] == [text for _, text in town.sent]


def test_a_move_that_no_owner_wrote_is_refused_and_changes_nothing():
    town = Town()
    with pytest.raises(BadRecord):
        town.put(MERGE, "u:1", b"\x91\x01").run()
    assert Person() == town.person("u:1")


def test_a_move_at_a_pointer_goes_on():
    town = Town().event("a:d", identify(phone=PHONE)).link("u:1", "u:2").link("a:d", "u:1")
    assert ({}, {"phone": PHONE}) == (town.traits("u:1"), town.traits("u:2"))
    town.event("a:d", track())
    assert [("u:2", "Order 1")] == town.sent


def test_handling_a_record_twice_changes_nothing_the_second_time():
    """`by-user` is read again after a crash: whatever its kind."""
    town = Town().event("u:1", track(), offset=1).event("u:1", identify(phone=PHONE), offset=2)
    town.put(LINK, "u:1", b"u:2", 5)
    link = town.way[0]
    town.deliver()
    [(_, merge)] = town.way
    town.run()
    for key, hop in (link, ("u:2", merge)):
        person = town.person(key)
        assert not handle(person, key, hop, town.rules, town.now_ms + MINUTE_MS).applied.is_changed
        assert [] == person.outgoing
