"""The Send message action: which fields are refused when they are written, and which only when an event yields them."""

import pytest

from streamer.core.action import Draft, Unsendable
from streamer.core.channels import Sender
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import RuleDefaults
from streamer.errors import MappingError

PHONE = "+15551230001"
SID = "0123456789abcdef" * 2
SENDERS = {
    "shop": Sender("shop", "main", "+15550006789"),
    "service": Sender("service", "second", service_sid=f"MG{SID}"),
    "named": Sender("named", "main", "ACME"),
    "code": Sender("code", "main", "12345"),
}
PICTURE = "https://img.example/1.png"


def action(missing="suppress", **send):
    document = {"when": 'type = "track"', "missing": missing, "send": {"from": "shop", **send}}
    return compile_rule("m", document, SENDERS, RuleDefaults("US", "shop", 60.0)).action


def draft(missing="suppress", properties=None, **send):
    scope = {"type": "track", "properties": properties or {}, "profile": {"traits": {"phone": PHONE}}}
    return action(missing, **send).draft(scope)


def faults(**send):
    with pytest.raises(MappingError) as refused:
        action(**send)
    return refused.value.faults


def test_every_field_reaches_the_message():
    made = draft(
        channel="mms",
        **{"from": "service"},
        to="{{properties.to}}",
        body="Hi",
        media_urls=[PICTURE, " ", "{{properties.picture}}"],
        validity_period="4h",
        send_at="2026-12-24T09:00:00+01:00",
        tags={"campaign": "spring 26", "n": 5, "none": None},
        shorten_urls=True,
        smart_encoded=False,
        risk_check="enable",
        message_intent="marketing",
        properties={"to": "(555) 123-0002", "picture": "http://img.example/a b.png"},
    )
    assert isinstance(made, Draft)
    message = made.message
    assert (message.account, message.channel, message.to, message.body) == ("second", "mms", "+15551230002", "Hi")
    assert (message.sender_from, message.service_sid) == ("", f"MG{SID}")
    assert message.media_urls == (PICTURE, "http://img.example/a%20b.png")
    assert message.validity_s == 14_400
    assert message.tags == {"campaign": "spring 26", "n": "5"}
    assert (message.shorten_urls, message.smart_encoded) == (True, False)
    assert (message.risk_check, message.message_intent) == ("enable", "marketing")
    assert (made.sender, made.parts, made.send_at_ms) == ("service", 1, 1_798_099_200_000)


def test_content_variables_are_always_text():
    """Twilio refuses others with 21656; Segment sends them as they are."""
    made = draft(
        content_sid=f"HX{SID}",
        content_variables={"1": "{{properties.n}}", "2": 19.90, "3": True},
        properties={"n": 5},
    )
    assert isinstance(made, Draft)
    assert made.message.content_sid == f"HX{SID}"
    assert made.message.content_variables == '{"1":"5","2":"19.9","3":"true"}'


def test_a_sender_may_be_picked_by_the_event_among_those_declared():
    by_event = {"body": "x", "from": "{{properties.from}}"}
    assert draft(**by_event, properties={"from": "code"}).message.sender_from == "12345"
    refused = draft(**by_event, properties={"from": PHONE})
    assert isinstance(refused, Unsendable)
    assert (refused.reason, refused.field) == ("unknown_sender", "from")
    assert PHONE not in refused.detail


@pytest.mark.parametrize(
    ("send", "path", "says"),
    [
        ({"channel": "sma"}, "channel", "did you mean 'sms'?"),
        ({"channel": "SMS"}, "channel", "did you mean 'sms'?"),
        ({"channel": "rcs"}, "from", "does sms, mms, whatsapp but not rcs"),
        ({"channel": "whatsapp", "from": "code"}, "from", "but not whatsapp"),
        ({"channel": "mms", "from": "named", "media_urls": [PICTURE]}, "from", "but not mms"),
        ({"channel": "mms"}, "channel", "carries media_urls"),
        ({"media_urls": [PICTURE]}, "media_urls", "set channel: mms"),
        ({"channel": "mms", "media_urls": ["ftp://img.example/1"]}, "media_urls", "http or https"),
        ({"channel": "mms", "media_urls": ["https://bad_host.example/1"]}, "media_urls", "underscore"),
        ({"channel": "mms", "media_urls": [PICTURE] * 11}, "media_urls", "at most 10"),
        ({"channel": "mms", "media_urls": []}, "media_urls", "is empty"),
        ({"channel": "mms", "media_urls": ["http://a.example:99999/x"]}, "media_urls", "not an address"),
        ({"channel": "mms", "media_urls": ["http://localhost/x"]}, "media_urls", "that Twilio can reach"),
        ({"channel": "mms", "media_urls": ["http://a b.example/x"]}, "media_urls", "that Twilio can reach"),
        ({"channel": "mms", "media_urls": [5]}, "media_urls", "must be addresses"),
        ({"content_sid": f"HX{SID}"}, "body", "remove body"),
        ({"content_variables": {"1": "x"}}, "content_variables", "none is given"),
        ({"validity_period": 0}, "validity_period", "from 1 s to 10 h"),
        ({"validity_period": "11h"}, "validity_period", "from 1 s to 10 h"),
        ({"validity_period": 1.5}, "validity_period", "whole seconds"),
        ({"validity_period": True}, "validity_period", "must be whole seconds"),
        ({"send_at": "tomorrow"}, "send_at", "a time with its zone"),
        ({"send_at": "2026-12-24T09:00:00"}, "send_at", "a time with its zone"),
        ({"tags": {"a&b": "x"}}, "tags", "letters, digits"),
        ({"tags": {"k": "v" * 129}}, "tags", "at most 128"),
        ({"tags": {f"k{n}": "v" for n in range(10)}}, "tags", "at most 9"),
        ({"tags": {"streamer_attempt": "v"}}, "tags", "the tag streamer_attempt is ours"),
        ({"tags": {"k": {"a": 1}}}, "tags", "not an object"),
        ({"shorten_urls": True}, "shorten_urls", "Messaging Service"),
        ({"shorten_urls": "yes", "from": "service"}, "shorten_urls", "true or false"),
        ({"risk_check": "maybe"}, "risk_check", "enable or disable"),
        ({"message_intent": "spam"}, "message_intent", "must be otp"),
        ({"body": "x" * 1601}, "body", "at most 1600"),
    ],
)
def test_what_is_wrong_whatever_the_event_is_refused_when_it_is_written(send, path, says):
    ((found, text),) = faults(**{"body": "Hi", **send})
    assert f"send.{path}" == found
    assert says in text


