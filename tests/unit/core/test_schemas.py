"""The schemas: valid ones, and agreed with the code that reads and writes what they describe."""

import json
from itertools import product
from pathlib import Path

import msgspec
import pytest
from jsonschema import Draft202012Validator
from msgspec.structs import replace

from streamer.cli.schemas import DOCUMENTS
from streamer.config import load
from streamer.core.delivery import (
    ACCEPTED,
    FAILED,
    STATUSES,
    SUPPRESSED,
    UNKNOWN,
    Decision,
    Origin,
    delivery_event,
    resolved_event,
    send_id,
)
from streamer.core.documents_tests import START_DEFAULT, TestFile
from streamer.core.records import TYPES
from streamer.errors import ConfigError
from streamer.testing.shop import generate
from streamer.testing.shop_junk import JUNK
from tests.schemas import faults, from_yaml, schema
from tests.unit.core.test_records import BAD, GOOD, encoded

SHOP = Path(__file__).parents[3] / "streamer" / "examples" / "shop"
NAMES = [each.name for each in DOCUMENTS]


def subschemas(node):
    """Every object in a schema, itself first."""
    if isinstance(node, dict):
        yield node
    for each in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from subschemas(each)


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_one_by_the_metaschema_and_names_nothing_that_is_not_there(name):
    Draft202012Validator.check_schema(schema(name))
    assert schema(name)["$id"] == f"urn:streamer:schema:{name}:1"
    for each in subschemas(schema(name)):
        if isinstance(each.get("$ref"), str):
            assert each["$ref"].removeprefix("#/$defs/") in schema(name)["$defs"]


@pytest.mark.parametrize("name", NAMES)
def test_every_key_is_described_in_a_sentence_and_every_example_is_right(name):
    for each in subschemas(schema(name)):
        for key, value in each.get("properties", {}).items() if each.get("type") == "object" else ():
            if key != "type":
                assert value["description"].endswith("."), key
                described = {**value, "$defs": schema(name).get("$defs", {})}
                for example in value.get("examples", []):
                    assert [] == list(Draft202012Validator(described).iter_errors(example)), key


# Mappings


SMALL_CONFIG = """
kafka: {bootstrap_servers: a}
topics: {events: [a]}
accounts: {main: {account_sid: "${A}", api_key_sid: "${A}", api_key_secret: "${A}"}}
senders: {shop: {from: "+15550006789"}}
"""
# The keys that the loader knows now; with a value of the others given here, they are held to the loader too.
MAPPING = {
    "id": "order-shipped",
    "enabled": True,
    "category": "marketing",
    "when": 'type = "track" and event = "Order Shipped"',
    "max_age": "24h",
    "region": "GB",
    "strict_numbers": True,
    "identify_wait": "10m",
    "once_per": {"key": "properties.order_id", "within": "24h"},
    "priority": "high",
    "on_unknown": "resend",
    "retry_after_accepted": True,
    "send": {"channel": "sms", "from": "shop", "to": "{{properties.phone}}", "body": "Hi {{profile.traits.name}}"},
}
OTHERS = [None, "", " ", "x", "shop", "sms", "10m", "0s", "+15550100001", "{{properties.x}}", 'type = "track"']
OTHERS += [0, 5, -1, 1.5, True, False, [], ["x"], {}, {"x": 1}, {"@path": "$.event"}, {"body": "Hi"}]
FAULTY_MAPPINGS = {
    "an unknown key": ("enabld", True),
    "an unknown key of send": ("send.bdy", "x"),
    "an id of other signs": ("id", "Order Shipped"),
    "no filter": ("when", ...),
    "a filter that is a list": ("when", ["x"]),
    "a category that is a number": ("category", 5),
    "every category": ("category", "any"),
    "a category too long": ("category", "x" * 65),
    "no message": ("send", ...),
    "a message that is text": ("send", "Hi"),
    "a message of nothing": ("send", {}),
    "an unknown channel": ("send.channel", "fax"),
    "a body that is a number": ("send.body", 5),
    "a duration without unit": ("max_age", 24),
    "a duration of nothing": ("max_age", "0h"),
    "no duration": ("max_age", "soon"),
    "not true or false": ("enabled", "maybe"),
    "a region in small letters": ("region", "gb"),
    "a region that is a country's name": ("region", "Germany"),
    "strictness of another kind": ("strict_numbers", "maybe"),
    "a key alone": ("once_per", "properties.order_id"),
    "a key for ever": ("once_per", {"key": "properties.order_id"}),
    "a time without a key": ("once_per", {"within": "24h"}),
    "a key that is no path": ("once_per", {"key": "order id", "within": "24h"}),
    "a key for no time": ("once_per", {"key": "properties.order_id", "within": "0h"}),
    "an unknown key of once_per": ("once_per", {"key": "properties.order_id", "within": "24h", "per": 1}),
    "an unknown priority": ("priority", "low"),
    "an unknown way": ("on_unknown", "retry"),
    "another attempt of another kind": ("retry_after_accepted", "maybe"),
}


