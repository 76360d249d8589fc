"""In which country a national number is read, and who said so."""

import pytest

from streamer.core.phone_region import Numbers, Region, region_fault, region_of

NUMBERS = Numbers(Region("US", "defaults.region"))


def scope(traits=None, context=None):
    return {"type": "track", "context": context, "profile": {"traits": traits or {}}}


@pytest.mark.parametrize(
    ("traits", "context", "expected"),
    [
        ({"country": "GB"}, {"locale": "de-DE"}, ("GB", "profile.traits.country")),
        ({"country": " gb "}, None, ("GB", "profile.traits.country")),
        ({"country": "uk"}, None, ("GB", "profile.traits.country")),
        ({"country": "FR", "address": {"country": "DE"}}, None, ("FR", "profile.traits.country")),
        ({"address": {"country": "de"}}, {"locale": "en-GB"}, ("DE", "profile.traits.address.country")),
        ({"country": "Germany", "address": {"country": "DE"}}, None, ("DE", "profile.traits.address.country")),
        ({"country": "XX", "address": "12 High St"}, {"locale": "en-GB"}, ("GB", "context.locale")),
        ({"country": 44}, {"locale": "en-GB"}, ("GB", "context.locale")),
        ({}, {"locale": "en"}, None),
        ({"country": ""}, {"locale": 5}, None),
        ({"country": "G" * 100_000}, "en-GB", None),
        (None, None, None),
    ],
)
def test_the_person_says_it_before_the_event_and_nonsense_is_passed_over(traits, context, expected):
    assert expected == region_of(scope(traits, context))


@pytest.mark.parametrize(
    ("locale", "expected"),
    [
        ("en-GB", "GB"),
        ("en_gb", "GB"),
        ("de-CH-1996", "CH"),
        ("zh-Hans-CN", "CN"),
        ("zh-yue-Hant-HK", "HK"),
        ("en_US.UTF-8", "US"),
        ("pt-BR-u-nu-latn", "BR"),
        ("es-419", ""),
        ("zh-Hans", ""),
        ("en-XX", ""),
        ("en", ""),
        ("DE", ""),
        ("en-GBR", ""),
        ("x-GB", ""),
        ("", ""),
    ],
)
def test_a_locale_has_its_two_letter_region_part_or_none(locale, expected):
    """A language alone is no country: en is spoken in most of them."""
    found = region_of({"context": {"locale": locale}})
    assert expected == (found.code if found else "")


def test_without_a_word_of_person_or_event_the_mapping_says_it():
    phone, region = NUMBERS.read("(415) 555-2671", scope())
    assert ("+14155552671", Region("US", "defaults.region")) == (phone.e164, region)
    phone, region = NUMBERS.read("07911 123456", scope({"country": "GB"}))
    assert ("+447911123456", Region("GB", "profile.traits.country")) == (phone.e164, region)


@pytest.mark.parametrize(
    ("raw", "context", "is_strict", "expected"),
    [
        ("079", {"locale": "en-GB"}, False, "too_short, read in GB (context.locale)"),
        ("079", None, False, "too_short, read in US (defaults.region)"),
        ("+1415", {"locale": "en-GB"}, False, "too_short"),
        ("n/a", {"locale": "en-GB"}, False, "not_a_number"),
        ("(555) 867-5310", None, True, "not_valid, read in US (defaults.region)"),
        ("+15558675310", None, True, "not_valid"),
        ("+15558675310", None, False, ""),
    ],
)
def test_a_fault_says_where_a_number_was_read_and_not_the_number(raw, context, is_strict, expected):
    numbers = Numbers(NUMBERS.region, is_strict)
    assert expected == numbers.fault(*numbers.read(raw, scope(context=context)))


@pytest.mark.parametrize(("value", "says"), [("us", 'mean "US"'), ("uk", 'mean "GB"'), ("XX", "ISO"), (44, "ISO")])
def test_a_region_in_a_configuration_is_two_capital_letters(value, says):
    assert "" == region_fault("US")
    assert says in region_fault(value)