def test_a_bad_sid_is_refused_without_being_shown():
    ((path, text),) = faults(content_sid="HX12")
    assert (path, "HX12" in text) == ("send.content_sid", False)


@pytest.mark.parametrize(
    ("send", "properties", "reason", "field"),
    [
        ({"to": "{{properties.to}}"}, {}, "no_phone", "to"),
        ({"to": "{{properties.to}}"}, {"to": "12"}, "bad_number", "to"),
        ({"body": "{{properties.b}}"}, {}, "missing_value", "body"),
        ({"body": "{{properties.b}}"}, {"b": "x" * 1601}, "body_too_long", "body"),
        ({"channel": "{{properties.c}}"}, {"c": "fax"}, "bad_value", "channel"),
        ({"channel": "{{properties.c}}"}, {"c": "rcs"}, "bad_value", "from"),
        ({"validity_period": "{{properties.v}}"}, {"v": 36_001}, "bad_value", "validity_period"),
        ({"validity_period": {"@path": "properties.v"}}, {"v": 10**400}, "bad_value", "validity_period"),
        ({"body": {"@path": "properties.b"}}, {"b": "half \ud83d"}, "bad_value", "body"),
        ({"body": "Hi {{properties.b}},"}, {"b": "\u200b\u3164"}, "missing_value", "body"),
        ({"channel": "mms", "body": None, "media_urls": {"@path": "properties.u"}}, {"u": []}, "missing_value", "body"),
        ({"send_at": "{{properties.at}}"}, {"at": "soon"}, "bad_value", "send_at"),
        ({"tags": {"k": "{{properties.t}}"}}, {"t": "ä"}, "bad_value", "tags"),
        ({"channel": "mms", "media_urls": ["{{properties.u}}"]}, {"u": "x"}, "bad_value", "media_urls"),
    ],
)
def test_what_an_event_makes_wrong_suppresses_the_message(send, properties, reason, field):
    send = {"body": "Hi", **send}
    refused = draft(**{name: value for name, value in send.items() if value is not None}, properties=properties)
    assert isinstance(refused, Unsendable)
    assert (reason, field) == (refused.reason, refused.field)
    shown = {"x", "rcs"}  # words of our own
    assert not any(
        each in refused.detail for each in properties.values() if isinstance(each, str) and each not in shown
    )


def test_what_a_template_could_not_do_is_told_in_one_line_with_its_place():
    refused = draft(body="Due {{properties.due | date: '%d %b'}}", properties={"due": PHONE})
    assert isinstance(refused, Unsendable)
    assert refused.reason == "bad_value"
    assert refused.detail.startswith("send.body: line 1, column 24: `date`: ")
    assert "\n" not in refused.detail
    assert PHONE not in refused.detail


def test_missing_values_may_be_left_empty():
    made = draft("empty", body="Hi {{properties.name}}!")
    assert made.message.body == "Hi !"
    assert isinstance(draft(body="Hi {{properties.name}}!"), Unsendable)


def test_a_text_is_counted_in_parts_and_other_channels_are_one():
    long = "x" * 161
    assert draft(body=long).parts == 2
    assert draft(channel="whatsapp", body=long).parts == 1
    assert draft(content_sid=f"HX{SID}").parts == 1


@pytest.mark.parametrize(
    "value", [{"@path": "$.properties.null"}, {"@path": "$.properties.gone"}, "{{properties.blank}}"]
)
def test_a_content_variable_with_nothing_to_print_suppresses_as_a_hole_does(value):
    """The template would say "Hi ,": that it is Twilio who fills it makes no difference to the reader."""
    send = {"content_sid": f"HX{SID}", "content_variables": {"1": "x", "2": value}}
    refused = draft(**send, properties={"null": None, "blank": " "})
    assert isinstance(refused, Unsendable)
    assert (refused.reason, refused.field) == ("missing_value", "content_variables")
    assert isinstance(draft("empty", **send, properties={"null": None, "blank": " "}), Draft)