def changed(path, value):
    """MAPPING with another value at a dotted path, or without it if the value is `...`."""
    document = {**MAPPING, "send": dict(MAPPING["send"])}
    *parents, last = path.split(".")
    inner = document["send"] if parents else document
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return document


@pytest.fixture
def loader_faults(tmp_path):
    """What the loader has against a mapping."""
    (tmp_path / "streamer.yaml").write_text(SMALL_CONFIG)
    (tmp_path / "mappings").mkdir()

    def found(document):
        (tmp_path / "mappings" / "a.yaml").write_text(json.dumps(document))
        try:
            load(tmp_path, secrets=False)
        except ConfigError as error:
            return str(error).split("\n")
        return []

    return found


def test_the_keys_that_the_loader_knows_are_in_the_schema(loader_faults):
    """Its faults list them; what it knows and the schema doesn't would be marked though it works."""
    keys = {
        "mapping": set(schema("mapping")["properties"]),
        "send": set(schema("mapping")["$defs"]["Send"]["properties"]),
    }
    for path, where in (("☃", "mapping"), ("send.☃", "send")):
        (line,) = [each for each in loader_faults(changed(path, 1)) if f"{path}: unknown key" in each]
        known = set(line.rpartition("there is ")[2].split(", "))
        assert known
        assert known <= keys[where]


def test_a_mapping_with_every_key_is_right_for_both(loader_faults):
    assert ([], []) == (loader_faults(MAPPING), faults("mapping", MAPPING))


def test_the_schema_of_mappings_refuses_only_what_the_loader_refuses(loader_faults):
    wrong = []
    for path, value in product([*MAPPING, *(f"send.{key}" for key in MAPPING["send"])], (..., *OTHERS)):
        document = changed(path, value)
        if faults("mapping", document) and not loader_faults(document):
            wrong.append((path, value))
    assert [] == wrong


@pytest.mark.parametrize(("path", "value"), FAULTY_MAPPINGS.values(), ids=FAULTY_MAPPINGS)
def test_a_fault_of_a_mapping_is_one_for_both(loader_faults, path, value):
    document = changed(path, value)
    assert loader_faults(document)
    assert faults("mapping", document)


@pytest.mark.parametrize("file", sorted((SHOP / "mappings").iterdir()), ids=lambda file: file.stem)
def test_the_mappings_of_the_example_are_right(file):
    assert [] == faults("mapping", from_yaml(file.read_text()))


