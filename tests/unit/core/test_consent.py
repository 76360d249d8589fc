"""Consent: what each feed states, which statement holds, and whether a message may go."""

import pytest

from streamer.core.consent import (
    ANY,
    BAD_CATEGORY,
    BAD_CONSENT,
    CATEGORY_BYTES_MAX,
    CONSENT_EVENT,
    CONSENTS_MAX,
    DID_NOT_SUBSCRIBE,
    NOT_OPTED_IN,
    OPT_IN,
    OPT_OUT,
    OPTED_OUT,
    SUBSCRIBED,
    TOO_MANY_CONSENTS,
    UNSUBSCRIBED,
    ConsentRules,
    Said,
    apply,
    key_of,
    merge,
    preferences,
    statements_of,
    statements_of_command,
    verdict,
    view,
)
from streamer.core.filters import compile_filter

RULES = ConsentRules(traits={"sms_opt_in": "marketing/sms", "newsletter": "marketing/any"})
LONGEST = "x" * CATEGORY_BYTES_MAX


def identify(**traits):
    return {"type": "identify", "userId": "u", "traits": traits, "context": {"ip": "1.1.1.1"}}


def updated(categories):
    return {"type": "track", "event": CONSENT_EVENT, "context": {"consent": {"categoryPreferences": categories}}}


def subscriptions(*entries, kind="page"):
    return {"type": kind, "context": {"messaging_subscriptions": list(entries)}}


def may_send(known, category="marketing", channel="sms", mode=OPT_OUT, own=()):
    return verdict({key: (state, 1) for key, state in known.items()}, dict(own), category, channel, mode)


# What is stated


@pytest.mark.parametrize(
    ("value", "state"),
    [
        (True, SUBSCRIBED),
        (False, UNSUBSCRIBED),
        ("true", SUBSCRIBED),
        ("No", UNSUBSCRIBED),
        ("YES", SUBSCRIBED),
        ("False", UNSUBSCRIBED),
        ("Subscribed", SUBSCRIBED),
        ("UNSUBSCRIBED", UNSUBSCRIBED),
        (" did_not_subscribe\n", DID_NOT_SUBSCRIBE),
    ],
)
def test_a_trait_states_its_consent(value, state):
    assert Said((("marketing/sms", state),)) == statements_of(identify(sms_opt_in=value), RULES)


@pytest.mark.parametrize("value", [1, 0, "", "maybe", "unsub", "1", [], [True], {}, {"sms": True}, 1.5])
def test_a_trait_that_means_no_state_is_refused_and_others_count(value):
    """Guessing would either text somebody against their word or silence a customer."""
    said = statements_of(identify(sms_opt_in=value, newsletter=False), RULES)
    assert Said((("marketing/any", UNSUBSCRIBED),), (BAD_CONSENT,)) == said


@pytest.mark.parametrize(
    "event",
    [
        identify(),
        identify(other=True),
        {**identify(sms_opt_in=False), "type": "group"},
        {"type": "identify", "traits": None},
        {"type": "identify"},
        {"type": "track", "event": "Paid", "context": {"traits": {"sms_opt_in": False}}},
        {"type": "page", "context": None},
        {**updated({"marketing": False}), "event": "Other"},
        {**updated({"marketing": False}), "type": "page"},
        subscriptions(),
        identify(sms_opt_in=None),
        {"type": "page", "context": {"messaging_subscriptions": None}},
    ],
)
def test_an_event_that_speaks_of_nothing_states_nothing(event):
    assert Said() == statements_of(event, RULES)


def test_without_configuration_no_trait_states_anything():
    assert Said() == statements_of(identify(sms_opt_in=False), ConsentRules())


def test_the_consent_event_states_its_categories_for_every_channel():
    said = statements_of(updated({"marketing": True, "Marketing": False, "a/b": "FALSE"}), RULES)
    expected = (("marketing/any", SUBSCRIBED), ("Marketing/any", UNSUBSCRIBED), ("a/b/any", UNSUBSCRIBED))
    assert Said(expected) == said


