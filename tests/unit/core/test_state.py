"""The one record per person: it survives the changelog unchanged, stays small, and forgets without forgetting that."""

import pytest

from streamer.core import state
from streamer.core.delivery import SUPPRESSED, Decision, Message, Origin, send_id
from streamer.core.profile import fold, values
from streamer.core.state import DECIDED_BYTES_MAX, FORGOTTEN_MAX, FORMAT, OTHERS, SEEN_MAX, Person, Send
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


def published(person):
    person.out.clear()
    return person


def test_a_record_goes_through_the_changelog_unchanged():
    person = Person()
    fold(person.traits, {"phone": "+1", "gone": None, "deep": {"x": [1, 2.5, None, True]}, "é": 2**63}, 1_000)
    person.note_seen(origin(4))
    person.decide(decision(1))
    person.forgotten["m"] = 7
    person.due.append(waiting(2))
    person.held.append(waiting(3))
    restored = state.decode(state.encode(person))
    assert restored == person
    assert values(restored.traits)["deep"] == {"x": [1, 2.5, None, True]}
    assert restored.decision(decision(1).send_id) == decision(1)


def test_the_header_says_what_is_left_to_do():
    """A restore passes by idle people without decoding them: what it misses here is lost."""
    idle, due, held, owing, both = (Person() for _ in range(5))
    due.due.append(waiting())
    held.held.append(waiting())
    owing.decide(decision())
    both.held.append(waiting())
    both.decide(decision())
    seen = [(state.waits(value), state.owes(value)) for value in map(state.encode, (idle, due, held, owing, both))]
    assert seen == [(False, False), (True, False), (True, False), (False, True), (True, True)]


@pytest.mark.parametrize("value", [b"", b"\x00\x00", bytes([FORMAT + 1, 0]), bytes([FORMAT]), bytes([FORMAT, 0, 0xC1])])
def test_a_record_that_cannot_be_read_says_so(value):
    """Taking it for an empty one would forget a person."""
    with pytest.raises(StateUnreadable):
        state.decode(value)


def test_a_record_written_by_this_format_is_read_for_ever():
    """Pinned bytes: changing the layout without a new FORMAT would break everyone's changelog."""
    pinned = bytes.fromhex("010082a17481a1619201cd03e8a17381a86576656e74732f3004")
    person = state.decode(pinned)
    assert person.traits == {"a": (1, 1000)}
    assert person.seen == {"events/0": 4}
    assert state.encode(person) == pinned


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
        person.note_seen(origin(number))
        published(person).decide(decision(number, mapping))


def test_what_was_decided_and_evicted_is_known_as_forgotten():
    """A redelivered record must not be sent twice."""
    person = Person()
    fill(person)
    assert decision(0).send_id not in person.decided
    assert person.was_forgotten("m", decision(0).origin)


def test_a_new_record_is_never_taken_for_a_forgotten_one():
    """However old its event time: late events are not lost."""
    person = Person()
    fill(person)
    assert not person.was_forgotten("m", origin(offset=200, event_ms=0))
    assert not person.was_forgotten("m", origin(offset=0, event_ms=0, partition=1))
    assert not person.was_forgotten("m", origin(offset=0, event_ms=0, topic="other"))


def test_a_mapping_that_forgot_nothing_decides():
    person = Person()
    fill(person)
    assert not person.was_forgotten("new mapping", decision(0).origin)


def test_a_clients_repeat_is_forgotten_by_its_place_though_it_is_later():
    """Its decision bears the first record's time; found by the simulation: a repeat redelivered after the eviction."""
    person = Person()
    fill(person)
    assert person.was_forgotten("m", origin(offset=150, event_ms=10**12))


def crowded():
    """A person who forgot decisions of `m`, and whose `seen` has no room for another source partition."""
    person = Person()
    fill(person)
    for number in range(SEEN_MAX + 10):
        person.note_seen(origin(5, topic="wide", partition=number))
    assert len(person.seen) == SEEN_MAX
    return person


def test_with_too_many_source_partitions_only_the_time_proves_an_event_new():
    person = crowded()
    latest_ms = person.forgotten["m"]
    old, new = origin(9, event_ms=latest_ms, topic="unknown"), origin(9, event_ms=latest_ms + 1, topic="unknown")
    assert (person.can_prove_new("m", old), person.can_prove_new("m", new)) == (False, True)
    assert (person.was_forgotten("m", old), person.was_forgotten("m", new)) == (False, False)
    assert person.can_prove_new("new mapping", old)


def test_at_or_below_a_known_offset_a_repeat_is_certain_however_many_partitions_there_are():
    person = crowded()
    assert person.was_forgotten("m", origin(150, event_ms=10**12))
    assert person.can_prove_new("m", origin(200, event_ms=0))
    assert not person.was_forgotten("m", origin(200, event_ms=0))


def forget(person, mapping, number):
    """One decision of `mapping`, evicted at once; its event time is its offset."""
    person.note_seen(origin(number))
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
    assert person.was_forgotten("m0", origin(0))
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
    person.note_seen(origin(7))
    person.note_seen(origin(3))
    assert person.seen == {"events/0": 7}
    assert person.may_have_seen(origin(7))
    assert not person.may_have_seen(origin(8))


def test_the_size_of_traits_is_that_of_the_record():
    person = Person()
    empty = len(state.encode(person))
    fold(person.traits, {"a": "x" * 1000}, 1_000)
    assert 1000 < state.traits_bytes(person) <= len(state.encode(person)) - empty
