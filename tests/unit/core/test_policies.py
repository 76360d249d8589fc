"""What a mapping and the configuration ask of messages, compiled: every fault with its path, at once."""

import pytest

from streamer.core.limits import COUNT_MAX, Limit
from streamer.core.policies import (
    GROUP_CHARS_MAX,
    LIMITS_MAX,
    Common,
    Holdout,
    Policies,
    compile_limits,
    compile_policies,
    quiet_of,
    timezone_fault,
)
from streamer.core.quiet_hours import compile_quiet_hours
from streamer.errors import MappingError
from tests.unit.core.policy_town import DAYTIME, mapping

HOURS = compile_quiet_hours(DAYTIME, {})
LIMIT = Limit(2, "1d", 86_400.0, "all")


def faults(**keys):
    with pytest.raises(MappingError) as caught:
        mapping(**keys)
    return dict(caught.value.faults)


def policies(category="", common=None, **keys):
    found = []
    compiled = compile_policies("m", keys, category, common or Common(), lambda *fault: found.append(fault))
    assert [] == found
    return compiled


# ── limits ────────────────────────────────────────────────────────────────


def test_a_limit_is_of_its_mapping_and_holds_unless_it_says_otherwise():
    assert (Limit(1, "1h", 3600.0, "mapping"),) == policies(limits=[{"count": 1, "per": "1h"}]).limits
    [dropping] = policies(limits=[{"count": 1, "per": "week", "over": "all", "when_full": "drop"}]).limits
    assert Limit(1, "week", 0.0, "all", is_dropped=True) == dropping


def test_those_of_the_configuration_go_before_a_mappings_own_and_a_numbers_apart():
    own = [{"count": 1, "per": "day"}, {"count": 3, "per": "1h", "over": "number"}]
    found = policies(common=Common(limits=(LIMIT,)), limits=own)
    assert (LIMIT, Limit(1, "day", 0.0, "mapping")) == found.limits
    assert (Limit(3, "1h", 3600.0, "number"),) == found.number_limits


@pytest.mark.parametrize(
    ("limit", "path", "text"),
    [
        ("1 per day", "limits.0", "must be an object, as in {count: 1, per: day, over: category}"),
        ({"per": "day"}, "limits.0.count", f"must be a whole number from 1 to {COUNT_MAX}: so many messages"),
        ({"count": 0, "per": "day"}, "limits.0.count", None),
        ({"count": COUNT_MAX + 1, "per": "day"}, "limits.0.count", None),
        ({"count": True, "per": "day"}, "limits.0.count", None),
        ({"count": 1.5, "per": "day"}, "limits.0.count", None),
        ({"count": "1", "per": "day"}, "limits.0.count", None),
        ({"count": 1}, "limits.0.per", None),
        (
            {"count": 1, "per": "month"},
            "limits.0.per",
            "must be day or week, of the person's calendar, or any such time as 1h or 24h",
        ),
        ({"count": 1, "per": "0s"}, "limits.0.per", "must be longer than nothing, and at most 31 days"),
        ({"count": 1, "per": "32d"}, "limits.0.per", "must be longer than nothing, and at most 31 days"),
        (
            {"count": 1, "per": "day", "over": "categories"},
            "limits.0.over",
            "must be one of mapping, category, all, number; did you mean 'category'?",
        ),
        (
            {"count": 1, "per": "day", "over": "category"},
            "limits.0.over",
            "the mapping has no category; give it one, or count over mapping or all",
        ),
        ({"count": 1, "per": "day", "when_full": "wait"}, "limits.0.when_full", "must be hold (the default) or drop"),
        ({"count": 1, "per": "day", "window": 1}, "limits.0.window", None),
    ],
)
def test_a_faulty_limit_is_told_by_its_path(limit, path, text):
    [(at, said)] = faults(limits=[limit]).items()
    assert path == at
    assert text in (said, None)


def test_all_faults_of_a_limit_are_told_at_once():
    found = faults(limits=[{"count": 1, "per": "day"}, {"count": 0, "per": "x", "over": "y", "when_full": "z", "k": 1}])
    paths = {f"limits.1.{key}" for key in ("count", "per", "over", "when_full", "k")}
    assert paths == found.keys()


def test_limits_are_a_list_of_a_few():
    assert {"limits": "must be a list, as in [{count: 1, per: day, over: category}]"} == faults(limits={"count": 1})
    many = [{"count": 1, "per": "day"}] * (LIMITS_MAX + 1)
    assert {"limits": f"{LIMITS_MAX + 1} limits; at most {LIMITS_MAX}"} == faults(limits=many)
    assert LIMITS_MAX == len(policies(limits=many[:LIMITS_MAX]).limits)