GOOD_SENDS = """
- {body: Hi}
- {channel: "{{properties.channel}}", body: Hi}
- {channel: {"@if": {exists: {"@path": $.properties.wa}, then: whatsapp, else: sms}}, body: Hi}
- {channel: mms, media_urls: ["https://example.com/a.png", {"@path": $.properties.picture}]}
- {channel: mms, media_urls: {"@path": $.properties.pictures}, body: Hi}
- {channel: rcs, content_sid: HX0123456789abcdef0123456789abcdef, content_variables: {"1": "{{properties.id}}", "2": 5}}
- {content_sid: "{{properties.template}}", content_variables: {"@path": $.properties.variables}}
- {body: Hi, validity_period: 4h}
- {body: Hi, validity_period: 36000}
- {body: Hi, validity_period: {"@path": $.properties.seconds}}
- {body: Hi, send_at: "2026-12-24T09:00:00Z"}
- {body: Hi, send_at: 2026-12-24T09:00:00+01:00}
- {body: Hi, send_at: "{{properties.due}}"}
- {body: Hi, tags: {campaign: spring 1, step: 2, note: null, who: {"@path": $.userId}}}
- {body: Hi, tags: {"@path": $.properties.tags}}
- {body: Hi, shorten_urls: true, smart_encoded: {"@literal": false}, risk_check: disable, message_intent: otp}
- {body: {"@case": {operator: upper, value: {"@template": "{{properties.city}}", _metadata: {by: someone}}}}}
"""
BAD_SENDS = """
- {channel: sms}
- {body: Hi, channel: SMS}
- {body: Hi, media_urls: https://example.com/a.png}
- {body: Hi, media_urls: [a, a, a, a, a, a, a, a, a, a, a]}
- {content_sid: HX12}
- {body: Hi, content_variables: [1]}
- {body: Hi, validity_period: 0}
- {body: Hi, validity_period: 36001}
- {body: Hi, validity_period: 4 hours}
- {body: Hi, send_at: tomorrow}
- {body: Hi, send_at: 2026-12-24}
- {body: Hi, tags: {a: 1, b: 1, c: 1, d: 1, e: 1, f: 1, g: 1, h: 1, i: 1, j: 1}}
- {body: Hi, tags: {"a:b": 1}}
- {body: Hi, tags: {a: {b: 1}}}
- {body: Hi, shorten_urls: "yes"}
- {body: Hi, risk_check: on and off}
- {body: Hi, message_intent: fun}
- {body: {"@path": a, "@template": b}}
- {body: {"@path": a, also: b}}
- {body: {"@nope": a}}
- {body: {path: a}}
- {body: {}}
"""


def test_every_field_of_a_message_takes_its_values_and_directives():
    small = {"when": 'type = "track"', "missing": "empty"}
    assert [] == [fault for send in from_yaml(GOOD_SENDS) for fault in faults("mapping", {**small, "send": send})]
    assert [] == [send for send in from_yaml(BAD_SENDS) if not faults("mapping", {**small, "send": send})]


GOOD_DIRECTIVES = """
- {"@path": $.properties.total}
- {"@path": {"@literal": $.event}}
- {"@template": "{{properties.name}}"}
- {"@literal": {"@path": $.event}}
- {"@literal": null}
- {"@if": {exists: {"@path": $.event}, then: y, else: n}}
- {"@if": {blank: {"@path": $.event}, then: {a: [{"@path": $.x}]}}}
- {"@case": {operator: lower, value: X}}
- {"@replace": {value: {"@path": $.x}, pattern: ".", replacement: "", global: false, ignorecase: true}}
- {"@replace": {value: x, pattern: a, replacement: b, pattern2: c, replacement2: d}}
- {"@arrayPath": [$.properties.items, {id: {"@path": $.sku}}]}
- {"@arrayPath": [{"@literal": [{a: 1}]}]}
- {"@flatten": {value: {"@path": $.x}, separator: ., omitArrays: true}}
- {"@merge": {objects: [{"@path": $.traits}, {first: Z}], direction: right}}
- {"@transform": {apply: {foo: {"@path": $.event}}, mapping: {"@path": $.foo}}}
- {"@json": {mode: encode, value: {"@path": $.properties}}}
- {"@liquid": "{{ properties.name | upcase }}"}
- {"@excludeWhenNull": {"@path": $.x}, _metadata: {label: x}}
"""
BAD_DIRECTIVES = """
- {"@path": 5}
- {"@path": {"@nope": 1}}
- {"@template": [x]}
- {"@literal": {a: {"@nope": 1}}}
- {"@if": {then: y}}
- {"@if": {exists: {"@path": 5}}}
- {"@case": {operator: title, value: x}}
- {"@case": {value: x}}
- {"@case": {operator: lower, value: 5}}
- {"@replace": {value: x, pattern: "12345678901", replacement: ""}}
- {"@replace": {value: x, pattern: x, replacement: "12345678901"}}
- {"@replace": {value: x, pattern: "", replacement: y}}
- {"@replace": {pattern: x, replacement: y}}
- {"@replace": {value: x, pattern: x, ignorecase: "yes"}}
- {"@arrayPath": []}
- {"@arrayPath": $.x}
- {"@arrayPath": [$.x, {"@nope": 1}]}
- {"@flatten": {value: {"@path": $.x}}}
- {"@merge": {objects: [x], direction: right}}
- {"@merge": {objects: [], direction: up}}
- {"@transform": {apply: {foo: 1}}}
- {"@json": {mode: zip, value: "5"}}
- {"@liquid": {"@path": $.event}}
- {"@excludeWhenNull": {"@nope": 1}}
- {"@path": $.event, "@literal": 1}
- {"@path": $.event, other: 1}
- {_metadata: {}}
"""


