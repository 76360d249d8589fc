"""The create call's form: Twilio's names, and nothing that the message does not say."""

import json
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from streamer.core.delivery import Attempt, Message
from streamer.twilio.client import body_of, form_of

ATTEMPT = Attempt(bytes(range(16)), 12, "u:1")
PLAIN = Message("main", "sms", "+15551230001", "Hi & bye", "+15550006789")


def test_a_plain_message_says_to_from_and_body():
    assert [("To", "+15551230001"), ("From", "+15550006789"), ("Body", "Hi & bye")] == form_of(PLAIN)


def test_a_whatsapp_message_has_its_prefix_on_both_numbers_and_none_on_a_service():
    number = Message("main", "whatsapp", "+15551230001", "Hi", "+15550006789")
    assert [("To", "whatsapp:+15551230001"), ("From", "whatsapp:+15550006789"), ("Body", "Hi")] == form_of(number)
    service = Message("main", "whatsapp", "+15551230001", "", service_sid="MG0", content_sid="HX0")
    assert [("To", "whatsapp:+15551230001"), ("MessagingServiceSid", "MG0"), ("ContentSid", "HX0")] == form_of(service)


def test_every_field_is_said_in_twilios_form():
    message = Message(
        "main",
        "mms",
        "+15551230001",
        "Hi",
        service_sid="MG0",
        media_urls=("https://a.example/1", "https://a.example/2"),
        content_variables='{"1":"x"}',
        validity_s=60,
        send_at_ms=1_798_099_200_001,
        tags={"campaign": "spring"},
        shorten_urls=True,
        smart_encoded=False,
        risk_check="disable",
        message_intent="otp",
    )
    assert [
        ("To", "+15551230001"),
        ("MessagingServiceSid", "MG0"),
        ("Body", "Hi"),
        ("MediaUrl", "https://a.example/1"),
        ("MediaUrl", "https://a.example/2"),
        ("ValidityPeriod", "60"),
        ("ScheduleType", "fixed"),
        ("SendAt", "2026-12-24T08:00:00Z"),
        ("Tags", '{"campaign":"spring"}'),
        ("ShortenUrls", "true"),
        ("SmartEncoded", "false"),
        ("RiskCheck", "disable"),
        ("MessageIntent", "otp"),
    ] == form_of(message)


def test_an_attempt_is_one_tag_beside_the_mappings_nine():
    """Twilio takes ten; by this one the message is known in a list."""
    mine = '"streamer_attempt":"000102030405060708090a0b0c0d0e0f-12"'
    assert ("Tags", f"{{{mine}}}") in form_of(PLAIN, ATTEMPT)
    nine = {f"k{n}": "v" for n in range(9)}
    tags = dict(form_of(replace(PLAIN, tags=nine), ATTEMPT))["Tags"]
    assert json.loads(tags) == nine | {"streamer_attempt": "000102030405060708090a0b0c0d0e0f-12"}


@pytest.mark.parametrize("channel", ["sms", "mms", "whatsapp", "rcs"])
def test_every_channel_says_where_to_call_back(channel):
    message = replace(PLAIN, channel=channel)
    assert dict(form_of(message, ATTEMPT, "https://a.example/x?t=1#rc=5"))["StatusCallback"] == (
        "https://a.example/x?t=1#rc=5"
    )
    assert "StatusCallback" not in dict(form_of(message, ATTEMPT))


@given(st.text(st.characters(codec="utf-8")))
def test_the_body_is_the_form_as_the_standard_library_encodes_it(text):
    form = form_of(replace(PLAIN, body=text, tags={"k": "v w"}), ATTEMPT, "https://a.example/x?t=1.aB-_#rp=all&rc=5")
    assert urlencode(form).encode() == body_of(form)
