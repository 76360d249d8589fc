"""One subscription as a mapping: its fields, its sender, what changes, and what can't be taken over."""

import json
from pathlib import Path

import pytest

from streamer.core.channels import Sender
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import RuleDefaults
from streamer.importing.export import Subscription
from streamer.importing.mending import NOT_IMPORTED, TO_PROFILE
from streamer.importing.messages import Message, Skipped, translate
from streamer.importing.senders import SenderBook

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "mappings.json").read_text(encoding="utf-8"))
SERVICE = "MG0123456789abcdef0123456789abcdef"
CONTENT = "HX0123456789abcdef0123456789abcdef"
PLAIN = {
    "channel": "SMS",
    "senderType": "Phone number",
    "contentTemplateType": "Inline",
    "toPhoneNumber": {"@path": "$.properties.phone"},
    "fromPhoneNumber": "+15550006789",
    "inlineBody": "Hi",
}
TEMPLATE = PLAIN | {
    "senderType": "Messaging Service",
    "contentTemplateType": "Text",
    "messagingServiceSid": SERVICE,
    "contentSid": CONTENT,
}


def imported(mapping, trigger='type = "track"', book=None, taken=None, **said):
    fields = {"name": "", "action": "", "enabled": True, "settings": {}, **said}
    subscription = Subscription(place="$", trigger=trigger, mapping=mapping, **fields)
    return translate(subscription, book or SenderBook(), set() if taken is None else taken)


def told(message):
    return {difference.field for difference in message.differences}


def blocked(message):
    return {problem.field for problem in message.problems if problem.is_blocking}


def test_a_plain_message_is_taken_over_whole():
    message = imported(PLAIN, name="Order Shipped")
    document = {
        "enabled": True,
        "when": 'type = "track"',
        "send": {"channel": "sms", "from": "number-6789", "to": {"@path": "$.properties.phone"}, "body": "Hi"},
    }
    assert ("order-shipped", document, (), ()) == (message.id, message.document, message.differences, message.problems)


def test_a_template_is_taken_over_with_its_variables_as_text():
    """Twilio refuses anything else (21656)."""
    message = imported(TEMPLATE | {"contentVariables": {"1": 5, "2": True, "3": None, "4": {"@path": "$.userId"}}})
    send = message.document["send"]
    assert ({"1": "5", "2": "true", "4": {"@path": "$.userId"}}, CONTENT) == (
        send["content_variables"],
        send["content_sid"],
    )
    assert ("service-cdef", False) == (send["from"], "body" in send)
    assert "contentVariables" in told(message)


@pytest.mark.parametrize(("theirs", "ours"), [("SMS", "sms"), ("MMS", "mms"), ("Whatsapp", "whatsapp")])
def test_a_channel_is_written_small(theirs, ours):
    assert ours == imported(TEMPLATE | {"channel": theirs}).document["send"]["channel"]


def test_an_mms_without_media_is_an_sms():
    """Twilio sends it as one, and our loader takes it for a slip."""
    message = imported(PLAIN | {"channel": "MMS"})
    assert ("sms", True, {"channel"}) == (message.document["send"]["channel"], message.is_enabled, told(message))


def test_a_channel_of_each_event_stays_a_directive_and_becomes_small():
    value = {"@path": "$.properties.channel"}
    send = imported(PLAIN | {"channel": value}).document["send"]
    assert {"@case": {"operator": "lower", "value": value}} == send["channel"]


def test_equal_senders_are_one_and_alike_endings_are_told_apart():
    book = SenderBook()
    numbers = ["+15550006789", "+15550006789", "+447700906789", f"Main [{SERVICE}]", "ACME Shop"]
    mappings = [PLAIN | {"fromPhoneNumber": n} for n in numbers if "[" not in n]
    mappings += [TEMPLATE | {"messagingServiceSid": numbers[3]}]
    names = [imported(mapping, book=book).document["send"]["from"] for mapping in mappings]
    assert ["number-6789", "number-6789", "number-6789-2", "acme-shop", "service-cdef"] == names
    assert {"messaging_service": SERVICE, "account": "main"} == book.senders["service-cdef"]


