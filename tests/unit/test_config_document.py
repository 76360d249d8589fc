"""The schema of streamer.yaml and the loader agree: on every key, on what is right, and on what is wrong."""

import json
import re
from copy import deepcopy
from pathlib import Path

import pytest

from streamer.config import load
from streamer.errors import ConfigError
from tests.schemas import faults, from_yaml, schema

SHOP = Path(__file__).parents[2] / "streamer" / "examples" / "shop"
SID = "0123456789abcdef" * 2
LIST_OF_KEYS = re.compile(r"☃: unknown key; (?:known here:|there is) (.*)")

SMALL = {"kafka": {"bootstrap_servers": "a"}, "topics": {"events": ["a"]}}
# Every key that the loader knows, so that each can be given every other value in turn.
KEY = "A" * 43 + "="
FULL = {
    "kafka": {
        "bootstrap_servers": "a:9092, [::1]:9093",
        "group": "shop",
        "client_id": "here",
        "security_protocol": "SASL_SSL",
        "ssl_cafile": "ca.pem",
        "ssl_certfile": "cert.pem",
        "ssl_keyfile": "key.pem",
        "ssl_password": "p",
        "ssl_check_hostname": False,
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "me",
        "sasl_plain_password": "p",
        "sasl_kerberos_service_name": "kafka",
        "sasl_kerberos_domain_name": "d",
        "session_timeout": "45s",
        "enable_idempotence": False,
    },
    "topics": {
        "events": ["a", "b"],
        "start": "2026-01-31T00:00:00Z",
        "prefix": "x.",
        "partitions": 3,
        "replication": 2,
    },
    "accounts": {
        "main": {
            "account_sid": f"AC{SID}",
            "api_key_sid": f"SK{SID}",
            "api_key_secret": "s",
            "auth_token": "t",
            "base_url": "http://127.0.0.1:1/x/",
            "concurrency": 7,
            "requests_per_s": 80,
            "timeout": "250ms",
        }
    },
    "senders": {
        "shop": {
            "from": "My Shop",
            "account": "main",
            "group": "g",
            "channels": ["sms"],
            "parts_per_s": 2.5,
            "owner": "one",
        },
        "pool": {"messaging_service": f"MG{SID}"},
    },
    "http": {"listen": "[::1]:0", "public_url": "https://sms.example.com/", "token_keys": {"1": KEY}},
    "store": {"engine": "memory", "path": "data"},
    "defaults": {
        "region": "GB",
        "sender": "shop",
        "max_age": "2h",
        "identify_wait": "0s",
        "strict_numbers": True,
        "timezone": "Europe/Berlin",
    },
    "consent": {"mode": "opt_in", "traits": {"sms_opt_in": "marketing/sms", "newsletter": "marketing"}},
    "identity": {"blocked": ["x+", "test-.*"]},
    "profile": {"context_traits": "update"},
    "limits": [{"count": 3, "per": "week", "over": "all", "when_full": "drop"}, {"count": 1, "per": "24h"}],
    "quiet_hours": {
        "preset": "us",
        "open": {"mon-fri": "09:00-20:00", "sat": ["10:00-12:00", "13:00-17:00"], "sun": "closed"},
        "holidays": ["2026-12-25", "01-01"],
        "zone": "America/New_York",
        "when_closed": "drop",
        "spread": "15m",
    },
    "categories": {"transactional": {"exempt": ["consent", "limits", "quiet_hours"]}},
    "allow_numbers": ["+14155550100"],
    "integration": "Texts",
    "outcomes": {
        "30003": "recipient",
        "21612": {"kind": "stop", "scope": "sender"},
        "30450": {"kind": "later", "schedule": "half_hour"},
        "30xxx": "message",
    },
    "filters": [
        {"when": "type = 'track'", "drop": True},
        {"sample": {"percent": 10, "by": "userId"}},
        {"allow_properties": {"properties": ["a"]}},
        {"drop_properties": {"": ["b"]}},
    ],
}
WHO = {"accounts", "senders", "defaults"}  # each names one of the others
OTHERS = [None, "", " ", "x", "${NAME}", "10s", "0s", "10 m", "1970-01-01 00:00:00+00:00", "earliest", "SSL", "US"]
OTHERS += ["a:1", "12345", 0, 1, -1, 1.5, 10_000, 10_001, True, [], ["x"], ["sms", "sms"], [1], {}, {"x": 1}, {"x": {}}]


