"""A person's record under any history: the model's profile, bounded, and never deciding a record twice."""

from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from streamer.core import state
from streamer.core.delivery import SUPPRESSED, Decision, Origin, send_id
from streamer.core.profile import fold, values
from streamer.core.state import DECIDED_BYTES_MAX, OUT_MAX, SEEN_MAX, Person

names = st.sampled_from(["phone", "name", "tier"])
some_values = st.none() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=3) | st.lists(st.booleans(), max_size=2)
identifies = st.lists(st.dictionaries(names, some_values, min_size=1), max_size=8)


@given(identifies, st.randoms(use_true_random=False))
def test_traits_end_the_same_whatever_the_order_and_however_often(updates, draw):
    """Topics have no common order, and a crash delivers again."""
    timed = list(enumerate(updates))
    expected = {}
    for _, update in timed:
        expected |= update
    arriving = timed + draw.choices(timed, k=5) if timed else []
    draw.shuffle(arriving)
    traits = {}
    for event_ms, update in arriving:
        fold(traits, update, event_ms)
    assert values(traits) == {name: value for name, value in expected.items() if value is not None}


# (source partition, mapping, size of the decision, how many outcomes are published afterwards, encode in between)
histories = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from("ab"), st.integers(0, 400), st.integers(0, 6), st.booleans()),
    max_size=150,
)


@given(histories)
def test_no_record_is_decided_twice_and_none_is_taken_for_decided(history):
    """`decided`, `seen` and `forgotten` together answer for every record ever met, within a few kilobytes."""
    person, met, offsets = Person(), [], [count(), count(), count()]
    for number, (partition, mapping, detail_bytes, published, is_stored) in enumerate(history):
        at = Origin("u:1", "in", partition, next(offsets[partition]), number * 7 % 50, 0)
        sent = send_id(mapping, at, "")
        assert sent not in person.decided
        assert not person.was_forgotten(mapping, at)
        person.note_seen(at)
        person.decide(Decision(sent, mapping, "1", at, "", SUPPRESSED, "no_phone", 1, "d" * detail_bytes))
        met.append((sent, mapping, at))
        del person.out[: published + len(person.out) - OUT_MAX if len(person.out) > OUT_MAX else published]
        if is_stored:
            restored = state.decode(state.encode(person))
            assert restored == person
            person = restored
        assert set(person.out) <= person.decided.keys()
        owed = {sent: person.decided[sent] for sent in person.out}
        assert sum(map(len, person.decided.values())) <= max(DECIDED_BYTES_MAX, sum(map(len, owed.values())) + 600)
    for sent, mapping, at in met:
        assert sent in person.decided or person.was_forgotten(mapping, at)
    assert len(person.seen) <= SEEN_MAX
