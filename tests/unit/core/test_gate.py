"""May a message leave: what bars it for ever, and until when hours and limits have it wait."""

import pytest
from msgspec.structs import replace

from streamer.core.consent import OPT_IN, ConsentRules
from streamer.core.gate import (
    HELD_FOR_CHARS_MAX,
    NOT_ALLOWED,
    OF_NUMBER,
    OF_SENDER,
    Bar,
    Standing,
    Wait,
    barred,
    draw_of,
    held_for,
    judge,
    waits,
)
from streamer.core.limits import Limit
from streamer.core.people import People
from streamer.core.rules import RuleSet
from streamer.core.sends import LIMIT, QUIET
from streamer.core.state import Person
from streamer.core.suppressions import EMPTY, STOPPED, Suppressions, key_of
from tests.unit.core.policy_town import DAY_MS, DAYTIME, HOUR_MS, PHONE, common, due, mapping, town
from tests.unit.core.town import NOW_MS, track

HOURLY = Limit(1, "1h", 3600.0, "all")
DAILY = Limit(1, "day", 0.0, "all")
SEND = due(town(mapping()), track(1)).due[0]
NEVER = {"open": {"daily": "09:00-18:00"}, "holidays": [f"{m:02}-{d:02}" for m in range(1, 13) for d in range(1, 32)]}


def never():
    """Hours of which every day is a holiday."""
    short = {"04-31", "06-31", "09-31", "11-31", "02-30", "02-31"}
    return {**NEVER, "holidays": [day for day in NEVER["holidays"] if day not in short], "zone": "UTC"}


def asked(rule, person=None, now_ms=NOW_MS, stops=EMPTY, send=SEND, rules=None, **more):
    return judge(person or Person(), send, rule, Standing(rules or RuleSet.of([rule]), stops, now_ms, **more))


def of(*limits, hours=None, **keys):
    return mapping(common=common(*limits, hours=hours), **keys)


# ── barred ────────────────────────────────────────────────────────────────


def test_what_no_policy_holds_leaves():
    assert asked(mapping()) is None


@pytest.mark.parametrize(("numbers", "found"), [({PHONE}, None), ({"+15550001"}, Bar(NOT_ALLOWED))])
def test_only_numbers_that_are_allowed_are_sent_to(numbers, found):
    allowed = common(allow_numbers=frozenset(numbers))
    rule = mapping(common=allowed)
    assert found == asked(rule, rules=RuleSet.of([rule], common=allowed))


@pytest.mark.parametrize(("group", "found"), [("shop", Bar(STOPPED)), ("*", Bar(STOPPED)), ("second", None)])
def test_a_stop_holds_for_the_group_of_the_sender(group, found):
    stops = Suppressions()
    stops.put(key_of(PHONE, group), b"{}")
    assert found == asked(mapping(), stops=stops)


def test_a_released_one_is_barred_all_the_same():
    stops = Suppressions()
    stops.put(key_of(PHONE, "*"), b"{}")
    assert Bar(STOPPED) == asked(mapping(), stops=stops, send=replace(SEND, is_released=True))


def test_a_refusal_of_consent_bars_and_an_exempt_category_is_not_asked():
    person = Person(consent={"any/any": ("unsubscribed", NOW_MS)})
    exempt = common(exempt={"service": frozenset({"consent"})})
    assert Bar("opted_out") == asked(mapping(category="news"), person)
    assert asked(mapping(category="service", common=exempt), person) is None


def test_who_has_to_opt_in_and_did_not_gets_nothing_that_has_a_category():
    people = People(consent=ConsentRules(OPT_IN))
    rule, other = mapping(category="news"), mapping("b")
    rules = RuleSet.of([rule, other], people=people)
    assert Bar("not_opted_in") == asked(rule, rules=rules)
    assert asked(other, rules=rules) is None


