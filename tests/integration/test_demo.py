"""`streamer demo` as a newcomer runs it: the real service on the embedded broker, from start to end."""

import json
import signal
import subprocess
import sys

import psutil
import pytest
import yaml

DEMO = (sys.executable, "-m", "streamer", "demo")
END_S = 120  # measured 7 s on an idle machine


def check_sums(said):
    assert (said["is_right"], said["faults"]) == (True, [])
    assert said["produced_events"] == said["read_events"] == 400
    assert said["read_events"] == said["usable_events"] + sum(row["count"] for row in said["dead_letters"])
    assert said["matched"] == said["accepted"] + sum(row["count"] for row in said["not_sent"]) > 100
    assert said["accepted"] == said["twilio_messages"] > 0


def test_the_demo_ends_by_itself_and_everything_adds_up():
    done = subprocess.run([*DEMO, "--events", "400", "--json"], capture_output=True, text=True, timeout=END_S)
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    check_sums(said)
    assert {(row["reason"], row["twilio_code"]) for row in said["not_sent"]} - {("stopped", 0)} == {
        ("profile_incomplete", 0),
        ("no_phone", 0),
        ("bad_number", 0),
        ("missing_value", 0),
        ("too_old", 0),
        ("optout", 21610),
        ("recipient", 21612),
        ("recipient", 21614),
    }
    assert all(row["example"] and row["words"] for row in said["not_sent"])


def test_the_demo_runs_on_a_given_kafka_and_leaves_no_topics_there(kafka, tmp_path):
    folder = tmp_path / "kept"
    options = ["--events", "400", "--seed", "2", "--json", "--kafka", kafka.bootstrap, "--keep", str(folder)]
    done = subprocess.run([*DEMO, *options], capture_output=True, text=True, timeout=END_S)
    assert (done.returncode, done.stderr) == (0, "")
    check_sums(json.loads(done.stdout))
    text = (folder / "streamer.yaml").read_text()
    for file in (folder / "streamer.yaml", *(folder / "mappings").iterdir()):
        assert (file.parent / file.read_text().splitlines()[0].rpartition("$schema=")[2]).is_file()
    config = yaml.safe_load(text)
    prefix = config["topics"]["prefix"]
    assert prefix.startswith("demo-")
    assert not {topic for topic in topics(kafka.bootstrap) if topic.startswith(prefix.removesuffix("streamer."))}


def topics(bootstrap):
    code = (
        "import asyncio, sys\nfrom aiokafka.admin import AIOKafkaAdminClient\n"
        "async def main():\n"
        "    admin = AIOKafkaAdminClient(bootstrap_servers=sys.argv[1])\n"
        "    await admin.start()\n    print(*await admin.list_topics())\n    await admin.close()\n"
        "asyncio.run(main())"
    )
    said = subprocess.run([sys.executable, "-c", code, bootstrap], capture_output=True, text=True, check=True)
    return said.stdout.split()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_ends_everything(number):
    """Neither the broker nor the service may be left running on a newcomer's machine."""
    with subprocess.Popen(DEMO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        for line in demo.stdout:
            if "streamer run" in line:
                break
        children = psutil.Process(demo.pid).children(recursive=True)
        demo.send_signal(number)
        _, said = demo.communicate(timeout=END_S)
    assert len(children) == 2
    assert (demo.returncode, said) == (130, "interrupted; everything it had started has ended\n")
    assert not any(child.is_running() for child in children)


def test_a_broker_that_is_not_there_is_one_line_and_exit_1():
    done = subprocess.run([*DEMO, "--json", "--kafka", "127.0.0.1:1"], capture_output=True, text=True, timeout=END_S)
    assert (done.returncode, done.stdout) == (1, "")
    assert "error: no Kafka at 127.0.0.1:1" in done.stderr


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "streamer.yaml").write_text("mine")
    done = subprocess.run([*DEMO, "--keep", str(tmp_path)], capture_output=True, text=True, timeout=END_S)
    assert done.returncode == 2
    assert "isn't empty" in done.stderr
    assert (tmp_path / "streamer.yaml").read_text() == "mine"
