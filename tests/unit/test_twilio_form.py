"""The create call's form: Twilio's names, and nothing that the message does not say."""

from streamer.core.delivery import Message
from streamer.twilio.client import form_of

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
