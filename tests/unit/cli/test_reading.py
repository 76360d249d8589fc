"""What is no file to read is said at once, with exit 2: a folder, nothing, an empty file, a pipe without a writer."""

import os

import pytest
from click.testing import CliRunner

from streamer.cli.main import main

CONFIG = """
kafka: {bootstrap_servers: "127.0.0.1:1"}
topics: {events: [events]}
accounts: {main: {account_sid: "${SID}", api_key_sid: "${KEY}", api_key_secret: "${SECRET}"}}
senders: {shop: {from: "+15550006789"}}
"""
EVENT = '{"type": "track", "event": "x", "userId": "u1"}'
COMMANDS = (
    ("try", "@"),
    ("try", "event.json", "--profile", "@"),
    ("try", "event.json", "--config", "@"),
    ("test", "@"),
    ("test", "--config", "@"),
    ("lint", "@"),
    ("lint", "--samples", "@"),
    ("lint", "--config", "@"),
    ("import", "segment", "@", "--out", "out"),
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "streamer.yaml").write_text(CONFIG)
    (tmp_path / "event.json").write_text(EVENT)
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    (tmp_path / "lost").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


# A Markdown file or a file of samples may be empty, and samples may be a folder.
@pytest.mark.parametrize("kind", ["folder", "empty", "lost", "pipe"])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_what_is_no_file_is_said_and_exits_with_2(folder, command, kind):
    """A pipe that nobody writes to would be waited for without an end."""
    is_fine = command[0] == "lint" and (kind, command[1]) in (
        ("empty", "@"),
        ("empty", "--samples"),
        ("folder", "--samples"),
    )
    result = CliRunner().invoke(main, [kind if word == "@" else word for word in command])
    assert (0 if is_fine else 2) == result.exit_code, result.output
    assert is_fine or kind in result.stderr
    assert not (folder / "out").exists()


def test_a_folder_named_like_markdown_is_no_markdown(folder):
    (folder / "notes.md").mkdir()
    assert CliRunner().invoke(main, ["lint"]).exit_code == 0
