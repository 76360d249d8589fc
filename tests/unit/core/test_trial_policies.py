"""A trial shows what each policy asks and saw, in the order in which they are asked."""

import msgspec
import pytest

from streamer.core.channels import Sender
from streamer.core.consent import ConsentRules
from streamer.core.people import People
from streamer.core.policies import Common
from streamer.core.quiet_hours import compile_quiet_hours
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import RuleDefaults, RuleSet
from streamer.core.trial import HOLD, SEND, SUPPRESS, attempt

NOW_MS = 1_772_537_400_000  # 2026-03-03T11:30:00Z: 06:30 in New York, 12:30 in Berlin
PHONE = "+12125550101"
SENDERS = {
    "shop": Sender("shop", "main", number="+15550006789"),
    "chat": Sender("chat", "main", number="+15550006790", channels=("whatsapp",)),
}
HOURS = {"open": {"daily": "08:00-21:00"}, "zone": "America/New_York"}


def tried(*, common=None, mode="opt_out", traits=(), context=None, **keys):
    """The one trial of a mapping with these keys, of an event of u:1 at NOW_MS."""
    common = common or Common()
    document = {"when": 'event = "x"', "send": {"from": "shop", "body": "Hi"}, **keys}
    rule = compile_rule("m", document, SENDERS, RuleDefaults("US", "shop", 86_400.0, common=common))
    people = People(consent=ConsentRules(mode, {"sms_yes": "news/sms"}))
    event = {"type": "track", "event": "x", "userId": "1", "properties": {"order": 7}, "context": context or {}}
    value = msgspec.json.encode({**event, "timestamp": "2026-03-03T11:30:00Z"})
    [trial] = attempt(value, {"phone": PHONE, **dict(traits)}, RuleSet.of([rule], None, people, common=common), NOW_MS)
    return trial


def gate(trial, name):
    """Whether the one gate of a name passed, and what is said of it."""
    [found] = [each for each in trial.gates if each.name == name]
    return found.passed, found.said


def names(trial):
    return [each.name for each in trial.gates]


def test_policies_stand_where_they_are_asked():
    common = Common(allow_numbers=frozenset({PHONE}))
    trial = tried(
        common=common,
        category="news",
        holdout={"share": "1%", "group": "g"},
        cancel_when={"event": "y", "key": "properties.order"},
        collapse={"wait": "10m"},
        quiet_hours=HOURS,
        limits=[{"count": 1, "per": "day"}, {"count": 2, "per": "1h", "over": "category"}],
        **{"else": [{"send": {"from": "chat", "channel": "whatsapp", "body": "Hi"}}]},
    )
    asked = ["max_age", "holdout", "cancel_when", "consent", "collapse"]
    then = ["allow_numbers", "quiet_hours", "limit: 1 per day over mapping", "limit: 2 per 1h over category", "else 1"]
    rest = [each for each in names(trial) if not each.startswith(("when", "filters", "send.", "number"))]
    assert [*asked, *then] == rest
    at = names(trial).index
    assert at("collapse") < at("send.to") < at("send.body") < at("allow_numbers")


def test_a_mapping_without_policies_has_no_gates_of_them():
    assert not {"holdout", "consent", "collapse", "quiet_hours", "allow_numbers", "cancel_when"} & set(names(tried()))


@pytest.mark.parametrize(("share", "is_sent"), [("99.9999%", False), ("0.0001%", True)])
def test_the_holdout_says_whether_the_person_is_of_it(share, is_sent):
    trial = tried(holdout={"share": share, "group": "spring"})
    not_ = "not " if is_sent else ""
    assert (is_sent, f"{not_}among the {share[:-1]} % of people that spring holds out") == gate(trial, "holdout")
    assert ((SEND, "") if is_sent else (SUPPRESS, "holdout")) == (trial.verdict, trial.reason)


def test_what_could_cancel_a_message_is_said_and_whether_anything_can():
    by_order = tried(cancel_when={"event": "Cancelled", "key": "properties.order"})
    assert (True, "Cancelled with properties.order '7' would end it") == gate(by_order, "cancel_when")
    by_none = tried(cancel_when={"event": "Cancelled", "key": "properties.none"})
    assert (True, "nothing can end it: no value at properties.none") == gate(by_none, "cancel_when")
    assert SEND == by_none.verdict


def test_consent_says_what_is_stated_and_traits_of_the_profile_state_it():
    silent = tried(mode="opt_in", category="news")
    assert ((False, "news, opt_in: nothing stated"), SUPPRESS) == (gate(silent, "consent"), silent.verdict)
    agreed = tried(mode="opt_in", category="news", traits={"sms_yes": True})
    assert ((True, "news, opt_in: news/sms subscribed"), SEND) == (gate(agreed, "consent"), agreed.verdict)
    refused = tried(category="news", traits={"sms_yes": "no"})
    assert (False, "news, opt_out: news/sms unsubscribed") == gate(refused, "consent")


