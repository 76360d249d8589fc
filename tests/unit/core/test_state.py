"""The one record per person: it survives the changelog unchanged, stays small, and forgets without forgetting that."""

import pytest
from msgspec.structs import replace

from streamer.core import state
from streamer.core.delivery import SUPPRESSED, Decision, Message, Origin, send_id
from streamer.core.profile import Update, fold, size, values
from streamer.core.sends import EVENT_KIND, SCHEDULED, Outgoing, Parked, Send
from streamer.core.state import DECIDED_BYTES_MAX, FORGOTTEN_MAX, FORMAT, OTHERS, SEEN_MAX, Person, place_of
from streamer.errors import StateUnreadable

MESSAGE = Message("main", "sms", "+15551230001", "Hi", "+15550006789")


def origin(offset=0, event_ms=1_000, topic="events", partition=0):
    return Origin("u:1", topic, partition, offset, event_ms, 2_000)


def decision(number=0, mapping="m", event_ms=None, detail=""):
    at = origin(number, number if event_ms is None else event_ms)
    sent = send_id(mapping, at, f"m{number}")
    return Decision(sent, mapping, "1", at, f"m{number}", SUPPRESSED, "no_phone", 5, detail)


def waiting(number=0):
    at = origin(number)
    return Send(send_id("m", at, ""), "m", "1", at, "", MESSAGE, "shop", 1, 5, 9_000)


def note_seen(person, at):
    person.note_seen(place_of(at, 0), at.offset)


def may_have_seen(person, at):
    return person.may_have_seen(place_of(at, 0), at.offset)


def was_forgotten(person, mapping, at):
    return person.was_forgotten(mapping, place_of(at, 0), at.offset)


def can_prove_new(person, mapping, at):
    return person.can_prove_new(mapping, place_of(at, 0), at.event_ms)


PINNED = (
    "0207000000001f40de0011a1749193cd03e8a26d3182a570686f6e65a22b31a4676f6e65c0a16381a7616e792f736d7392aa"
    "73756273637269626564cd0384a17382a86576656e74732f3304ab6576656e74732f3323306605a16481c40131c40132a166"
    "82a16d07a008a16f919fc41058f82186e0da0855d0d38dbe7fe1c6a4a16da13196a3753a31a66576656e74730000cd03e8cd"
    "07d0a0dc0010a46d61696ea3736d73ac2b3135353531323330303031a24869ac2b3135353530303036373839a090a0a00000"
    "80c0c0a0a0a473686f700105cd232800c20000a0a168919fc41058f82186e0da0855d0d38dbe7fe1c6a4a16da13196a3753a"
    "31a66576656e74730000cd03e8cd07d0a0dc0010a46d61696ea3736d73ac2b3135353531323330303031a24869ac2b313535"
    "3530303036373839a090a0a0000080c0c0a0a0a473686f700105cd232800c200cd2328a97363686564756c6564a1709198c4"
    "0170a16d0796a3613a64a66576656e74730304cd03e8cd07d0a26d34c40180b470726f66696c652e7472616974732e70686f"
    "6e65cd1f40a17891c40131a1799194a3753a32a56d65726765c40101cd03e8a16c9292cd03e8a3753a3292cd07d0a0a16e03"
    "a16781a3613a6505a14704a1650aa1450ba17ac3"
)

PINNED_4 = (
    "0407000000001f40000000000102de0011a1749193cd03e8a26d3182a570686f6e65a22b31a4676f6e65c0a16381a7616e79"
    "2f736d7392aa73756273637269626564cd0384a17382a86576656e74732f3304ab6576656e74732f3323306605a16481c401"
    "31c40132a16682a16d07a008a16f91dc001dc41058f82186e0da0855d0d38dbe7fe1c6a4a16da13196a3753a31a66576656e"
    "74730000cd03e8cd07d0a0dc0010a46d61696ea3736d73ac2b3135353531323330303031a24869ac2b313535353030303637"
    "3839a090a0a0000080c0c0a0a0a473686f700105cd232800c20000a00000a00000c400a0a0c40090a0a0c2a0a16891dc001d"
    "c41058f82186e0da0855d0d38dbe7fe1c6a4a16da13196a3753a31a66576656e74730000cd03e8cd07d0a0dc0010a46d6169"
    "6ea3736d73ac2b3135353531323330303031a24869ac2b3135353530303036373839a090a0a0000080c0c0a0a0a473686f70"
    "0105cd232800c200cd2328a97363686564756c65640000a00000c400a0a0c40090a0a0c2a0a170919ec40170a16d0796a361"
    "3a64a66576656e74730304cd03e8cd07d0a26d34c40180b470726f66696c652e7472616974732e70686f6e65cd1f40b27072"
    "6f66696c655f696e636f6d706c657465a0c400c4000190a17891c40131a1799195a3753a32a56d65726765c40101cd03e8a0"
    "a16c9292cd03e8a3753a3292cd07d0a0a16e03a16781a3613a6505a14704a1650aa1450ba17ac3"
)

