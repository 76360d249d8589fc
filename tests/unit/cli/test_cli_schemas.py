"""`streamer schemas`, the committed schemas, and the files that point editors at them."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from streamer.cli.main import main
from streamer.cli.schemas import DOCUMENTS, pointed, write_schemas
from streamer.config_document import CONFIG
from streamer.core.documents_mapping import MAPPING

ROOT = Path(__file__).parents[3]
SHOP = ROOT / "streamer" / "examples" / "shop"
MODELINE = "# yaml-language-server: $schema="


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_the_committed_schemas_are_what_the_command_writes(tmp_path):
    """`make schemas` mends this."""
    result = CliRunner().invoke(main, ["schemas", "--out", str(tmp_path / "new" / "folder")])
    assert (result.exit_code, result.stderr) == (0, "")
    written = contents(tmp_path / "new" / "folder")
    assert sorted(str(tmp_path / "new" / "folder" / name) for name in written) == sorted(result.stdout.splitlines())
    assert contents(ROOT / "schemas") == written
    assert all(content.isascii() and content.endswith(b"}\n") for content in written.values())


def test_without_a_folder_the_schemas_are_listed():
    result = CliRunner().invoke(main, ["schemas"])
    assert result.exit_code == 0
    assert [each.name for each in DOCUMENTS] == [line.split()[0] for line in result.stdout.splitlines()]


def test_a_folder_that_cannot_be_made_is_one_line_and_exit_1(tmp_path):
    (tmp_path / "file").write_text("")
    result = CliRunner().invoke(main, ["schemas", "--out", str(tmp_path / "file")])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: cannot write schemas to ")


@pytest.mark.parametrize("file", sorted(SHOP.rglob("*.yaml")), ids=lambda file: file.stem)
def test_the_first_line_of_a_file_of_the_example_names_its_schema(file):
    first = file.read_text().splitlines()[0]
    schema = (file.parent / first.removeprefix(MODELINE)).resolve()
    name = {"mappings": "mapping", "tests": "test"}.get(file.parent.name, "config")
    assert ROOT / "schemas" / f"{name}.schema.json" == schema


def test_a_copy_points_at_the_schemas_beside_it_and_only_there(tmp_path):
    text = (SHOP / "streamer.yaml").read_text()
    copy = pointed(text, CONFIG, "schemas")
    assert [f"{MODELINE}schemas/config.schema.json", *text.splitlines()[1:]] == copy.splitlines()
    assert f"{MODELINE}../schemas/mapping.schema.json\nwhen: x\n" == pointed("when: x\n", MAPPING, "../schemas")
    assert [tmp_path / "config.schema.json"] == write_schemas(tmp_path, [CONFIG])
