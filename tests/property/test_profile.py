"""Any order of identifies, and any repeats, give the same profile: that of a plain model that sees them all."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from streamer.core.profile import SPELLINGS, TRAITS_BYTES_MAX, TRAITS_MAX, Update, fold, overlaid, size, unite, values

CAMEL = {snake: camel for camel, snake in SPELLINGS}
names = st.sampled_from(["phone", "plan", *(each for pair in SPELLINGS for each in pair)])
some_values = st.none() | st.booleans() | st.integers(-1, 2) | st.floats(0, 2) | st.text(max_size=2)
some_values |= st.lists(st.integers(0, 1), max_size=2) | st.dictionaries(
    st.sampled_from("ab"), st.integers(0, 1), max_size=1
)
updates = st.builds(
    Update, st.integers(0, 3), st.sampled_from(["", "m1", "m2"]), st.dictionaries(names, some_values, max_size=3)
)
histories = st.lists(updates, max_size=8)


def model(history):
    """Each trait's winner: the greatest (time, id, encoded value); of both spellings in one update the first counts."""
    best = {}
    for update in history:
        own = {CAMEL.get(name, name): value for name, value in update.traits.items()}
        own |= {camel: update.traits[camel] for camel, _ in SPELLINGS if camel in update.traits}
        for name, value in own.items():
            claim = (update.event_ms, update.id, msgspec.msgpack.encode(value))
            best[name] = max(best.get(name, claim), claim)
    return best


def claims(profile):
    """The same of a folded profile."""
    return {
        name: (each.event_ms, each.id, msgspec.msgpack.encode(value))
        for each in profile
        for name, value in each.traits.items()
    }


@given(histories, st.randoms(use_true_random=False))
def test_any_order_and_any_repeats_give_the_profile_of_the_model(history, draw):
    """Topics have no common order, and a crash delivers again."""
    arriving = history + (draw.choices(history, k=3) if history else [])
    draw.shuffle(arriving)
    known = []
    for update in arriving:
        known = fold(known, update).updates
    assert model(history) == claims(known)
    assert known == sorted(known, key=lambda each: (each.event_ms, each.id))
    assert len({(each.event_ms, each.id) for each in known}) == len(known)
    assert all(each.traits for each in known)


@given(histories, histories)
def test_two_profiles_unite_to_one_whoever_takes_in_whom(mine, theirs):
    one, other = unite([], mine).updates, unite([], theirs).updates
    assert model(mine + theirs) == claims(unite(one, other).updates) == claims(unite(other, one).updates)


@given(histories, st.dictionaries(names, some_values, max_size=3))
def test_both_spellings_of_a_trait_always_say_the_same(history, own):
    seen = values(unite([], history).updates)
    for each in (seen, overlaid(seen, own)):
        assert None not in each.values()
        for camel, snake in SPELLINGS:
            assert each.get(camel) == each.get(snake)


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(1, 200), st.integers(0, 6_000)), max_size=12))
def test_no_history_makes_a_profile_larger_than_its_bounds(history):
    known = []
    for number, (first, count, chars) in enumerate(history):
        traits = {f"t{first + index}": "" for index in range(count)} | {f"t{first}": "x" * chars}
        known = fold(known, Update(number, f"m{number}", traits)).updates
        assert size(known) <= TRAITS_BYTES_MAX
        assert sum(len(each.traits) for each in known) <= TRAITS_MAX
