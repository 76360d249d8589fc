"""`streamer try`: one event, each mapping's verdict with what it saw, the exact request; and nothing is sent."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from streamer.cli.main import main
from streamer.testing.fake_twilio import FakeTwilio

CONFIG = """
kafka: {bootstrap_servers: "127.0.0.1:1"}
topics: {events: [events]}
accounts:
  main:
    account_sid: "${SID}"
    api_key_sid: "${KEY}"
    api_key_secret: "${SECRET}"
    base_url: "%s"
senders: {shop: {from: "+15550006789"}}
filters: [{when: context.test = true, drop: true}]
"""
SHIPPED = """
when: type = "track" and event = "Order Shipped" and properties.total > 50
send: {body: "Hi {{profile.traits.first_name}}, order {{properties.order_id}} has shipped."}
"""
LATER = """
when: event = "Order Shipped"
send: {to: "{{properties.phone}}", body: Later, send_at: "{{properties.at}}"}
"""
AT = "2026-01-01T10:00:00.000Z"
EVENT = {
    "type": "track",
    "event": "Order Shipped",
    "userId": "u1",
    "messageId": "m1",
    "timestamp": AT,
    "properties": {"order_id": 7, "total": 80, "phone": "+15551230002", "at": "2026-01-01T11:00:00Z"},
}
ADA = {"first_name": "Ada", "phone": "(555) 123-0001"}


@pytest.fixture
def run(tmp_path):
    def given(
        event=EVENT, *arguments, profile=ADA, mappings=(("shipped", SHIPPED),), base_url="http://127.0.0.1:1", env=None
    ):
        (tmp_path / "mappings").mkdir(exist_ok=True)
        (tmp_path / "streamer.yaml").write_text(CONFIG % base_url)
        for name, text in mappings:
            (tmp_path / "mappings" / f"{name}.yaml").write_text(text)
        (tmp_path / "profile.json").write_text(json.dumps(profile))
        value = event if isinstance(event, str) else json.dumps(event)
        options = ["--profile", str(tmp_path / "profile.json"), "--config", str(tmp_path), *arguments]
        return CliRunner().invoke(main, ["try", "-", *options], input=value, env=env)

    return given


def decisions(result):
    return {each["mapping"]: each for each in json.loads(result.stdout)["decisions"]}


def failed(decision):
    return [(gate["name"], gate["seen"]) for gate in decision["gates"] if not gate["passed"]]


def test_what_would_be_sent_is_shown_with_its_exact_request(run):
    result = run(EVENT, "--json")
    assert result.exit_code == 0
    decision = decisions(result)["shipped"]
    assert (decision["verdict"], decision["reason"], failed(decision)) == ("send", "", [])
    assert decision["request"] == {
        "method": "POST",
        "url": "http://127.0.0.1:1/2010-04-01/Accounts/(from the environment)/Messages.json",
        "form": [
            ["To", "+15551230001"],
            ["From", "+15550006789"],
            ["Body", "Hi Ada, order 7 has shipped."],
        ],
    }
    seen = {gate["name"]: gate["seen"] for gate in decision["gates"]}
    assert "(555) 123-0001" == seen["send.to"]
    assert seen["number"] == {
        "raw": "(555) 123-0001",
        "e164": "+15551230001",
        "region": "US",
        "region_from": "defaults.region",
        "verdict": "possible",
    }


def test_a_policy_is_said_in_words_and_in_json_by_its_values(run):
    hours = """