@pytest.mark.parametrize(
    ("categories", "refused"),
    [
        (None, (BAD_CONSENT,)),
        ([], (BAD_CONSENT,)),
        ("marketing", (BAD_CONSENT,)),
        ({"a": None}, (BAD_CONSENT,)),
        ({"a": 1, "b": {}}, (BAD_CONSENT, BAD_CONSENT)),
        ({ANY: False}, (BAD_CATEGORY,)),
        ({"": False}, (BAD_CATEGORY,)),
        ({LONGEST + "x": False}, (BAD_CATEGORY,)),
        ({"é" * (CATEGORY_BYTES_MAX // 2) + "x": False}, (BAD_CATEGORY,)),
    ],
)
def test_preferences_of_another_shape_are_refused_each_with_its_reason(categories, refused):
    assert Said((), refused) == statements_of(updated(categories), RULES)


@pytest.mark.parametrize("context", [None, {}, [], {"consent": None}, {"consent": [1]}, {"consent": {}}])
def test_a_consent_event_without_preferences_is_refused(context):
    assert Said((), (BAD_CONSENT,)) == statements_of({**updated({}), "context": context}, RULES)


def test_the_longest_category_is_taken():
    assert Said(((f"{LONGEST}/any", SUBSCRIBED),)) == statements_of(updated({LONGEST: True}), RULES)


@pytest.mark.parametrize("kind", ["track", "identify", "page", "screen", "group", "alias"])
def test_subscriptions_of_any_event_are_stated_for_their_channel(kind):
    event = subscriptions(
        {"key": "+15550100001", "type": "SMS", "status": "SUBSCRIBED"},
        {"key": "+15550100001", "type": "WhatsApp", "status": "unsubscribed"},
        {"key": "a@example.com", "type": "EMAIL", "status": "UNSUBSCRIBED"},
        {"key": "x", "type": "rcs", "status": "Did_Not_Subscribe"},
        kind=kind,
    )
    expected = (("any/sms", SUBSCRIBED), ("any/whatsapp", UNSUBSCRIBED), ("any/sms", DID_NOT_SUBSCRIBE))
    assert Said(expected) == statements_of(event, RULES)


@pytest.mark.parametrize(
    "entry",
    [1, None, "SMS", [], {}, {"type": 5, "status": "SUBSCRIBED"}, {"type": "SMS"}, {"type": "SMS", "status": "?"}],
)
def test_a_subscription_of_another_shape_is_refused_and_others_count(entry):
    said = statements_of(subscriptions(entry, {"type": "SMS", "status": "UNSUBSCRIBED"}), RULES)
    assert Said((("any/sms", UNSUBSCRIBED),), (BAD_CONSENT,)) == said


def test_subscriptions_that_are_no_list_are_refused_once():
    event = {"type": "page", "context": {"messaging_subscriptions": "all"}}
    assert Said((), (BAD_CONSENT,)) == statements_of(event, RULES)


def test_one_event_may_state_by_several_feeds():
    event = {**identify(sms_opt_in=True), "context": subscriptions({"type": "SMS", "status": "no"})["context"]}
    assert Said((("marketing/sms", SUBSCRIBED), ("any/sms", UNSUBSCRIBED))) == statements_of(event, RULES)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ({"key": "marketing/sms", "state": "unsubscribed"}, Said((("marketing/sms", UNSUBSCRIBED),))),
        ({"key": "any", "state": "Did_Not_Subscribe"}, Said((("any/any", DID_NOT_SUBSCRIBE),))),
        ({"key": "any", "state": None}, Said(refused=(BAD_CONSENT,))),
        ({"key": "any"}, Said(refused=(BAD_CONSENT,))),
        ({"key": "marketing/fax", "state": "subscribed"}, Said(refused=(BAD_CATEGORY,))),
        ({"key": 5, "state": "subscribed"}, Said(refused=(BAD_CATEGORY,))),
        ({}, Said(refused=(BAD_CONSENT,))),
    ],
)
def test_a_command_states_one_consent(command, said):
    assert said == statements_of_command(command)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("marketing", "marketing/any"),
        ("marketing/sms", "marketing/sms"),
        ("any/whatsapp", "any/whatsapp"),
        ("any", "any/any"),
        ("a/b/any", "a/b/any"),
        ("C0002/any", "C0002/any"),
    ],
)
def test_a_key_as_people_write_it(text, key):
    assert key == key_of(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("marketing/mms", "mms goes with sms: write marketing/sms"),
        ("marketing/rcs", "rcs goes with sms: write marketing/sms"),
        ("marketing/SMS", "'SMS' is none of the channels any, sms, whatsapp"),
        ("a/b", "'b' is none of the channels"),
        ("marketing/", "'' is none of the channels"),
        ("", "the category is empty"),
        ("/sms", "the category is empty"),
        (LONGEST + "x/sms", "the category has 65 bytes; at most 64"),
    ],
)
def test_what_is_no_key_is_refused_with_the_way_out(text, says):
    with pytest.raises(ValueError, match=says):
        key_of(text)


