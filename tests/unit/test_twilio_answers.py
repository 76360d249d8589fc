"""What an answer says of the message, whatever a gateway or something before it may write."""

import pytest

from streamer.config_outcomes import shipped_outcomes
from streamer.core.delivery import Accepted, Refused, Unknown
from streamer.twilio import client

SID = b"SM" + b"0" * 32


def answer_of(status, body, headers=()):
    return client.answer_of(status, body, dict(headers), shipped_outcomes())


@pytest.mark.parametrize("segments", [b'"9999999999999999999999"', b'"' + b"9" * 5000 + b'"', b'"x"', b"null"])
def test_a_number_of_parts_beyond_reason_is_not_said(segments):
    """It would be stored, and an integer over 64 bits stops every write of its person."""
    assert Accepted(SID.decode(), "", 0) == answer_of(201, b'{"sid":"%s","num_segments":%s}' % (SID, segments))


@pytest.mark.parametrize("code", [b"99999999999999999999999", b"-1", b'"x"', b"1e400"])
def test_a_code_beyond_reason_is_none(code):
    assert Refused("message", 0, 400) == answer_of(400, b'{"code":%s}' % code)


@pytest.mark.parametrize("sid", [b"", b"S" * 65])
def test_an_acceptance_that_names_no_usable_sid_is_unknown(sid):
    assert Unknown("answer_unreadable", 201) == answer_of(201, b'{"sid":"%s"}' % sid)


@pytest.mark.parametrize("status", [99, 101, 302, 408, 500, 503])
def test_only_a_status_that_refuses_is_a_refusal(status):
    """408 and redirects don't prove that nothing was created."""
    assert Unknown("gateway_error", status) == answer_of(status, b"")


def test_a_code_is_read_from_an_answer_of_any_status():
    """A server error with the code of a refusal is a refusal, and one with a code of Twilio's own failures names it."""
    assert Refused("optout", 21610, 500, "optout") == answer_of(500, b'{"code":21610}')
    assert Unknown("gateway_error", 503, 20503) == answer_of(503, b'{"code":20503}')


@pytest.mark.parametrize(
    ("said", "seconds"), [("7", 7.0), ("99999999999", 3600.0), ("soon", None), ("-1", None), ("1.5", None)]
)
def test_a_wait_is_heeded_if_it_is_in_seconds_and_within_an_hour(said, seconds):
    """A hostile header must not hold a send for years."""
    busy = answer_of(429, b'{"code":20429}', {"Retry-After": said}.items())
    assert Refused("gateway_busy", 20429, 429, "retry", retry_after_s=seconds) == busy