def test_only_so_many_of_a_list_that_is_too_long_are_read():
    found = []
    compile_limits(["x"] * 1_000, "limits", lambda path, _: found.append(path))
    assert 1 + LIMITS_MAX == len(found)


# ── what is exempt ────────────────────────────────────────────────────────

EXEMPT = Common(
    limits=(LIMIT,),
    quiet=HOURS,
    exempt={"service": frozenset({"limits", "quiet_hours", "consent"}), "legal": frozenset({"consent"})},
)


def test_a_category_is_exempt_from_what_the_configuration_says_and_no_more():
    service, legal = policies("service", EXEMPT), policies("legal", EXEMPT)
    assert ((), None, False, False) == (service.limits, service.quiet, service.is_counted, service.needs_consent)
    assert ((LIMIT,), HOURS, True, False) == (legal.limits, legal.quiet, legal.is_counted, legal.needs_consent)


def test_a_mapping_without_a_category_is_exempt_from_nothing():
    found = policies("", Common(limits=(LIMIT,), exempt={"": frozenset({"limits"})}))
    assert ((LIMIT,), True, True) == (found.limits, found.is_counted, found.needs_consent)


def test_a_mapping_must_not_ask_for_what_its_category_is_exempt_from():
    own = {"limits": [{"count": 1, "per": "day"}], "quiet_hours": DAYTIME}
    text = "its category 'service' is exempt from them, by the configuration's `categories`; remove one"
    assert {"limits": text, "quiet_hours": text} == faults(category="service", common=EXEMPT, **own)


def test_a_mappings_own_hours_take_the_place_of_the_configurations():
    other = {"open": {"daily": "10:00-11:00"}, "zone": "UTC"}
    assert compile_quiet_hours(other, {}) == policies(common=EXEMPT, quiet_hours=other).quiet
    assert HOURS == policies(common=EXEMPT).quiet


def test_a_fault_of_the_hours_is_told_by_its_path():
    assert {"quiet_hours.zone"} == faults(quiet_hours={"open": {"daily": "09:00-10:00"}, "zone": "Mars"}).keys()
    assert {"quiet_hours"} == faults(quiet_hours="at night").keys()
    found = []
    assert quiet_of({}, {}, lambda path, _: found.append(path)) is None
    assert {"quiet_hours.open", "quiet_hours.zone"} == set(found)


# ── holdout ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("10%", Holdout(0.1, "m")),
        ("0.5%", Holdout(0.005, "m")),
        ({"share": "50%"}, Holdout(0.5, "m")),
        ({"share": "50%", "group": "spring"}, Holdout(0.5, "spring")),
    ],
)
def test_a_holdout_is_a_share_of_people_by_mapping_or_group(value, found):
    assert found == policies(holdout=value).holdout


@pytest.mark.parametrize("share", ["0%", "100%", "-1%", "10", 10, 0.1, "x%", "", None, True, "nan%"])
def test_a_share_that_is_none_is_a_fault(share):
    assert {"holdout": "must be a share of people, more than 0% and less than 100%, as in 10%"} == faults(holdout=share)


@pytest.mark.parametrize("group", ["", "x" * (GROUP_CHARS_MAX + 1), 1])
def test_a_group_has_a_name(group):
    assert {"holdout.group"} == faults(holdout={"share": "10%", "group": group}).keys()
    assert {"holdout.size"} == faults(holdout={"share": "10%", "size": 1}).keys()


def test_the_same_people_are_held_out_in_all_mappings_of_a_group_and_about_so_many():
    keys = [f"u:{number}" for number in range(2_000)]
    one, other = Holdout(0.1, "spring"), Holdout(0.1, "autumn")
    held = {key for key in keys if one.has(key)}
    assert held == {key for key in keys if Holdout(0.1, "spring").has(key)}
    assert 150 < len(held) < 250
    assert held != {key for key in keys if other.has(key)}
    assert held < {key for key in keys if Holdout(0.2, "spring").has(key)}, "a larger share holds out the same and more"


# ── bursts, and what cancels ──────────────────────────────────────────────