PINNED_3 = (
    "0307000000001f40000000000102de0011a1749193cd03e8a26d3182a570686f6e65a22b31a4676f6e65c0a16381a7616e79"
    "2f736d7392aa73756273637269626564cd0384a17382a86576656e74732f3304ab6576656e74732f3323306605a16481c401"
    "31c40132a16682a16d07a008a16f91dc0014c41058f82186e0da0855d0d38dbe7fe1c6a4a16da13196a3753a31a66576656e"
    "74730000cd03e8cd07d0a0dc0010a46d61696ea3736d73ac2b3135353531323330303031a24869ac2b313535353030303637"
    "3839a090a0a0000080c0c0a0a0a473686f700105cd232800c20000a00000a00000a16891dc0014c41058f82186e0da0855d0"
    "d38dbe7fe1c6a4a16da13196a3753a31a66576656e74730000cd03e8cd07d0a0dc0010a46d61696ea3736d73ac2b31353535"
    "31323330303031a24869ac2b3135353530303036373839a090a0a0000080c0c0a0a0a473686f700105cd232800c200cd2328"
    "a97363686564756c65640000a00000a1709198c40170a16d0796a3613a64a66576656e74730304cd03e8cd07d0a26d34c401"
    "80b470726f66696c652e7472616974732e70686f6e65cd1f40a17891c40131a1799195a3753a32a56d65726765c40101cd03"
    "e8a0a16c9292cd03e8a3753a3292cd07d0a0a16e03a16781a3613a6505a14704a1650aa1450ba17ac3"
)


def published(person):
    person.out.clear()
    return person


def test_a_record_goes_through_the_changelog_unchanged():
    person = Person()
    traits = {"phone": "+1", "gone": None, "deep": {"x": [1, 2.5, None, True]}, "é": 2**63}
    person.traits = fold([], Update(1_000, "m", traits)).updates
    note_seen(person, origin(4))
    person.decide(decision(1))
    person.forgotten["m"] = 7
    person.due.append(waiting(2))
    person.held.append(waiting(3))
    restored = state.decode(state.encode(person))
    assert restored == person
    assert values(restored.traits)["deep"] == {"x": [1, 2.5, None, True]}
    assert restored.decision(decision(1).send_id) == decision(1)


def parked(number=0, until_ms=9_000):
    return Parked(bytes([number]) * 16, "m", 7, origin(number), f"m{number}", b"\x80", "profile.traits.phone", until_ms)


def scheduled(until_ms):
    return replace(waiting(), reason=SCHEDULED, until_ms=until_ms)


PUBLISHED = Outgoing("u:1", EVENT_KIND, b"{}", 1)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (False, False, 0)),
        ({"traits": [Update(1, "m", {"a": 1})], "links": [(1, "u:2")], "moved": 3}, (False, False, 0)),
        ({"due": [waiting()]}, (True, False, 0)),
        ({"held": [waiting()]}, (True, False, 0)),
        ({"out": [b"1"]}, (False, True, 0)),
        ({"outgoing": [PUBLISHED]}, (False, True, 0)),
        ({"held": [waiting()], "out": [b"1"]}, (True, True, 0)),
        ({"held": [scheduled(8_000)]}, (False, False, 8_000)),
        ({"parked": [parked()]}, (False, False, 9_000)),
        ({"parked": [parked(until_ms=5), parked(until_ms=4)], "held": [scheduled(6)]}, (False, False, 4)),
        ({"parked": [parked(until_ms=5)], "held": [scheduled(3)]}, (False, False, 3)),
        ({"parked": [parked()], "due": [waiting()], "outgoing": [PUBLISHED]}, (True, True, 9_000)),
        ({"keep_ms": 7, "erased_ms": 1}, (False, False, 7)),
        ({"keep_ms": 7, "traits": [Update(1, "m", {"a": 1})]}, (False, False, 0)),
        ({"keep_ms": 7, "parked": [parked()]}, (False, False, 9_000)),
        ({"keep_ms": 2**45, "out": [b"1"]}, (False, True, 2**45)),
    ],
)
def test_the_header_says_what_is_left_to_do_and_when(fields, expected):
    """A restore passes by idle people without decoding them: what it misses here is lost."""
    person = Person(**fields)
    value = state.encode(person)
    assert (state.waits(value), state.owes(value), state.timer_ms(value)) == expected
    assert state.has_business(value) == (expected != (False, False, 0))
    assert state.decode(value) == person
    assert person.timer_ms() == expected[2]


