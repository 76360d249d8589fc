"""`streamer test`: what is printed, the exit codes, and the reports that machines read."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml
from click.testing import CliRunner

from streamer.cli.main import main

ROOT = Path(__file__).parents[3]
SHOP = ROOT / "streamer" / "examples" / "shop"
POLICIES = ROOT / "streamer" / "examples" / "policies"
PROFILE = 'profile: {first_name: Ada, phone: "+12025550101"}\n'
SHIPPED = "{type: track, event: Order Shipped, properties: {order_id: A, carrier: UPS}}"
BODY = "Hi Ada, order A is on its way with UPS."
GOOD = f"{PROFILE}tests: [{{name: good, events: [{SHIPPED}], expect: [{{send: {{mapping: order-shipped}}}}]}}]\n"
BAD = f"""
name: Parcels
{PROFILE}tests:
  - name: a wrong body
    events: [{SHIPPED}]
    expect:
      - send: {{mapping: order-shipped, body: "Hi!", at: +0s}}
  - name: a wrong kind
    events: [{SHIPPED}]
    expect:
      - suppress: {{mapping: order-shipped, reason: no_phone}}
  - name: one missing, one too many
    events: [{SHIPPED}]
    expect:
      - send: {{mapping: order-completed, body: "Thanks"}}
  - name: good
    events: [{SHIPPED}]
    expect: [send: {{body: "{BODY}"}}]
  - name: another order
    events:
      - {SHIPPED}
      - {{at: +1m, type: track, event: Order Completed, properties: {{order_id: A, total: 10, currency: USD}}}}
    expect:
      - send: {{mapping: order-completed}}
      - send: {{mapping: order-shipped}}
"""


def run(*arguments, config=SHOP):
    return CliRunner(env=dict.fromkeys(["TWILIO_API_KEY_SECRET"])).invoke(
        main, ["test", *arguments, "--config", config]
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with one file of each kind, which is also where the command is started."""
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "bad.yaml").write_text(BAD)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_example_shop_passes_its_own_tests_without_secrets():
    result = run()
    assert (0, "") == (result.exit_code, result.stderr)
    assert result.stdout.endswith("\n\n17 passed, 0 failed\n")
    assert 3 == result.stdout.count(".yaml  ")


def test_every_mapping_of_the_example_shop_is_tested():
    """Each is sent once and suppressed once at least, or it would teach little."""
    said = json.loads(run("--json").stdout)
    happened = [each for file in said["files"] for test in file["tests"] for each in test["happened"]]
    expected = {mapping.stem for mapping in (SHOP / "mappings").iterdir()}
    assert expected == {each["send"]["mapping"] for each in happened if "send" in each}
    assert expected - {"order-completed"} == {each["suppress"]["mapping"] for each in happened if "suppress" in each}


def test_the_twenty_examples_of_policies_pass_and_send_of_every_mapping():
    said = json.loads(run("--json", config=POLICIES).stdout)
    assert (20, 0) == (said["passed"], said["failed"])
    happened = [each for file in said["files"] for test in file["tests"] for each in test["happened"]]
    expected = {mapping.stem for mapping in (POLICIES / "mappings").iterdir()}
    sent = {each["send"]["mapping"] for each in happened if "send" in each}
    assert {"promo"} == expected - sent  # which shows who is not to have it


def test_every_example_of_policies_is_named_where_they_are_explained():
    said = json.loads(run("--json", config=POLICIES).stdout)
    names = [test["name"] for file in said["files"] for test in file["tests"]]
    told = " ".join((ROOT / "docs" / "policies.md").read_text(encoding="utf-8").split())
    assert [] == [name for name in names if f"*{name}*" not in told]


def test_a_refused_message_is_told_as_a_test_would_expect_it(folder):
    refused = GOOD.replace("name: good", "name: good, answers: [{code: 21610, to: '+12025550101'}]")
    (folder / "good.yaml").write_text(refused)
    said = run("good.yaml").stdout
    assert "- send: {mapping: order-shipped}" in said
    assert '+ fail: {mapping: order-shipped, reason: optout, detail: "HTTP 400", at: +0s, code: 21610}' in said
    result = run("good.yaml", "--json")
    [happened] = json.loads(result.stdout)["files"][0]["tests"][0]["happened"]
    assert ("optout", 21610, "") == tuple(happened["fail"][key] for key in ("reason", "code", "held_for"))


def test_the_tests_beside_a_configuration_are_the_default(monkeypatch):
    monkeypatch.chdir(SHOP)
    said = CliRunner().invoke(main, ["test"]).stdout
    files = ["tests/money-and-carts.yaml  4 passed", "tests/orders.yaml           8 passed"]
    assert [*files, "tests/people.yaml           5 passed"] == said.splitlines()[:3]