def loader_faults(folder, document):
    """What the loader has against a streamer.yaml; nothing connects, so no secret is needed."""
    (folder / "streamer.yaml").write_text(json.dumps(document), encoding="utf-8")
    try:
        load(folder, secrets=False)
    except ConfigError as error:
        return str(error).split("\n")
    return []


def keys_by_section(definitions, node, path=()):
    """The keys of each object of a schema, by its path in FULL."""
    while "$ref" in node:
        node = definitions[node["$ref"].removeprefix("#/$defs/")]
    if "anyOf" in node:
        # Of a text and a mapping, the mapping.
        node = next((each for each in node["anyOf"] if "$ref" in each), node["anyOf"][0])
        return keys_by_section(definitions, node, path)
    if "properties" not in node:
        inner, name = (
            node.get("additionalProperties"),
            {"accounts": "main", "senders": "shop", "outcomes": "21612", "categories": "transactional"}.get(path[-1]),
        )
        return keys_by_section(definitions, inner, (*path, name)) if inner and name else {}
    found = {path: set(node["properties"])}
    for key, each in node["properties"].items():
        found |= keys_by_section(definitions, each, (*path, key))
    return found


SECTIONS = keys_by_section(schema("config")["$defs"], schema("config"))


def at(document, path):
    for key in path:
        document = document[key]
    return document


def changed(path, value):
    """FULL, as far as it concerns the path, with another value there, or without it if the value is `...`."""
    kept = WHO if path[0] in WHO else {path[0]}
    document = deepcopy(SMALL | {key: FULL[key] for key in FULL if key in kept})
    *parents, last = path
    if value is ...:
        del at(document, parents)[last]
    else:
        at(document, parents)[last] = value
    return document


def paths(node, path=()):
    """Every path of a document that leads to a value, sections and items of lists included."""
    entries = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, each in entries:
        yield (*path, key)
        yield from paths(each, (*path, key))


@pytest.mark.parametrize("path", SECTIONS, ids=lambda path: ".".join(path) or "the whole")
def test_every_section_has_the_keys_that_the_loader_asks_for(tmp_path, path):
    """A key on one side only is refused by the editor though it works, or completed by the editor though it fails."""
    said = [LIST_OF_KEYS.search(line) for line in loader_faults(tmp_path, changed((*path, "☃"), 1))]
    (known,) = [found[1].split(", ") for found in said if found]
    assert SECTIONS[path] == set(known)


def test_no_section_is_left_out_of_the_comparison():
    """The walk over the schema finds what it is there for; and FULL has each key but the other half of a pair."""
    expected = {(), ("kafka",), ("topics",), ("accounts", "main"), ("senders", "shop"), ("http",), ("store",)}
    expected |= {("identity",), ("profile",), ("consent",)}
    expected |= {("outcomes", "21612"), ("quiet_hours",), ("categories", "transactional")}
    assert expected | {("defaults",)} == set(SECTIONS)
    for path, keys in SECTIONS.items():
        assert keys - {"messaging_service", "schedule"} == set(at(FULL, path))


@pytest.mark.parametrize("document", [SMALL, FULL], ids=["the smallest", "the fullest"])
def test_a_right_configuration_is_right_for_both(tmp_path, document):
    assert ([], []) == (loader_faults(tmp_path, document), faults("config", document))