@pytest.mark.parametrize("value", [b"", b"\x00\x00", bytes([FORMAT + 1, 0]), bytes([FORMAT]), bytes([FORMAT, 0, 0xC1])])
def test_a_record_that_cannot_be_read_says_so(value):
    """Taking it for an empty one would forget a person."""
    with pytest.raises(StateUnreadable):
        state.decode(value)


def test_a_record_written_by_this_format_is_read_for_ever():
    """Pinned bytes: changing the layout without a new FORMAT would break everyone's changelog."""
    pinned = bytes.fromhex(PINNED)
    at = Origin("a:d", "events", 3, 4, 1_000, 2_000)
    person = state.decode(pinned)
    assert person == Person(
        traits=[Update(1_000, "m1", {"phone": "+1", "gone": None})],
        consent={"any/sms": ("subscribed", 900)},
        seen={"events/3": 4, "events/3#0f": 5},
        decided={b"1": b"2"},
        forgotten={"m": 7, "": 8},
        due=[waiting()],
        held=[scheduled(9_000)],
        parked=[Parked(b"p", "m", 7, at, "m4", b"\x80", "profile.traits.phone", 8_000)],
        out=[b"1"],
        outgoing=[Outgoing("u:2", "merge", b"\x01", 1_000)],
        links=[(1_000, "u:2"), (2_000, "")],
        moved=3,
        merged={"a:e": 5},
        merged_to=4,
        erased_ms=10,
        keep_ms=11,
        is_suppressed=True,
    )
    assert state.decode(bytes.fromhex(PINNED_3)) == person
    assert state.encode(Person()) == bytes.fromhex("0400000000000000de0000")
    assert state.encode(person, 258) == bytes.fromhex(PINNED_4)
    assert state.decode(bytes.fromhex(PINNED_4)) == person


def test_a_record_of_the_format_before_counts_as_of_no_epoch():
    """A changelog is written by two versions while one replaces the other; what the older one wrote still stands."""
    before = bytes.fromhex(PINNED)
    assert (before[0], state.epoch_of(before)) == (2, 0)
    assert (state.waits(before), state.owes(before), state.timer_ms(before)) == (True, True, 8_000)


@pytest.mark.parametrize("fields", [{}, {"parked": [parked()], "due": [waiting()]}])
@pytest.mark.parametrize("epoch", [0, 1, 2**47])
def test_the_header_says_whose_record_it_is(fields, epoch):
    """By it a restore tells an owner's record from one of who had lost the partition."""
    value = state.encode(Person(**fields), epoch)
    assert state.epoch_of(value) == epoch
    assert state.decode(value) == Person(**fields)


@pytest.mark.parametrize("fields", [{}, {"parked": [parked()], "out": [b"1"]}])
def test_a_record_taken_over_is_the_same_but_for_its_epoch(fields):
    """An owner writes again what it never decoded."""
    person = Person(**fields)
    for value in (state.encode(person, 3), _of_the_format_before(person)):
        assert state.with_epoch(value, 258) == state.encode(person, 258)


def _of_the_format_before(person):
    value = state.encode(person)
    head = 8 if state.timer_ms(value) else 2
    return bytes((state.FORMAT_WITHOUT_EPOCH, value[1])) + value[2:head] + value[head + 6 :]


def test_a_tombstone_says_its_epoch_beside_it():
    assert state.epoch_of(None, state.tombstone_headers(2**40)) == 2**40
    assert state.epoch_of(None, ()) == 0


def test_a_claim_goes_through_and_leaves_nothing_to_do():
    """A store keeps it among the people, and lists those with something left to do by their header."""
    assert state.decode_claim(state.encode_claim(2**40)) == 2**40
    assert not state.has_business(state.encode_claim(2**40))


def test_a_checkpoint_goes_through():
    assert state.decode_checkpoint(state.encode_checkpoint(2**40)) == 2**40


def test_a_decision_is_listed_until_it_is_published():
    person = Person()
    person.decide(decision(1))
    assert person.out == [decision(1).send_id]
    assert person.decision(decision(2).send_id) is None


def test_decisions_stay_within_their_bytes_and_the_oldest_go_first():
    person = Person()
    for number in range(200):
        published(person).decide(decision(number))
    assert sum(map(len, person.decided.values())) <= DECIDED_BYTES_MAX
    kept = [person.decision(sent).origin.offset for sent in person.decided]
    assert kept == list(range(200 - len(kept), 200))
    assert len(kept) > 40


def test_an_outcome_that_is_not_published_is_never_evicted():
    """Its event could not be made again."""
    person = Person()
    for number in range(64):
        person.decide(decision(number, detail="d" * 200))
    assert person.out == list(person.decided)
    person.out.remove(decision(10).send_id)
    person.decide(decision(64))
    assert decision(10).send_id not in person.decided
    assert set(person.out) <= person.decided.keys()


