"""The zones and the country of a number, and which texts name a zone."""

import zoneinfo

import pytest
from phonenumbers.tzdata import TIMEZONE_DATA

from streamer.core.zones import country_of_number, zone_named, zone_names, zone_of, zones_of_number

BRITISH = ("Europe/Guernsey", "Europe/Isle_of_Man", "Europe/Jersey", "Europe/London")
NO_NUMBERS = ["", "+", "+1", "911", "+44", "hello", "+4479111234567890123", "+44" * 1_000, "12122001234"]


@pytest.fixture
def no_system_zones():
    """A machine whose only time zones are those of the tzdata package."""
    zoneinfo.reset_tzpath(to=())
    yield
    zoneinfo.reset_tzpath()


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("+12122001234", ("America/New_York",)),
        ("+18503852000", ("America/New_York",)),
        ("+18502342000", ("America/Chicago",)),
        ("+447911123456", BRITISH),
        ("+8821612345678", ()),
    ],
)
def test_a_number_has_every_zone_that_it_could_be_in(number, expected):
    """An area code that is split has the zone of its exchange."""
    assert expected == zones_of_number(number)


def test_a_toll_free_number_could_be_anywhere_in_its_plan():
    zones = zones_of_number("+18002345678")
    assert {"America/New_York", "America/St_Johns", "Pacific/Guam", "Pacific/Honolulu"} < set(zones)
    assert sorted(zones) == list(zones)


@pytest.mark.parametrize("number", NO_NUMBERS)
def test_what_is_no_number_has_neither_zone_nor_country(number):
    assert () == zones_of_number(number)
    assert "" == country_of_number(number)


def test_every_zone_of_the_number_plans_has_a_clock():
    """One that had none would be left out of those that must agree."""
    named = {zone for zones in TIMEZONE_DATA.values() for zone in zones} - {"Etc/Unknown"}
    assert set() == named - zone_names()
    for zone in named:
        assert zone == zone_of(zone).key


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("+12122001234", "us"),
        ("+14162001234", "ca"),
        ("+18762001234", "jm"),
        ("+18002345678", "us"),
        ("+447400123456", "gb"),
        ("+447911123456", "gg"),  # a mobile of Guernsey
        ("+8821612345678", ""),
    ],
)
def test_a_number_has_the_country_of_its_area_code(number, expected):
    assert expected == country_of_number(number)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (("Europe/Berlin", "America/New_York"), "Europe/Berlin"),
        ((None, "America/New_York"), "America/New_York"),
        (("PST8", "Europe/Berlin"), "Europe/Berlin"),
        (("Etc/Unknown", "UTC"), "UTC"),
        (("PST8PDT",), "PST8PDT"),
        (("../etc/passwd", "/etc/passwd", "Europe/../Europe/Berlin", "Europe"), ""),
        (("europe/berlin", " Europe/Berlin", "Europe/Berlin\0", "Europe/Berlin/"), ""),
        ((["Europe/Berlin"], {"Europe/Berlin": 1}, 1, 1.5, True), ""),
        (("E" * 100_000, ""), ""),
        ((), ""),
    ],
)
def test_the_first_value_that_names_a_zone_is_taken_and_all_else_is_passed_over(values, expected):
    assert expected == zone_named(*values)


@pytest.mark.parametrize("name", ["localtime", "posixrules", "posix/UTC", "right/UTC", "Factory", "tzdata.zi"])
def test_what_is_a_zone_on_one_machine_only_is_none(name):
    """The same event would be decided otherwise on another."""
    assert "" == zone_named(name)


def test_the_packaged_zones_are_enough(no_system_zones):
    assert {"Europe/Berlin", "Pacific/Apia", "UTC"} < zone_names.__wrapped__()
    assert "Pacific/Apia" == zoneinfo.ZoneInfo.no_cache("Pacific/Apia").key
