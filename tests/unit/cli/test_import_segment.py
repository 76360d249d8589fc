"""`streamer import segment`: what is written, what is printed, and the exit codes."""

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from streamer.cli.main import main
from streamer.config import load, load_with_places

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "mappings.json").read_text(encoding="utf-8"))
CASES = VECTORS["send_message_cases"]
REFUSED, DISABLED = "suppress", None  # a verdict of `try`, which does not look at what is not enabled

# Where streamer does otherwise than Segment on this event, and what it does instead.
OTHERWISE = {
    "send-005": ("send", "(555) 123-0000 is read as a number of the US, where Segment takes E.164 only"),
    "send-010": (DISABLED, "a short code is nobody's phone"),
    "send-014": (DISABLED, "+12 is no number of any country, which Twilio would find out (21211)"),
    "send-018": ("send", "an alphanumeric sender is one to Twilio, and Segment refuses it"),
    "send-020": (REFUSED, "Twilio refuses more than 1600 characters (21617), so no request is made"),
    "send-038": (REFUSED, "a variable that is null suppresses (missing_value), where Segment posts the word null"),
}
FORMS_OTHERWISE = {
    "send-005": {"To": "+15551230000", "From": "+15550009999", "Body": "Hi Ana & Co"},
    "send-018": {"To": "+15551230000", "From": "ACME", "Body": "Hi Ana & Co"},
}

ACCOUNT = {
    "accountSID": "AC0123456789abcdef0123456789abcdef",
    "apiKeySID": "SK0123456789abcdef0123456789abcdef",
    "apiKeySecret": "a-secret-of-the-account",
}
SETTINGS = {
    "channel": "SMS",
    "senderType": "Phone number",
    "contentTemplateType": "Inline",
    "toPhoneNumber": "+14155550100",
    "fromPhoneNumber": "+15550006789",
    "inlineBody": "Your order has shipped.",
}
SHIPPED = {
    "id": "sub1",
    "name": "Order shipped",
    "actionSlug": "sendMessage",
    "enabled": True,
    "trigger": 'type = "track" and event = "Order Shipped"',
    "settings": SETTINGS,
}
CAPITALS = SHIPPED | {
    "name": "Seen",
    "trigger": 'type = "page" OR type = "track"',
    "settings": SETTINGS | {"inlineBody": {"@template": "Total: ${{properties.total}}\nBye"}},
}
DANGLING = SHIPPED | {"name": "Dangling", "trigger": 'type = "track" or'}
STUDIO = SHIPPED | {"name": "Flow", "actionSlug": "triggerStudioFlow"}

STREAMER_YAML = """\
# yaml-language-server: $schema=schemas/config.schema.json
# From Segment's export.json by `streamer import segment`: 2 mappings.
# ${NAME} comes from the environment; only commands that connect need it.

# Where your events are: put in your brokers and topics.
kafka:
  bootstrap_servers: 127.0.0.1:9092
  group: streamer

topics:
  events:
    - events.track
    - events.identify
  start: latest

accounts:
  main:
    account_sid: AC0123456789abcdef0123456789abcdef
    api_key_sid: SK0123456789abcdef0123456789abcdef
    api_key_secret: ${TWILIO_API_KEY_SECRET}

senders:
  number-6789:
    from: '+15550006789'

# region: of numbers written without their country; max_age: an older event is not worth a message.
defaults:
  region: US
  max_age: 24h
  sender: number-6789
"""
SEEN_YAML = """\
# yaml-language-server: $schema=../schemas/mapping.schema.json
# From Segment: "Seen", $.data.subscriptions[1] in export.json
# Its trigger there: type = "page" OR type = "track"
# What Segment made of it: when: type = "page" and type = "track"
enabled: true
when: type = "page" or type = "track"
send:
  channel: sms
  from: number-6789
  to: '+14155550100'
  body:
    '@template': |-
      Total: ${{properties.total}}
      Bye
"""
TEXT = """\
1 of 3 subscriptions imported into OUT: 1 mapping, 1 sender, 4 files written

Not imported: $.data.subscriptions[1] Flow
  no counterpart here for the action 'triggerStudioFlow'; known are sendMessage and sendSMS
"""


@pytest.fixture
def run(tmp_path):
    """Runs the command on subscriptions, or on a file's text; gives its result and the folder."""

    def run(content, *options):
        if not isinstance(content, str):
            content = json.dumps({"data": {"destination": {"settings": ACCOUNT}, "subscriptions": content}})
        file = tmp_path / "export.json"
        file.write_text(content, encoding="utf-8")
        return CliRunner().invoke(main, ["import", "segment", str(file), "--out", str(tmp_path / "sms"), *options])

    run.out = tmp_path / "sms"
    return run