def test_each_directive_takes_its_own_arguments_and_no_others():
    def found(directive):
        return faults("mapping", {"when": "x", "send": {"body": directive}})

    good, bad = from_yaml(GOOD_DIRECTIVES), from_yaml(BAD_DIRECTIVES)
    assert [] == [each for each in good if found(each)]
    assert [] == [each for each in bad if not found(each)]
    names = {key for key in schema("mapping")["$defs"] if key.startswith("@")}
    assert names == {key for each in good for key in each if key.startswith("@")}
    assert len(names) == 13


def test_a_liquid_text_is_as_long_as_segment_allows():
    for chars, is_right in ((1000, True), (1001, False)):
        found = faults("mapping", {"when": "x", "send": {"body": {"@liquid": "x" * chars}}})
        assert is_right is (found == [])


# Events


def decoded(value):
    """What a validator is given of a record; None if that is no JSON object."""
    try:
        event = json.loads((value or b"").decode())
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def event_faults(event):
    kind = event.get("type")
    return faults(f"event-{kind}", event) if isinstance(kind, str) and kind in TYPES else ["no schema for its type"]


def test_there_is_a_schema_for_every_type_of_event():
    assert {f"event-{kind}" for kind in TYPES} == {name for name in NAMES if name.startswith("event-")}


# What a schema can't tell: which ids are blocked, sizes, the calendar, text that is no Unicode, numbers beyond 64 bits,
# nesting, and what a track carries of other calls.
BEYOND = {
    "a blocked id",
    "two blocked ids",
    "over 32 KB",
    "a group id that is a list",
    "a previous id that is a number",
    "a name that is a list",
    "a category that is an object",
    "traits that are a string",
    "a day that no calendar has",
    "a lone surrogate in an id",
    "a lone surrogate in properties",
    "a lone surrogate as a key",
    "an integer of 30 digits",
    "an integer of 64 bits and one",
    "NaN",
}


@pytest.mark.parametrize(("name", "value"), [each[:2] for each in BAD], ids=[each[0] for each in BAD])
def test_a_bad_event_is_refused_by_its_schema_too_where_it_can_tell(name, value):
    event = decoded(value)
    assert (event is None or event_faults(event) != []) is (name not in BEYOND)


@pytest.mark.parametrize("fields", GOOD)
def test_a_good_event_is_right_by_its_schema(fields):
    assert [] == event_faults(json.loads(encoded(**fields)))


def test_junk_is_refused_by_the_schemas_unless_it_is_only_too_long():
    refused = [event_faults(event) != [] for _, _, value in JUNK if (event := decoded(value)) is not None]
    assert [*[True] * 8, False] == refused


def test_the_events_of_the_shop_are_right():
    items = [item for item in generate(400, 1, 1_767_225_600_000).items if not item.junk]
    assert len(items) > 300
    assert [] == [fault for item in items for fault in event_faults(json.loads(item.value))]


# Delivery events


