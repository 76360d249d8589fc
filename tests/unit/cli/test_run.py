"""`streamer run` up to the broker that is not there: what it says of its configuration first."""

import json
import subprocess
import sys

import pytest

CONFIG = f"""
kafka: {{bootstrap_servers: "127.0.0.1:1"}}
topics: {{events: [a]}}
accounts: {{main: {{account_sid: AC{"0" * 32}, api_key_sid: SK{"0" * 32}, api_key_secret: x}}}}
senders: {{shop: {{from: "+15550006789"}}}}
http: {{listen: "127.0.0.1:0"}}
"""
MAPPING = "enabled: ENABLED\nwhen: type = 'track'\nsend: {body: x}\n"
END_S = 60  # a start takes 1 s on an idle machine


def run_in(folder, *options):
    """What a service whose broker is away logs, and its last line."""
    (folder / "streamer.yaml").write_text(CONFIG)
    command = [sys.executable, "-m", "streamer", "run", "--config", str(folder), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=END_S)
    assert 1 == done.returncode
    *lines, last = done.stderr.splitlines()
    return [json.loads(line) for line in lines], last


@pytest.mark.parametrize("options", [(), ("--workers", "2")])
def test_a_service_without_an_enabled_mapping_warns_and_goes_on(tmp_path, options):
    """It would read everything and send nothing, which looks like a defect from outside; yet a restart adds them."""
    (tmp_path / "mappings").mkdir()
    (tmp_path / "mappings" / "a.yaml").write_text(MAPPING.replace("ENABLED", "false"))
    logs, last = run_in(tmp_path, *options)
    [warning] = [line for line in logs if line["event"] == "service.no_mappings"]
    assert ("warning", str(tmp_path / "mappings")) == (warning["level"], warning["folder"])
    assert last.startswith("error: no Kafka at 127.0.0.1:1")


def test_a_service_with_a_mapping_does_not_warn(tmp_path):
    (tmp_path / "mappings").mkdir()
    (tmp_path / "mappings" / "a.yaml").write_text(MAPPING.replace("ENABLED", "true"))
    logs, _ = run_in(tmp_path)
    assert "service.starting" in {line["event"] for line in logs}
    assert "service.no_mappings" not in {line["event"] for line in logs}