def test_the_folder_is_complete_readable_and_without_secrets(run):
    result = run([SHIPPED, CAPITALS])
    assert (0, STREAMER_YAML) == (result.exit_code, (run.out / "streamer.yaml").read_text())
    assert SEEN_YAML == (run.out / "mappings" / "seen.yaml").read_text()
    assert {"config.schema.json", "mapping.schema.json"} == {file.name for file in (run.out / "schemas").iterdir()}
    assert ACCOUNT["apiKeySecret"] not in result.output + (run.out / "streamer.yaml").read_text()


def test_what_is_written_loads_as_it_is(run):
    """`check` reads it with the same function."""
    assert 0 == run([SHIPPED]).exit_code
    config = load(run.out, secrets=False)
    assert ["order-shipped"] == [mapping.id for mapping in config.mappings.mappings]
    assert ("+15550006789", "main") == (config.senders["number-6789"].number, config.senders["number-6789"].account)


def test_a_difference_is_told_in_three_lines_and_the_next_commands_follow(run):
    result = run([CAPITALS])
    assert (
        "seen (mappings/seen.yaml)\n"
        "  trigger\n"
        '    Segment: reads it as type = "page" and type = "track" (`OR` in capitals is no operator, and is skipped; '
        "conditions without `and` or `or` between them are joined by `and`)\n"
        '    streamer: reads it as type = "page" or type = "track" (`OR` is read as `or`)\n'
        '    for example: {"type":"track","event":"Example","userId":"u1"}: matches in streamer, not at Segment\n'
        '    to keep Segment\'s meaning: when: type = "page" and type = "track"\n'
    ) in result.stdout
    assert "  export TWILIO_API_KEY_SECRET=…    # that key's secret\n" in result.stdout
    assert f"  streamer lint --config {run.out}\n  streamer try EVENT.json --config {run.out}\n" in result.stdout


def test_what_is_not_imported_is_told_and_exits_1(run):
    result = run([SHIPPED, STUDIO])
    expected = TEXT.replace("OUT", str(run.out)).replace("of 3", "of 2")
    assert (1, expected) == (result.exit_code, result.stdout[: len(expected)])


def test_what_says_nothing_certain_is_written_off_and_exits_1(run):
    result = run([DANGLING])
    mapping = yaml.safe_load((run.out / "mappings" / "dangling.yaml").read_text())
    assert (1, False, 'type = "track"') == (result.exit_code, mapping["enabled"], mapping["when"])
    assert "Not enabled: dangling\n" in result.stdout
    assert "  not taken over: trigger can't be read for certain" in result.stdout


def test_json_says_what_the_text_says(run):
    result = run([SHIPPED, CAPITALS, DANGLING, STUDIO], "--json")
    said = json.loads(result.stdout)
    assert (1, False) == (result.exit_code, said["is_complete"])
    assert [
        ("order-shipped", True, 0),
        ("seen", True, 0),
        ("dangling", False, 1),
    ] == [(mapping["id"], mapping["enabled"], len(mapping["problems"])) for mapping in said["mappings"]]
    (difference, _) = said["mappings"][1]["differences"]
    assert {"field", "segment", "streamer", "example", "keep"} == set(difference)
    assert [("$.data.subscriptions[3]", "Flow")] == [(each["source"], each["name"]) for each in said["skipped"]]


def test_an_unknown_setting_is_told_and_exits_1_and_the_message_is_enabled(run):
    subscription = SHIPPED | {"settings": SETTINGS | {"shortenUrls": True}}
    result = run([subscription])
    assert (1, 1) == (
        result.exit_code,
        result.stdout.count("not taken over: shortenUrls is not known to streamer, and is left out\n"),
    )
    said = json.loads(run([subscription], "--force", "--json").stdout)
    problem = {"field": "shortenUrls", "text": "is not known to streamer, and is left out"}
    assert (False, True, [problem]) == (
        said["is_complete"],
        said["mappings"][0]["enabled"],
        said["mappings"][0]["problems"],
    )


def test_what_keeps_segments_meaning_is_said_once_for_a_mapping(run):
    trigger = "type = 'track' and !contains(properties.plan, \"x\") and properties.total != 5"
    result = run([SHIPPED | {"trigger": trigger}])
    assert (3, 1) == (result.stdout.count("  trigger\n"), result.stdout.count("to keep Segment's meaning"))