# What holds


def test_the_later_statement_holds_and_a_repeat_changes_nothing():
    consents = {}
    assert (True, "") == apply(consents, [("marketing/sms", UNSUBSCRIBED)], 10)
    assert (False, "") == apply(consents, [("marketing/sms", UNSUBSCRIBED)], 10)
    assert (False, "") == apply(consents, [("marketing/sms", SUBSCRIBED)], 9)
    assert (False, "") == apply(consents, [("marketing/sms", SUBSCRIBED)], 10)
    assert (True, "") == apply(consents, [("marketing/sms", SUBSCRIBED)], 11)
    assert {"marketing/sms": (SUBSCRIBED, 11)} == consents


def test_of_statements_of_one_time_the_strictest_holds():
    """Two subscriptions in one event, or two events of one millisecond: nobody is texted by luck."""
    consents = {}
    apply(consents, [("any/sms", UNSUBSCRIBED), ("any/sms", SUBSCRIBED), ("any/sms", DID_NOT_SUBSCRIBE)], 5)
    assert {"any/sms": (UNSUBSCRIBED, 5)} == consents


def test_no_statement_is_no_change():
    assert (False, "") == apply({}, (), 5)


def full(*opted_out, at=100):
    """As many consents as there may be, each a millisecond younger than the one before."""
    return {
        f"c{number}/any": (UNSUBSCRIBED if number in opted_out else SUBSCRIBED, at + number)
        for number in range(CONSENTS_MAX)
    }


def test_a_consent_too_many_is_refused_with_a_reason_and_known_ones_still_change():
    consents = full()
    assert (False, TOO_MANY_CONSENTS) == apply(consents, [("new/any", SUBSCRIBED)], 1_000)
    assert (False, TOO_MANY_CONSENTS) == apply(consents, [("new/any", DID_NOT_SUBSCRIBE)], 1_000)
    assert full() == consents
    assert (True, "") == apply(consents, [("c0/any", UNSUBSCRIBED)], 1_000)
    assert (UNSUBSCRIBED, 1_000) == consents["c0/any"]


def test_an_opt_out_too_many_takes_the_place_of_the_oldest_that_is_none():
    """Refusing it would text somebody who said no."""
    consents = full(0)
    assert (True, TOO_MANY_CONSENTS) == apply(consents, [("new/any", UNSUBSCRIBED)], 1)
    assert CONSENTS_MAX == len(consents)
    assert (UNSUBSCRIBED, 1) == consents["new/any"]
    assert (True, False) == ("c0/any" in consents, "c1/any" in consents)


