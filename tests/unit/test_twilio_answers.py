"""What an answer says of the message, whatever a gateway or something before it may write."""

import pytest

from streamer.core.delivery import Accepted, Refused, Unknown
from streamer.twilio.client import answer_of

SID = b"SM" + b"0" * 32


@pytest.mark.parametrize("segments", [b'"9999999999999999999999"', b'"' + b"9" * 5000 + b'"', b'"x"', b"null"])
def test_a_number_of_parts_beyond_reason_is_not_said(segments):
    """It would be stored, and an integer over 64 bits stops every write of its person."""
    assert Accepted(SID.decode(), "", 0) == answer_of(201, b'{"sid":"%s","num_segments":%s}' % (SID, segments), {})


@pytest.mark.parametrize("code", [b"99999999999999999999999", b"-1", b'"x"', b"1e400"])
def test_a_code_beyond_reason_is_none(code):
    assert Refused("refused", 0, 400) == answer_of(400, b'{"code":%s}' % code, {})


@pytest.mark.parametrize("sid", [b"", b"S" * 65])
def test_an_acceptance_that_names_no_usable_sid_is_unknown(sid):
    assert Unknown("answer_unreadable", 201) == answer_of(201, b'{"sid":"%s"}' % sid, {})


@pytest.mark.parametrize("status", [99, 101, 302, 408, 500, 503])
def test_only_a_status_that_refuses_is_a_refusal(status):
    """408 and redirects don't prove that nothing was created."""
    assert isinstance(answer_of(status, b"", {}), Unknown)