def test_a_failure_says_where_it_is_what_was_expected_and_what_happened(folder):
    result = run("bad.yaml", "good.yaml")
    assert (1, "") == (result.exit_code, result.stderr)
    completed = "Thanks Ada! We have your order A over 10 USD."
    number = 'to: "+12025550101", from: shop'
    expected = f"""\
bad.yaml   1 passed, 4 failed
good.yaml  1 passed

FAILED bad.yaml:5: a wrong body
  expected at bad.yaml:8, and it went otherwise (event 1, track Order Shipped, at +0s):
    send:
      mapping: order-shipped
  -   body: "Hi!"
  +   body: "{BODY}"
      at: +0s

FAILED bad.yaml:9: a wrong kind
  expected at bad.yaml:12, and it went otherwise (event 1, track Order Shipped, at +0s):
  - suppress: {{mapping: order-shipped, reason: no_phone}}
  + send: {{mapping: order-shipped, body: "{BODY}", {number}, at: +0s}}

FAILED bad.yaml:13: one missing, one too many
  expected at bad.yaml:16, and it did not happen:
  - send: {{mapping: order-completed, body: "Thanks"}}
    why: its `when` matched none of the events; the closest is event 1, track Order Shipped, at +0s
    ✗ event = "Order Completed"   saw "Order Shipped"
    ✗ properties.total >= 10   saw null
  not expected, and it happened (event 1, track Order Shipped, at +0s):
  + send: {{mapping: order-shipped, body: "{BODY}", {number}, at: +0s}}

FAILED bad.yaml:20: another order
  everything expected happened, but in another order:
  + send: {{mapping: order-shipped, body: "{BODY}", {number}, at: +0s}}
  + send: {{mapping: order-completed, body: "{completed}", {number}, at: +1m}}

2 passed, 4 failed
"""
    assert expected == result.stdout


def test_of_the_conditions_that_failed_five_are_shown_each_on_a_short_line(folder):
    conditions = " and ".join(f'properties.k{number} = "x"' for number in range(7))
    (folder / "mappings").mkdir()
    (folder / "mappings" / "m.yaml").write_text(f"when: {conditions}\nsend: {{body: x, to: '+12025550101'}}\n")
    (folder / "streamer.yaml").write_text((SHOP / "streamer.yaml").read_text())
    event = json.dumps({"type": "page", "properties": {"k0": "\u2028" + "y" * 100, "k1": "x"}})
    (folder / "a.yaml").write_text(
        f"tests: [{{name: a, events: [{event}], expect: [{{send: {{mapping: m}}}}]}}]", encoding="utf-8"
    )
    shown = [line for line in run("a.yaml", config=folder).stdout.splitlines() if line.startswith("    ✗ ")]
    assert [f'    ✗ properties.k0 = "x"   saw "\\u2028{"y" * 62}…', '    ✗ properties.k2 = "x"   saw null'] == shown[:2]
    assert (6, "    ✗ and 1 more") == (len(shown), shown[5])


def test_what_happened_can_be_taken_over_into_the_file(folder):
    """A `+` line is an entry of `expect`, whatever is in it."""
    name = 'Ada "\\" \x07🙂\u2028: #{}[],&*!|>%@`\n- x'
    quoted = json.dumps(name, ensure_ascii=False).replace("\u2028", "\\u2028")
    case = GOOD.replace("first_name: Ada", f"first_name: {quoted}").replace("{send: {mapping: order-shipped}}", "")
    (folder / "a.yaml").write_text(case)
    result = run("a.yaml")
    [line] = [line for line in result.stdout.splitlines() if line.startswith("  + ")]
    assert line.isprintable()
    [entry] = yaml.safe_load(line.replace("+", "-", 1))
    assert f"Hi {name}, order A is on its way with UPS." == entry["send"]["body"]
    (folder / "a.yaml").write_text(case.replace("expect: []", f"expect: [{line.removeprefix('  + ')}]"))
    assert 0 == run("a.yaml").exit_code


def test_an_id_that_yaml_reads_as_something_else_is_quoted(folder):
    (folder / "mappings").mkdir()
    (folder / "mappings" / "no.yaml").write_text("when: type = 'page'\nsend: {body: x, to: '+12025550101'}\n")
    (folder / "streamer.yaml").write_text((SHOP / "streamer.yaml").read_text())
    (folder / "a.yaml").write_text("tests: [{name: a, events: [{type: page}], expect: []}]")
    assert '+ send: {mapping: "no", body: x,' in run("a.yaml", config=folder).stdout


@pytest.mark.parametrize(("text", "count"), [("good", 2), ("WRONG", 2), ("bad.yaml: a wr", 2), ("order", 1)])
def test_tests_are_chosen_by_their_names_and_those_of_their_files(folder, text, count):
    said = json.loads(run("bad.yaml", "good.yaml", "-k", text, "--json").stdout)
    assert count == said["passed"] + said["failed"]


