"""Stored phones by kind, and the identify event that corrects exactly the value that was audited."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.core import records
from streamer.core.audit import PHONE, Stored, Tally, correction, phones, shown
from streamer.core.profile import Update, fold, values
from streamer.core.records import MESSAGE_ID_CHARS_MAX
from streamer.core.state import Person

ADA = "+14155550100"
FULL_WIDTH = "+" + "".join(chr(0xFF10 + int(digit)) for digit in ADA[1:])
LATER_MS = 2_000_000_000_000  # a Kafka timestamp after all that happens here


def kind_of(raw, region="US"):
    person = Person(traits=[Update(5, "m1", {PHONE: raw})])
    [stored] = phones("u:ada", person, [PHONE], region)
    return stored.kind, stored.e164


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (ADA, ("", ADA)),
        ("14155550100", ("missing_plus", ADA)),
        ("1 (415) 555-0100", ("missing_plus", ADA)),
        ("+1 415 555 0100", ("spaces_or_signs", ADA)),
        (f" {ADA}", ("spaces_or_signs", ADA)),
        ("(415) 555-0100", ("national_format", ADA)),
        ("4155550100", ("national_format", ADA)),
        ("0014155550100", ("double_zero", ADA)),
        (f"whatsapp:{ADA}", ("whatsapp_prefix", ADA)),
        (FULL_WIDTH, ("other_digits", ADA)),
        (14155550100, ("not_text", ADA)),
        ("+1415", ("too_short", "")),
        ("", ("empty", "")),
        ("call me", ("not_a_number", "")),
        (True, ("not_a_number", "")),
        ({"home": ADA}, ("not_a_number", "")),
    ],
)
def test_each_way_of_writing_has_its_kind(raw, expected):
    assert expected == kind_of(raw)


def test_a_national_number_is_read_in_the_region_given():
    assert ("national_format", "+441632960001") == kind_of("01632 960001", "GB")


def test_only_the_traits_asked_for_are_looked_at_and_deleted_ones_are_none():
    person = Person(traits=[Update(5, "m1", {PHONE: None, "name": "x"}), Update(6, "m2", {"mobile": "4155550100"})])
    assert [] == list(phones("u:ada", person, [PHONE], "US"))
    assert [("mobile", 6, "m2")] == [
        (each.trait, each.event_ms, each.id) for each in phones("u:ada", person, [PHONE, "mobile"], "US")
    ]


def stored(raw="(415) 555-0100", key="u:ada", event_ms=1_700_000_000_123, e164=ADA, trait=PHONE):
    return Stored(key, trait, raw, "national_format", e164, event_ms, "m1")


def read(event: bytes):
    """An event as the service reads it: its ids, its corrected time, and the whole of it."""
    slim = records.slim(event)
    return slim, records.event_time_ms(slim, LATER_MS), records.full(event)


@pytest.mark.parametrize(("key", "ids"), [("u:ada", ("ada", None)), ("a:anon:1", (None, "anon:1"))])
def test_a_correction_is_an_identify_of_the_same_person_1_ms_later(key, ids):
    slim, event_ms, event = read(correction(stored(key=key), "Twilio"))
    assert ids == (slim.user_id, slim.anonymous_id)
    assert 1_700_000_000_124 == event_ms
    assert ("identify", {PHONE: ADA}, {"Twilio": False}) == (event["type"], event["traits"], event["integrations"])


@given(
    st.integers(0, 253_402_300_799_998),
    st.text(min_size=1, max_size=40),
    st.sampled_from([-5, 0, 1, 2]),
    st.text(alphabet="0123456789abcdefABCXYZ-./_", min_size=1),
)
def test_a_correction_replaces_what_was_audited_and_nothing_newer(event_ms, raw, later_ms, other_id):
    """A customer who changes their number while the audit runs must keep the new one, also in the very same ms."""
    event = read_traits(correction(stored(raw=raw, event_ms=event_ms), "Twilio"), event_ms + 1)
    audited = fold([], Update(event_ms, "m1", {PHONE: raw})).updates
    assert ADA == values(fold(audited, event).updates)[PHONE]
    other = Update(max(event_ms + later_ms, 0), other_id, {PHONE: "another"})
    both = fold(fold(audited, event).updates, other).updates
    assert both == fold(fold(audited, other).updates, event).updates
    assert ("another" if other.event_ms > event_ms else ADA) == values(both)[PHONE]


def read_traits(event: bytes, expected_ms: int) -> Update:
    slim = records.slim(event)
    assert expected_ms == records.event_time_ms(slim, expected_ms)
    return Update(expected_ms, slim.message_id, records.full(event)["traits"])


def test_the_message_id_follows_from_what_is_corrected():
    """So that a run that was cut short may start over."""
    ids = [
        msgspec.json.decode(correction(each, "Twilio"))["messageId"]
        for each in (
            *(stored(), stored(key="u:bob"), stored(raw="4155550100"), stored(trait="mobile")),
            stored(event_ms=1_700_000_000_124),
        )
    ]
    assert len(ids) == len(set(ids))
    assert ids[0] == msgspec.json.decode(correction(stored(), "Twilio"))["messageId"]
    assert max(map(len, ids)) <= MESSAGE_ID_CHARS_MAX


def test_a_tally_counts_everything_and_keeps_some_examples():
    tally = Tally(examples_max=2)
    for number in range(5):
        tally.add([stored(key=f"u:{number}"), Stored(f"u:{number}", "mobile", ADA, "", ADA, 1, "m")])
    tally.add([])
    tally.add([Stored("u:9", PHONE, "12", "too_short", "", 1, "m")])
    assert (7, 11) == (tally.people, tally.phones)
    assert {"national_format": 5, "too_short": 1} == tally.kinds
    assert (5, 0) == (tally.fixable["national_format"], tally.fixable["too_short"])
    assert ["u:0", "u:1"] == [each.key for each in tally.examples["national_format"]]


def test_a_text_is_shown_as_it_is_and_all_else_as_json():
    assert ("(415) 555-0100", "14155550100", '{"a":1}') == (
        shown("(415) 555-0100"),
        shown(14155550100),
        shown({"a": 1}),
    )