def test_no_opt_out_is_displaced():
    consents = full(*range(CONSENTS_MAX))
    assert (False, TOO_MANY_CONSENTS) == apply(consents, [("new/any", UNSUBSCRIBED)], 10_000)
    assert full(*range(CONSENTS_MAX)) == consents


def test_a_merge_keeps_the_stricter_state_and_the_later_time():
    into = {"a/any": (UNSUBSCRIBED, 1), "b/any": (SUBSCRIBED, 9), "c/any": (SUBSCRIBED, 2)}
    other = {"a/any": (SUBSCRIBED, 5), "b/any": (DID_NOT_SUBSCRIBE, 3), "d/sms": (SUBSCRIBED, 4)}
    assert (True, "") == merge(into, other)
    expected = {"a/any": (UNSUBSCRIBED, 5), "b/any": (DID_NOT_SUBSCRIBE, 9), "c/any": (SUBSCRIBED, 2)}
    assert expected | {"d/sms": (SUBSCRIBED, 4)} == into
    assert (False, "") == merge(into, other)


def test_a_merge_of_too_many_keeps_the_strictest():
    into, other = full(), {f"o{number}/any": (UNSUBSCRIBED, number) for number in range(10)}
    assert (True, TOO_MANY_CONSENTS) == merge(into, other)
    assert CONSENTS_MAX == len(into)
    assert other == {key: each for key, each in into.items() if each[0] == UNSUBSCRIBED}
    assert {f"c{number}/any" for number in range(10)}.isdisjoint(into)


# Whether a message may go

COVERING = ["marketing/sms", "marketing/any", "any/sms", "any/any"]
ASIDE = ["marketing/whatsapp", "news/sms", "news/any", "any/whatsapp", "Marketing/sms"]


@pytest.mark.parametrize("mode", [OPT_OUT, OPT_IN])
@pytest.mark.parametrize("key", COVERING)
def test_an_opt_out_holds_wherever_it_covers_the_message(key, mode):
    """Though a more specific consent says otherwise."""
    known = dict.fromkeys(COVERING, SUBSCRIBED)
    assert "" == may_send(known, mode=mode)
    assert OPTED_OUT == may_send(known | {key: UNSUBSCRIBED}, mode=mode)


@pytest.mark.parametrize("key", ASIDE)
def test_an_opt_out_of_something_else_is_none(key):
    assert "" == may_send({key: UNSUBSCRIBED})
    assert "" == may_send({key: UNSUBSCRIBED, "marketing/sms": SUBSCRIBED}, mode=OPT_IN)


@pytest.mark.parametrize("channel", ["sms", "mms", "rcs"])
def test_sms_stands_for_mms_and_rcs(channel):
    """RCS falls back to SMS, and all three arrive in one thread."""
    assert OPTED_OUT == may_send({"any/sms": UNSUBSCRIBED}, channel=channel)
    assert "" == may_send({"any/whatsapp": UNSUBSCRIBED}, channel=channel)
    assert "" == may_send({"marketing/sms": SUBSCRIBED}, channel=channel, mode=OPT_IN)


def test_whatsapp_is_asked_apart():
    assert OPTED_OUT == may_send({"any/whatsapp": UNSUBSCRIBED}, channel="whatsapp")
    assert "" == may_send({"any/sms": UNSUBSCRIBED}, channel="whatsapp")
    assert NOT_OPTED_IN == may_send({"marketing/sms": SUBSCRIBED}, channel="whatsapp", mode=OPT_IN)


@pytest.mark.parametrize("mode", [OPT_OUT, OPT_IN])
def test_without_a_category_only_refusals_of_every_category_count(mode):
    """A receipt needs no consent; but who wants nothing at all on a channel gets nothing at all."""
    assert "" == may_send({"marketing/sms": UNSUBSCRIBED, "any/sms": DID_NOT_SUBSCRIBE}, category="", mode=mode)
    assert "" == may_send({}, category="", mode=mode, own={"": False})
    assert OPTED_OUT == may_send({"any/sms": UNSUBSCRIBED}, category="", mode=mode)
    assert OPTED_OUT == may_send({"any/any": UNSUBSCRIBED}, category="", mode=mode)