def test_a_choice_among_numbers_becomes_a_choice_among_senders():
    value = {"@if": {"exists": {"@path": "$.traits.vip"}, "then": "+15550001111", "else": "+15550002222"}}
    message = imported(PLAIN | {"fromPhoneNumber": value})
    branches = message.document["send"]["from"]["@if"]
    assert ("number-1111", "number-2222", ()) == (branches["then"], branches["else"], message.problems)


def test_a_sender_read_from_each_event_waits_for_its_user():
    """A number in an event is no declared sender: whoever can write events could send from any."""
    book = SenderBook()
    message = imported(PLAIN | {"fromPhoneNumber": {"@path": "$.properties.from"}}, book=book)
    assert (False, "number-to-choose") == (message.is_enabled, message.document["send"]["from"])
    assert {"from": "${STREAMER_FROM}", "account": "main"} == book.senders["number-to-choose"]
    assert {"fromPhoneNumber"} == blocked(message)


def test_a_sender_that_segment_refuses_and_streamer_takes_is_told():
    assert "fromPhoneNumber" in told(imported(PLAIN | {"fromPhoneNumber": "ACME"}))


def test_media_lose_their_blanks_and_make_it_mms():
    message = imported(PLAIN | {"inlineMediaUrls": ["", None, "https://x.test/1.png", {"@path": "$.properties.img"}]})
    send = message.document["send"]
    assert (["https://x.test/1.png", {"@path": "$.properties.img"}], "mms") == (send["media_urls"], send["channel"])
    assert (True, "channel" in told(message)) == (message.is_enabled, True)


def test_a_single_address_is_a_list():
    assert ["https://x.test/1.png"] == imported(PLAIN | {"inlineMediaUrls": "https://x.test/1.png"}).document["send"][
        "media_urls"
    ]


def test_tags_lose_their_blanks_and_the_tenth():
    tags = {"blank": " ", "none": None, **{f"k{n}": n for n in range(10)}}
    message = imported(PLAIN | {"tags": tags})
    assert {f"k{n}": str(n) for n in range(9)} == message.document["send"]["tags"]
    assert (True, ["tags"]) == (message.is_enabled, [problem.field for problem in message.problems])


def test_a_tag_by_the_name_of_ours_is_left_out():
    message = imported(PLAIN | {"tags": {"streamer_attempt": "1", "campaign": "spring"}})
    assert {"campaign": "spring"} == message.document["send"]["tags"]
    assert (True, ["tags"]) == (message.is_enabled, [problem.field for problem in message.problems])