ORIGIN = Origin("u:u1", "events.track", 3, 42, event_ms=1_000, received_ms=2_000)
DECIDED = Decision(
    send_id=send_id("order-shipped", ORIGIN, "m1"),
    mapping="order-shipped",
    mapping_version="0a1b2c3d",
    origin=ORIGIN,
    message_id="m1",
    outcome=SUPPRESSED,
    reason="no_phone",
    decided_ms=3_000,
)
POSTED = replace(
    DECIDED, attempt=1, channel="sms", to="+15*******89", sender="shop", posted_ms=4_000, answered_ms=5_123
)
DECISIONS = [
    DECIDED,
    replace(POSTED, outcome=ACCEPTED, reason="accepted", sid="SM1", parts=1),
    replace(POSTED, outcome=FAILED, reason="optout", code=21610),
    replace(POSTED, outcome=UNKNOWN, reason="timeout", answered_ms=0),
    replace(POSTED, outcome=ACCEPTED, reason="accepted", message_id=""),
]


@pytest.mark.parametrize(("key", "decision"), list(product(["u:u1", "a:x"], DECISIONS)))
def test_every_delivery_event_is_right_and_has_the_described_keys(key, decision):
    """A consumer that generates its table from the schema must find every column, and no other."""
    event = json.loads(delivery_event(key, decision))
    assert [] == faults("delivery-event", event)
    described = schema("delivery-event")
    assert set(described["properties"]) - {"userId", "anonymousId"} == set(event) - {"userId", "anonymousId"}
    assert set(described["$defs"]["DeliveryProperties"]["properties"]) == set(event["properties"])


@pytest.mark.parametrize("status", STATUSES)
def test_every_resolution_is_right_and_has_the_same_keys(status):
    event = json.loads(resolved_event("u:u1", DECISIONS[0], status))
    assert [] == faults("delivery-event", event)
    assert (event["event"].split()[-1], event["properties"]["status"]) == ("Resolved", status)
    assert set(schema("delivery-event")["$defs"]["DeliveryProperties"]["properties"]) == set(event["properties"])


@pytest.mark.parametrize(
    "change", [{"messageId": "m1"}, {"event": "SMS Sent"}, {"timestamp": 5}, {"anonymousId": "a"}, {"properties": {}}]
)
def test_what_is_no_delivery_event_is_refused(change):
    assert faults("delivery-event", json.loads(delivery_event("u:u1", DECIDED)) | change)


# Test files