def test_the_example_is_right_for_both():
    assert load(SHOP, secrets=False).senders
    assert [] == faults("config", from_yaml((SHOP / "streamer.yaml").read_text()))


@pytest.mark.parametrize("section", FULL)
def test_the_schema_refuses_only_what_the_loader_refuses(tmp_path, section):
    """An editor that marks what works is soon switched off."""
    wrong = []
    for path in paths({section: FULL[section]}):
        for value in (..., *OTHERS):
            document = changed(path, value)
            if faults("config", document) and not loader_faults(tmp_path, document):
                wrong.append((path, value))
    assert [] == wrong


FAULTY = {
    "an unknown section": (("topic",), {}),
    "an unknown key": (("kafka", "grup"), "x"),
    "an unknown key of an account": (("accounts", "main", "timout"), "1s"),
    "an unknown key of a sender": (("senders", "shop", "form"), "x"),
    "a missing section": (("kafka",), ...),
    "a missing key": (("kafka", "bootstrap_servers"), ...),
    "a missing secret": (("accounts", "main", "api_key_secret"), ...),
    "no value": (("kafka", "group"), None),
    "an empty text": (("http", "listen"), ""),
    "a section that is text": (("store",), "memory"),
    "a section that is a list": (("accounts",), []),
    "an account that is text": (("accounts", "main"), "x"),
    "a number for text": (("senders", "shop", "from"), 15550006789),
    "a boolean for text": (("kafka", "group"), True),
    "text for a number": (("topics", "partitions"), "8"),
    "a fraction for a number": (("topics", "partitions"), 8.5),
    "text for a boolean": (("kafka", "enable_idempotence"), "yes"),
    "too few": (("topics", "partitions"), 0),
    "too many": (("topics", "partitions"), 10_001),
    "no concurrency": (("accounts", "main", "concurrency"), 0),
    "too quick": (("senders", "shop", "parts_per_s"), 10_001),
    "too many requests": (("accounts", "main", "requests_per_s"), 10_001),
    "an unknown owner": (("senders", "shop", "owner"), "two"),
    "a duration without unit": (("accounts", "main", "timeout"), 10),
    "no duration": (("defaults", "max_age"), "soon"),
    "no wait": (("defaults", "identify_wait"), "never"),
    "nobody blocked": (("identity", "blocked"), []),
    "too many blocked": (("identity", "blocked"), ["x"] * 101),
    "a long pattern": (("identity", "blocked"), ["x" * 201]),
    "an unknown place of traits": (("profile", "context_traits"), "both"),
    "a duration of two": (("defaults", "max_age"), "1h30m"),
    "a duration of nothing": (("kafka", "session_timeout"), "0s"),
    "a broker without host": (("kafka", "bootstrap_servers"), ":9092"),
    "an unknown protocol": (("kafka", "security_protocol"), "TLS"),
    "an unknown mechanism": (("kafka", "sasl_mechanism"), "OAUTHBEARER"),
    "no topics": (("topics", "events"), []),
    "one topic that is no list": (("topics", "events"), "a"),
    "a bad topic": (("topics", "events", 0), "b c"),
    "a long topic": (("topics", "events", 0), "a" * 250),
    "no start": (("topics", "start"), "now"),
    "a start without zone": (("topics", "start"), "2026-01-31"),
    "an account sid of another kind": (("accounts", "main", "account_sid"), f"SK{SID}"),
    "a key sid too short": (("accounts", "main", "api_key_sid"), "SK12"),
    "a service sid of another kind": (("senders", "pool", "messaging_service"), f"AC{SID}"),
    "a bad url": (("accounts", "main", "base_url"), "api.twilio.com"),
    "a bad name": (("accounts", "a b"), FULL["accounts"]["main"]),
    "a bad number": (("senders", "shop", "from"), "1-555-0006789"),
    "both number and service": (("senders", "shop", "messaging_service"), f"MG{SID}"),
    "neither number nor service": (("senders", "shop", "from"), ...),
    "an unknown channel": (("senders", "shop", "channels"), ["smoke"]),
    "a region in small letters": (("defaults", "region"), "us"),
    "no port": (("http", "listen"), "127.0.0.1"),
    "a host that Twilio refuses": (("http", "public_url"), "https://my_sms.example.com"),
    "a key of no version": (("http", "token_keys", "first"), KEY),
    "a key of version 0": (("http", "token_keys", "0"), KEY),
    "a key of 31 bytes": (("http", "token_keys", "2"), "A" * 42 + "=="),
    "a list of keys": (("http", "token_keys"), [KEY]),
    "an unknown engine": (("store", "engine"), "redis"),
    "an unknown mode": (("consent", "mode"), "double"),
    "a trait of an unknown channel": (("consent", "traits", "sms_opt_in"), "marketing/fax"),
    "a trait that is no text": (("consent", "traits", "sms_opt_in"), True),
    "an unknown kind": (("outcomes", "30003"), "recipients"),
    "no code": (("outcomes", "3003"), "recipient"),
    "no family": (("outcomes", "3xxxx"), "recipient"),
    "a kind that needs more": (("outcomes", "30003"), "stop"),
    "a verdict without kind": (("outcomes", "21612"), {"scope": "sender"}),
    "a verdict of an unknown kind": (("outcomes", "21612", "kind"), "halt"),
    "an unknown scope": (("outcomes", "21612", "scope"), "country"),
    "an unknown schedule": (("outcomes", "30450", "schedule"), "soon"),
    "an unknown key of a verdict": (("outcomes", "21612", "until"), "day"),
    "a verdict that is a list": (("outcomes", "21612"), ["stop"]),
    "a broken variable": (("kafka", "group"), "${A B}"),
}


