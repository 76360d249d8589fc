"""`streamer check` and the frame of the command line: what is printed where, and the exit codes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from streamer.cli.check import check
from streamer.cli.main import CommandGroup, main
from streamer.errors import BrokerUnusable

SHOP = Path(__file__).parents[3] / "streamer" / "examples" / "shop"
INVALID = "kafka: {bootstrap_servers: a, grup: x}\ntopics: {events: [a]}\n"
BAD_FILTER = "when: type is track\nsend: {body: x}\n"


@pytest.fixture
def invalid(tmp_path):
    (tmp_path / "streamer.yaml").write_text(INVALID)
    (tmp_path / "mappings").mkdir()
    (tmp_path / "mappings" / "a.yaml").write_text(BAD_FILTER)
    return tmp_path


def test_a_valid_configuration_is_summed_up_without_secrets():
    result = CliRunner(env=dict.fromkeys(["TWILIO_API_KEY_SECRET", "TWILIO_AUTH_TOKEN"])).invoke(
        main, ["check", "--config", str(SHOP)]
    )
    assert (result.exit_code, result.stderr) == (0, "")
    assert "reads events.track, events.identify" in result.stdout
    assert "billing: +15550006790, account main" in result.stdout
    assert "payment-failed: sms from billing, takes track events named Payment Failed\n    when type =" in result.stdout


def test_the_folder_one_stands_in_is_the_default():
    result = subprocess.run(
        [sys.executable, "-m", "streamer", "check"], cwd=SHOP, capture_output=True, text=True, check=True
    )
    assert result.stdout.startswith("streamer.yaml: no faults\n")


def test_faults_go_to_stderr_and_exit_2(invalid):
    result = CliRunner().invoke(main, ["check", "--config", str(invalid)])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(
        'streamer.yaml:1:31: kafka.grup: unknown key; did you mean "group"?\nmappings/a.yaml'
    )
    assert "Traceback" not in result.stderr


def test_json_says_what_the_text_says():
    result = CliRunner().invoke(main, ["check", "--json", "--config", str(SHOP)])
    said = json.loads(result.stdout)
    assert (result.exit_code, said["is_valid"]) == (0, True)
    assert said["topics"]["events"] == ["events.track", "events.identify"]
    assert said["topics"]["by_user"] == "streamer.by-user"
    assert [sender["name"] for sender in said["senders"]] == ["shop", "billing"]
    shipped = next(mapping for mapping in said["mappings"] if mapping["id"] == "order-shipped")
    assert (shipped["types"], shipped["names"], shipped["sender"]) == (["track"], ["Order Shipped"], "shop")


def test_json_lists_faults_with_the_lines_below_them(invalid):
    """A filter's fault shows its text with a caret: two lines more, and still one fault."""
    result = CliRunner().invoke(main, ["check", "--json", "--config", str(invalid)])
    said = json.loads(result.stdout)
    assert (result.exit_code, said["is_valid"]) == (2, False)
    assert [fault.partition(": ")[0] for fault in said["faults"]] == [
        "streamer.yaml:1:31",
        "mappings/a.yaml:1:1",
        "mappings/a.yaml:2:1",
    ]
    assert "\n" in said["faults"][1]


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("properties.total > 50", "takes every event"),
        ('type = "identify"', "takes identify events\n"),
        ('event = "A"', "takes every event named A"),
        ('type = "track" and type = "identify"', "takes no event: its conditions exclude each other"),
    ],
)
def test_a_mapping_says_which_events_reach_it(tmp_path, when, said):
    """A filter that can never match is the usual reason for a message that never comes."""
    (tmp_path / "mappings").mkdir()
    (tmp_path / "streamer.yaml").write_text(
        "kafka: {bootstrap_servers: a}\ntopics: {events: [a]}\n"
        f"accounts: {{main: {{account_sid: AC{'0' * 32}, api_key_sid: SK{'0' * 32}, api_key_secret: x}}}}\n"
        'senders: {shop: {from: "+15550006789"}}\n'
    )
    (tmp_path / "mappings" / "a.yaml").write_text(f"when: {when}\nsend: {{body: x}}\n")
    result = CliRunner().invoke(main, ["check", "--config", str(tmp_path)])
    assert said in result.stdout


