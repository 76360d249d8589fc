"""A page of Twilio's list: what it says, in every form that Twilio has shown, and what is no page at all."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.core.delivery import Found
from streamer.twilio.listing import addresses, read_page

SID = "SM" + "0" * 32
LISTED = {"sid": SID, "date_created": "Thu, 24 Aug 2023 05:01:45 +0000"}
AT_MS = 1_692_853_305_000


def page(*messages, **fields):
    return json.dumps({"messages": messages, **fields}).encode()


def test_a_message_is_read_whole():
    listed = LISTED | {
        "body": "Hi",
        "status": "undelivered",
        "error_code": 30003,
        "from": "+15550006789",
        "messaging_service_sid": "MG1",
        "direction": "outbound-api",
        "tags": {"a": "b"},
        "price": None,
    }
    expected = Found(SID, "Hi", AT_MS, {"a": "b"}, "undelivered", 30003, "+15550006789", "MG1", "outbound-api")
    assert (expected,) == read_page(page(listed)).messages


def test_what_twilio_leaves_null_is_empty():
    """A service's message has no From before one is picked."""
    listed = LISTED | dict.fromkeys(("body", "status", "error_code", "from", "messaging_service_sid", "tags"))
    assert (Found(SID, "", AT_MS, None, ""),) == read_page(page(listed)).messages


@pytest.mark.parametrize(
    ("said", "tags"),
    [
        ({"tags": {"a": "b"}}, {"a": "b"}),
        ({"tags": '{"a": "b"}'}, {"a": "b"}),
        ({"tags": {}}, {}),
        ({"tags": "{}"}, {}),
        ({"tags": None}, None),
        ({}, None),
        ({"tags": ""}, None),
        ({"tags": "a=b"}, None),
        ({"tags": ["a"]}, None),
        ({"tags": {"a": 1}}, None),
        ({"tags": "[" * 2_000}, None),
    ],
)
def test_tags_are_an_object_or_the_text_of_one_or_not_shown(said, tags):
    """They are undeclared: what can't be read must not make the whole list unreadable."""
    [message] = read_page(page(LISTED | said)).messages
    assert tags == message.tags


def test_numbers_may_be_texts():
    [message] = read_page(page(LISTED | {"error_code": "30003"})).messages
    assert 30003 == message.error_code


def test_a_date_of_another_zone_is_the_same_instant():
    [message] = read_page(page(LISTED | {"date_created": "Thu, 24 Aug 2023 07:01:45 +0200"})).messages
    assert AT_MS == message.created_ms


def test_the_next_page_is_its_number_and_token_and_no_place():
    """Credentials go where the configuration says, whatever an answer says."""
    uri = "https://evil.example/x?To=%2B1&PageSize=2&Page=1&PageToken=PASM1&Evil=1"
    assert {"Page": "1", "PageToken": "PASM1"} == read_page(page(LISTED, next_page_uri=uri)).next
    assert read_page(page(LISTED, next_page_uri=None)).next is None
    assert read_page(page(LISTED, next_page_uri="")).next is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"<html>",
        page(LISTED)[:-5],
        page({"sid": SID}),
        page({"date_created": "Thu, 24 Aug 2023 05:01:45 +0000"}),
        page(LISTED | {"date_created": "yesterday"}),
        page(LISTED | {"date_created": ""}),
        page(LISTED | {"date_created": "Thu, 24 Aug 99999 05:01:45 +0000"}),
        page(LISTED, next_page_uri="http://[x/"),
        b"\xff",
        b"[" * 5_000,
    ],
    ids=range(13),
)
def test_what_is_no_page_is_none(body):
    """Read as an empty one it would prove that a message does not exist."""
    assert read_page(body) is None


@given(st.binary(max_size=200) | st.text(max_size=60).map(lambda date: page(LISTED | {"date_created": date})))
def test_no_answer_raises(body):
    read_page(body)


def test_a_number_is_listed_under_every_address_that_its_channel_may_use():
    """An RCS message to a phone that can't have it goes as an SMS."""
    assert ("+15551230001",) == addresses("+15551230001", "sms") == addresses("+15551230001", "mms")
    assert ("whatsapp:+15551230001",) == addresses("+15551230001", "whatsapp")
    assert ("+15551230001", "rcs:+15551230001") == addresses("+15551230001", "rcs")
