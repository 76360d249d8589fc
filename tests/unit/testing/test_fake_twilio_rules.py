"""What the fake refuses, and with which of Twilio's codes."""

from datetime import UTC, datetime, timedelta

import pytest

from streamer.testing.fake_twilio_model import Order
from streamer.testing.fake_twilio_rules import Refusal, order_of, segments

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
SERVICE = "MG" + "0" * 32
GOOD = {"To": "+15551230001", "From": "+15550006789", "Body": "Hi"}
SCHEDULED = {"From": "", "MessagingServiceSid": SERVICE, "ScheduleType": "fixed"}


def asked(opt_outs=frozenset(), refused_numbers=None, refused_senders=None, **fields):
    """The good form with some fields changed; an empty value takes one away."""
    form = {name: value for name, value in {**GOOD, **fields}.items() if value}
    lists = {name: value if isinstance(value, list) else [value] for name, value in form.items()}
    return order_of(lists, opt_outs, refused_numbers or {}, refused_senders or {}, NOW_MS)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"To": ""}, 21604),
        ({"From": ""}, 21603),
        ({"Body": ""}, 21602),
        ({"To": "15551230001"}, 21211),
        ({"To": "+0123"}, 21211),
        ({"To": "+15551230001\n"}, 21211),
        ({"From": "+"}, 21212),
        ({"From": "twelve chars"}, 21212),
        ({"MessagingServiceSid": "MG1"}, 21705),
        ({"Body": "a" * 1601}, 21617),
        ({"MediaUrl": ["https://example.com/1.png"] * 11}, 21623),
        ({"MediaUrl": ["1.png"]}, 21620),
        ({"StatusCallback": "https://under_score.example/x"}, 21609),
        ({"StatusCallback": "example.com"}, 21609),
        ({"ValidityPeriod": "36001"}, 21624),
        ({"ValidityPeriod": "0"}, 21624),
        ({"ContentSid": "HX1"}, 21655),
        ({"ContentVariables": "{}"}, 21654),
        ({"ContentSid": "HX" + "0" * 32, "ContentVariables": "[]"}, 21656),
        ({"Tags": "no json"}, 20001),
        ({"SendAt": "2026-05-01T13:00:00Z"}, 35126),
        ({**SCHEDULED}, 35111),
        ({"ScheduleType": "fixed", "SendAt": "2026-05-01T13:00:00Z"}, 35118),
        ({**SCHEDULED, "SendAt": "soon"}, 35114),
        ({**SCHEDULED, "SendAt": (NOW + timedelta(seconds=300)).isoformat()}, 35114),
        ({**SCHEDULED, "SendAt": (NOW + timedelta(days=36)).isoformat()}, 35114),
        ({"To": "+15005550001"}, 21211),
        ({"To": "+15005550002"}, 21612),
        ({"To": "+15005550003"}, 21408),
        ({"To": "+15005550004"}, 21610),
        ({"To": "+15005550009"}, 21614),
        ({"From": "+15005550001"}, 21212),
        ({"From": "+15005550007"}, 21606),
        ({"From": "+15005550008"}, 21611),
    ],
)
def test_a_bad_form_is_refused_with_twilios_code(fields, code):
    assert asked(**fields) == Refusal(code)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"To": "12345"},
        {"To": "whatsapp:+15551230001", "From": "whatsapp:+15550006789"},
        {"From": "ACME Shop"},
        {"From": "", "MessagingServiceSid": SERVICE},
        {"Body": "", "MediaUrl": ["https://example.com/1.png"] * 10},
        {"Body": "", "ContentSid": "HX" + "0" * 32, "ContentVariables": '{"1":"Ann"}'},
        {"Body": "a" * 1600, "ValidityPeriod": "36000", "StatusCallback": "http://127.0.0.1:8080/s"},
    ],
)
def test_a_good_form_is_an_order(fields):
    assert isinstance(asked(**fields), Order)


@pytest.mark.parametrize("sender", [{"From": "+15550006789"}, {"From": "", "MessagingServiceSid": SERVICE}])
def test_an_opted_out_number_is_refused_with_21610_for_that_sender_only(sender):
    opt_outs = {("+15551230001", "+15550006789"), ("+15551230001", SERVICE)}
    assert asked(opt_outs, **sender) == Refusal(21610)
    assert isinstance(asked(opt_outs, From="+15550006790"), Order)
    assert isinstance(asked(opt_outs, To="+15551230002", **sender), Order)


def test_a_refused_number_gets_the_code_it_was_given():
    assert asked(refused_numbers={"+15551230001": 21635}) == Refusal(21635)


@pytest.mark.parametrize("sender", [{"From": "+15550006789"}, {"From": "", "MessagingServiceSid": SERVICE}])
def test_a_refused_sender_gets_the_code_it_was_given_and_no_other_does(sender):
    refused = {"+15550006789": 21606, SERVICE: 21606}
    assert asked(refused_senders=refused, **sender) == Refusal(21606)
    assert isinstance(asked(refused_senders=refused, From="+15550006790"), Order)


@pytest.mark.parametrize(("code", "status"), [(21610, 400), (20003, 401), (20404, 404), (20429, 429), (20503, 503)])
def test_the_envelope_names_code_and_status(code, status):
    envelope = Refusal(code).envelope()
    assert (envelope["code"], envelope["status"]) == (code, status)
    assert envelope["more_info"] == f"https://www.twilio.com/docs/errors/{code}"


def test_a_scheduled_order_knows_its_instant():
    order = asked(**SCHEDULED, SendAt="2026-05-01T13:00:00Z")
    assert order.send_at_ms == NOW_MS + 3_600_000


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        ("", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("€" * 153, 3),  # 76 fit a part: an extension character is not split over two
        ("ж" * 70, 1),
        ("ж" * 71, 2),
        ("😀" * 35, 1),
        ("😀" * 66, 2),
        ("😀" * 67, 3),
        ("ç" * 71, 2),
    ],
)
def test_segments_follow_gsm_and_ucs2_widths(body, parts):
    assert segments(body) == parts
