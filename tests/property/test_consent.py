"""Consents under any history: order and repeats don't matter, a merge is safe to replay, and no opt-out is lost."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from streamer.core.consent import (
    CATEGORY_BYTES_MAX,
    CHANNELS_ASKED,
    CONSENT_EVENT,
    CONSENTS_MAX,
    MODES,
    OPTED_OUT,
    STRICTNESS,
    TOO_MANY_CONSENTS,
    UNSUBSCRIBED,
    ConsentRules,
    apply,
    category_fault,
    key_of,
    merge,
    preferences,
    statements_of,
    statements_of_command,
    verdict,
    view,
)

states = st.sampled_from(list(STRICTNESS))
few_keys = st.sampled_from(["any/any", "any/sms", "marketing/any", "marketing/sms", "news/whatsapp"])
many_keys = st.sampled_from([f"c{number}/any" for number in range(CONSENTS_MAX + 16)])
times = st.integers(0, 3)
histories = st.lists(st.tuples(st.lists(st.tuples(few_keys, states), max_size=3), times), max_size=8)
long_histories = st.lists(
    st.tuples(st.lists(st.tuples(many_keys, states), min_size=10, max_size=50), times), min_size=2, max_size=6
)
rooms = st.dictionaries(few_keys, st.tuples(states, times))
full_rooms = st.randoms(use_true_random=False).map(
    lambda draw: {
        f"c{number}/any": (draw.choice(list(STRICTNESS)), draw.randrange(4))
        for number in draw.sample(range(CONSENTS_MAX + 16), CONSENTS_MAX)
    }
)


def told(history, consents=()):
    """The consents after a history."""
    consents = dict(consents)
    for statements, event_ms in history:
        apply(consents, statements, event_ms)
    return consents


def merged(one, other):
    into = dict(one)
    merge(into, other)
    return into


@given(histories, st.randoms(use_true_random=False))
def test_consents_end_the_same_whatever_the_order_and_however_often(history, draw):
    """Topics have no common order, and a crash delivers again."""
    expected = {}
    for statements, event_ms in history:
        for key, state in statements:
            stated = (event_ms, STRICTNESS[state], state)
            expected[key] = max(expected.get(key, stated), stated)
    arriving = history + draw.choices(history, k=5) if history else []
    draw.shuffle(arriving)
    assert {key: (state, event_ms) for key, (event_ms, _, state) in expected.items()} == told(arriving)


@given(histories)
def test_a_change_is_told_exactly_when_there_is_one(history):
    """What isn't told isn't written."""
    consents = {}
    for statements, event_ms in history:
        before = dict(consents)
        is_changed, reason = apply(consents, statements, event_ms)
        assert (before != consents, "") == (is_changed, reason)


@given(long_histories)
def test_consents_stay_bounded_and_only_opt_outs_displace(history):
    consents = {}
    for statements, event_ms in history:
        before = dict(consents)
        _, reason = apply(consents, statements, event_ms)
        fresh = {key for key, _ in statements} - before.keys()
        assert len(consents) <= CONSENTS_MAX
        assert (TOO_MANY_CONSENTS if len(before) + len(fresh) > CONSENTS_MAX else "") == reason
        left = before.keys() - consents.keys()
        entered = [consents[key][0] for key in consents.keys() - before.keys()]
        assert not left or len(left) <= entered.count(UNSUBSCRIBED)
        refused = fresh - consents.keys()
        if any((key, UNSUBSCRIBED) in statements for key in refused):
            assert {UNSUBSCRIBED} == {state for state, _ in consents.values()}


@given(rooms | full_rooms, rooms | full_rooms)
def test_a_merge_is_commutative_and_idempotent(one, other):
    """Which of two keys of a person is merged into which is chance, and a crash merges again."""
    both = merged(one, other)
    assert both == merged(other, one)
    assert both == merged(both, other) == merged(both, one) == merged(both, both)
    assert len(both) <= CONSENTS_MAX


@given(rooms, rooms)
def test_a_merge_keeps_the_stricter_and_the_later(one, other):
    both = merged(one, other)
    assert one.keys() | other.keys() == both.keys()
    for key, (state, event_ms) in both.items():
        known = [each[key] for each in (one, other) if key in each]
        assert (max(STRICTNESS[each] for each, _ in known), max(ms for _, ms in known)) == (STRICTNESS[state], event_ms)


@given(histories, histories, st.randoms(use_true_random=False))
def test_what_was_merged_can_be_replayed_without_a_change(one, other, draw):
    """An anonymous person's opt-out must not be undone by reading again what was read before the merge."""
    both = merged(told(one), told(other))
    replay = one + other
    draw.shuffle(replay)
    assert both == told(replay, both)