def refusal(traits, missing="suppress", region="US", **send):
    document = {"when": 'type = "track"', "missing": missing, "region": region, "send": {"from": "shop", **send}}
    rule = compile_rule("m", document, SENDERS, RuleDefaults("US", "shop", 60.0))
    refused = rule.action.draft({"type": "track", "properties": {"x": "1"}, "profile": {"traits": traits}})
    assert isinstance(refused, Unsendable)
    return refused.reason, refused.lacks


NAME = "profile.traits.first_name"
IF_NAME = {"@if": {"exists": {"@path": "$.profile.traits.vip"}, "then": "x", "else": {"@path": f"$.{NAME}"}}}


@pytest.mark.parametrize(
    ("send", "reason", "lacks"),
    [
        ({"body": "Hi {{properties.x}} {{profile.traits.first_name}}"}, "missing_value", NAME),
        ({"body": "Hi {{profile.traits.first_name | upcase}}"}, "missing_value", NAME),
        ({"body": {"@path": f"$.{NAME}"}}, "missing_value", NAME),
        ({"body": IF_NAME}, "missing_value", "profile.traits.vip"),
        ({"body": "Hi", "from": {"@path": "$.profile.traits.brand"}}, "missing_value", "profile.traits.brand"),
        ({"content_sid": f"HX{SID}", "content_variables": {"1": f"{{{{{NAME}}}}}"}}, "missing_value", NAME),
        ({"content_sid": f"HX{SID}", "content_variables": {"1": {"@path": f"$.{NAME}"}}}, "missing_value", NAME),
        ({"channel": "mms", "media_urls": ["{{profile.traits.picture}}"]}, "missing_value", "profile.traits.picture"),
        (
            {"channel": "mms", "media_urls": {"@path": "$.profile.traits.picture"}},
            "missing_value",
            "profile.traits.picture",
        ),
        ({"body": "Hi {{properties.gone}}"}, "missing_value", ""),
        ({"body": {"@path": "$.properties.gone"}}, "missing_value", ""),
        ({"channel": "mms", "media_urls": {"@path": "$.properties.gone"}}, "missing_value", ""),
        ({"content_sid": f"HX{SID}", "content_variables": {"1": {"@path": "properties.gone"}}}, "missing_value", ""),
        ({"body": "Hi", "tags": {"a": {"@path": "$.profile.traits.tag"}}}, "bad_value", ""),
    ],
)
def test_a_message_that_the_profile_leaves_impossible_says_what_it_lacks(send, reason, lacks):
    """It waits for just that; what the event lacks no identify can give."""
    assert (reason, lacks) == refusal({"phone": PHONE, "tag": {"a": 1}}, **send)


@pytest.mark.parametrize("phone", [None, "", "  ", "\u200b"])
@pytest.mark.parametrize("to", ["{{profile.traits.phone}}", {"@path": "$.profile.traits.phone"}])
@pytest.mark.parametrize("missing", ["suppress", "empty"])
def test_no_phone_or_a_blank_one_is_lacking(phone, to, missing):
    traits = {} if phone is None else {"phone": phone}
    assert ("no_phone", "profile.traits.phone") == refusal(traits, missing, to=to, body="Hi")


@pytest.mark.parametrize("phone", ["12", "n/a", "call me", 1.5, "+1 900 234 5678"])
def test_a_malformed_phone_is_not_lacking(phone):
    """To wait for it would be to wait for somebody to mend it."""
    assert ("bad_number", "") == refusal({"phone": phone}, to={"@path": "$.profile.traits.phone"}, body="Hi")


def test_a_phone_that_the_event_was_to_give_is_not_the_profiles_to_lack():
    assert ("no_phone", "") == refusal({}, to="{{properties.phone}}", body="Hi")


def test_a_number_is_read_in_the_country_of_its_person():
    traits = {"phone": "07911 123456", "country": "gb"}
    scope = {"type": "track", "context": {"locale": "de-DE"}, "profile": {"traits": traits}}
    assert "+447911123456" == action(body="Hi").draft(scope).message.to
    refused = action(body="Hi").draft(scope | {"profile": {"traits": {"phone": "07911"}}})
    assert ("bad_number", "ambiguous" in refused.detail) == (refused.reason, False)
    assert refused.detail.endswith(", read in DE (context.locale)")


def test_the_paths_of_an_action_are_all_that_it_can_read():
    """Of an event that waits only these are kept."""
    made = action(to="{{properties.to}}", body={"@if": {"exists": {"@path": "$.context.app"}, "then": "Hi {{event}}"}})
    country = ("context.locale", "profile.traits.country", "profile.traits.address")
    assert ("properties.to", "context.app", "event", *country) == made.paths
    assert ("event",) == action(to=PHONE, body="Hi {{event}}").paths