@pytest.mark.parametrize(("mapping", "segment"), [(PLAIN, "ignores"), (TEMPLATE, "15 minutes")])
def test_a_time_to_send_at_is_held_whoever_sends(mapping, segment):
    message = imported(mapping | {"sendAt": {"@path": "$.properties.at"}})
    (difference,) = [each for each in message.differences if each.field == "sendAt"]
    assert {"@path": "$.properties.at"} == message.document["send"]["send_at"]
    assert segment in difference.segment


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"channel": None}, "channel"),
        ({"channel": "WhatsApp"}, "channel"),
        ({"senderType": "Pigeon"}, "senderType"),
        ({"fromPhoneNumber": ""}, "fromPhoneNumber"),
        ({"fromPhoneNumber": "not a number at all"}, "fromPhoneNumber"),
        ({"toPhoneNumber": None}, "toPhoneNumber"),
        ({"toPhoneNumber": "+0123456789"}, "toPhoneNumber"),
        ({"toPhoneNumber": "123456"}, "toPhoneNumber"),
        ({"inlineBody": " "}, "inlineBody"),
        ({"inlineBody": "x" * 1601}, "inlineBody"),
        ({"inlineBody": "pay ${AMOUNT}"}, "inlineBody"),
        ({"inlineMediaUrls": ["ftp://x.test/1"]}, "inlineMediaUrls"),
        ({"inlineMediaUrls": [f"https://x.test/{n}" for n in range(11)]}, "inlineMediaUrls"),
        ({"validityPeriod": 0}, "validityPeriod"),
        ({"validityPeriod": 14401}, "validityPeriod"),
        ({"sendAt": "soon"}, "sendAt"),
        ({"tags": {"a": "b&c"}}, "tags"),
        ({"tags": {"a": "v" * 129}}, "tags"),
        ({"contentTemplateType": "Text"}, "contentSid"),
        ({"contentTemplateType": "Text", "contentSid": "HX1"}, "contentSid"),
        ({"contentTemplateType": {"@path": "$.properties.kind"}}, "contentTemplateType"),
        ({"channel": "RCS"}, "senderType"),
        ({"inlineBody": {"@path": "$.first_name"}}, "inlineBody"),
        ({"inlineBody": {"@template": "Hi {{name_of_user}}"}}, "inlineBody"),
        ({"inlineBody": {"@if": {"exists": {"@path": "$.nowhere.a"}, "then": "x"}}}, "inlineBody"),
        ({"inlineBody": {"@upper": "x"}}, "inlineBody"),
        ({"inlineBody": {"@path": "$.userId", "other": 1}}, "inlineBody"),
        ({"toPhoneNumber": {"@arrayPath": ["$.phones"]}}, "toPhoneNumber"),
    ],
)
def test_what_segment_or_streamer_refuses_on_every_event_is_not_enabled(changed, field):
    """Written, told, and waiting: nothing that nobody decided is sent, and the folder loads."""
    message = imported(PLAIN | changed)
    assert (False, True) == (message.is_enabled, field in blocked(message))
    assert {"channel", "from", "to"} < set(message.document["send"])


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"fromPhoneNumber": "ACME", "inlineMediaUrls": ["https://x.test/1.png"]}, "send.from"),
        ({"fromPhoneNumber": "12345", "channel": "Whatsapp"}, "send.from"),
        ({"inlineBody": {"@literal": 5}}, "send.body"),
    ],
)
def test_what_only_the_loader_refuses_is_left_out_and_told(changed, name):
    """A file that doesn't load, enabled or not, would keep the whole folder from loading."""
    book = SenderBook()
    message = imported(PLAIN | changed, book=book)
    assert (False, {name}) == (message.is_enabled, blocked(message))
    senders = {each: Sender(each, "main", number="+15550006789") for each in book.senders}
    assert not compile_rule(message.id, message.document, senders, RuleDefaults("US", "", 60.0)).enabled


def test_braces_within_a_directive_or_object_are_ours_or_left_out():
    """Segment prints them; in ours they are a template, so one that is none would not load."""
    choice = {"@if": {"exists": {"@path": "$.traits.vip"}, "then": "Hi {{first_name}}"}}
    message = imported(PLAIN | {"inlineBody": choice})
    assert ({"inlineBody"}, NOT_IMPORTED) == (blocked(message), message.document["send"]["body"])
    variables = imported(TEMPLATE | {"contentVariables": {"1": "{{first_name}}", "2": "{{properties.a}}"}})
    assert {"1": {"@literal": "{{first_name}}"}, "2": "{{properties.a}}"} == variables.document["send"][
        "content_variables"
    ]
    assert (True, True) == (variables.is_enabled, "contentVariables" in told(variables))


def test_no_recipient_is_never_read_as_the_profiles_phone_in_silence():
    message = imported({key: value for key, value in PLAIN.items() if key != "toPhoneNumber"})
    assert (TO_PROFILE, False) == (message.document["send"]["to"], message.is_enabled)


GREETING = PLAIN | {"inlineBody": {"@template": "Hi {{properties.name}}, {{properties.total}}!"}}


def example_of(message, field="inlineBody"):
    """The one example of a field."""
    (difference,) = [each for each in message.differences if each.field == field]
    return difference.example


def test_a_missing_value_is_told_with_an_event_that_both_let_through_and_what_segment_prints():
    """It holds what the trigger asks for and a number to send to, so that both come as far as the text."""
    message = imported(GREETING, 'event = "A" and properties.total > 50')
    event = '{"type":"track","event":"A","userId":"u1","properties":{"total":51,"phone":"+14155550100"}}'
    said = 'Segment sends "Hi , 51!", streamer sends nothing (missing_value: properties.name)'
    assert f"{event}: {said}" == example_of(message)


