"""The configuration: what is read, and every fault at its file, line and column, all of them at once."""

# ruff: noqa: E501  # a table of faults reads best with one fault a line
import os
from base64 import b64encode
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from streamer.config import load, load_with_places
from streamer.config_model import Config
from streamer.core.channels import Sender
from streamer.core.consent import CONSENTS_MAX, ConsentRules
from streamer.core.identity import Identities
from streamer.core.people import People
from streamer.core.rules import MAPPINGS_MAX
from streamer.errors import ConfigError, Fault

SID = "0123456789abcdef" * 2
SECRET = "hunter2hunter2"
KEY, KEY_64 = "A" * 43 + "=", "A" * 86 + "=="  # of 32 and 64 bytes

KAFKA = 'kafka: {bootstrap_servers: "127.0.0.1:9092"}\n'
TOPICS = "topics: {events: [events.track]}\n"
ACCOUNTS = f"accounts:\n  main: {{account_sid: AC{SID}, api_key_sid: SK{SID}, api_key_secret: {SECRET}}}\n"
SENDERS = 'senders:\n  shop: {from: "+15550006789"}\n'
VALID = KAFKA + TOPICS + ACCOUNTS + SENDERS
MAPPING = (
    'when: type = "track" and event = "Order Shipped"\nsend:\n  from: shop\n  body: Hi {{profile.traits.first_name}}\n'
)


def written(folder: Path, text: str | bytes, **mappings: str | bytes) -> Path:
    """A configuration folder; a mapping's `_` stands for `-` in its file's name."""
    content = text.encode() if isinstance(text, str) else text
    (folder / "streamer.yaml").write_bytes(content)
    (folder / "mappings").mkdir(exist_ok=True)
    for name, mapping in mappings.items():
        file = folder / "mappings" / f"{name.replace('_', '-')}.yaml"
        file.write_bytes(mapping.encode() if isinstance(mapping, str) else mapping)
    return folder


def faults_of(folder: Path, text: str | bytes, *, secrets: bool = True, **mappings: str | bytes) -> list[str]:
    """The lines of the error that loading raises."""
    with pytest.raises(ConfigError) as caught:
        load(written(folder, text, **mappings), secrets=secrets)
    return str(caught.value).split("\n")


def loaded(folder: Path, text: str, **mappings: str) -> Config:
    return load(written(folder, text, **mappings), secrets=True)


def test_the_smallest_configuration_takes_every_default(tmp_path):
    config = loaded(tmp_path, KAFKA + TOPICS)
    assert config.kafka.bootstrap_servers == "127.0.0.1:9092"
    assert (config.kafka.group, config.kafka.session_timeout_s, config.kafka.enable_idempotence) == (
        "streamer",
        10.0,
        True,
    )
    assert (config.topics.events, config.topics.start, config.topics.partitions) == (("events.track",), "latest", 8)
    assert (config.http.host, config.http.port, config.http.public_url) == ("127.0.0.1", 8080, "")
    assert (config.defaults.region, config.defaults.sender, config.defaults.max_age_s) == ("US", "", 86_400.0)
    assert not config.defaults.strict_numbers
    assert config.defaults.wait_s == 600.0
    assert config.mappings.people == People()
    assert (config.accounts, config.senders, config.mappings.mappings) == ({}, {}, ())
    assert config.mappings.people.consent == ConsentRules("opt_out", {})
    assert config.path == tmp_path / "streamer.yaml"


def test_every_setting_reaches_its_field(tmp_path):
    """A setting that is accepted and then lost would be believed to hold."""
    (tmp_path / "ca.pem").write_text("")
    config = loaded(
        tmp_path,
        f"""
kafka:
  bootstrap_servers: "a:9092, [::1]:9093"
  group: shop
  client_id: here
  security_protocol: SASL_SSL
  ssl_cafile: ca.pem
  ssl_check_hostname: no
  sasl_mechanism: SCRAM-SHA-512
  sasl_plain_username: me
  sasl_plain_password: {SECRET}
  session_timeout: 45s
  enable_idempotence: false
topics: {{events: [a, b], start: 2026-01-31T00:00:00Z, prefix: "x.", partitions: 3, replication: 2}}
accounts:
  eu: {{account_sid: AC{SID}, api_key_sid: SK{SID}, api_key_secret: s, auth_token: t, base_url: "http://127.0.0.1:1/x/",
       concurrency: 7, timeout: 250ms, requests_per_s: 80}}
  us: {{account_sid: AC{SID}, api_key_sid: SK{SID}, api_key_secret: s}}
senders:
  shop: {{messaging_service: MG{SID}, account: us, group: g, channels: [sms], parts_per_s: 2.5, owner: one}}
http: {{listen: "[::1]:0", public_url: "https://sms.example.com/", token_keys: {{1: {KEY}, "20": {KEY_64}}}}}
store: {{engine: memory, path: data}}
defaults: {{region: GB, sender: shop, max_age: 2h, identify_wait: 90s, strict_numbers: true}}
consent: {{mode: opt_in, traits: {{sms_opt_in: marketing/sms, newsletter: news}}}}
identity: {{blocked: [test-.*, guest]}}
profile: {{context_traits: update}}
""",
    )
    assert config.kafka.bootstrap_servers == "a:9092,[::1]:9093"
    assert (config.kafka.group, config.kafka.client_id) == ("shop", "here")
    assert (config.kafka.security_protocol, config.kafka.sasl_mechanism) == ("SASL_SSL", "SCRAM-SHA-512")
    assert config.kafka.ssl_cafile == str(tmp_path / "ca.pem")
    assert (config.kafka.sasl_plain_username, config.kafka.sasl_plain_password) == ("me", SECRET)
    assert (config.kafka.session_timeout_s, config.kafka.enable_idempotence) == (45.0, False)
    assert config.kafka.ssl_check_hostname is False
    assert (config.topics.start, config.topics.partitions, config.topics.replication) == (1_769_817_600_000, 3, 2)
    assert config.topics.by_user == "x.by-user"
    assert config.topics.state == "x.state"
    assert config.topics.deliveries == "x.deliveries"
    assert config.topics.dead_letters == "x.dead-letters"
    eu = config.accounts["eu"]
    assert (eu.name, eu.base_url, eu.concurrency, eu.timeout_s) == ("eu", "http://127.0.0.1:1/x", 7, 0.25)
    assert (eu.requests_per_s, config.accounts["us"].requests_per_s) == (80.0, 0.0)
    assert config.senders["shop"] == Sender(
        "shop", "us", service_sid=f"MG{SID}", channels=("sms",), group="g", parts_per_s=2.5, has_one_owner=True
    )
    assert (config.http.host, config.http.port, config.http.public_url) == ("::1", 0, "https://sms.example.com")
    assert config.http.token_keys == {1: bytes(32), 20: bytes(64)}
    assert config.store.path == str(tmp_path / "data")
    assert (config.defaults.region, config.defaults.sender, config.defaults.max_age_s) == ("GB", "shop", 7200.0)
    assert config.defaults.strict_numbers
    assert config.defaults.wait_s == 90.0
    consent = ConsentRules("opt_in", {"sms_opt_in": "marketing/sms", "newsletter": "news/any"})
    people = People(Identities(("test-.*", "guest")), updates_from_context=True, consent=consent)
    assert config.mappings.people == people