def test_one_oversized_decision_is_kept_until_published():
    person = Person()
    person.decide(decision(1, detail="d" * DECIDED_BYTES_MAX))
    assert person.decision(decision(1).send_id) is not None


def fill(person, mapping="m", count=200):
    """So many decisions that the first are evicted; all of one source partition, which `seen` knows."""
    for number in range(count):
        note_seen(person, origin(number))
        published(person).decide(decision(number, mapping))


def test_what_was_decided_and_evicted_is_known_as_forgotten():
    """A redelivered record must not be sent twice."""
    person = Person()
    fill(person)
    assert decision(0).send_id not in person.decided
    assert was_forgotten(person, "m", decision(0).origin)


def test_a_new_record_is_never_taken_for_a_forgotten_one():
    """However old its event time: late events are not lost."""
    person = Person()
    fill(person)
    assert not was_forgotten(person, "m", origin(offset=200, event_ms=0))
    assert not was_forgotten(person, "m", origin(offset=0, event_ms=0, partition=1))
    assert not was_forgotten(person, "m", origin(offset=0, event_ms=0, topic="other"))


def test_a_mapping_that_forgot_nothing_decides():
    person = Person()
    fill(person)
    assert not was_forgotten(person, "new mapping", decision(0).origin)


def test_a_clients_repeat_is_forgotten_by_its_place_though_it_is_later():
    """Its decision bears the first record's time; found by the simulation: a repeat redelivered after the eviction."""
    person = Person()
    fill(person)
    assert was_forgotten(person, "m", origin(offset=150, event_ms=10**12))


def crowded():
    """A person who forgot decisions of `m`, and whose `seen` has no room for another source partition."""
    person = Person()
    fill(person)
    for number in range(SEEN_MAX + 10):
        note_seen(person, origin(5, topic="wide", partition=number))
    assert len(person.seen) == SEEN_MAX
    return person


def test_with_too_many_source_partitions_only_the_time_proves_an_event_new():
    person = crowded()
    latest_ms = person.forgotten["m"]
    old, new = origin(9, event_ms=latest_ms, topic="unknown"), origin(9, event_ms=latest_ms + 1, topic="unknown")
    assert (can_prove_new(person, "m", old), can_prove_new(person, "m", new)) == (False, True)
    assert (was_forgotten(person, "m", old), was_forgotten(person, "m", new)) == (False, False)
    assert can_prove_new(person, "new mapping", old)


def test_at_or_below_a_known_offset_a_repeat_is_certain_however_many_partitions_there_are():
    person = crowded()
    assert was_forgotten(person, "m", origin(150, event_ms=10**12))
    assert can_prove_new(person, "m", origin(200, event_ms=0))
    assert not was_forgotten(person, "m", origin(200, event_ms=0))


def forget(person, mapping, number):
    """One decision of `mapping`, evicted at once; its event time is its offset."""
    note_seen(person, origin(number))
    published(person).decide(decision(number, mapping, detail="d" * DECIDED_BYTES_MAX))
    published(person).decide(decision(10_000 + number, "last", event_ms=0))


def test_the_mappings_with_forgotten_decisions_are_bounded():
    person = Person()
    for number in range(FORGOTTEN_MAX + 50):
        forget(person, f"m{number}", number)
    assert len(person.forgotten) == FORGOTTEN_MAX + 1
    assert f"m{FORGOTTEN_MAX + 49}" in person.forgotten


def test_a_mapping_dropped_from_the_forgotten_is_still_known_as_forgotten():
    """Else its redelivered event would be sent again: one entry stands for every mapping that isn't listed."""
    person = Person()
    for number in range(FORGOTTEN_MAX + 50):
        forget(person, f"m{number}", number)
    assert "m0" not in person.forgotten
    assert was_forgotten(person, "m0", origin(0))
    assert 50 == state.decode(state.encode(person)).forgotten[OTHERS]


def test_a_mapping_listed_again_keeps_the_time_of_those_dropped():
    """Its own later decision was of an earlier event: where only the time tells, the older decision counts too."""
    person = Person()
    forget(person, "m0", 900)
    for number in range(1, FORGOTTEN_MAX + 50):
        forget(person, f"m{number}", number)
    assert 900 == person.forgotten[OTHERS]
    forget(person, "m0", 5)
    assert 900 == person.forgotten["m0"]


def test_seen_offsets_only_rise():
    person = Person()
    note_seen(person, origin(7))
    note_seen(person, origin(3))
    assert person.seen == {"events/0": 7}
    assert may_have_seen(person, origin(7))
    assert not may_have_seen(person, origin(8))


def test_the_size_of_traits_is_that_of_the_record():
    person = Person()
    empty = len(state.encode(person))
    person.traits = fold([], Update(1_000, "m1", {"a": "x" * 1000})).updates
    assert 1000 < size(person.traits) <= len(state.encode(person)) - empty