@pytest.mark.parametrize(
    ("collapse", "paths"),
    [
        ("10m", {"collapse"}),
        ({}, {"collapse.wait"}),
        ({"wait": "0s"}, {"collapse.wait"}),
        ({"wait": "25h"}, {"collapse.wait"}),
        ({"wait": "10m", "keep": "all", "k": 1}, {"collapse.keep", "collapse.k"}),
        ({"wait": "10m", "key": "properties"}, {"collapse.key"}),
        ({"wait": "10m", "key": "propertys.id"}, {"collapse.key"}),
        ({"wait": "10m", "key": "profile.traits.x"}, {"collapse.key"}),
        ({"wait": "10m", "key": 5}, {"collapse.key"}),
        ({"wait": "10m", "key": "a..b"}, {"collapse.key"}),
    ],
)
def test_a_faulty_collapse_is_told_by_its_paths(collapse, paths):
    assert paths == faults(collapse=collapse).keys()


def test_a_collapse_needs_no_key_and_keeps_the_last():
    collapse = policies(collapse={"wait": "10m"}).collapse
    assert (None, 600.0, "last") == (collapse.key, collapse.wait_s, collapse.keep)


def test_a_text_must_not_read_a_burst_that_is_none():
    assert {"send": "reads `collapse`, and the mapping has none: add collapse: {wait: 10m}"} == faults(
        body="{{collapse.count}} new"
    )


@pytest.mark.parametrize(
    ("cancel", "paths"),
    [
        ("Cancelled", {"cancel_when"}),
        ({}, {"cancel_when.event", "cancel_when.key"}),
        ({"event": "", "key": "properties.id"}, {"cancel_when.event"}),
        ({"event": 1, "key": "properties.id"}, {"cancel_when.event"}),
        ({"event": "x", "key": "context"}, {"cancel_when.key"}),
        ({"event": "x", "key": "collapse.count"}, {"cancel_when.key"}),
        ({"event": "x", "key": "properties.id", "when": "y"}, {"cancel_when.when"}),
    ],
)
def test_a_faulty_cancel_is_told_by_its_paths(cancel, paths):
    assert paths == faults(cancel_when=cancel).keys()


def test_what_cancels_is_known_by_its_event_its_path_and_its_value():
    first = policies(cancel_when={"event": "x", "key": "properties.id"}).cancel
    hashes = {
        first.hash_of({"properties": {"id": 1}}),
        first.hash_of({"properties": {"id": 2}}),
        policies(cancel_when={"event": "y", "key": "properties.id"}).cancel.hash_of({"properties": {"id": 1}}),
        policies(cancel_when={"event": "x", "key": "properties.no"}).cancel.hash_of({"properties": {"no": 1}}),
    }
    assert 4 == len(hashes)
    assert first.hash_of({"properties": {"id": "1"}}) in hashes
    assert b"" == first.hash_of({"properties": {}})


def test_what_policies_read_of_an_event_is_kept_of_one_that_waits():
    cancel = {"event": "x", "key": "properties.id"}
    assert ("properties.id", "context.timezone") == policies(quiet_hours=DAYTIME, cancel_when=cancel).paths
    assert () == Policies().paths


def test_what_may_wait_or_end_is_held_by_nobody_else():
    assert (False, False) == (Policies().may_wait, Policies().may_end)
    for keys in ({"limits": [{"count": 1, "per": "day"}]}, {"quiet_hours": DAYTIME}):
        assert policies(**keys).may_wait
        assert policies(**keys).may_end
    for keys in ({"collapse": {"wait": "10m"}}, {"cancel_when": {"event": "x", "key": "properties.id"}}):
        assert not policies(**keys).may_wait
        assert policies(**keys).may_end


# ── else ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("others", "paths"),
    [
        ({"send": {}}, {"else"}),
        ([{"send": {"body": "x"}}] * 6, {"else"}),
        (["second"], {"else.0"}),
        ([{}], {"else.0.send"}),
        ([{"send": {"body": "x"}, "when": 1}], {"else.0.when"}),
        ([{"send": {"body": "x"}, "on": []}], {"else.0.on"}),
        ([{"send": {"body": "x"}, "on": "stop"}], {"else.0.on"}),
        ([{"send": {"body": "x"}, "on": ["optout"]}], {"else.0.on"}),
        ([{"send": {"body": "x"}, "on": ["unknown"]}], {"else.0.on"}),
        ([{"send": {"body": "x", "from": "nobody"}}], {"else.0.send.from"}),
        ([{"send": {"body": "x"}}, {"send": {"body": "x", "colour": 1}}], {"else.1.send.colour"}),
    ],
)
def test_a_faulty_else_is_told_by_its_paths(others, paths):
    assert paths == faults(**{"else": others}).keys()


# ── time zones ────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("name", "is_right"), [("Europe/Berlin", True), ("UTC", True), ("Mars", False), ("", False)])
def test_a_time_zone_has_a_name(name, is_right):
    assert is_right == (timezone_fault(name) == "")