SMALLEST = "kafka: {bootstrap_servers: a}\ntopics: {events: [a]}\n"


def checked(folder, *options):
    result = CliRunner().invoke(main, ["check", "--config", str(folder), *options])
    assert (0, "") == (result.exit_code, result.stderr)
    return result.stdout


@pytest.mark.parametrize("has_folder", [True, False])
def test_no_enabled_mapping_is_said_with_the_place_where_mappings_go(tmp_path, has_folder):
    """A configuration without faults that sends nothing is what a newcomer has at first, and does not expect."""
    (tmp_path / "streamer.yaml").write_text(SMALLEST)
    if has_folder:
        (tmp_path / "mappings").mkdir()
    said = checked(tmp_path)
    assert f"Mappings: none is enabled, so nothing would be sent; they go to {tmp_path / 'mappings'}" in said


def test_what_lies_beside_the_mappings_and_is_not_read_is_named(tmp_path):
    """A mapping saved as .txt, or in a folder of its own, is the usual reason why none is found."""
    (tmp_path / "streamer.yaml").write_text(SMALLEST)
    (tmp_path / "mappings" / "old").mkdir(parents=True)
    for name in ("b.yml.bak", "a.json", ".a.yaml.swp", "c.yaml~"):
        (tmp_path / "mappings" / name).write_text("{")
    assert "\nnot read: mappings/a.json, mappings/b.yml.bak, mappings/old/; " in checked(tmp_path)
    names = ["mappings/a.json", "mappings/b.yml.bak", "mappings/old/"]
    assert names == json.loads(checked(tmp_path, "--json"))["not_read"]


def test_a_folder_of_mappings_alone_names_nothing(tmp_path):
    assert "not read" not in checked(SHOP)


def test_disabled_mappings_are_named(tmp_path):
    """After an import that is what one looks for."""
    shutil.copytree(SHOP, tmp_path, dirs_exist_ok=True)
    assert "Disabled" not in checked(tmp_path)
    file = tmp_path / "mappings" / "cart-abandoned.yaml"
    file.write_text(file.read_text() + "enabled: false\n")
    assert "\nDisabled: cart-abandoned" in checked(tmp_path)


def test_a_thousand_files_that_are_not_read_are_one_line(tmp_path):
    (tmp_path / "streamer.yaml").write_text(SMALLEST)
    (tmp_path / "mappings").mkdir()
    for number in range(1_000):
        (tmp_path / "mappings" / f"{number:03}.json").write_text("{")
    [line] = [line for line in checked(tmp_path).splitlines() if line.startswith("not read: ")]
    assert line.startswith("not read: mappings/000.json, mappings/001.json, ")
    assert "mappings/009.json and 990 more; " in line


def test_an_error_of_ours_is_one_line_on_stderr_and_exit_1():
    @click.group(cls=CommandGroup)
    def group() -> None: ...

    @group.command()
    def fall() -> None:
        raise BrokerUnusable("no broker answers\nat a:9092")

    result = CliRunner().invoke(group, ["fall"])
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "error: no broker answers at a:9092\n")


def test_a_defect_is_not_hidden():
    """An unexpected exception keeps its traceback, which names the place to mend."""

    @click.group(cls=CommandGroup)
    def group() -> None: ...

    @group.command()
    def fall() -> None:
        raise ZeroDivisionError

    assert isinstance(CliRunner().invoke(group, ["fall"]).exception, ZeroDivisionError)


def test_help_names_every_command_and_version_says_ours():
    runner = CliRunner()
    said = runner.invoke(main, ["--help"]).stdout
    assert all(name in said for name in main.commands)
    assert check.name in main.commands
    assert runner.invoke(main, ["--version"]).stdout == "streamer 0.1.0\n"