def test_the_number_of_an_example_is_nobodys_and_is_printed(run):
    """So that the event can be tried as it stands."""
    shown = run([CAPITALS | {"settings": CAPITALS["settings"] | {"toPhoneNumber": {"@path": "$.properties.phone"}}}])
    assert '"phone":"+14155550100"' not in shown.stdout, "Segment never sends for this one"
    shown = run(
        [SHIPPED | {"settings": CAPITALS["settings"] | {"toPhoneNumber": {"@path": "$.properties.phone"}}}], "--force"
    )
    assert '"phone":"+14155550100"' in shown.stdout


def test_a_phone_number_in_a_trigger_is_not_printed(run):
    shown = run([SHIPPED | {"trigger": "properties.phone == +14155550123 or traits.phone != '+14155550123'"}])
    assert "5550123" not in shown.output
    assert "…23" in shown.output


def test_a_folder_that_holds_something_needs_force(run):
    run.out.mkdir()
    (run.out / "mappings").mkdir()
    (run.out / "mappings" / "mine.yaml").write_text("")
    result = run([SHIPPED])
    assert (2, True) == (result.exit_code, "--force" in result.stderr)
    assert ["mine.yaml"] == [path.name for path in (run.out / "mappings").iterdir()]
    result = run([SHIPPED], "--force")
    assert (0, True) == (
        result.exit_code,
        "Left as they were, and loaded too: mappings/mine.yaml\n" in result.stdout,
    )


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("{", "export.json: not JSON: "),
        ('{"trigger": 5, "settings": {}}', "export.json: $.trigger: expected text, found a number"),
        ("[]", "export.json: $: no subscription in it; expected {subscribe, mapping}, a list of them"),
    ],
)
def test_bad_input_is_told_with_its_place_writes_nothing_and_exits_2(run, content, fault):
    result = run(content)
    assert (2, "", False) == (result.exit_code, result.stdout, run.out.exists())
    assert result.stderr.startswith(fault)


def test_a_folder_that_cannot_be_written_is_told_and_exits_1(run):
    run.out.parent.joinpath("file").write_text("")
    result = run([SHIPPED], "--out", str(run.out.parent / "file" / "sms"))
    assert (1, True) == (result.exit_code, "can't be written" in result.stderr)


def test_importing_twice_writes_the_same(run):
    run([SHIPPED, CAPITALS, DANGLING])
    first = {path.name: path.read_bytes() for path in run.out.rglob("*.yaml")}
    run([SHIPPED, CAPITALS, DANGLING], "--force")
    assert first == {path.name: path.read_bytes() for path in run.out.rglob("*.yaml")}


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """The folder that all the samples became, as one export."""
    folder = tmp_path_factory.mktemp("sample")
    said = {"actionSlug": "sendMessage", "enabled": True}
    subscriptions = [
        said | {"name": case["id"], "trigger": case["subscribe"], "settings": case["mapping"]} for case in CASES
    ]
    (folder / "export.json").write_text(json.dumps({"data": {"subscriptions": subscriptions}}), encoding="utf-8")
    arguments = ["import", "segment", str(folder / "export.json"), "--out", str(folder / "sms")]
    assert 1 == CliRunner().invoke(main, arguments).exit_code, "some of them are refused by Segment on every event"
    return folder / "sms"


@pytest.fixture(scope="module")
def decisions(sample):
    """What `try` says of each mapping on the samples' event."""
    event = sample.parent / "event.json"
    event.write_text(json.dumps(VECTORS["send_message_event"]), encoding="utf-8")
    result = CliRunner().invoke(main, ["try", str(event), "--config", str(sample), "--json"])
    assert 0 == result.exit_code
    return {each["mapping"]: each for each in json.loads(result.stdout)["decisions"]}


def test_a_whole_export_loads_also_what_is_not_enabled(sample):
    """A disabled mapping is read like any other: only its `enabled` keeps it from sending."""
    loaded = load_with_places(sample, secrets=False)
    assert {case["id"] for case in CASES} == {source.rule.id for source in loaded.sources}
    assert {mapping.id for mapping in loaded.config.mappings.mappings} == {
        source.rule.id for source in loaded.sources if source.content["enabled"]
    }