GOOD_TESTS = """
- tests:
    - name: nothing comes of it
      events: [{type: identify}]
      expect: []
- name: Order messages
  at: 2026-01-31T09:00:00Z
  profile: {first_name: Ada, phone: "+15550100001"}
  tests:
    - name: a dear order sends one SMS
      profile: {first_name: null}
      events:
        - {at: +0s, type: track, event: Order Shipped, userId: u1, properties: {total: 60}}
        - {at: 2026-01-31T10:00:00Z, type: page, anonymousId: a, messageId: m, name: Cart, integrations: {All: false}}
      expect:
        - send: {mapping: order-shipped, body: Hi, to: "+15550100001", at: +5m}
        - suppress: {mapping: order-shipped, reason: no_phone}
        - send: {body: Hi}
        - suppress: {reason: too_old, detail: d, at: +5m}
        - send: {to: "+15550100001", from: shop, channel: mms, media_urls: ["https://a.example/1"], parts: 1}
        - send: {to: "+15550100001", content_sid: HX, content_variables: {"1": x}}
        - dead_letter: {reason: bad_request, at: +5m}
  stopped: [{number: "+15550100001"}]
- tests:
    - name: what Twilio refuses
      stopped: [{number: "+15550100001", group: shop}, {number: "+15550100001", group: "*"}]
      answers: [{code: 429}, {mapping: order-shipped, to: "+15550100001", from: shop, code: 63003, times: 2}]
      events: [{type: track}]
      expect:
        - fail: {mapping: order-shipped, reason: optout, code: 21610, detail: HTTP 400, at: +5m, held_for: quiet_hours}
        - unknown: {reason: timeout, code: 0}
        - send: {body: Hi, held_for: ""}
        - suppress: {reason: limit, held_for: limit 1 per day over category}
"""
BAD_TESTS = """
- {}
- {tests: []}
- {tests: [{events: [{type: track}], expect: []}]}
- {tests: [{name: x, events: [], expect: []}]}
- {tests: [{name: "", events: [{type: track}], expect: []}]}
- {tests: [{name: x, events: [{type: batch}], expect: []}]}
- {tests: [{name: x, events: [{event: Order Shipped}], expect: []}]}
- {tests: [{name: x, events: [{type: track, propertis: {}}], expect: []}]}
- {tests: [{name: x, events: [{type: track, at: 5m}], expect: []}]}
- {tests: [{name: x, events: [{type: track, at: later}], expect: []}]}
- {tests: [{name: x, events: [{type: track, userId: 5}], expect: []}]}
- {tests: [{name: x, events: [{type: track}], expect: [{}]}]}
- {tests: [{name: x, events: [{type: track}], expect: [{send: {}}]}]}
- {tests: [{name: x, events: [{type: track}]}]}
- {tests: [{name: x, events: [{type: track, raw: x}], expect: []}]}
- {tests: [{name: x, events: [{type: track}], expect: [{send: {at: +5m}}]}]}
- {tests: [{name: x, events: [{type: track}], expect: [{send: {to: "+1", parts: 0}}]}]}
- {tests: [{name: x, events: [{type: track}], expect: [{send: {to: "+1", content_variables: {"1": 1}}}]}]}
- {tests: [{name: x, events: [{type: track}], expect: [{suppress: {detail: x}}]}]}
- {tests: [{name: x, events: [{type: track}], expect: [{dead_letter: {}}]}]}
- {tests: [{name: x, events: [{type: track}], expect: [{suppress: {}}]}]}
- {tests: [{name: x, events: [{type: track}], expect: [{send: {body: x}, suppress: {reason: x}}]}]}
- {tests: [{name: x, events: [{type: track}], expect: [{send: {body: x, frm: shop}}]}]}
- {tests: [{name: x, events: [{type: track}], expect: {send: {body: x}}}]}
- {tests: [{name: x, events: [{type: track}], expect: [{fail: {code: 21610}}]}]}
- {tests: [{name: x, events: [{type: track}], expect: [{unknown: {reason: x, cod: 1}}]}]}
- {tests: [{name: x, answers: [{}], events: [{type: track}], expect: []}]}
- {tests: [{name: x, answers: [{code: 200}], events: [{type: track}], expect: []}]}
- {tests: [{name: x, answers: [{code: 429, times: 0}], events: [{type: track}], expect: []}]}
- {tests: [{name: x, stopped: [{group: shop}], events: [{type: track}], expect: []}]}
- {at: now, tests: [{name: x, events: [{type: track}], expect: []}]}
- {at: 2026-01-31, tests: [{name: x, events: [{type: track}], expect: []}]}
- {profile: [], tests: [{name: x, events: [{type: track}], expect: []}]}
- {test: [{name: x, events: [{type: track}], expect: []}]}
"""


def is_convertible(document):
    try:
        msgspec.convert(document, TestFile)
    except msgspec.ValidationError:
        return False
    return True


def test_test_files_are_right_for_the_decoder_and_the_schema_alike():
    assert [(True, [])] * 3 == [(is_convertible(each), faults("test", each)) for each in from_yaml(GOOD_TESTS)]
    assert [] == [each for each in from_yaml(BAD_TESTS) if is_convertible(each) or not faults("test", each)]


def test_an_event_of_a_test_is_given_back_as_it_was_written():
    """What becomes of it must not depend on fields that nobody wrote."""
    small, large, _ = (msgspec.convert(each, TestFile) for each in from_yaml(GOOD_TESTS))
    assert {"type": "identify"} == msgspec.to_builtins(small.tests[0].events[0])
    assert from_yaml(GOOD_TESTS)[1]["tests"][0]["events"] == msgspec.to_builtins(large.tests[0].events)
    assert (START_DEFAULT, {}, []) == (small.at, small.profile, small.tests[0].expect)


def test_a_faulty_expectation_is_told_with_its_place():
    document = from_yaml("tests: [{name: x, events: [{type: track}], expect: [{send: {at: '+1s'}}]}]")
    with pytest.raises(msgspec.ValidationError, match=r"`mapping`, `body` or `to`.*\$\.tests\[0\]\.expect\[0\]\.send"):
        msgspec.convert(document, TestFile)