when: event = "Order Shipped"
quiet_hours: {open: {daily: "08:00-09:00"}, zone: UTC}
limits: [{count: 2, per: day}]
send: {body: Hi}
"""
    [line] = [each for each in run(mappings=[("m", hours)]).stdout.split("\n") if "quiet_hours" in each and "✗" in each]
    assert "  ✗ quiet_hours   closed, opens 2026-01-02T08:00:00Z in UTC (default)" == line
    decision = decisions(run(EVENT, "--json", mappings=[("m", hours)]))["m"]
    assert ("hold", "quiet_hours", "2026-01-02T08:00:00.000Z") == tuple(
        decision[key] for key in ("verdict", "reason", "until")
    )
    assert [("quiet_hours", {"zones": ["UTC"], "zone_from": "default", "opens": "2026-01-02T08:00:00Z"})] == failed(
        decision
    )
    [limit] = [gate["seen"] for gate in decision["gates"] if gate["name"] == "limit: 2 per day over mapping"]
    assert {"counted": 0, "count": 2, "when_full": "hold"} == limit


@pytest.mark.parametrize(
    ("traits", "line"),
    [
        (
            {"phone": "07911 123456", "country": "gb"},
            '✓ number   +447911123456   valid   read in GB (profile.traits.country)   saw "07911 123456"',
        ),
        ({"phone": "+447911123456"}, '✓ number   +447911123456   valid   saw "+447911123456"'),
        (
            {"phone": "12", "address": {"country": "DE"}},
            '✗ number   bad_number: too_short, read in DE (profile.traits.address.country)   saw "12"',
        ),
        ({"phone": "+15551230001"}, '✗ number   bad_number: not_valid   +15551230001   possible   saw "+15551230001"'),
    ],
)
def test_the_number_is_shown_with_its_verdict_its_region_and_who_said_so(run, traits, line):
    mapping = 'when: event = "Order Shipped"\nstrict_numbers: true\nsend: {to: "{{profile.traits.phone}}", body: Hi}'
    result = run(EVENT, profile=traits, mappings=[("a", mapping)])
    assert f"  {line}" in result.stdout.splitlines()


def test_a_condition_that_fails_shows_the_value_it_saw(run):
    result = run(EVENT | {"properties": {"total": 50}}, "--json")
    assert result.exit_code == 3
    decision = decisions(result)["shipped"]
    assert (decision["verdict"], decision["reason"]) == ("no_match", "when")
    assert [("when", None), ("when: properties.total > 50", 50)] == failed(decision)


@pytest.mark.parametrize(
    ("event", "profile", "reason", "gate"),
    [
        (EVENT, {"phone": "12", "first_name": "A"}, "bad_number", "send.to"),
        (EVENT | {"properties": {"total": 80}}, ADA, "missing_value", "send.body"),
    ],
)
def test_what_is_suppressed_names_its_reason_and_the_gate(run, event, profile, reason, gate):
    result = run(event, "--json", profile=profile)
    assert result.exit_code == 3
    decision = decisions(result)["shipped"]
    assert ("suppress", reason) == (decision["verdict"], decision["reason"])
    assert gate in dict(failed(decision))
    assert "request" not in decision


@pytest.mark.parametrize(
    ("profile", "lacks", "gate"),
    [
        ({}, "profile.traits.phone", "send.to"),
        ({"phone": "+15551230001"}, "profile.traits.first_name", "send.body"),
    ],
)
def test_what_lacks_a_trait_is_parked_and_says_what_for_and_until_when(run, profile, lacks, gate):
    result = run(EVENT, "--json", profile=profile)
    assert result.exit_code == 3
    decision = decisions(result)["shipped"]
    assert ("park", "profile_incomplete", lacks) == (decision["verdict"], decision["reason"], decision["detail"])
    assert "2026-01-01T10:10:00.000Z" == decision["until"]
    assert [(gate, None)] == failed(decision)
    assert "request" not in decision
    said = run(EVENT, profile=profile).stdout.splitlines()
    assert f"… shipped: park, profile_incomplete ({lacks})" in said
    assert f"  ✗ {gate}   profile_incomplete: {lacks}" in said
    assert "  waits until 2026-01-01T10:10:00.000Z for an event that brings it" == said[-1]


def test_where_nothing_is_waited_for_what_lacks_a_trait_is_suppressed(run):
    result = run(EVENT, "--json", profile={}, mappings=[("shipped", SHIPPED + "identify_wait: 0s\n")])
    decision = decisions(result)["shipped"]
    assert ("suppress", "profile_incomplete") == (decision["verdict"], decision["reason"])
    assert "until" not in decision


def test_traits_that_the_event_brings_itself_are_seen(run):
    event = EVENT | {"context": {"traits": {"first_name": "Eve", "phone": "+15551230009"}}}
    result = run(event, "--json", profile={})
    assert ["Body", "Hi Eve, order 7 has shipped."] in decisions(result)["shipped"]["request"]["form"]


def test_at_another_time_the_event_is_too_old(run):
    result = run(EVENT, "--json", "--at", "2026-01-03T00:00:00Z")
    decision = decisions(result)["shipped"]
    assert ("suppress", "too_old") == (decision["verdict"], decision["reason"])
    assert [("max_age", "136800 s old, at most 86400 s")] == failed(decision)


def test_what_is_wished_for_later_is_held(run):
    result = run(EVENT, "--json", mappings=[("later", LATER)])
    assert result.exit_code == 0
    decision = decisions(result)["later"]
    assert ("hold", "2026-01-01T11:00:00.000Z") == (decision["verdict"], decision["until"])


def test_an_event_that_a_filter_takes_matches_nothing(run):
    result = run(EVENT | {"context": {"test": True}}, "--json")
    assert (3, [("filters", "drop")]) == (result.exit_code, failed(decisions(result)["shipped"]))


def test_an_identify_is_folded_before_it_is_decided(run):
    welcome = 'when: type = "identify"\nsend: {body: "Welcome {{profile.traits.first_name}}"}'
    event = {"type": "identify", "userId": "u1", "traits": {"first_name": "Bo"}, "timestamp": AT}
    result = run(event, "--json", mappings=[("welcome", welcome)])
    assert ["Body", "Welcome Bo"] in decisions(result)["welcome"]["request"]["form"]


@pytest.mark.parametrize(("value", "reason"), [("{", "bad_request"), ('{"type": "track"}', "event_not_defined")])
def test_what_would_become_a_dead_letter_is_said(run, value, reason):
    result = run(value, "--json")
    assert (3, reason) == (result.exit_code, json.loads(result.stdout)["dead_letter"]["reason"])
    assert f"dead letter, {reason}" in run(value).stdout


def test_the_text_shows_what_matched_first_and_needs_no_secret(run):
    result = run(EVENT, mappings=[("another", 'when: event = "X"\nsend: {body: x}'), ("shipped", SHIPPED)])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == f"As of {AT}:"
    assert lines[2] == "→ shipped: send"
    assert "      Body = Hi Ada, order 7 has shipped." in lines
    assert "· another: no_match" in lines


GATES = ["filters", "when", 'when: event = "Order Shipped"', "max_age", "send.to", "number", "send.channel"]
DYNAMIC_BODY = 'when: event = "Order Shipped"\nsend: {to: "+15551230001", body: "Hi {{properties.order_id}}"}'
CONSTANT_BODY = 'when: event = "Order Shipped"\nsend: {to: "{{properties.phone}}", body: "Hi"}'


@pytest.mark.parametrize("mapping", [DYNAMIC_BODY, CONSTANT_BODY])
def test_gates_stand_in_the_order_in_which_a_message_is_made(run, mapping):
    """Whom, then what: whether a field is constant makes no difference."""
    decision = decisions(run(EVENT, "--json", mappings=[("a", mapping)]))["a"]
    assert [*GATES, "send.from", "send.body"] == [gate["name"] for gate in decision["gates"]]
    assert "+1555123000" == {gate["name"]: gate["seen"] for gate in decision["gates"]}["number"]["e164"][:-1]


@pytest.mark.parametrize(
    ("key", "line"),
    [("order_id", "  ✓ once_per   saw 7"), ("no", "  ✗ once_per   missing_value: properties.no")],
)
def test_the_key_of_once_per_is_shown(run, key, line):
    mapping = f"once_per: {{key: properties.{key}, within: 24h}}\n{CONSTANT_BODY}"
    result = run(EVENT, mappings=[("a", mapping)])
    assert line in result.stdout.splitlines(), result.stdout
    decision = decisions(run(EVENT, "--json", mappings=[("a", mapping)]))["a"]
    assert ("send" if key == "order_id" else "suppress") == decision["verdict"]


@pytest.mark.parametrize(
    ("mapping", "line"),
    [
        ('{to: "{{properties.no}}", body: x}', "  ✗ send.to   no_phone: properties.no"),
        ('{to: "{{properties.order_id}}", body: x}', "  ✗ number   bad_number: not_a_number"),
        ('{to: "+15551230001", channel: "{{event}}", body: x}', "  ✗ send.channel   bad_value: must be sms, mms, "),
        (
            '{to: "+15551230001", channel: "{{properties.ch}}", media_urls: ["https://a.example/x"]}',
            "  ✗ send.media_urls   bad_value: an SMS carries no media; set channel: mms",
        ),
    ],
)
def test_a_fault_is_told_beside_the_gate_that_fails(run, mapping, line):
    event = EVENT | {"properties": EVENT["properties"] | {"ch": "sms"}}
    text = run(event, mappings=[("a", f'when: event = "Order Shipped"\nsend: {mapping}')]).stdout
    assert any(each.startswith(line) for each in text.splitlines()), text
    assert "null" not in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--at", "yesterday"], "a time with its zone"),
        (["--profile", "nothing.json"], "can't be read"),
        (["--send-to", "12"], "too_short"),
    ],
)
def test_wrong_usage_is_said_and_exits_with_2(run, arguments, says):
    result = run(EVENT, *arguments, env={"SID": "AC" + "0" * 32, "KEY": "SK" + "0" * 32, "SECRET": "s"})
    assert result.exit_code == 2
    assert says in result.stderr


@pytest.mark.parametrize(
    ("profile", "says"),
    [
        ('{"a": %s}' % ("[" * 3000 + "]" * 3000), "nested too deep"),
        (json.dumps({"a": 10**30}), "an integer beyond 64 bits"),
        (json.dumps({"a": "x" * 100_000}), "bytes of traits"),
        (json.dumps({f"a{number}": 1 for number in range(301)}), "at most 300 traits"),
        ("[]", "must be a JSON object"),
        ("{", "not JSON"),
    ],
)
def test_a_profile_that_no_person_can_have_is_said_and_exits_with_2(run, tmp_path, profile, says):
    """An identify so folded would fail the record of its person, and here with a traceback."""
    path = tmp_path / "other.json"
    path.write_text(profile)
    identify = {"type": "identify", "userId": "u1", "traits": {}, "timestamp": AT}
    result = run(identify, "--profile", str(path))
    assert (2, True) == (result.exit_code, says in result.stderr), result.output


@pytest.mark.parametrize("value", ["[" * 3000 + "]" * 3000, str(10**30)])
def test_an_event_that_no_record_can_hold_is_a_dead_letter(run, value):
    event = json.dumps(EVENT | {"properties": {"a": "@"}}).replace('"@"', value)
    result = run(event, "--json")
    assert (3, "bad_request") == (result.exit_code, json.loads(result.stdout)["dead_letter"]["reason"])


async def test_send_to_really_sends_to_that_number_and_no_other(run):
    async with FakeTwilio() as twilio:
        account = twilio.api.setup.account
        env = {"SID": account.account_sid, "KEY": account.api_key_sid, "SECRET": account.api_key_secret}
        at = f"http://127.0.0.1:{twilio.port}"
        mappings = [("later", LATER), ("shipped", SHIPPED)]
        arguments = ("--send-to", "+15551239999")
        result = await asyncio.to_thread(run, EVENT, *arguments, mappings=mappings, base_url=at, env=env)
        assert result.exit_code == 0, result.output
        later, shipped = twilio.messages
    assert [("+15551239999", "Later", 0), ("+15551239999", "Hi Ada, order 7 has shipped.", 0)] == [
        (each.order.to, each.order.body, each.order.send_at_ms) for each in (later, shipped)
    ]
    assert f"shipped: sent as {shipped.sid}" in result.stdout
    assert "To = +15551239999" in result.stdout
    assert "+15551230001" not in "".join(line for line in result.stdout.splitlines() if " = " in line)


async def test_what_was_not_accepted_exits_with_1_and_says_why(run):
    async with FakeTwilio() as twilio:
        account = twilio.api.setup.account
        env = {"SID": account.account_sid, "KEY": account.api_key_sid, "SECRET": "wrong"}
        at = f"http://127.0.0.1:{twilio.port}"
        result = await asyncio.to_thread(run, EVENT, "--send-to", "+15551239999", "--json", base_url=at, env=env)
    assert result.exit_code == 1
    assert decisions(result)["shipped"]["answer"] == "refused: stop, HTTP 401, code 20003"


def test_an_event_may_come_from_a_process_substitution(tmp_path):
    (tmp_path / "mappings").mkdir()
    (tmp_path / "streamer.yaml").write_text(CONFIG % "http://127.0.0.1:1")
    (tmp_path / "mappings" / "shipped.yaml").write_text(SHIPPED)
    (tmp_path / "event.json").write_text(json.dumps(EVENT))
    command = f"{sys.executable} -m streamer try <(cat event.json) --config . --json"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (3, "profile_incomplete") == (done.returncode, json.loads(done.stdout)["decisions"][0]["reason"]), (
        done.stderr
    )


def test_what_the_documentation_of_policies_shows_is_what_is_printed(tmp_path):
    root = Path(__file__).parents[3]
    (tmp_path / "p.json").write_text('{"phone": "+12125550101"}')
    cart = {"cart_url": "https://shop.example/1"}
    event = {"type": "track", "event": "Cart Abandoned", "userId": "u1", "properties": cart}
    value = json.dumps({**event, "timestamp": "2026-03-03T11:30:00Z"})
    config = str(root / "streamer" / "examples" / "policies")
    options = ["try", "-", "--profile", str(tmp_path / "p.json"), "--config", config]
    printed = CliRunner().invoke(main, options, input=value).stdout
    text = (root / "docs" / "policies.md").read_text(encoding="utf-8").partition("## In `streamer try`")[2]
    shown = text.split("```")[1].strip("\n").split("\n")
    assert [] == [line for line in shown if line not in printed and "…" not in line]
    assert 5 < len(shown)