def test_the_groups_of_senders_that_share_a_stop_go_with_the_mappings_and_change_no_version(tmp_path):
    """A group says who is written to, not what: no mapping is another one for it."""
    alone = loaded(tmp_path, VALID, order_shipped=MAPPING).mappings
    shared = loaded(tmp_path, VALID.replace('6789"', '6789", group: brand'), order_shipped=MAPPING).mappings
    assert (alone.stop_groups, shared.stop_groups) == ({"shop": "shop"}, {"shop": "brand"})
    assert (shared.stop_group("shop"), shared.stop_group("gone")) == ("brand", "gone")
    assert alone.version == shared.version


def test_a_mapping_is_named_by_its_file_unless_it_says_its_id(tmp_path):
    config = loaded(tmp_path, VALID, order_shipped=MAPPING, b="id: other\n" + MAPPING)
    assert [mapping.id for mapping in config.mappings.mappings] == ["order-shipped", "other"]
    assert config.mappings.mappings[0].action.senders["shop"].account == "main"


def test_on_is_a_key_as_it_stands_in_what_is_tried_instead(tmp_path):
    """YAML 1.1 takes it for true, and an editor, which reads 1.2, does not."""
    instead = "else: [{on: [stop], send: {body: x}}]\n"
    [mapping] = loaded(tmp_path, VALID, a=MAPPING + instead).mappings.mappings
    assert [("stop",)] == [each.on for each in mapping.others]


def test_a_file_and_its_folder_are_the_same_configuration(tmp_path):
    folder = written(tmp_path, VALID, a=MAPPING)
    by_file = load(folder / "streamer.yaml", secrets=True)
    assert load(folder, secrets=True).mappings.version == by_file.mappings.version


def test_without_a_mappings_folder_there_are_no_mappings(tmp_path):
    (tmp_path / "streamer.yaml").write_text(VALID)
    assert load(tmp_path, secrets=True).mappings.mappings == ()


def test_hidden_files_and_other_kinds_of_file_are_no_mappings(tmp_path):
    """An editor's swap file must not stop the service."""
    written(tmp_path, VALID)
    (tmp_path / "mappings" / ".a.yaml").write_text("{{{")
    (tmp_path / "mappings" / "README.md").write_text("{{{")
    assert load(tmp_path, secrets=True).mappings.mappings == ()


def test_a_missing_configuration_says_where_it_was_sought(tmp_path):
    with pytest.raises(ConfigError, match=r"no streamer.yaml there; name one, or its folder, with --config"):
        load(tmp_path / "nowhere", secrets=False)


HINT = "the environment's variables are written ${NAME}"

