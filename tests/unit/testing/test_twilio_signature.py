"""Twilio's signature; the contract test compares it with the SDK's for any input."""

from streamer.testing.twilio_signature import twilio_signature


def test_twilios_published_vector_is_reproduced():
    params = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+14158675309",
        "Digits": "1234",
        "From": "+14158675309",
        "To": "+18005551212",
    }
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    assert twilio_signature("12345", url, params.items()) == "RSOYDt4T1cUTdK1PDd93/VVr8B8="


def test_the_fragment_is_not_signed():
    """Connection overrides travel there, and Twilio strips them before it calls."""
    url = "https://sms.example.com/status?token=x"
    assert twilio_signature("12345", url + "#rp=all&rc=5") == twilio_signature("12345", url)


def test_values_are_not_trimmed():
    signatures = {twilio_signature("12345", "https://x.example", [("Body", body)]) for body in ("a", " a", "a ")}
    assert len(signatures) == 3