def test_the_record_of_a_sender_knows_no_consent():
    people = People(consent=ConsentRules(OPT_IN))
    rule = mapping(category="news")
    assert asked(rule, rules=RuleSet.of([rule], people=people), whose=OF_SENDER) is None


def test_of_a_mapping_that_is_no_more_only_what_holds_for_all_is_asked():
    allowed = common(allow_numbers=frozenset())
    assert Bar(NOT_ALLOWED) == barred(Person(), SEND, None, Standing(RuleSet.of([], common=allowed), EMPTY, NOW_MS))
    assert barred(Person(), SEND, None, Standing(RuleSet.of([]), EMPTY, NOW_MS)) is None


# ── hours ─────────────────────────────────────────────────────────────────


def test_outside_of_its_hours_it_waits_for_the_opening_in_the_persons_zone():
    send = replace(SEND, zone="Europe/Berlin")
    assert Wait(NOW_MS + 8 * HOUR_MS, QUIET, "in Europe/Berlin") == asked(of(hours=DAYTIME), send=send)
    assert asked(of(hours=DAYTIME), send=send, now_ms=NOW_MS + 8 * HOUR_MS) is None


def test_without_a_zone_those_of_the_number_are_asked():
    assert Wait(NOW_MS + 14 * HOUR_MS, QUIET, "in America/New_York") == asked(of(hours=DAYTIME))


def test_only_three_of_many_zones_are_named():
    send = replace(SEND, message=replace(SEND.message, to="+61412345678"))
    found = asked(of(hours=DAYTIME), send=send, now_ms=NOW_MS + 12 * HOUR_MS)
    assert found.detail.endswith("and 5 more")


def test_what_is_held_leaves_spread_over_a_time_at_its_own_place():
    rule = of(hours={**DAYTIME, "spread": "1h"})
    send = replace(SEND, zone="UTC")
    expected = NOW_MS + 9 * HOUR_MS + int(draw_of(send.id) * HOUR_MS)
    assert expected == asked(rule, send=send).until_ms
    assert expected == asked(rule, send=send, now_ms=NOW_MS + HOUR_MS).until_ms
    assert 0 <= draw_of(b"") < 1


def test_closed_hours_may_drop():
    found = asked(of(hours={**DAYTIME, "when_closed": "drop"}))
    assert Bar(QUIET, "closed, and when_closed is drop") == found


def test_hours_that_never_open_hold_nothing_for_ever():
    assert Bar(QUIET, "never open") == asked(of(hours=never()))


def test_an_exempt_category_leaves_at_any_hour():
    exempt = common(HOURLY, hours=DAYTIME, exempt={"service": frozenset({"quiet_hours", "limits"})})
    person = Person(counted={"m/": [NOW_MS]})
    assert asked(mapping(category="service", common=exempt), person) is None


def test_a_released_one_leaves_at_any_hour_and_whatever_was_sent():
    person = Person(counted={"m/": [NOW_MS]})
    assert asked(of(HOURLY, hours=DAYTIME), person, send=replace(SEND, is_released=True)) is None


# ── limits, and both ──────────────────────────────────────────────────────


def test_a_full_limit_has_it_wait_until_it_is_not():
    person = Person(counted={"m/": [NOW_MS - HOUR_MS + 1]})
    assert Wait(NOW_MS + 1, LIMIT, "1 per 1h over all") == asked(of(HOURLY), person)
    assert asked(of(HOURLY), person, now_ms=NOW_MS + 1) is None


def test_a_limit_may_drop():
    person = Person(counted={"m/": [NOW_MS]})
    assert Bar(LIMIT, "1 per 1h over all") == asked(of(replace(HOURLY, is_dropped=True)), person)


def test_a_limit_that_drops_is_asked_for_when_the_hours_are_open():
    """What waits for the morning is counted in the morning."""
    person = Person(counted={"m/": [NOW_MS]})
    rule = of(replace(HOURLY, is_dropped=True), hours=DAYTIME)
    found = asked(rule, person, send=replace(SEND, zone="UTC"))
    assert Wait(NOW_MS + 9 * HOUR_MS, QUIET, "in UTC") == found


