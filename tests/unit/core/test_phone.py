"""Phone numbers: what people write, and what is sent to."""

import pytest

from streamer.core.phone import CACHE_NUMBERS_MAX, NOT_VALID, RAW_CHARS_MAX, Phone, _read, read


def full_width(text):
    """ASCII as an East Asian keyboard writes it."""
    return "".join(chr(ord(character) + 0xFEE0) for character in text)


def verdict(raw, region="US"):
    return read(raw, region).verdict


@pytest.mark.parametrize(
    ("raw", "region", "expected"),
    [
        ("+14155552671", "US", "+14155552671"),
        ("(415) 555-2671", "US", "+14155552671"),
        ("1-415-555-2671", "US", "+14155552671"),
        ("415.555.2671", "US", "+14155552671"),
        ("415\u2013555\u20112671", "US", "+14155552671"),
        (" +1 415 555 2671 ", "FR", "+14155552671"),
        ("+1\t415\u00a0555 2671", "FR", "+14155552671"),
        ("\u202a+14155552671\u202c", "FR", "+14155552671"),
        (4155552671, "US", "+14155552671"),
        (14155552671, "US", "+14155552671"),
        ("whatsapp:+14155552671", "US", "+14155552671"),
        ("WhatsApp: +14155552671", "US", "+14155552671"),
        ("whatsapp:14155552671", "US", "+14155552671"),
        ("tel:+1-415-555-2671", "FR", "+14155552671"),
        ("'+14155552671", "FR", "+14155552671"),
        ("\u2019(415) 555-2671", "US", "+14155552671"),
        ("(+44) 7911 123456", "US", "+447911123456"),
        ("07911 123456", "GB", "+447911123456"),
        (7911123456, "GB", "+447911123456"),
        ("447911123456", "GB", "+447911123456"),
        ("+44 (0)7911 123456", "US", "+447911123456"),
        ("00447911123456", "US", "+447911123456"),
        ("011 44 7911 123456", "US", "+447911123456"),
        ("0011 44 7911 123456", "AU", "+447911123456"),
        ("0049 171/1234567", "US", "+491711234567"),
        ("06 12 34 56 78", "FR", "+33612345678"),
        ("06/12/34/56/78", "FR", "+33612345678"),
        ("9123456789", "IN", "+919123456789"),
        ("393331234567", "IT", "+393331234567"),
        ("3933312345", "IT", "+393933312345"),
        (full_width("4155552671"), "US", "+14155552671"),
        (full_width("+14155552671"), "US", "+14155552671"),
        (full_width("00447911123456"), "US", "+447911123456"),
        ("\u0664\u0661\u0665\u0665\u0665\u0665\u0662\u0666\u0667\u0661", "US", "+14155552671"),
    ],
)
def test_a_number_becomes_e164(raw, region, expected):
    assert (expected, "valid") == (read(raw, region).e164, verdict(raw, region))


@pytest.mark.parametrize(
    ("raw", "region", "expected"),
    [
        ("+39 06 698 12345", "US", "+390669812345"),
        ("06 698 12345", "IT", "+390669812345"),
        ("0039 06 698 12345", "IT", "+390669812345"),
        ("+5491123456789", "US", "+5491123456789"),
        ("011 15 2345-6789", "AR", "+5491123456789"),
        ("+54 11 15 2345 6789", "US", "+5491123456789"),
        ("+54 11 2345 6789", "US", "+541123456789"),
        ("+52 55 4163 7145", "US", "+525541637145"),
        ("+52 1 55 4163 7145", "US", "+525541637145"),
        ("whatsapp:+5215541637145", "US", "+525541637145"),
        ("044 55 4163 7145", "MX", "+525541637145"),
    ],
)
def test_a_countrys_own_prefixes_are_kept_or_dropped_as_its_network_has_them(raw, region, expected):
    """Italy's zero is part of the number; Argentina's 15 is its 9, which nobody may add; Mexico's 1 is gone."""
    assert expected == read(raw, region).e164


@pytest.mark.parametrize("raw", ["+15558675310", "(555) 867-5310", "+49 1000 123456"])
def test_a_possible_number_is_sent_unless_all_must_be_valid(raw):
    """Tables lag behind new ranges; the gateway knows better. Its own test numbers are of this kind."""
    phone = read(raw, "US")
    assert ("possible", "", NOT_VALID) == (phone.verdict, phone.fault(is_strict=False), phone.fault(is_strict=True))
    assert phone.e164


