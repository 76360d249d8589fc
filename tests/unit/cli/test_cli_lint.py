"""`streamer lint`: what it reads, how it prints it, and its exit codes."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from streamer.cli.lint_files import EVENTS_MAX, read_samples
from streamer.cli.main import main
from streamer.core.lint_findings import CODES

ROOT = Path(__file__).parents[3]
SHOP = ROOT / "streamer" / "examples" / "shop"
VALID = (
    "kafka: {bootstrap_servers: a}\ntopics: {events: [a]}\n"
    f"accounts: {{main: {{account_sid: AC{'0' * 32}, api_key_sid: SK{'0' * 32}, api_key_secret: x}}}}\n"
    'senders: {shop: {from: "+15550006789"}}\n'
)
WHEN = 'type = "track" and event = "Order Shipped"'
CLEAN = f'when: {WHEN}\nsend: {{body: "Hi {{{{properties.name}}}}"}}\n'
SHORT = {"type": "track", "event": "Order Shipped", "userId": "u", "properties": {"name": "Ann"}}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A valid configuration in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "streamer.yaml").write_text(VALID)
    (tmp_path / "mappings").mkdir()
    (tmp_path / "mappings" / "a.yaml").write_text(CLEAN)
    return tmp_path


def linted(*arguments):
    return CliRunner().invoke(main, ["lint", *arguments])


def lines(result):
    return [line for line in result.stdout.split("\n") if line]


def test_a_clean_configuration_exits_0(folder):
    result = linted()
    assert (0, "") == (result.exit_code, result.stderr)
    assert [
        "no sample events, so the names of events, properties and traits were not checked (--samples)",
        "no findings in 1 mapping",
    ] == lines(result)


def test_the_example_shop_and_the_readme_are_clean():
    """What we show is what people copy."""
    result = linted("--config", str(SHOP), "--format", "json", str(ROOT / "README.md"))
    said = json.loads(result.stdout)
    assert (0, [], []) == (result.exit_code, said["findings"], said["faults"])
    assert len(list((SHOP / "mappings").glob("*.yaml"))) + 1 == said["mappings"], "the README has a mapping"


def test_findings_exit_1_and_stand_at_their_keys(folder):
    (folder / "mappings" / "a.yaml").write_text(f"when: {WHEN}\nsend:\n  body: it\u2019s here\n")
    (folder / "mappings" / "b.yaml").write_text(f"id: z\nwhen: {WHEN}\nsend:\n  body: 'x '\n")
    result = linted()
    assert 1 == result.exit_code
    text = result.stdout.split("\n")
    assert text[0].startswith("mappings/a.yaml:3:3: ucs2: U+2019")
    assert "" == text[1]
    assert text[2].startswith("mappings/b.yaml:2:1: shadowed: ")
    assert text[3].startswith("mappings/b.yaml:4:3: outer_space: ")
    assert "3 findings in 2 files" == lines(result)[-1]


def test_a_type_that_no_event_has_is_a_finding_and_no_fault(folder):
    """`check` accepts it: a later version may know more types."""
    (folder / "mappings" / "a.yaml").write_text('when: type = "identifi"\nsend: {body: x}\n')
    result = linted()
    expected = 'mappings/a.yaml:1:1: unknown_type: no event has the type "identifi"; did you mean "identify"?'
    assert (1, expected) == (result.exit_code, lines(result)[0])
    assert 0 == CliRunner().invoke(main, ["check"]).exit_code


def test_a_disabled_mapping_is_looked_at_but_shadows_nothing(folder):
    (folder / "mappings" / "b.yaml").write_text(f"enabled: false\nwhen: {WHEN}\nsend: {{body: 'x '}}\n")
    assert ["outer_space"] == [each["code"] for each in json.loads(linted("--format", "json").stdout)["findings"]]


def test_faults_are_printed_as_check_prints_them_and_exit_2(folder):
    (folder / "mappings" / "a.yaml").write_text("when: x is 1\nsend: {body: x}\n")
    result, checked = linted(), CliRunner().invoke(main, ["check"])
    assert (2, "", checked.stderr) == (result.exit_code, result.stdout, result.stderr)


def test_json_has_findings_faults_and_numbers(folder):
    (folder / "s.json").write_text(json.dumps([SHORT]))
    said = json.loads(linted("--format", "json", "--samples", "s.json").stdout)
    assert {"findings": [], "faults": [], "mappings": 1, "samples": 1} == said
    (folder / "mappings" / "a.yaml").write_text(f"when: {WHEN}\nsend:\n  body: 'x '\n")
    result = linted("--format", "json")
    (finding,) = json.loads(result.stdout)["findings"]
    assert 1 == result.exit_code
    assert {
        "severity": "warning",
        "file": "mappings/a.yaml",
        "line": 3,
        "column": 3,
        "code": "outer_space",
        "mapping": "a",
        "text": "the body ends with white space, which is sent; remove it",
    } == finding


def test_json_has_the_faults_of_loading(folder, monkeypatch):
    (folder / "mappings" / "a.yaml").write_text("when: x is 1\nsend: {body: x, bdy: x}\n")
    monkeypatch.chdir(folder.parent)
    result = linted("--format", "json", "--config", str(folder))
    said = json.loads(result.stdout)
    assert (2, []) == (result.exit_code, said["findings"])
    file = f"{folder.name}/mappings/a.yaml"
    assert [("error", file, 1, 1), ("error", file, 2, 17)] == [
        (each["severity"], each["file"], each["line"], each["column"]) for each in said["faults"]
    ]


def test_no_configuration_at_all_is_a_fault_in_every_format(tmp_path):
    missing = str(tmp_path / "none")
    assert 2 == linted("--config", missing).exit_code
    as_json = linted("--config", missing, "--format", "json")
    assert 2 == as_json.exit_code
    assert "no streamer.yaml there" in json.loads(as_json.stdout)["faults"][0]["text"]
    assert linted("--config", missing, "--format", "github").stdout.startswith("::error file=")


def test_github_gets_annotations_with_its_own_escapes(folder):
    """A raw newline would end the annotation, a comma its property."""
    (folder / "mappings" / "a.yaml").unlink()
    (folder / "mappings" / "50%,a.yaml").write_text(f"id: a\nwhen: {WHEN}\nsend:\n  body: '100% '\n")
    assert (
        "::warning file=mappings/50%25%2Ca.yaml,line=4,col=3,title=outer_space::"
        "the body ends with white space, which is sent; remove it\n"
    ) == linted("--format", "github").stdout
    (folder / "mappings" / "50%,a.yaml").write_text("id: a\nwhen: x is 1\nsend: {body: x}\n")
    result = linted("--format", "github")
    assert 2 == result.exit_code
    assert result.stdout.startswith("::error file=mappings/50%25%2Ca.yaml,line=2,col=1,title=fault::when: line 1")
    assert (1, True) == (result.stdout.count("\n"), "%0A" in result.stdout)


def test_github_gets_nothing_when_there_is_nothing(folder):
    result = linted("--format", "github")
    assert (0, "") == (result.exit_code, result.stdout)


def test_the_limit_of_parts_can_be_set(folder):
    (folder / "mappings" / "a.yaml").write_text(f"when: {WHEN}\nsend: {{body: {'x' * 161}}}\n")
    assert [0, 1] == [linted("--parts-max", n).exit_code for n in "21"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", json.dumps({**SHORT, "properties": {"nam": 1}}, indent=2)),
        ("a.json", json.dumps([{**SHORT, "properties": {"nam": 1}}], indent=2)),
        (
            "a.ndjson",
            "\ufeff" + "\n\n".join(json.dumps({**SHORT, "properties": {"nam": n}}) for n in range(2)) + "\r\n",
        ),
        ("deep/a.jsonl", json.dumps({**SHORT, "properties": {"nam": 1}})),
    ],
)
def test_samples_are_read_from_json_lists_and_lines_beside_the_configuration(folder, name, content):
    file = folder / "samples" / name
    file.parent.mkdir(parents=True)
    file.write_text(content, encoding="utf-8")
    (folder / "samples" / "notes.txt").write_text("no JSON")
    result = linted()
    assert 1 == result.exit_code
    assert "unseen_path: properties.name: no sample event that this takes has it; did you mean properties.nam?" in (
        result.stdout
    )


def test_samples_that_are_named_replace_the_folder(folder):
    (folder / "samples").mkdir()
    (folder / "samples" / "a.json").write_text(json.dumps({**SHORT, "properties": {}}))
    (folder / "b.txt").write_text(json.dumps(SHORT))
    assert [1, 0] == [linted(*each).exit_code for each in ([], ["--samples", "b.txt"])]
    both = linted("--samples", "samples", "--samples", "b.txt", "--format", "json")
    assert (0, 2) == (both.exit_code, json.loads(both.stdout)["samples"])


def test_what_is_no_event_is_skipped_and_said(folder):
    (folder / "s.json").write_text(json.dumps([SHORT, {"first_name": "Ann"}, 5]))
    result = linted("--samples", "s.json")
    assert (0, "skipped in the samples, as no events: 2 JSON values") == (result.exit_code, lines(result)[0])


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (json.dumps(SHORT) + "\n{\n", "s.json:2:1: not JSON"),
        ("{", "s.json:1:1: not JSON"),
        (None, "s.json:1:1: cannot"),
    ],
)
def test_samples_that_cannot_be_read_exit_2(folder, content, place):
    if content is not None:
        (folder / "s.json").write_text(content)
    result = linted("--samples", "s.json")
    assert (2, "") == (result.exit_code, result.stdout)
    assert result.stderr.startswith(place)
    fault = json.loads(linted("--samples", "s.json", "--format", "json").stdout)["faults"][0]
    assert ("s.json", "error") == (fault["file"], fault["severity"])


def test_samples_beyond_the_limit_of_events_are_left_out_and_said(folder):
    events = [json.dumps(SHORT)] * EVENTS_MAX + [json.dumps({**SHORT, "event": "Other"})]
    (folder / "s.ndjson").write_text("\n".join(events))
    result = linted("--samples", "s.ndjson", "--format", "json")
    assert (0, EVENTS_MAX) == (result.exit_code, json.loads(result.stdout)["samples"])
    assert "not all samples were read: at most 10000 events and 64 MiB are\n" in result.stderr


def test_samples_beyond_the_limit_of_bytes_are_left_out_and_said(folder):
    """A line that is cut is no event, and half a list is nothing."""
    line = json.dumps(SHORT) + "\n"
    bytes_max = len(line) * 2 + 5
    (folder / "s.ndjson").write_text(line * 3)
    (folder / "l.json").write_text(json.dumps([SHORT] * 5))
    (folder / "whole.ndjson").write_text(line * 2)
    read = {name: read_samples([Path(name)], bytes_max=bytes_max) for name in ("s.ndjson", "l.json", "whole.ndjson")}
    assert [(2, 1), (0, 1), (2, 0)] == [(len(each.events), len(each.notes)) for each in read.values()]


def test_markdown_beside_the_configuration_is_held_to_it(folder):
    """An example that does not load is worse than none."""
    (folder / "guide.md").write_text(
        "# Guide\n\n```yaml\nwhen: type is 1\nsend: {body: x}\n```\n\n"
        f"- item\n\n  ```yml\n  when: {WHEN}\n  send:\n    body: 'x '\n  ```\n\n"
        "```yaml\nkafka: {}\ntopics: {events: [a]}\n```\n\n```yaml\nanything: else\n```\n"
    )
    result = linted("--format", "json")
    said = json.loads(result.stdout)
    assert (1, 2) == (result.exit_code, said["mappings"])
    assert [
        ("guide.md", 4, 1, "invalid_example"),
        ("guide.md", 13, 5, "outer_space"),
        ("guide.md", 17, 1, "invalid_example"),
    ] == [(each["file"], each["line"], each["column"], each["code"]) for each in said["findings"]]


def test_a_fault_in_markdown_names_lines_of_the_file(folder):
    """Also those within its text, and those of what is no YAML; and nothing else is said of such a block."""
    (folder / "a.md").write_text("\n\n```yaml\nwhen: x = 1\nsend: {body: a}\nwhen: x = 2\n```\n")
    (folder / "b.md").write_text("\n```yaml\nwhen: x = 1\nsend: [\n```\n")
    (folder / "c.md").write_text("\n```yaml\nwhen: x = 1\nsend: \x01\n```\n")
    found = json.loads(linted("--format", "json").stdout)["findings"]
    assert [("a.md", 6), ("b.md", 5), ("c.md", 4)] == [(each["file"], each["line"]) for each in found]
    assert "first on line 4" in found[0]["text"]


def test_markdown_examples_take_the_configurations_senders_and_no_secrets(folder):
    example = f"```yaml\nwhen: {WHEN}\nsend: {{from: NAME, body: x}}\n```\n"
    for name, expected in (("shop", 0), ("other", 1)):
        (folder / "a.md").write_text(example.replace("NAME", name))
        assert expected == linted().exit_code
    (folder / "a.md").write_text("```yaml\n" + VALID.replace("api_key_secret: x", 'api_key_secret: "${NONE}"') + "```")
    assert 0 == linted().exit_code


def test_markdown_that_is_named_replaces_what_lies_beside(folder):
    (folder / "bad.md").write_text("```yaml\nwhen: 1\nsend: 1\n```\n")
    (folder / "good.md").write_text("nothing\n")
    assert [1, 0] == [linted(*each).exit_code for each in ([], ["good.md"])]
    missing = linted("none.md")
    assert (2, True) == (missing.exit_code, missing.stderr.startswith("none.md:1:1: cannot be read"))


def test_help_lists_every_code():
    said = linted("--help").stdout
    assert all(f"  {code} " in said for code in CODES)
