"""Phone numbers: what people write, and what is sent to."""

import pytest

from streamer.core.phone import CACHE_NUMBERS_MAX, BadPhone, _normalised, normalise


def full_width(text):
    """ASCII as an East Asian keyboard writes it."""
    return "".join(chr(ord(character) + 0xFEE0) for character in text)


@pytest.mark.parametrize(
    ("raw", "region", "expected"),
    [
        ("+14155552671", "US", "+14155552671"),
        ("(415) 555-2671", "US", "+14155552671"),
        ("1-415-555-2671", "US", "+14155552671"),
        ("415.555.2671", "US", "+14155552671"),
        (" +1 415 555 2671 ", "FR", "+14155552671"),
        (4155552671, "US", "+14155552671"),
        (14155552671, "US", "+14155552671"),
        ("whatsapp:+14155552671", "US", "+14155552671"),
        ("WhatsApp: +14155552671", "US", "+14155552671"),
        ("+15558675310", "US", "+15558675310"),
        ("07911 123456", "GB", "+447911123456"),
        ("+44 (0)7911 123456", "US", "+447911123456"),
        ("00447911123456", "US", "+447911123456"),
        ("011 44 7911 123456", "US", "+447911123456"),
        ("0011 44 7911 123456", "AU", "+447911123456"),
        ("06 12 34 56 78", "FR", "+33612345678"),
        ("+39 06 698 12345", "US", "+390669812345"),
        (full_width("4155552671"), "US", "+14155552671"),
        (full_width("+14155552671"), "US", "+14155552671"),
        (full_width("00447911123456"), "US", "+447911123456"),
        ("\u0664\u0661\u0665\u0665\u0665\u0665\u0662\u0666\u0667\u0661", "US", "+14155552671"),
    ],
)
def test_a_number_becomes_e164(raw, region, expected):
    """A possible number passes even if its range is not in use, as the gateway's test numbers are not."""
    assert expected == normalise(raw, region)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (None, "empty"),
        ("", "empty"),
        ("  ", "empty"),
        ("whatsapp:", "empty"),
        ("n/a", "not_a_number"),
        ("+", "not_a_number"),
        ("ann@example.com", "not_a_number"),
        ("1-800-FLOWERS", "not_a_number"),
        ("call 415 555 2671", "not_a_number"),
        (True, "not_a_number"),
        (4155552671.0, "not_a_number"),
        (-4155552671, "not_a_number"),
        (10**4000, "not_a_number"),
        ([4155552671], "not_a_number"),
        ({}, "not_a_number"),
        ("415 555", "too_short"),
        ("555-2671", "too_short"),
        ("+1415555", "too_short"),
        ("+141555526711", "too_long"),
        ("9" * 30, "too_long"),
        ("9" * 100_000, "too_long"),
        ("+999123456", "not_possible"),
        ("415-555-2671 ext. 5", "extension"),
        ("415-555-2671 x5", "extension"),
        ("415-555-2671,,5", "extension"),
        ("4155552671;4155552672", "extension"),
    ],
)
def test_what_is_no_number_to_send_to_has_a_reason(raw, reason):
    """A guessed number is somebody else's phone."""
    assert BadPhone(reason) == normalise(raw, "US")


def test_a_number_without_a_country_is_refused_where_the_region_is_unknown():
    assert normalise("4155552671", "XX") == BadPhone("not_possible")
    assert normalise("+14155552671", "XX") == "+14155552671"


def test_equal_values_of_two_types_are_not_one_cache_entry():
    """5 == 5.0 and they hash alike: a cache keyed by the raw value would confuse them."""
    assert normalise(14155552671, "US") == "+14155552671"
    assert normalise(14155552671.0, "US") == BadPhone("not_a_number")


def test_a_number_that_reads_otherwise_the_second_time_is_refused():
    assert normalise("0000000", "CC") == BadPhone("not_possible")


def test_the_cache_is_bounded():
    assert _normalised.cache_info().maxsize == CACHE_NUMBERS_MAX