def test_a_valid_number_is_sent_however_strictly():
    assert "" == read("+14155552671", "US").fault(is_strict=True) == read("+14155552671", "US").fault(is_strict=False)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (None, "empty"),
        ("", "empty"),
        ("  ", "empty"),
        ("'", "empty"),
        ("whatsapp:", "empty"),
        ("tel:", "empty"),
        ("n/a", "not_a_number"),
        ("null", "not_a_number"),
        ("-", "not_a_number"),
        ("+", "not_a_number"),
        ("ann@example.com", "not_a_number"),
        ("1-800-FLOWERS", "not_a_number"),
        ("call 415 555 2671", "not_a_number"),
        ("$4155552671", "not_a_number"),
        ("-4155552671", "not_a_number"),
        ("14155552671@c.us", "not_a_number"),
        (True, "not_a_number"),
        (-4155552671, "not_a_number"),
        (10**4000, "not_a_number"),
        ([4155552671], "not_a_number"),
        ({}, "not_a_number"),
        (14155552671.0, "not_whole"),
        (float("inf"), "not_whole"),
        ("4155552671.0", "not_whole"),
        ("4155552671,0", "not_whole"),
        ("4.155552671E+09", "not_whole"),
        ("4,15555E9", "not_whole"),
        ("415 555", "too_short"),
        ("555-2671", "too_short"),
        ("+1415555", "too_short"),
        ("12", "too_short"),
        ("12345", "too_short"),
        ("911", "too_short"),
        ("+141555526711", "too_long"),
        ("9" * 30, "too_long"),
        ("9" * 100_000, "too_long"),
        ("+999123456", "not_possible"),
        ("+00447911123456", "not_possible"),
        ("415-555-2671 ext. 5", "extension"),
        ("415-555-2671 x5", "extension"),
        ("415-555-2671,,5", "extension"),
        ("tel:+1-415-555-2671;ext=5", "extension"),
        ("4155552671;4155552672", "several_numbers"),
        ("+1 415 555 2671 / +1 415 555 2672", "several_numbers"),
        ("415 555 2671 / 415 555 2672", "several_numbers"),
        ("415 555 2671 or 415 555 2672", "several_numbers"),
        ("4155552671 +14155552672", "several_numbers"),
        ("900 234 5678", "premium_rate"),
        ("+979 123 456 789", "premium_rate"),
    ],
)
def test_what_is_no_number_to_send_to_has_a_reason(raw, expected):
    """A guessed number is somebody else's phone."""
    assert ("", expected) == (read(raw, "US").e164, verdict(raw))


@pytest.mark.parametrize(
    ("raw", "region", "expected"),
    [
        ("110", "DE", "too_short"),
        ("12345", "DE", "too_short"),
        ("+4912345", "DE", "too_short"),
        ("144", "AT", "too_short"),
        ("999", "GB", "too_short"),
        ("116000", "DE", "too_short"),
        ("0900 1234567", "DE", "premium_rate"),
        ("09001 234567", "DE", "premium_rate"),
        ("0845 123 4567", "GB", "premium_rate"),
        ("0811 123 456", "FR", "shared_cost"),
        ("030 1234567/68", "DE", "several_numbers"),
        ("0000000", "CC", "not_possible"),
        ("4155552671", "XX", "not_possible"),
        ("4155552671", "", "not_possible"),
    ],
)
def test_a_countrys_services_are_nobodys_phone(raw, region, expected):
    """Emergency and short numbers, and those that cost whoever sends or calls, or are there to."""
    assert ("", expected) == (read(raw, region).e164, verdict(raw, region))


@pytest.mark.parametrize(
    ("raw", "region"),
    [
        ("491716783154", "DE"),  # Leer's 0491 716783154, or a mobile of +49
        ("15123456789", "DE"),  # the mobile 0151 23456789 without its zero, or one of Texas without its plus
        ("447911123456", "DE"),  # Varel's 0447…, or a mobile of Britain
        ("whatsapp:491716783154", "DE"),
        ("whatsapp:4155552671", "US"),  # WhatsApp writes the country always: Switzerland's
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(raw, region):
    assert Phone(raw, "", region, "ambiguous") == read(raw, region)


@pytest.mark.parametrize(
    ("raw", "region", "expected"),
    [("0171 6783154", "DE", "+491716783154"), ("017612345678", "DE", "+4917612345678"), ("9607771234", "RU", "+7960")],
)
def test_a_number_as_its_country_writes_it_has_one_reading(raw, region, expected):
    """Even where its digits, with a plus before them, would be somebody abroad."""
    assert read(raw, region).e164.startswith(expected)


@pytest.mark.parametrize(
    ("raw", "region"),
    [("+1 268 764 1234", "AG"), ("800 234 5678", "US"), ("030 123456", "DE"), ("070 1234 5678", "GB")],
)
def test_landlines_toll_free_and_personal_numbers_are_sent(raw, region):
    """Some of them take messages; Twilio says of each whether it does."""
    assert read(raw, region).e164


def test_the_region_is_told_only_where_it_was_used():
    assert "GB" == read("07911 123456", "GB").region == read("079", "GB").region
    assert "US" == read("14155552671", "US").region
    assert "" == read("+447911123456", "GB").region == read("n/a", "GB").region == read(None, "GB").region
    assert "" == read("00447911123456", "GB").region == read("00447911123456", "US").region


def test_what_came_is_kept_as_it_came():
    assert "(415) 555-2671" == read("(415) 555-2671", "US").raw
    assert "4155552671" == read(4155552671, "US").raw
    assert ("1.5", "true", "", "") == tuple(read(each, "US").raw for each in (1.5, True, None, ["+14155552671"]))
    assert RAW_CHARS_MAX == len(read("9" * 100_000, "US").raw)


def test_a_number_without_a_country_is_refused_where_the_region_is_unknown():
    assert "+14155552671" == read("+14155552671", "XX").e164


def test_equal_values_of_two_types_are_not_one_cache_entry():
    """5 == 5.0 and they hash alike: a cache keyed by the raw value would confuse them."""
    assert "+14155552671" == read(14155552671, "US").e164
    assert "" == read(14155552671.0, "US").e164


def test_the_cache_is_bounded_and_holds_an_e164_once():
    """One written with its country is the same in every region: fifty locales must not fill the cache with it."""
    assert CACHE_NUMBERS_MAX == _read.cache_info().maxsize
    read("+14155550123", "US")
    before = _read.cache_info().misses
    assert read("+14155550123", "US") is read("+14155550123", "DE")
    assert before == _read.cache_info().misses