def test_what_a_category_is_exempt_from_is_said_and_not_asked():
    common = Common(exempt={"orders": frozenset({"consent", "quiet_hours"})}, quiet=compile_quiet_hours(HOURS, {}))
    trial = tried(common=common, category="orders", mode="opt_in")
    assert (True, "orders, exempt from consent, quiet_hours") == gate(trial, "category")
    assert not {"consent", "quiet_hours"} & set(names(trial))
    assert SEND == trial.verdict


@pytest.mark.parametrize(
    ("traits", "context", "said"),
    [
        ({"timezone": "Europe/Berlin"}, {"timezone": "Asia/Tokyo"}, "open in Europe/Berlin (trait)"),
        ({}, {"timezone": "Europe/Berlin"}, "open in Europe/Berlin (context)"),
        ({"timezone": "Berlin"}, {}, "closed, opens 2026-03-03T13:00:00Z in America/New_York (number)"),
        (
            {"phone": "+18005550199"},
            {},
            "closed, opens 2026-03-03T22:00:00Z in America/Adak, America/Anchorage, America/Anguilla and 39 more "
            "(number)",
        ),
        ({"phone": "+88213000000"}, {}, "closed, opens 2026-03-03T13:00:00Z in America/New_York (default)"),
    ],
)
def test_quiet_hours_say_whether_they_are_open_in_which_zones_and_who_named_them(traits, context, said):
    trial = tried(quiet_hours=HOURS, traits=traits, context=context)
    assert (said.startswith("open"), said) == gate(trial, "quiet_hours")
    assert trial.verdict == (SEND if said.startswith("open") else HOLD)


def test_the_hours_asked_are_those_at_which_the_message_would_leave():
    delayed = tried(quiet_hours=HOURS, send={"from": "shop", "body": "Hi", "delay": "2h"})
    assert (True, "at 2026-03-03T13:30:00Z open in America/New_York (number)") == gate(delayed, "quiet_hours")
    collected = tried(quiet_hours=HOURS, collapse={"wait": "90m"})
    assert (True, "at 2026-03-03T13:00:00Z open in America/New_York (number)") == gate(collected, "quiet_hours")


def test_a_dropped_message_shows_the_hours_that_drop_it():
    trial = tried(quiet_hours={**HOURS, "when_closed": "drop"})
    assert (SUPPRESS, "quiet_hours", False) == (trial.verdict, trial.reason, gate(trial, "quiet_hours")[0])


def test_every_limit_is_shown_with_its_count_unless_it_is_of_a_category_and_there_is_none():
    limits = [{"count": 3, "per": "week", "over": "all", "when_full": "drop"}]
    common = Common(limits=tried_limits([{"count": 1, "per": "day", "over": "category"}]))
    trial = tried(common=common, limits=limits)
    assert (True, "0 of 3 counted, in a trial") == gate(trial, "limit: 3 per week over all")
    assert "limit: 1 per day over category" not in names(trial)


def tried_limits(written):
    document = {"when": 'event = "x"', "category": "c", "send": {"from": "shop", "body": "Hi"}, "limits": written}
    return compile_rule("m", document, SENDERS, RuleDefaults("US", "shop", 1.0)).policies.limits


def test_a_burst_of_one_fills_the_message_that_is_shown():
    trial = tried(
        collapse={"key": "properties.order", "wait": "10m", "keep": "count"}, send={"body": "{{collapse.count}}"}
    )
    assert (True, "those of properties.order '7' within 600 s become one, keep count") == gate(trial, "collapse")
    assert (HOLD, "collecting", "1") == (trial.verdict, trial.reason, trial.message.body)
    assert all(each.passed for each in trial.gates)


def test_what_is_tried_instead_says_whether_it_can_be_made_and_stops_nothing():
    others = [
        {"on": ["recipient"], "send": {"from": "chat", "channel": "whatsapp", "body": "Hi"}},
        {"send": {"from": "shop", "body": "{{properties.none}}"}},
    ]
    trial = tried(**{"else": others})
    assert (True, "on recipient: whatsapp from chat") == gate(trial, "else 1")
    is_made, said = gate(trial, "else 2")
    assert (False, True) == (is_made, said.startswith("on recipient, message, stop: no message, missing_value"))
    assert SEND == trial.verdict


def test_a_number_that_is_not_allowed_is_said_without_naming_any():
    trial = tried(common=Common(allow_numbers=frozenset({"+12125550199"})))
    assert (False, "none of 1") == gate(trial, "allow_numbers")
    assert (SUPPRESS, "not_allowed") == (trial.verdict, trial.reason)