@given(full_rooms, full_rooms)
def test_a_merge_beyond_the_bound_loses_no_opt_out_before_others(one, other):
    both = merged(one, other)
    lost = (one.keys() | other.keys()) - both.keys()
    kept_least = min(STRICTNESS[state] for state, _ in both.values())
    for key in lost:
        assert max(STRICTNESS[each[key][0]] for each in (one, other) if key in each) <= kept_least


@given(rooms, few_keys, st.sampled_from(["", "marketing", "news"]), st.sampled_from(["sms", "mms", "rcs", "whatsapp"]))
def test_a_stricter_consent_never_lets_more_through(consents, key, category, channel):
    """Per mode, and from mode to mode: what opt_in lets through, opt_out lets through too."""
    for mode in MODES:
        before = verdict(consents, {}, category, channel, mode)
        stricter = consents | {key: (UNSUBSCRIBED, 9)}
        assert not (before and not verdict(stricter, {}, category, channel, mode))
        if before == OPTED_OUT:
            assert OPTED_OUT == verdict(stricter, {}, category, channel, mode)
    opt_out, opt_in = (verdict(consents, {}, category, channel, mode) for mode in MODES)
    assert not (opt_out and not opt_in)


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.sampled_from(["SMS", "no", "UNSUBSCRIBED"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["consent", "categoryPreferences", "type", "status", "any", "a", ""]), inner)
    ),
    max_leaves=8,
)
contexts = junk | st.fixed_dictionaries(
    {},
    optional={"consent": junk | st.fixed_dictionaries({"categoryPreferences": junk}), "messaging_subscriptions": junk},
)
events = st.fixed_dictionaries(
    {"type": st.sampled_from(["track", "identify", "page"])},
    optional={"event": st.just(CONSENT_EVENT) | junk, "traits": st.dictionaries(st.sampled_from("ab"), junk) | junk,
              "context": contexts},
)  # fmt: skip


@given(events, junk)
def test_no_event_is_too_odd_and_all_it_states_can_be_kept_and_asked(event, value):
    """Whatever comes in, what is stored are known states under keys that a command can name too."""
    said = statements_of(event, ConsentRules(traits={"a": "marketing/sms", "b": "any/any"}))
    consents = {}
    apply(consents, said.statements, 5)
    assert {key: key for key in consents} == {key: key_of(key) for key in consents}
    assert {state for state, _ in consents.values()} <= STRICTNESS.keys()
    assert len(consents) == sum(len(each) for each in view(consents).values())
    verdict(consents, preferences(event), "a", "sms", MODES[0])
    command = statements_of_command({"key": value, "state": value})
    assert len(command.statements) + len(command.refused) == 1


@given(st.text(min_size=1, max_size=CATEGORY_BYTES_MAX), st.sampled_from(CHANNELS_ASKED))
def test_a_key_is_told_apart_into_what_made_it(category, channel):
    """Whatever signs a category has, a slash among them."""
    if category_fault(category):
        return
    assert {category: {channel: UNSUBSCRIBED}} == view({key_of(f"{category}/{channel}"): (UNSUBSCRIBED, 1)})


def test_the_most_that_is_kept_of_a_person_is_a_few_kilobytes():
    """The record has a budget for each of its parts."""
    keys = [f"{number:02d}".ljust(CATEGORY_BYTES_MAX, "x") + "/whatsapp" for number in range(CONSENTS_MAX)]
    consents = dict.fromkeys(keys, (max(STRICTNESS, key=len), 2**41))
    assert 6_000 < len(msgspec.msgpack.encode(consents)) < 7 * 1024