def test_what_is_not_enabled_would_do_it():
    assert "Segment would send " in example_of(imported(GREETING, enabled=False))
    assert "streamer would send nothing (missing_value: " in example_of(imported(GREETING, enabled=False))


@pytest.mark.parametrize(
    ("changed", "trigger"),
    [
        ({}, 'properties.a = "x" and (properties.b = "x" or (properties.c = 1 and properties.d = 2))'),
        ({}, 'type = "track" and type = "page"'),
        ({}, 'properties.name = "x" and properties.total = 5'),
        ({"toPhoneNumber": None}, 'type = "track"'),
        ({"toPhoneNumber": {"@template": "+{{properties.cc}}{{properties.phone}}"}}, 'type = "track"'),
        ({"toPhoneNumber": "(415) 555-0100"}, 'type = "track"'),
        ({"fromPhoneNumber": "ACME"}, 'type = "track"'),
        ({"channel": "WhatsApp"}, 'type = "track"'),
    ],
)
def test_where_one_side_sends_nothing_anyway_no_event_is_said_to_be_sent(changed, trigger):
    """Segment can't read the first trigger and refuses the last ones; nothing is missing in the third."""
    message = imported(GREETING | changed, trigger)
    said = "a missing {{properties.name}}: Segment prints nothing there, streamer suppresses the message"
    assert said == example_of(message)


def test_braces_in_a_plain_text_are_told_with_an_event_that_fills_them():
    """Segment sends them as they stand; the author meant a template."""
    message = imported(PLAIN | {"inlineBody": "Hi {{properties.name}}"}, "properties.total > 50")
    assert ("Hi {{properties.name}}", {"inlineBody"}) == (message.document["send"]["body"], told(message))
    event, said = example_of(message).split("}}: ")
    properties = {"total": 51, "phone": "+14155550100", "name": "x"}
    assert properties == json.loads(event + "}}")["properties"]
    assert "Segment sends the text with its braces, streamer sends the event's values in their place" == said


def test_braces_that_no_event_is_found_for_are_told_without_one():
    message = imported(PLAIN | {"inlineBody": "Hi {{properties.name}}", "toPhoneNumber": {"@path": "$.a b"}})
    assert "{" not in example_of(message)[:1]


def test_braces_where_the_recipient_stands_are_refused_by_segment():
    message = imported(PLAIN | {"toPhoneNumber": "{{properties.phone}}"})
    (difference,) = message.differences
    assert ("toPhoneNumber", True) == (difference.field, "refuses every event" in difference.segment)


def test_what_was_filled_in_here_is_no_difference():
    assert () == imported(PLAIN | {"toPhoneNumber": None}).differences
    assert () == imported(PLAIN | {"toPhoneNumber": "{{bogus}}"}).differences


UNKNOWN = {"shortenUrls": True, "statusCallback": "https://a.example", "batch_size": 3, "x\n1": "y"}


@pytest.mark.parametrize("mapping", [PLAIN, {"To": "+14155550100", "From": "+15550006789", "Body": "Hi"}])
def test_a_setting_that_is_not_known_is_told_once_and_the_message_stays_enabled(mapping):
    """What it asked for is gone, but the message is whole."""
    message = imported(mapping | UNKNOWN | {"zzz": None})
    assert ["shortenUrls", "statusCallback", "batch_size", "x 1"] == [each.field for each in message.problems]
    assert {"is not known to streamer, and is left out"} == {each.text for each in message.problems}
    assert (True, set()) == (message.is_enabled, blocked(message))


def test_of_many_unknown_settings_the_first_are_told():
    message = imported(PLAIN | {f"n{n}": 1 for n in range(100)})
    assert (21, "80 more settings") == (len(message.problems), message.problems[-1].field)


def test_what_segment_does_not_look_at_either_is_no_unknown_setting():
    assert () == imported(PLAIN | {"messagingServiceSid": SERVICE, "toMessengerUserId": "u"}).problems