# Each: what is wrong, streamer.yaml, and the one line that says so.
FAULTS = {
    "not YAML": ("kafka: [\n", "2:1: not YAML: while parsing a flow node expected the node content, but found '<stream end>'"),
    "a tab": ("kafka:\n\tgroup: x\n", "2:1: not YAML: use spaces: a tab cannot indent"),
    "a tab below a key": ("kafka:\n  group: x\n\tclient_id: y\n", "3:1: not YAML: use spaces: a tab cannot indent"),
    "two documents": (VALID + "---\n{}\n", "7:1: not YAML: expected a single document in the stream but found another document"),
    "a control character": ("a: \x07\n", "1:1: not YAML: a control character; write it as an escape in quotes"),
    "an impossible character": ('a: "\\UFFFFFFFF"\n', "1:7: not YAML: a number out of range"),
    "half a surrogate": ('a: "\\uD800"\n', "2:1: not YAML: half a surrogate pair; write the character itself"),
    "an alias": ("a: &x 1\nb: *x\n", "2:4: not YAML: aliases (*) are refused; write the value out, or put text that begins with * in quotes"),
    "a tag": ("a: !!python/name:os.system x\n", "1:4: not YAML: tags (!) are refused; put text that begins with ! in quotes"),
    "nesting": ("a: " + "[" * 40 + "]" * 40, "1:35: not YAML: nested deeper than 32 levels"),
    "countless values": ("a: [" + "1," * 20_000 + "]", "1:39999: not YAML: more than 20000 keys and values"),
    "a list": ("[a]\n", "1:1: expected a mapping of keys to values, found a list"),
    "a duplicate key": (VALID + KAFKA, "7:1: kafka: given twice; first on line 1"),
    "a number as a key": (VALID + "1: 2\n", "7:1: a key must be text, found a whole number; put it in quotes"),
    "a merge key": (VALID + "store:\n  <<: {path: x}\n", "8:3: store.<<: unknown key; known here: engine, path"),
    "an unknown section": (VALID + "topic: {}\n", '7:1: topic: unknown key; did you mean "topics"?'),
    "an unknown key": ("kafka:\n  bootstrap_servers: a\n  grup: x\n" + TOPICS, '3:3: kafka.grup: unknown key; did you mean "group"?'),
    "an unknown key of an account": (ACCOUNTS.replace("{account", "{timout: 1s, account") + KAFKA + TOPICS, '2:10: accounts.main.timout: unknown key; did you mean "timeout"?'),
    "a missing section": (TOPICS + "kafka:\n  bootstrap_servers:\n", "3:3: kafka.bootstrap_servers: has no value; give it one or remove the key"),
    "a missing key": ("kafka: {}\n" + TOPICS, "1:1: kafka.bootstrap_servers: is missing; it is required"),
    "an empty text": ("kafka: {bootstrap_servers: ''}\n" + TOPICS, "1:9: kafka.bootstrap_servers: is empty; give it a value"),
    "an empty text with a default": (VALID + "http: {listen: ''}\n", "7:8: http.listen: is empty; give it a value or remove the key"),
    "a section that is text": (VALID + "store: memory\n", "7:1: store: expected a mapping of keys to values, found text"),
    "a number for text": (KAFKA + TOPICS + ACCOUNTS + "senders:\n  shop: {from: +15550006789}\n", "6:10: senders.shop.from: expected text, found a whole number; put it in quotes"),
    "a boolean for text": ("kafka: {bootstrap_servers: a, group: on}\n" + TOPICS, "1:31: kafka.group: expected text, found true or false; put it in quotes"),
    "text for a number": (KAFKA + "topics: {events: [a], partitions: eight}\n", "2:23: topics.partitions: expected a whole number, found text"),
    "a fraction for a number": (KAFKA + "topics: {events: [a], partitions: 8.5}\n", "2:23: topics.partitions: expected a whole number, found a number"),
    "text for a boolean": ("kafka: {bootstrap_servers: a, enable_idempotence: 'yes'}\n" + TOPICS, "1:31: kafka.enable_idempotence: expected true or false, found text"),
    "no partitions": (KAFKA + "topics: {events: [a], partitions: 0}\n", "2:23: topics.partitions: must be from 1 to 10000"),
    "too many partitions": (KAFKA + "topics: {events: [a], partitions: 10_001}\n", "2:23: topics.partitions: must be from 1 to 10000"),
    "an endless number": (KAFKA + f"topics: {{events: [a], partitions: {'9' * 5000}}}\n", "2:23: topics.partitions: must be from 1 to 10000"),
    "no concurrency": (KAFKA + TOPICS + ACCOUNTS.replace("{account", "{concurrency: 0, account"), "4:10: accounts.main.concurrency: must be from 1 to 10000"),
    "no timeout": (KAFKA + TOPICS + ACCOUNTS.replace("{account", "{timeout: 0s, account"), "4:10: accounts.main.timeout: must be from 1ms to 5m"),
    "a session too short": ("kafka: {bootstrap_servers: a, session_timeout: 500ms}\n" + TOPICS, "1:31: kafka.session_timeout: must be from 1s to 30m"),
    "an age too great": (VALID + "defaults: {max_age: 367d}\n", "7:12: defaults.max_age: must be from 1s to 366d"),
    "a sid that is a shell's variable": (KAFKA + TOPICS + ACCOUNTS.replace(f"AC{SID}", "$TWILIO_ACCOUNT_SID"), f"4:10: accounts.main.account_sid: must be AC and 32 hexadecimal digits, as Twilio's console shows it; {HINT}"),
    "a sid whose variable is not closed": (KAFKA + TOPICS + ACCOUNTS.replace(f"SK{SID}", "'${TWILIO_KEY'"), f"4:59: accounts.main.api_key_sid: must be SK and 32 hexadecimal digits, as Twilio's console shows it; {HINT}"),
    "an address with a shell's variable": (KAFKA + TOPICS + ACCOUNTS.replace("{account", "{base_url: 'http://$HOST:80', account"), f"4:10: accounts.main.base_url: must be an address such as https://sms.example.com, without a query; {HINT}"),
    "a secret that is a shell's variable": (KAFKA + TOPICS + ACCOUNTS.replace(SECRET, "$TWILIO_SECRET"), f"4:108: accounts.main.api_key_secret: looks like a variable and is read as it stands; {HINT}"),
    "a secret whose variable is not closed": (KAFKA + TOPICS + ACCOUNTS.replace(SECRET, "'${TWILIO_SECRET'"), f"4:108: accounts.main.api_key_secret: looks like a variable and is read as it stands; {HINT}"),
    "a token that is a shell's variable": (KAFKA + TOPICS + ACCOUNTS.replace("{account", "{auth_token: $TOKEN, account"), f"4:10: accounts.main.auth_token: looks like a variable and is read as it stands; {HINT}"),
    "a password that is a shell's variable": ("kafka: {bootstrap_servers: a, security_protocol: SASL_SSL, sasl_plain_username: me, sasl_plain_password: $PASSWORD}\n" + TOPICS, f"1:85: kafka.sasl_plain_password: looks like a variable and is read as it stands; {HINT}"),
    "a key's password that is a shell's variable": ("kafka: {bootstrap_servers: a, security_protocol: SSL, ssl_password: $PASSWORD}\n" + TOPICS, f"1:55: kafka.ssl_password: looks like a variable and is read as it stands; {HINT}"),
    "a duration without unit": (KAFKA + TOPICS + ACCOUNTS.replace("{account", "{timeout: 10, account"), "4:10: accounts.main.timeout: a duration needs its unit, as in 10s, 5m or 24h"),
    "no duration": (VALID + "defaults: {max_age: soon}\n", "7:12: defaults.max_age: not a duration; write it as in 10s, 5m or 24h"),
    "a wait too long": (VALID + "defaults: {identify_wait: 15d}\n", "7:12: defaults.identify_wait: must be from 0s to 14d"),
    "no wait": (VALID + "defaults: {identify_wait: 0}\n", "7:12: defaults.identify_wait: a duration needs its unit, as in 10s, 5m or 24h"),
    "a blocked id that is no pattern": (VALID + "identity: {blocked: [ok, '(']}\n", "7:26: identity.blocked: is no regular expression: missing ), unterminated subpattern at position 0"),
    "a pattern that repeats beyond all measure": (VALID + "identity: {blocked: ['x{99999999999}']}\n", "7:22: identity.blocked: is no regular expression: the repetition number is too large"),
    "a blocked pattern that is too long": (VALID + f"identity: {{blocked: [{'x' * 201}]}}\n", "7:22: identity.blocked: 201 characters; a pattern has at most 200: make it two"),
    "too many blocked patterns": (VALID + "identity:\n  blocked:\n" + "  - x\n" * 101, "109:5: identity.blocked: 101 patterns; at most 100: join some, as in test|demo"),
    "a blocked pattern that blocks everybody": (VALID + "identity: {blocked: ['.*']}\n", "7:22: identity.blocked: matches ids of every kind; name those that are nobody's"),
    "blocked ids that are no list": (VALID + "identity: {blocked: 'null'}\n", "7:12: identity.blocked: expected a list of at least one text, as in [a, b]; found text"),
    "an unknown use of context traits": (VALID + "profile: {context_traits: both}\n", "7:11: profile.context_traits: must be overlay or update"),
    "an unknown key of the profile": (VALID + "profile: {context_trait: update}\n", '7:11: profile.context_trait: unknown key; did you mean "context_traits"?'),
    "an unknown owner of a sender": (VALID.replace('6789"', '6789", owner: each'), "6:32: senders.shop.owner: must be shared or one"),
    "a pace of infinity": (VALID.replace('6789"', '6789", parts_per_s: .inf'), "6:32: senders.shop.parts_per_s: must be from 0.01 to 10000"),
    "a broker without host": ("kafka: {bootstrap_servers: ':9092'}\n" + TOPICS, '1:9: kafka.bootstrap_servers: must be "host:port", or several with a comma between'),
    "an unknown protocol": ("kafka: {bootstrap_servers: a, security_protocol: TLS}\n" + TOPICS, "1:31: kafka.security_protocol: must be PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"),
    "an unknown mechanism": ("kafka: {bootstrap_servers: a, security_protocol: SASL_SSL, sasl_mechanism: OAUTHBEARER, sasl_plain_username: a, sasl_plain_password: b}\n" + TOPICS, "1:60: kafka.sasl_mechanism: must be PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or GSSAPI"),
    "a password in the clear": ("kafka: {bootstrap_servers: a, sasl_plain_password: b}\n" + TOPICS, "1:31: kafka.sasl_plain_password: is ignored without security_protocol: SASL_SSL or SASL_PLAINTEXT"),
    "TLS not switched on": ("kafka: {bootstrap_servers: a, ssl_check_hostname: true}\n" + TOPICS, "1:31: kafka.ssl_check_hostname: is ignored without security_protocol: SSL or SASL_SSL"),
    "a missing file": ("kafka: {bootstrap_servers: a, security_protocol: SSL, ssl_cafile: no.pem}\n" + TOPICS, "1:55: kafka.ssl_cafile: no such file; its path starts from the folder of this configuration"),
    "no topics": (KAFKA + "topics: {events: []}\n", "2:10: topics.events: expected a list of at least one text, as in [a, b]; found an empty list"),
    "one topic that is no list": (KAFKA + "topics: {events: a}\n", "2:10: topics.events: expected a list of at least one text, as in [a, b]; found text"),
    "a bad topic": (KAFKA + "topics: {events: [a, 'b c']}\n", "2:22: topics.events: a topic's name has only letters, digits and . _ -"),
    "a long topic": (KAFKA + f"topics: {{events: [{'a' * 250}]}}\n", "2:19: topics.events: a topic's name has at most 249 characters"),
    "a duplicate topic": (KAFKA + "topics:\n  events:\n  - a\n  - b\n  - a\n", "6:5: topics.events: is listed twice; remove one"),
    "a topic of our own": (KAFKA + "topics: {events: [x.state], prefix: x.}\n", "2:19: topics.events: is a topic of our own, which would be read again for ever; change `prefix`"),
    "a topic of a dry run": (KAFKA + "topics: {events: [x.dry.deliveries], prefix: x.}\n", "2:19: topics.events: is a topic of our own, which would be read again for ever; change `prefix`"),
    "a topic that a broker takes for our own": (KAFKA + "topics: {events: [streamer_deliveries]}\n", "2:19: topics.events: is a topic of our own, which would be read again for ever; change `prefix`"),
    "no start": (KAFKA + "topics: {events: [a], start: now}\n", "2:23: topics.start: must be earliest, latest, or a time such as 2026-01-31T00:00:00Z"),
    "a start without zone": (KAFKA + "topics: {events: [a], start: 2026-01-31}\n", "2:23: topics.start: must be earliest, latest, or a time such as 2026-01-31T00:00:00Z"),
    "a start too early": (KAFKA + "topics: {events: [a], start: 1969-12-31T23:59:59Z}\n", "2:23: topics.start: is before 1970"),
    "an account sid of another kind": (KAFKA + TOPICS + ACCOUNTS.replace("AC", "SK"), "4:10: accounts.main.account_sid: must be AC and 32 hexadecimal digits, as Twilio's console shows it"),
    "a key sid too short": (KAFKA + TOPICS + ACCOUNTS.replace(f"SK{SID}", "SK12"), "4:59: accounts.main.api_key_sid: must be SK and 32 hexadecimal digits, as Twilio's console shows it"),
    "a public url without keys": (VALID + "http: {public_url: 'https://a.example'}\n", "7:1: http.token_keys: is missing; public_url needs it, for the addresses that Twilio calls back"),
    "a public url with no keys": (VALID + "http: {public_url: 'https://a.example', token_keys: {}}\n", "7:41: http.token_keys: is missing; public_url needs it, for the addresses that Twilio calls back"),
    "a public url with an underscore": (VALID + f"http: {{public_url: 'https://a_b.example', token_keys: {{1: {KEY}}}}}\n", "7:8: http.public_url: Twilio takes no host with an underscore; give it another name"),
    "a token key too short": (VALID + "http: {token_keys: {1: c2VjcmV0}}\n", "7:21: http.token_keys.1: must be 32 or 64 bytes in base64, such as `openssl rand -base64 32` makes"),
    "a token key with a shell's variable": (VALID + "http: {token_keys: {1: $KEY}}\n", f"7:21: http.token_keys.1: must be 32 or 64 bytes in base64, such as `openssl rand -base64 32` makes; {HINT}"),
    "a token key that is a number": (VALID + "http: {token_keys: {1: 2}}\n", "7:21: http.token_keys.1: expected text, found a whole number; put it in quotes"),
    "a token key of no version": (VALID + f"http: {{token_keys: {{one: {KEY}}}}}\n", "7:21: http.token_keys.one: a key must be a whole number, as in 1: …"),
    "a token key of half a version": (VALID + f"http: {{token_keys: {{1.5: {KEY}}}}}\n", "7:21: http.token_keys: a key must be text, found a number; put it in quotes"),
    "two token keys of a version": (VALID + f"http:\n  token_keys:\n    1: {KEY}\n    '1': {KEY}\n", "10:5: http.token_keys.1: given twice; first on line 9"),
    "a bad url": (KAFKA + TOPICS + ACCOUNTS.replace("{account", "{base_url: api.twilio.com, account"), "4:10: accounts.main.base_url: must be an address such as https://sms.example.com, without a query"),
    "a bad name": (KAFKA + TOPICS + ACCOUNTS.replace("main", "a b"), "4:3: accounts.a b: must be 1 to 64 letters, digits and . _ - and start with a letter or digit"),
    "a service sid of another kind": (KAFKA + TOPICS + ACCOUNTS + f"senders:\n  shop: {{messaging_service: AC{SID}}}\n", "6:10: senders.shop.messaging_service: must be MG and 32 hexadecimal digits, as Twilio's console shows it"),
    "a bad number": (VALID.replace("+1555", "1-555-"), "6:10: senders.shop.from: must be a number such as +15550006789, a short code, or up to 11 letters and digits"),
    "both numbers and service": (VALID.replace('6789"', f'6789", messaging_service: MG{SID}'), "6:3: senders.shop: needs either `from` or `messaging_service`: both are given; remove one"),
    "neither number nor service": (KAFKA + TOPICS + ACCOUNTS + "senders:\n  shop:\n", "6:3: senders.shop: needs either `from` or `messaging_service`: none is given"),
    "an unknown account": (VALID.replace('6789"', '6789", account: mian'), '6:32: senders.shop.account: no such account; did you mean "main"?'),
    "no account at all": (KAFKA + TOPICS + SENDERS, "4:3: senders.shop.account: there is none; declare one under `accounts`"),
    "two accounts to choose from": (KAFKA + TOPICS + ACCOUNTS + ACCOUNTS.partition("\n")[2].replace("main", "eu") + SENDERS, "7:3: senders.shop.account: is missing; there are main, eu"),
    "an unknown channel": (VALID.replace('6789"', '6789", channels: [smoke]'), "6:43: senders.shop.channels: unknown channel; known here: sms, mms, whatsapp, rcs"),
    "an unknown sender": (VALID + "defaults: {sender: shpo}\n", '7:12: defaults.sender: no such sender; did you mean "shop"?'),
    "a region in small letters": (VALID + "defaults: {region: us}\n", "7:12: defaults.region: must be a country's two capital letters, such as US; did you mean \"US\"?"),
    "an unknown region": (VALID + "defaults: {region: XX}\n", "7:12: defaults.region: must be a country's two capital letters, such as US; see ISO 3166-1 alpha-2"),
    "a port out of range": (VALID + "http: {listen: 127.0.0.1:65536}\n", '7:8: http.listen: must be "host:port", as in 127.0.0.1:8080'),
    "an unknown engine": (VALID + "store: {engine: redis}\n", "7:9: store.engine: must be memory or lmdb"),
    "an unknown mode of consent": (VALID + "consent: {mode: double}\n", "7:11: consent.mode: must be opt_out or opt_in"),
    "an unknown key of consent": (VALID + "consent: {trait: {}}\n", '7:11: consent.trait: unknown key; did you mean "traits"?'),
    "a trait that is no text": (VALID + "consent: {traits: {a: true}}\n", "7:20: consent.traits.a: expected text, found true or false; put it in quotes"),
    "a trait of an unknown channel": (VALID + "consent: {traits: {a: news/fax}}\n", "7:20: consent.traits.a: 'fax' is none of the channels any, sms, whatsapp; as in marketing/sms"),
    "a trait of a channel that goes with another": (VALID + "consent: {traits: {a: news/mms}}\n", "7:20: consent.traits.a: mms goes with sms: write news/sms"),
    "a trait of no category": (VALID + "consent: {traits: {a: /sms}}\n", "7:20: consent.traits.a: the category is empty"),
    "traits of more consents than are kept": (VALID + f"consent: {{traits: {{{', '.join(f't{n}: c{n}' for n in range(CONSENTS_MAX + 1))}}}}}\n", "7:11: consent.traits: 65 traits; at most 64"),
    "a broken variable": ("kafka: {bootstrap_servers: '${A B}'}\n" + TOPICS, "1:9: kafka.bootstrap_servers: ${…} must hold the name of an environment variable: letters, digits and _"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_one_line_with_its_place_and_the_way_out(tmp_path, text, expected):
    assert [f"streamer.yaml:{expected}"] == faults_of(tmp_path, text)


# Each: what is wrong, the mapping, and the lines that say so.
MAPPING_FAULTS = {
    "not YAML": (MAPPING + "x: [\n", ["6:1: not YAML: while parsing a flow node expected the node content, but found '<stream end>'"]),
    "an unknown key": (MAPPING + "enabld: true\n", ["5:1: enabld: unknown key; did you mean 'enabled'?"]),
    "an unknown key of send": (MAPPING + "  bdy: x\n", ["5:3: send.bdy: unknown key; did you mean 'body'?"]),
    "an unknown sender": (MAPPING.replace("from: shop", "from: shpo"), ["3:3: send.from: no such sender; did you mean 'shop'?"]),
    "a filter": (
        MAPPING.replace(" and ", " AND "),
        ["1:1: when: line 1, column 16: expected `and`, `or` or the end; in lower case: `and`",
         '      type = "track" AND event = "Order Shipped"', "                     ^"],
    ),
    "a category of another kind": (MAPPING + "category: 5\n", ["5:1: category: must be text, as in category: marketing; leave it out if there is none"]),
    "every category": (MAPPING + "category: any\n", ["5:1: category: means every category; leave it out if there is none"]),
    "an empty file": ("", ['1:1: when: a filter is required, as in type = "track" and event = "Order Shipped"', "1:1: send: an object with `body` is required"]),
    "a list": ("[]\n", ["1:1: a mapping is an object with `when` and `send`"]),
    "a number as a key": (MAPPING + "  5: x\n", ["5:3: send: a key must be text, found a whole number; put it in quotes"]),
    "a duplicate key": (MAPPING + "send: {}\n", ["5:1: send: given twice; first on line 2"]),
    "an id of other signs": ("id: Order Shipped\n" + MAPPING, ["1:1: 'Order Shipped' is not an id: at most 64 of a-z 0-9 . _ - and no sign at its start"]),
    "a variable": (MAPPING.replace("Hi ", "${SECRET} "), ["4:3: send.body: ${…} is read in streamer.yaml only, so that a message can never carry a secret; remove it"]),
    "a number no machine holds": (MAPPING + f"max_age: {'9' * 5000}\n", ["5:1: max_age: not a whole number; put it in quotes if it is text"]),
}  # fmt: skip


@pytest.mark.parametrize(("mapping", "expected"), MAPPING_FAULTS.values(), ids=MAPPING_FAULTS.keys())
def test_a_fault_of_a_mapping_is_placed_at_its_key(tmp_path, mapping, expected):
    first, *others = expected
    found = faults_of(tmp_path, VALID, a=mapping)
    assert f"mappings/a.yaml:{first}" == found[0]
    assert others == [line.removeprefix("mappings/a.yaml:") for line in found[1:]]


INSIDE = """when: type = "track"
send:
  from: shop
  media_urls:
    - https://a.example/1
    - "{{ properties.b | upcse }}"
  body:
    "@if":
      exists: {"@path": "$.properties.a"}
      then: "A {{ properties.a | upcse }}"
"""


def test_a_fault_inside_a_list_or_a_directive_is_placed_there_and_is_the_only_one(tmp_path):
    """The line of `send:` would send its author looking; and the body is there, if faulty."""
    found = [line for line in faults_of(tmp_path, VALID, a=INSIDE) if not line.startswith(" ")]
    places = [line.split(": ")[0].removeprefix("mappings/a.yaml:") for line in found]
    assert ["6:7", "10:7"] == places
    assert all("unknown filter" in line for line in found)


def test_two_mappings_of_one_id_are_refused_in_the_second_file(tmp_path):
    """One would take the other's send ids, and a person would miss a message."""
    found = faults_of(tmp_path, VALID, a=MAPPING, b=MAPPING + "id: a\nenabled: false\n")
    assert found == ["mappings/b.yaml:5:1: id: a.yaml has this id already; give this one another `id`"]


def test_all_faults_of_all_files_are_told_at_once_in_the_order_of_the_files(tmp_path):
    """Whoever mends a configuration must not run it once a fault."""
    text = VALID.replace("events.track", "events.track, events.track") + "http: {listen: x}\nstor: {}\n"
    found = faults_of(tmp_path, text, b=MAPPING + "x: 1\n", a="- 1\n", c="{")
    places = ["streamer.yaml:2:33", "streamer.yaml:7:8", "streamer.yaml:8:1"]
    places += ["mappings/a.yaml:1:1", "mappings/b.yaml:5:1", "mappings/c.yaml:1:2"]
    assert places == [":".join(line.split(":")[:3]) for line in found]


def test_mappings_are_checked_as_far_as_they_can_be_though_streamer_yaml_is_unreadable(tmp_path):
    """Their senders can't be known then, and must not be called unknown."""
    found = faults_of(tmp_path, "{", a=MAPPING, b=MAPPING + "x: 1\n")
    assert [":".join(line.split(":")[:3]) for line in found] == ["streamer.yaml:1:2", "mappings/b.yaml:5:1"]


def test_a_file_over_one_mebibyte_is_refused_unread(tmp_path):
    found = faults_of(tmp_path, b"#" * (1 << 20) + b"\n", a=b"x" * (2 << 20))
    said = "larger than 1 MiB; a configuration is a few KB"
    assert found == [f"streamer.yaml:1:1: {said}", f"mappings/a.yaml:1:1: {said}"]


def test_bytes_that_are_not_utf_8_are_refused_with_their_line(tmp_path):
    found = faults_of(tmp_path, b"a: 1\nb: \xff\n")
    assert found == ["streamer.yaml:2:1: not UTF-8; save the file in that encoding"]


def test_a_folder_in_a_files_place_is_a_fault(tmp_path):
    written(tmp_path, VALID)
    (tmp_path / "mappings" / "a.yaml").mkdir()
    assert faults_of(tmp_path, VALID) == ["mappings/a.yaml:1:1: not a file"]


def test_a_file_in_the_mappings_folders_place_is_a_fault(tmp_path):
    (tmp_path / "streamer.yaml").write_text(VALID)
    (tmp_path / "mappings").write_text("")
    with pytest.raises(ConfigError, match="mappings:1:1: cannot be read: Not a directory"):
        load(tmp_path, secrets=True)


def test_too_many_mappings_are_a_fault_of_their_folder(tmp_path):
    many = {f"m{number}": MAPPING for number in range(MAPPINGS_MAX + 1)}
    surplus, fault = faults_of(tmp_path, VALID + "surplus: 1\n", **many)
    assert surplus.startswith("streamer.yaml:7:1: surplus: unknown key")
    assert fault == "mappings:1:1: 1001 mappings are enabled; at most 1000: disable some, or join them"


def test_variables_come_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMER_TEST_HOST", "kafka.example")
    config = loaded(tmp_path, "kafka: {bootstrap_servers: '${STREAMER_TEST_HOST}:9092'}\n" + TOPICS)
    assert config.kafka.bootstrap_servers == "kafka.example:9092"


def test_what_a_variable_holds_is_not_expanded_again(tmp_path, monkeypatch):
    """A password may look like a variable."""
    monkeypatch.setenv("STREAMER_TEST_SECRET", "${HOME}")
    config = loaded(tmp_path, VALID.replace(SECRET, '"${STREAMER_TEST_SECRET}"'))
    assert config.accounts["main"].api_key_secret == "${HOME}"


def test_a_dollar_before_a_hole_is_money(tmp_path):
    """`${{properties.total}}` is how a price is written, and no variable."""
    config = loaded(tmp_path, VALID, total=MAPPING.replace("Hi ", "Total ${{properties.total}}, "))
    assert [mapping.id for mapping in config.mappings.mappings] == ["total"]


@pytest.mark.parametrize("secret", ["$PASSWORD", "${PASSWORD"])
def test_a_secret_that_looks_like_a_variable_may_come_from_one(tmp_path, monkeypatch, secret):
    """The way out for a password that really begins with a dollar sign."""
    monkeypatch.setenv("STREAMER_TEST_SECRET", secret)
    config = loaded(tmp_path, VALID.replace(SECRET, '"${STREAMER_TEST_SECRET}"'))
    assert config.accounts["main"].api_key_secret == secret


@pytest.mark.parametrize("secret", ["pa$$word", "$1.50", "a$PASSWORD", "$PASS-WORD", "$", "$ PASSWORD"])
def test_a_dollar_sign_alone_makes_no_variable_of_a_secret(tmp_path, secret):
    config = loaded(tmp_path, VALID.replace(SECRET, f"'{secret}'"))
    assert config.accounts["main"].api_key_secret == secret


def test_a_missing_variable_is_a_fault_only_for_commands_that_connect(tmp_path, monkeypatch):
    monkeypatch.delenv("STREAMER_TEST_ABSENT", raising=False)
    text = VALID.replace(f"AC{SID}", '"${STREAMER_TEST_ABSENT}"') + 'http: {listen: "${STREAMER_TEST_ABSENT}"}\n'
    said = "environment variable STREAMER_TEST_ABSENT is not set or empty; export it before the start"
    found = faults_of(tmp_path, text)
    assert found == [
        f"streamer.yaml:4:10: accounts.main.account_sid: {said}",
        f"streamer.yaml:7:8: http.listen: {said}",
    ]
    config = load(tmp_path, secrets=False)
    assert (config.accounts["main"].account_sid, config.http.port) == ("", 8080)


def test_a_missing_password_of_sasl_is_a_fault(tmp_path):
    found = faults_of(tmp_path, "kafka: {bootstrap_servers: a, security_protocol: SASL_SSL}\n" + TOPICS)
    assert found == [
        "streamer.yaml:1:1: kafka.sasl_plain_username: is missing; SASL_SSL with PLAIN needs it",
        "streamer.yaml:1:1: kafka.sasl_plain_password: is missing; SASL_SSL with PLAIN needs it",
    ]


@pytest.mark.parametrize(
    "written_as",
    [
        SECRET,
        f"!{SECRET}!x y",
        f"*{SECRET}",
        f'"{SECRET}\\q"',
        f"[{SECRET}",
        f"%{SECRET}",
        f"${{{SECRET}!}}",
        f"${SECRET}",
        f"'${{{SECRET}'",
    ],
)
@pytest.mark.parametrize("key", ["account_sid", "base_url", "timeout", "concurrency", "api_key_secret"])
def test_no_fault_shows_a_value(tmp_path, key, written_as):
    """A secret in the wrong place, or mistyped, must not reach a terminal or a log."""
    text = KAFKA + TOPICS + f"accounts:\n  main:\n    {key}: {written_as}\n    concurrency: x\n"
    assert SECRET not in "\n".join(faults_of(tmp_path, text))


def test_no_printed_configuration_shows_a_secret(tmp_path):
    config = loaded(
        tmp_path,
        "kafka: {bootstrap_servers: a, security_protocol: SASL_SSL, sasl_plain_username: me, "
        f"sasl_plain_password: {SECRET}}}\n"
        + TOPICS
        + ACCOUNTS.replace("{account", f"{{auth_token: {SECRET}, account")
        + f"http: {{token_keys: {{1: {b64encode(SECRET.ljust(32).encode()).decode()}}}}}\n",
    )
    assert config.http.token_keys == {1: SECRET.ljust(32).encode()}
    assert SECRET not in repr(config)
    assert SECRET not in str(config.accounts)
    assert "sasl_plain_password='…'" in repr(config.kafka)
    assert "token_keys='…'" in repr(config.http)


def test_a_token_key_that_is_not_there_is_a_fault_only_for_commands_that_connect(tmp_path, monkeypatch):
    monkeypatch.delenv("STREAMER_TEST_ABSENT", raising=False)
    text = VALID + 'http: {public_url: "https://a.example", token_keys: {1: "${STREAMER_TEST_ABSENT}"}}\n'
    said = "environment variable STREAMER_TEST_ABSENT is not set or empty; export it before the start"
    assert faults_of(tmp_path, text) == [f"streamer.yaml:7:54: http.token_keys.1: {said}"]
    assert load(tmp_path, secrets=False).http.token_keys == {}


def test_a_fault_stays_one_line_whatever_its_key_holds(tmp_path):
    """Else a key could forge a fault, or move the terminal's cursor."""
    found = faults_of(tmp_path, VALID + '"a\\nb\\e[2J": 1\n"": 2\n' + f"{'x' * 200}: 3\n")
    assert found[0].startswith("streamer.yaml:7:1: 'a\\nb\\x1b[2J': unknown key; ")
    assert found[1].startswith("streamer.yaml:8:1: '': unknown key; ")
    assert found[2].startswith(f"streamer.yaml:9:1: {'x' * 59}…: unknown key; ")


KEYS = ["kafka", "topics", "accounts", "senders", "http", "store", "defaults", "bootstrap_servers", "events", "start"]
KEYS += ["main", "account_sid", "timeout", "concurrency", "from", "channels", "listen", "max_age", "parts_per_s", "id"]
KEYS += ["once_per", "key", "within", "priority", "on_unknown", "retry_after_accepted", "owner", "requests_per_s"]
KEYS += ["when", "send", "body", "to", "enabled", "<<", "1", "~", "on", "? [a]"]
SCALARS = ["", "~", "a", "1", "0", "-1", "1.5", ".nan", ".inf", "yes", "2026-01-31", "2026-99-99T00:00:00Z", "1:2:3"]
SCALARS += [
    "${A}",
    "${",
    "!!int x",
    "!!float x",
    "!!bool x",
    "!!null x",
    "!!str [a]",
    "!!int [a]",
    "!!map a",
    "!!seq a",
]
SCALARS += ["!x", "&a 1", "*a", "|", ">-", '"\\x00"', '"\\uDC80"', "=", "0b", "0x_", "1__0", "1e400", "=", "'{{a}}'"]
SCALARS += [":".join(["1"] * 30), "9" * 64, "[a, [b]]", "{a: b}", "{", "]", "'", "%YAML 9.9", "a: b: c"]
documents = st.recursive(
    st.sampled_from(SCALARS) | st.text(max_size=8),
    lambda inner: st.lists(st.tuples(st.sampled_from(KEYS), inner), max_size=5).map(
        lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(main=documents | st.text(), mapping=documents | st.text(), secrets=st.booleans())
@example(main="%YAML " + "1" * 5000 + ".1\n---\na: 1\n", mapping="", secrets=True)
@example(main="!!null {kafka: 1}", mapping="!!null {}", secrets=True)
@example(
    main=VALID, mapping="when: {}\nsend: {from: [shop], body: 1.5, to: .nan, channel: {}}\nid: [x]\n", secrets=True
)
@example(
    main=VALID,
    mapping="when: !!str x\nsend: !!str [x]\nmax_age: .inf\nenabled: 12345678901234567890123\n",
    secrets=True,
)
@example(main="kafka: {ssl_cafile: " + "x" * 5000 + "}\n", mapping="", secrets=True)
@example(main='kafka: {ssl_cafile: "\\0"}\n', mapping="", secrets=True)
def test_no_text_makes_loading_raise_anything_but_a_config_error(tmp_path, main, mapping, secrets):
    """A traceback would hide the fault, and might show a secret."""
    written(tmp_path, main.encode(errors="replace"), a=mapping.encode(errors="replace"))
    try:
        load(tmp_path, secrets=secrets)
    except ConfigError as error:
        for line in str(error).split("\n"):
            assert line.isprintable()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_no_bytes_make_loading_raise_anything_but_a_config_error(tmp_path, content):
    with pytest.raises(ConfigError):
        load(written(tmp_path, content), secrets=False)


def test_the_example_shop_is_valid_and_needs_only_its_three_secrets(monkeypatch):
    """The demo and the README point at it."""
    shop = Path(__file__).parents[2] / "streamer" / "examples" / "shop"
    for name in [name for name in os.environ if name.startswith("TWILIO_")]:
        monkeypatch.delenv(name)
    expected = ["cart-abandoned", "order-completed", "order-shipped", "payment-failed"]
    assert expected == [mapping.id for mapping in load(shop, secrets=False).mappings.mappings]
    with pytest.raises(ConfigError) as caught:
        load(shop, secrets=True)
    assert len(str(caught.value).split("\n")) == 3


def test_a_loaded_configuration_knows_the_places_of_its_keys(tmp_path):
    """What is valid can still be spoken of: `lint` puts each finding at its key."""
    config, document, sources = load_with_places(
        written(tmp_path, VALID, a=MAPPING, b="enabled: false\n" + MAPPING), secrets=False
    )
    marks = [document.mark_at(path) for path in ("senders.shop", "senders.shop.from")]
    assert [(6, 3), (6, 10)] == [(mark.line, mark.column) for mark in marks]
    assert ["a", "b"] == [source.rule.id for source in sources]
    assert [4, 5] == [source.document.mark_at("send.body").line for source in sources]
    assert ["a"] == [rule.id for rule in config.mappings.mappings]
    assert load(tmp_path, secrets=False).mappings.version == config.mappings.version


def test_the_error_has_its_faults_apart(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, VALID + "kafk: 1\n", a="when: x is 1\nsend: {body: x}\n"), secrets=True)
    one, other = caught.value.faults
    assert Fault("streamer.yaml", 7, 1, 'kafk: unknown key; did you mean "kafka"?') == one
    assert ("mappings/a.yaml", 1, 1) == other[:3]
    assert str(caught.value) == "\n".join(f"{at.file}:{at.line}:{at.column}: {at.text}" for at in (one, other))