def test_hours_that_are_closed_when_the_limit_ends_put_it_off_to_their_opening():
    """Each alone would name a time at which the other holds."""
    send = replace(SEND, zone="UTC")
    person = Person(counted={"m/": [NOW_MS + 17 * HOUR_MS + HOUR_MS // 2]})
    found = asked(of(HOURLY, hours=DAYTIME), person, now_ms=NOW_MS + 17 * HOUR_MS + HOUR_MS // 2, send=send)
    assert Wait(NOW_MS + DAY_MS + 9 * HOUR_MS, QUIET, "in UTC") == found


def test_a_limit_that_is_full_at_the_opening_puts_it_off_to_its_end():
    send = replace(SEND, zone="UTC")
    person = Person(counted={"m/": [NOW_MS - 13 * HOUR_MS]})
    found = asked(of(Limit(1, "1d", 86_400.0, "all"), hours=DAYTIME), person, send=send)
    assert Wait(NOW_MS + 11 * HOUR_MS, LIMIT, "1 per 1d over all") == found


def test_a_day_that_is_full_ends_at_midnight_and_the_next_ones_hours_begin_later():
    send = replace(SEND, zone="UTC")
    person = Person(counted={"m/": [NOW_MS + 9 * HOUR_MS]})
    found = asked(of(DAILY, hours=DAYTIME), person, now_ms=NOW_MS + 10 * HOUR_MS, send=send)
    assert Wait(NOW_MS + DAY_MS + 9 * HOUR_MS, QUIET, "in UTC") == found


def test_what_first_waits_for_a_limit_is_not_dropped_for_hours_yet():
    """That is decided when it may leave by the limit."""
    send = replace(SEND, zone="UTC")
    person = Person(counted={"m/": [NOW_MS + 17 * HOUR_MS + HOUR_MS // 2]})
    rule = of(HOURLY, hours={**DAYTIME, "when_closed": "drop"})
    found = asked(rule, person, now_ms=NOW_MS + 17 * HOUR_MS + HOUR_MS // 2, send=send)
    assert Wait(NOW_MS + 18 * HOUR_MS + HOUR_MS // 2, LIMIT, "1 per 1h over all") == found
    assert Bar is type(asked(rule, person, now_ms=found.until_ms, send=send))


def test_what_hours_and_limits_put_off_for_ever_is_asked_again_after_some_rounds():
    """An opening of a minute a day, and a limit that is always full at it: it ends by its max_age."""
    rule = of(Limit(1, "31d", 31 * 86_400.0, "all"), hours={"open": {"daily": "09:00-09:01"}, "zone": "UTC"})
    found = waits(Person(counted={"m/": [NOW_MS]}), SEND, rule, Standing(RuleSet.of([rule]), EMPTY, NOW_MS))
    assert found.until_ms >= NOW_MS + 31 * DAY_MS


@pytest.mark.parametrize("whose", [OF_SENDER, OF_NUMBER])
def test_the_limits_of_a_person_are_not_asked_of_another_record(whose):
    person = Person(counted={"m/": [NOW_MS]})
    assert asked(of(HOURLY), person, whose=whose) is None


# ── what outcomes say ─────────────────────────────────────────────────────


def test_each_policy_that_something_waited_for_is_told_once_and_shortly():
    told = held_for("", QUIET, "in UTC")
    assert "quiet_hours" == told
    told = held_for(told, LIMIT, "1 per 1h over all")
    assert "quiet_hours, limit 1 per 1h over all" == told
    assert told == held_for(told, QUIET) == held_for(told, LIMIT, "1 per 1h over all")
    assert HELD_FOR_CHARS_MAX == len(held_for("x" * 300, QUIET))
