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


def run_in(folder, *options, config=CONFIG, code=1):
    """What a service whose broker is away logs, and its last line."""
    (folder / "streamer.yaml").write_text(config)
    command = [sys.executable, "-m", "streamer", "run", "--config", str(folder), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=END_S)
    assert code == done.returncode
    *lines, last = done.stderr.splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")], last


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


SECRETIVE = CONFIG.replace("api_key_secret: x", "api_key_secret: '${NO_SUCH_SECRET}'")


def test_a_dry_run_needs_no_credentials_of_twilio_and_says_where_it_writes(tmp_path):
    logs, last = run_in(tmp_path, "--dry", config=SECRETIVE)
    assert last.startswith("error: no Kafka at 127.0.0.1:1")
    [said] = [line for line in logs if line["event"] == "service.dry"]
    assert ("streamer.dry.", ["streamer.dry.router", "streamer.dry.owner"]) == (said["prefix"], said["groups"])


def test_a_dry_run_needs_the_secrets_of_kafka(tmp_path):
    broker = "127.0.0.1:1"
    security = ", security_protocol: SASL_SSL, sasl_plain_username: u, sasl_plain_password: '${NO_SUCH_PASSWORD}'"
    config = CONFIG.replace(f'"{broker}"', f'"{broker}"{security}')
    _, last = run_in(tmp_path, "--dry", config=config, code=2)
    assert "NO_SUCH_PASSWORD" in last


def test_a_live_service_needs_them_all_and_can_not_be_seeded(tmp_path):
    _, last = run_in(tmp_path, config=SECRETIVE, code=2)
    assert "NO_SUCH_SECRET" in last
    _, last = run_in(tmp_path, "--seed", code=2)
    assert "--seed is for --dry alone" in last