def test_a_whole_export_can_be_linted(sample):
    """All samples have one trigger, so that they shadow each other; nothing is a fault."""
    result = CliRunner().invoke(main, ["lint", "--config", str(sample), "--format", "json"])
    said = json.loads(result.stdout)
    assert (1, [], len(CASES)) == (result.exit_code, said["faults"], said["mappings"])
    assert {"shadowed", "sender_country"} == {finding["code"] for finding in said["findings"]}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_an_imported_mapping_does_what_segment_does(decisions, case):
    """The same request where Segment makes one, and none where it doesn't; OTHERWISE has the exceptions."""
    decision = decisions.get(case["id"], {"verdict": DISABLED})
    if case["id"] in OTHERWISE:
        assert OTHERWISE[case["id"]][0] == decision["verdict"]
        form = list(FORMS_OTHERWISE.get(case["id"], {}).items())
    elif case["expected"]["requests"]:
        assert "send" == decision["verdict"]
        form = case["expected"]["request"]["form"]
    else:
        assert decision["verdict"] in (REFUSED, DISABLED)
        form = []
    assert sorted(map(list, form)) == sorted(decision.get("request", {}).get("form", []))


def loads(folder):
    return [rule.id for rule in load(folder, secrets=False).mappings.mappings]


LITTLE = SETTINGS | {"channel": "MMS", "inlineBody": "hi"}
LITTLE.pop("contentTemplateType")


@pytest.mark.parametrize(
    ("settings", "enabled", "send"),
    [
        (LITTLE, [], {"channel": "sms", "body": "hi"}),
        (SETTINGS | {"toPhoneNumber": "{{{properties.phone}}}"}, ["a"], {"to": "{{properties.phone}}"}),
        (SETTINGS | {"inlineBody": "Hi {{{ traits.x }}}!"}, ["a"], {"body": "Hi {{ traits.x }}!"}),
        (SETTINGS | {"inlineBody": "Hi {{{{traits.x}}}}"}, ["a"], {"body": {"@literal": "Hi {{{{traits.x}}}}"}}),
        (SETTINGS | {"channel": "Whatsapp", "fromPhoneNumber": "MyShop"}, [], {"from": "number-to-choose"}),
        (SETTINGS | {"inlineBody": {"@liquid": "{{ traits.x | join: blank }}"}}, [], {}),
    ],
)
def test_what_a_configuration_refuses_is_mended_and_loads(run, settings, enabled, send):
    """One file that can't be read would keep all others from the service."""
    run([SHIPPED | {"name": "a", "settings": settings}])
    written = yaml.safe_load((run.out / "mappings" / "a.yaml").read_text(encoding="utf-8"))["send"]
    assert (enabled, send) == (loads(run.out), {name: written[name] for name in send})


def test_a_sender_that_no_mapping_uses_is_not_declared(run):
    shown = run([SHIPPED | {"settings": SETTINGS | {"channel": "Whatsapp", "fromPhoneNumber": "MyShop"}}])
    assert ["number-to-choose"] == list(load(run.out, secrets=False).senders)
    assert "takes myshop" not in shown.stdout


def test_a_trigger_that_looks_like_a_secret_is_not_imported(run):
    """A mapping's file can't hold ${…}, wherever it stands."""
    result = run([SHIPPED, SHIPPED | {"name": "b", "trigger": 'event = "${HOME}"'}])
    assert (1, True) == (result.exit_code, "its trigger holds ${…}" in result.stdout)
    assert ["order-shipped"] == loads(run.out)


def test_force_writes_through_no_link(run, tmp_path):
    """A folder that others can write to could lead anywhere."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine").write_text("mine")
    for name in ("streamer.yaml", "mappings/order-shipped.yaml", "schemas/mapping.schema.json"):
        link = run.out / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(other / "mine")
        result = run([SHIPPED], "--force")
        assert (1, True, "mine") == (
            result.exit_code,
            f"{name} is a link" in result.stderr,
            (other / "mine").read_text(),
        )
        link.unlink()
        assert [] == [path for path in run.out.rglob("*") if path.is_file()]
    (run.out / "mappings").rmdir()
    (run.out / "mappings").symlink_to(other)
    assert (1, ["mine"]) == (run([SHIPPED], "--force").exit_code, [path.name for path in other.iterdir()])


def test_a_file_that_was_there_is_replaced_and_not_written_into(run, tmp_path):
    """Whoever reads the old one meanwhile reads a whole file; a second name of it keeps what it held."""
    run.out.mkdir()
    (run.out / "streamer.yaml").write_text("old")
    (tmp_path / "second").hardlink_to(run.out / "streamer.yaml")
    run([SHIPPED], "--force")
    assert "old" == (tmp_path / "second").read_text()
    assert {"streamer.yaml", "mappings", "schemas"} == {path.name for path in run.out.iterdir()}