def test_choosing_no_test_is_wrong_usage(folder):
    """A misspelled name must not look like success."""
    result = run("good.yaml", "-k", "nothing like it")
    assert (2, "") == (result.exit_code, result.stdout)
    assert "-k nothing like it: no test has this in its name\n" == result.stderr


def test_json_says_what_the_text_says(folder):
    result = run("bad.yaml", "--json")
    said = json.loads(result.stdout)
    assert (1, 1, 4) == (result.exit_code, said["passed"], said["failed"])
    [file] = said["files"]
    assert ("bad.yaml", "Parcels") == (file["file"], file["name"])
    assert [False, False, False, True, False] == [test["passed"] for test in file["tests"]]
    body, _, missing, _, order = file["tests"]
    [mismatch] = body["mismatches"]
    assert (8, ["body"], BODY) == (mismatch["line"], mismatch["wrong"], mismatch["happened"]["send"]["body"])
    assert {"send": {"mapping": "order-shipped", "body": "Hi!", "at": "+0s"}} == mismatch["expected"]
    assert "its `when` matched none of the events" == missing["mismatches"][0]["why"]
    failing = [
        {"text": 'event = "Order Completed"', "seen": "Order Shipped"},
        {"text": "properties.total >= 10", "seen": None},
    ]
    assert {"event": 1, "failing": failing} == missing["mismatches"][0]["closest"]
    assert (False, []) == (order["in_order"], order["mismatches"])


def test_faults_of_configuration_and_tests_are_told_together(tmp_path):
    (tmp_path / "streamer.yaml").write_text("kafka: {bootstrap_servers: a, grup: x}\ntopics: {events: [a]}\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "a.yaml").write_text("tests: x\n")
    result = run(config=tmp_path)
    assert (2, "") == (result.exit_code, result.stdout)
    config, test = result.stderr.splitlines()
    assert 'streamer.yaml:1:31: kafka.grup: unknown key; did you mean "group"?' == config
    assert f"{tmp_path}/tests/a.yaml:1:1: tests: expected a list, found text" == test
    result = run("--json", config=tmp_path)
    assert (2, [config, test]) == (result.exit_code, json.loads(result.stdout)["faults"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nope.yaml"], "nope.yaml: not there; name test files"),
        (["--config", "nope"], "'nope': no streamer.yaml there"),
        (["--nope"], "No such option"),
    ],
)
def test_wrong_usage_exits_2(folder, arguments, said):
    result = CliRunner().invoke(main, ["test", "--config", str(SHOP), *arguments])
    assert 2 == result.exit_code
    assert said in result.stderr


def test_a_configuration_without_tests_says_where_to_put_them(tmp_path):
    (tmp_path / "streamer.yaml").write_text("kafka: {bootstrap_servers: a}\ntopics: {events: [a]}\n")
    result = run(config=tmp_path)
    assert 2 == result.exit_code
    assert "put them into `tests` beside streamer.yaml" in result.stderr


def test_junit_has_a_suite_for_each_file_and_a_case_for_each_test(folder):
    assert 1 == run("bad.yaml", "good.yaml", "--junit", "report.xml").exit_code
    root = ET.parse(folder / "report.xml").getroot()
    assert ("testsuites", "6", "4") == (root.tag, root.get("tests"), root.get("failures"))
    expected = [("Parcels", "bad.yaml", "5", "4"), ("good", "good.yaml", "1", "0")]
    assert expected == [tuple(suite.get(key) for key in ("name", "file", "tests", "failures")) for suite in root]
    case = root[0][0]
    assert ("a wrong body", "Parcels", "bad.yaml", "5") == tuple(
        case.get(key) for key in ("name", "classname", "file", "line")
    )
    [failure] = case
    assert failure.text.startswith("bad.yaml:5\nexpected at bad.yaml:8, and it went otherwise")
    assert f'\n+   body: "{BODY}"\n' in failure.text
    assert [4, 0] == [len(suite.findall("testcase/failure")) for suite in root]


def test_junit_holds_what_xml_can_not(folder):
    """A control character in a message would make the whole report unreadable."""
    text = GOOD.replace("name: good", r'name: "<&\e\0\uFFFE]]>"').replace("first_name: Ada", r'first_name: "\e&<"')
    (folder / "good.yaml").write_text(text.replace("[{send: {mapping: order-shipped}}]", "[]"))
    assert 1 == run("good.yaml", "--junit", "report.xml").exit_code
    [case] = ET.parse(folder / "report.xml").getroot().iter("testcase")
    assert r"<&\u001b\u0000\ufffe]]>" == case.get("name")
    assert r'"Hi \u001b&<, order' in case[0].text


def test_a_report_that_can_not_be_written_is_an_error(folder):
    result = run("good.yaml", "--junit", "none/report.xml")
    assert (1, "") == (result.exit_code, result.stdout)
    assert "error: the JUnit report can't be written: none/report.xml: No such file or directory\n" == result.stderr
