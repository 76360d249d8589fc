"""A person's record under any history: the model's profile, bounded, and never deciding a record twice."""

from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from streamer.core import attempts, leaving, plan, state
from streamer.core.attempts import Moment
from streamer.core.channels import Sender
from streamer.core.delivery import SUPPRESSED, Accepted, Decision, Origin, send_id
from streamer.core.profile import Update, fold, values
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import RuleDefaults, RuleSet
from streamer.core.state import DECIDED_BYTES_MAX, FORGOTTEN_MAX, OUT_MAX, SEEN_MAX, Person, place_of

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
    traits = []
    for event_ms, update in arriving:
        traits = fold(traits, Update(event_ms, "", update)).updates
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
        place = place_of(at, 0)
        assert not person.was_forgotten(mapping, place, at.offset)
        person.note_seen(place, at.offset)
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
        assert sent in person.decided or person.was_forgotten(mapping, place_of(at, 0), at.offset)
    assert len(person.seen) <= SEEN_MAX


def _rules():
    """More mappings than can be listed as forgotten; event n matches those whose group is n modulo GROUPS."""
    senders = {"shop": Sender("shop", "main", number="+15550006789")}
    send = {"to": "+15551230001", "body": "Hi"}
    return RuleSet.of(
        compile_rule(
            f"m{number}",
            {"when": f'type = "track" and event = "{number % GROUPS}"', "send": send},
            senders,
            RuleDefaults("US", "shop", 3_600.0),
        )
        for number in range(GROUPS * GROUP)
    )


GROUPS, GROUP = 5, 32
assert GROUPS * GROUP > FORGOTTEN_MAX
RULES = _rules()
NOW_MS = 1_767_225_600_000


def work(person, offset, posted):
    """One record of the source partition is read, all that is due is posted, and every outcome published."""
    event = {"type": "track", "event": str(offset % GROUPS), "messageId": f"e{offset}"}
    plan.apply_event(person, event, Origin("u:1", "in", 0, offset, NOW_MS + offset, NOW_MS), RULES, NOW_MS)
    while person.due:
        posting = leaving.begin(person, Moment("u:1", RuleSet.of(()), NOW_MS))
        posted.append(posting.id)
        attempts.settle(person, Accepted("SM1", "queued", 1), Moment("u:1", RuleSet.of(()), NOW_MS))
    person.out.clear()


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 12)), min_size=1, max_size=4))
def test_with_many_mappings_a_redelivery_after_a_restart_sends_nothing_twice(lives):
    """Each life reads some new records, after those that its predecessor had read and not committed."""
    person, posted, read = Person(), [], 0
    for fresh, repeated in lives:
        for offset in range(max(0, read - repeated), read + fresh):
            work(person, offset, posted)
        read += fresh
        person = state.decode(state.encode(person))
    assert len(posted) == len(set(posted)) == read * GROUP