def test_opt_out_takes_silence_for_consent():
    assert "" == may_send({})
    assert "" == may_send(dict.fromkeys(COVERING, DID_NOT_SUBSCRIBE))


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({}, NOT_OPTED_IN),
        ({"any/any": SUBSCRIBED}, ""),
        ({"any/sms": SUBSCRIBED}, ""),
        ({"marketing/any": SUBSCRIBED}, ""),
        ({"marketing/sms": SUBSCRIBED}, ""),
        ({"marketing/sms": DID_NOT_SUBSCRIBE, "marketing/any": SUBSCRIBED}, NOT_OPTED_IN),
        ({"marketing/any": DID_NOT_SUBSCRIBE, "any/sms": SUBSCRIBED}, NOT_OPTED_IN),
        ({"any/sms": DID_NOT_SUBSCRIBE, "any/any": SUBSCRIBED}, NOT_OPTED_IN),
        ({"marketing/sms": SUBSCRIBED, "marketing/any": DID_NOT_SUBSCRIBE}, ""),
        ({"marketing/any": SUBSCRIBED, "any/sms": DID_NOT_SUBSCRIBE}, ""),
        ({"any/sms": SUBSCRIBED, "any/any": DID_NOT_SUBSCRIBE}, ""),
        ({"news/sms": SUBSCRIBED, "marketing/whatsapp": SUBSCRIBED}, NOT_OPTED_IN),
    ],
)
def test_opt_in_asks_the_most_specific_consent_that_is_known(known, expected):
    assert expected == may_send(known, mode=OPT_IN)


@pytest.mark.parametrize("mode", [OPT_OUT, OPT_IN])
def test_a_refusal_that_the_event_carries_holds_for_it(mode):
    known = {"marketing/sms": SUBSCRIBED}
    assert OPTED_OUT == may_send(known, mode=mode, own={"marketing": False})
    assert OPTED_OUT == may_send(known, mode=mode, own={"marketing": "false"})
    assert "" == may_send(known, mode=mode, own={"marketing": True, "news": False})
    assert "" == may_send(known, mode=mode, own={"marketing": []})


def test_an_agreement_that_the_event_carries_is_not_a_persons_word():
    """It says what a page was shown with; only the consent event, a trait, a subscription or a command subscribes."""
    assert NOT_OPTED_IN == may_send({}, mode=OPT_IN, own={"marketing": True})
    assert OPTED_OUT == may_send({"marketing/any": UNSUBSCRIBED}, own={"marketing": True})


@pytest.mark.parametrize("context", [None, 5, [], {"consent": 5}, {"consent": {"categoryPreferences": [False]}}])
def test_preferences_of_another_shape_are_none(context):
    assert {} == preferences({"context": context})


def test_preferences_are_those_of_the_event():
    assert {"a": False} == preferences(updated({"a": False}))


def test_a_filter_sees_each_consent_as_it_was_stated():
    consents = {"marketing/sms": (SUBSCRIBED, 5), "marketing/any": (DID_NOT_SUBSCRIBE, 6), "a/b/any": (UNSUBSCRIBED, 7)}
    seen = view(consents)
    assert {"marketing": {"sms": SUBSCRIBED, "any": DID_NOT_SUBSCRIBE}, "a/b": {"any": UNSUBSCRIBED}} == seen
    scope = {"profile": {"consent": seen}}
    assert compile_filter('profile.consent.marketing.sms = "subscribed"')(scope)
    assert compile_filter('profile.consent.marketing.any != "subscribed"')(scope)
    assert compile_filter("profile.consent.news.sms = null")(scope)