@pytest.mark.parametrize("text", ["Hi {{", "50 {% off", "{{ a | b: }} {{", "Hi {{first_name}}"])
def test_braces_that_are_no_template_stay_text(text):
    assert {"@literal": text} == imported(PLAIN | {"inlineBody": text}).document["send"]["body"]


@pytest.mark.parametrize(
    "value",
    [
        {"@template": "Hi {{$.properties.name}}"},
        {"@if": {"blank": {"@path": "$.properties.a"}, "then": "x", "else": "y"}},
        {"@replace": {"value": {"@path": "$.properties.a"}, "pattern": "a", "replacement": "$&"}},
    ],
)
def test_an_accident_of_a_directive_is_told(value):
    message = imported(PLAIN | {"inlineBody": value})
    assert (value, "body" in told(message)) == (message.document["send"]["body"], True)


def test_paths_that_begin_elsewhere_are_left_alone():
    """The shape of @arrayPath is relative to an item, the mapping of @transform to what was applied."""
    value = {
        "@transform": {
            "apply": {"x": {"@arrayPath": ["$.properties.items", {"y": {"@path": "$.sku"}}]}},
            "mapping": {"@path": "$.x"},
        }
    }
    message = imported(PLAIN | {"inlineBody": value})
    assert (value, ()) == (message.document["send"]["body"], message.problems)


def test_the_old_destination_is_taken_over():
    mapping = {"To": {"@path": "$.traits.phone"}, "Body": "Hi", "MediaUrl": "https://x.test/1.png"}
    book = SenderBook()
    message = imported(
        mapping,
        action="sendSMS",
        book=book,
        settings={"accountId": "AC" + "0" * 32, "token": "t", "phoneNumber": "+15550006789"},
    )
    send = {"channel": "mms", "from": "number-6789", "to": {"@path": "$.traits.phone"}, "body": "Hi"}
    assert send | {"media_urls": ["https://x.test/1.png"]} == message.document["send"]
    assert "AC" + "0" * 32 == book.accounts["main"]["account_sid"]


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        (PLAIN, {"action": "triggerStudioFlow"}),
        (PLAIN | {"channel": "Messenger"}, {}),
        (PLAIN | {"senderType": "Facebook Page ID"}, {}),
        ({"@merge": {"objects": []}}, {"action": "sendMessage"}),
        ({"flowSid": "FW"}, {}),
    ],
)
def test_what_has_no_counterpart_is_skipped(mapping, said):
    assert isinstance(imported(mapping, **said), Skipped)


def test_what_is_off_at_segment_stays_off():
    assert False is imported(PLAIN, enabled=False).is_enabled


def test_ids_come_from_the_name_else_the_event_and_are_unique():
    taken = set()
    ids = [
        imported(PLAIN, trigger, name=name, taken=taken).id
        for name, trigger in [
            ("Bäd Name!", 'type = "track"'),
            ("bad name", 'type = "track"'),
            ("", 'event = "Order Shipped"'),
            ("訂單", 'event = "Order Shipped"'),
            ("", 'type = "track"'),
            ("x" * 100, 'type = "track"'),
        ]
    ]
    assert ["bad-name", "bad-name-2", "order-shipped", "order-shipped-2", "mapping", "x" * 56] == ids


@pytest.mark.parametrize("case", VECTORS["send_message_cases"], ids=lambda case: case["id"])
def test_every_sample_is_imported_and_enabled_only_if_segment_ever_sends(case):
    """What it refuses by a constant is not enabled; what it refuses by an event's value depends on the event."""
    message = imported(case["mapping"], case["subscribe"])
    assert isinstance(message, Message)
    is_refused_by_value = case["id"] in ("send-005", "send-007", "send-018", "send-057")
    # A short code and a two-digit number are sent to by Segment, and by nobody else.
    is_ours_to_refuse = case["id"] in ("send-010", "send-014")
    is_sent = case["expected"]["requests"] == 1
    assert ((is_sent and not is_ours_to_refuse) or is_refused_by_value) is message.is_enabled
    assert message.is_enabled or message.problems
    assert NOT_IMPORTED != message.document["send"].get("body") or not message.is_enabled