@pytest.mark.parametrize(("path", "value"), FAULTY.values(), ids=FAULTY)
def test_a_fault_is_one_for_both(tmp_path, path, value):
    document = changed(path, value)
    assert loader_faults(tmp_path, document)
    assert faults("config", document)


GOOD_FILTERS = [
    {"drop": True},
    {"when": 'event = "Debug"', "drop": True},
    {"when": 'type = "track"', "sample": {"percent": 12.5, "by": "userId"}},
    {"sample": {"percent": 1}},
    {"when": 'type = "track"', "allow_properties": {"properties": ["order_id"], "properties.card": ["kind"]}},
    {"drop_properties": {"": ["context"]}},
]
BAD_FILTERS = [
    {"when": 'event = "Debug"'},
    {"when": None, "drop": True},
    {"when": 'event = "Debug"', "drop": False},
    {"when": 'event = "Debug"', "drop": True, "sample": {"percent": 1, "by": "userId"}},
    {"when": 'event = "Debug"', "sample": {"percent": 101, "by": "userId"}},
    {"sample": {"percent": 1, "by": True}},
    {"sample": {"by": "userId"}},
    {"when": 'event = "Debug"', "allow_properties": {}},
    {"when": 'event = "Debug"', "allow_properties": ["a"]},
    {"when": 'event = "Debug"', "drop_properties": {"properties": "card"}},
    {"when": 'event = "Debug"', "drop": True, "for": "ever"},
]


def test_each_filter_does_one_thing(tmp_path):
    document = {**SMALL, "integration": "Twilio (EU)"}
    good = {**document, "filters": GOOD_FILTERS}
    assert ([], []) == (loader_faults(tmp_path, good), faults("config", good))
    bad = [{**document, "filters": [each]} for each in BAD_FILTERS]
    assert [] == [each for each in bad if not (faults("config", each) and loader_faults(tmp_path, each))]


def test_every_channel_can_be_declared():
    document = changed(("senders", "shop", "channels"), ["sms", "mms", "whatsapp", "rcs"])
    assert [] == faults("config", document)
