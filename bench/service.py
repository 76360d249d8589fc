"""The bench's other side: the real `streamer run` as a user starts it, watched through its metrics and its log.

For `send` and `park` the sink's clock counts; for `route` the router's own counter, read ten times a second; for
`restore` the log's `owner.restored` lines; for `fold` the times of the first and last record on the state topic; for
`held` this process's. CPU is the whole service process's, less what it had used when it became ready.
"""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from bench import folding, latency, workload
from bench.ledger import verdict
from bench.processes import ROOT, sink
from bench.sink import ACCOUNT
from bench.workload import EVENT_SENT, PARTITIONS

READY_S = 60.0
DONE_S = 300.0
DONE_EVENT_S = 0.002  # and that for each event: slower than anything here should be
LOAD = 0.5  # of the full load, for `latency`
IDLE_S = 10.0  # how long the CPU of a service that waits is watched
POLL_S = 0.1  # a scrape takes 1 ms: one per cent of the service's time
MB = 1024 * 1024
TICKS = os.sysconf("SC_CLK_TCK")

CONFIG = """
kafka: {{bootstrap_servers: "{bootstrap}", group: "{prefix}g"}}
topics: {{events: {topics}, start: earliest, prefix: "{prefix}", partitions: {partitions}}}
accounts:
  main: {{account_sid: {account}, api_key_sid: {key}, api_key_secret: secret, base_url: "{url}", concurrency: {slots}}}
senders: {{shop: {{from: "+15550006789"}}}}
http: {{listen: "127.0.0.1:{port}"}}
store: {{engine: {engine}}}
"""
MAPPING = f"""
when: type = "track" and event = "{EVENT_SENT}"
send:
  to: "{{{{properties.phone}}}}"
  body: "Hi {{{{properties.first_name}}}}, order {{{{properties.order_id}}}} has shipped."
"""
# The number and the name are the profile's: without them an event is parked.
PARKING = f"""
when: type = "track" and event = "{EVENT_SENT}"
identify_wait: 24h
send:
  to: "{{{{profile.traits.phone}}}}"
  body: "Hi {{{{profile.traits.first_name}}}}, order {{{{properties.order_id}}}} has shipped."
"""
# Of a number, not of a Messaging Service: so the wait is ours, not Twilio's.
HOLDING = f"""
when: type = "track" and event = "{EVENT_SENT}"
send:
  to: "{{{{properties.phone}}}}"
  body: "Hi {{{{properties.first_name}}}}, order {{{{properties.order_id}}}} has shipped."
  send_at: "{{at}}"
"""
HOLD_S = 20 * 86_400
READ = 'streamer_read_records_total{role="owner"}'
LAG = 'streamer_lag_records{role="owner"}'
PENDING = 'streamer_pending_records{sink="state"}'
MATCHED = 'streamer_matched_events_total{mapping="order-shipped"}'
ACCEPTED = 'streamer_decided_sends_total{mapping="order-shipped",outcome="accepted",reason="accepted"}'


class Service(NamedTuple):
    """A running service and where it is asked how it is."""

    process: "subprocess.Popen[str]"
    port: int
    log: Path

    def metric(self, line: str) -> float:
        """The value of one line of /metrics, by its full name with labels; 0 before it is there."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
                text = answer.read().decode()
        except OSError:
            return 0.0  # it doesn't listen yet
        found = re.search(rf"^{re.escape(line)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def is_ready(self) -> bool:
        """Whether every partition is restored and open."""
        return self._answers("readyz")

    def is_listening(self) -> bool:
        """Whether it has started; it joins its groups, and restores, after that."""
        return self._answers("healthz")

    def _answers(self, path: str) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{path}", timeout=10) as answer:
                return answer.status == 200
        except OSError:
            return False

    def cpu_s(self) -> float:
        """The CPU seconds of the process so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def rss_mb(self, field: str = "VmHWM") -> float:
        """The peak of its resident memory; "VmRSS" for that of now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"{field}:\s+(\d+)", status)
        assert found is not None
        return int(found[1]) / 1024

    def idle_cpu(self) -> float:
        """What it takes of a core while it waits, over IDLE_S."""
        cpu_s, began_s = self.cpu_s(), time.monotonic()
        time.sleep(IDLE_S)
        return (self.cpu_s() - cpu_s) / (time.monotonic() - began_s)

    def until(self, is_done: Callable[[], bool], seconds: float) -> None:
        """Wait for a condition. Raises: TimeoutError, RuntimeError when the service has ended."""
        end_s = time.monotonic() + seconds
        while not is_done():
            if self.process.poll() is not None:
                raise RuntimeError(f"the service ended with {self.process.returncode}:\n{self.log.read_text()[-2000:]}")
            if time.monotonic() > end_s:
                raise TimeoutError(f"the service did not finish; its log:\n{self.log.read_text()[-2000:]}")
            time.sleep(POLL_S)


@contextmanager
def running(folder: Path, fields: dict[str, Any], roles: str, mapping: str = MAPPING) -> Iterator[Service]:
    """The service on a configuration of its own in `folder`, stopped at the end."""
    port = _free_port()
    config = CONFIG.format(partitions=PARTITIONS, account=ACCOUNT, key="SK" + "0" * 32, port=port, **fields)
    (folder / "mappings").mkdir(parents=True, exist_ok=True)
    (folder / "streamer.yaml").write_text(config, encoding="utf-8")
    (folder / "mappings" / "order-shipped.yaml").write_text(mapping, encoding="utf-8")
    log = folder / "service.log"
    with log.open("w") as output:
        command = [sys.executable, "-m", "streamer", "run", "--config", str(folder), "--roles", roles]
        process = subprocess.Popen(command, cwd=ROOT, stderr=output, text=True)
    try:
        yield Service(process, port, log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _done_s(events: int) -> float:
    return DONE_S + events * DONE_EVENT_S


class Streamer:
    """The side of `streamer run`; every run has topics and groups of its own."""

    def __init__(self) -> None:
        self._runs = 0

    def prepare(self, scenario: Any, stand: Any, topic: str) -> str:
        """For `restore` fold the identifies into a state topic, which both sides then read."""
        if scenario.kind != "restore":
            return topic
        self._restored = f"{topic}.r."
        fields = self._fields(stand, topic, self._restored, "http://127.0.0.1:9", 64)
        with running(stand.folder / "restore", fields, "router,owner,http") as service:
            users = scenario.work.users
            service.until(lambda: service.metric("streamer_state_people") >= users, DONE_S)
            service.until(lambda: service.metric(LAG) == 0, DONE_S)
        return f"{self._restored}state"

    def run(self, scenario: Any, stand: Any, topic: str, url: str) -> dict[str, Any]:
        """Read `topic` to its end, posting to `url`."""
        self._runs += 1
        folder = stand.folder / f"service-{self._runs}"
        if scenario.kind == "restore":
            return self._restore(scenario, stand, topic, folder)
        fields = self._fields(stand, topic, f"{topic}.{self._runs}.", url, scenario.in_flight)
        if scenario.kind == "route":
            return self._route(scenario, fields, folder)
        if scenario.kind == "fold":
            return self._fold(scenario, stand, fields, folder)
        if scenario.kind == "park":
            return self._park(scenario, stand, fields, folder)
        if scenario.kind == "held":
            return self._held(scenario, fields, folder)
        if scenario.kind == "latency":
            return self._latency(scenario, stand, fields, folder, url)
        return self._send(scenario, fields, folder, url)

    @staticmethod
    def _fields(stand: Any, topic: str, prefix: str, url: str, slots: int) -> dict[str, Any]:
        topics = json.dumps([topic])
        where = {"bootstrap": stand.bootstrap, "topics": topics, "prefix": prefix, "url": url}
        return where | {"slots": slots, "engine": "memory"}

    @staticmethod
    def _route(scenario: Any, fields: dict[str, Any], folder: Path) -> dict[str, Any]:
        events = scenario.work.events
        name = 'streamer_read_records_total{role="router"}'
        with running(folder, fields, "router,http") as service:
            service.until(service.is_ready, READY_S)
            first_s, first, cpu_s = time.monotonic(), service.metric(name), service.cpu_s()
            service.until(lambda: service.metric(name) >= events, DONE_S)
            seconds = time.monotonic() - first_s
            return {
                "events": events - first,
                "seconds": seconds,
                "cpu_s": service.cpu_s() - cpu_s,
                "rss_mb": service.rss_mb(),
            }

    @staticmethod
    def _fold(scenario: Any, stand: Any, fields: dict[str, Any], folder: Path) -> dict[str, Any]:
        """Only the owner, whose input is complete before it starts. CPU is that from its being ready on."""
        events, by_user = scenario.work.events, f"{fields['prefix']}by-user"
        asyncio.run(workload.create_topic(stand.bootstrap, by_user, PARTITIONS))
        asyncio.run(workload.fill(stand.bootstrap, by_user, PARTITIONS, folding.records(scenario.work)))
        with running(folder, fields, "owner,http") as service:
            service.until(service.is_ready, READY_S)
            first, cpu_s = service.metric(READ), service.cpu_s()
            service.until(lambda: service.metric(READ) >= events, _done_s(events))
            service.until(lambda: service.metric(LAG) == 0 and service.metric(PENDING) == 0, READY_S)
            cpu_s, rss_mb = service.cpu_s() - cpu_s, service.rss_mb()
        found = folding.judge(stand.bootstrap, f"{fields['prefix']}state", scenario.work)
        cpu_s *= events / (events - first)
        result = {"events": events, "seconds": found.seconds, "cpu_s": cpu_s, "rss_mb": rss_mb}
        return result | {"wrong": found.wrong, "writes": found.writes}

    @staticmethod
    def _park(scenario: Any, stand: Any, fields: dict[str, Any], folder: Path) -> dict[str, Any]:
        """Tracks, all of which wait; a while of waiting; then everybody's identify."""
        work, identifies = scenario.work, f"{fields['prefix']}identify"
        asyncio.run(workload.create_topic(stand.bootstrap, identifies, PARTITIONS))
        fields = fields | {"topics": json.dumps([*json.loads(fields["topics"]), identifies])}
        with running(folder, fields, "router,owner,http", PARKING) as service:
            service.until(service.is_listening, READY_S)
            empty_mb = service.rss_mb("VmRSS")
            service.until(lambda: service.metric(MATCHED) >= work.events, _done_s(work.events))
            service.until(lambda: service.metric(LAG) == 0 and service.metric(PENDING) == 0, READY_S)
            parked_b = (service.rss_mb("VmRSS") - empty_mb) * MB / work.events
            idle_cpu = service.idle_cpu()
            cpu_s, now_ms = service.cpu_s(), time.time_ns() // 1_000_000
            asyncio.run(workload.fill(stand.bootstrap, identifies, PARTITIONS, workload.identifies(work.users, now_ms)))
            service.until(lambda: service.metric(ACCEPTED) >= work.events, _done_s(work.events))
            service.until(lambda: service.metric(LAG) == 0, READY_S)
            cpu_s, rss_mb = service.cpu_s() - cpu_s, service.rss_mb()
        return {"events": work.events, "cpu_s": cpu_s, "rss_mb": rss_mb, "parked_b": parked_b, "idle_cpu": idle_cpu}

    @staticmethod
    def _held(scenario: Any, fields: dict[str, Any], folder: Path) -> dict[str, Any]:
        """Sends that wait for a time far away; what they take, and a while of waiting."""
        work, at = scenario.work, workload.iso(time.time_ns() // 1_000_000 + HOLD_S * 1000)
        with running(folder, fields, "router,owner,http", HOLDING.replace("{at}", at)) as service:
            service.until(service.is_listening, READY_S)
            empty_mb = service.rss_mb("VmRSS")
            service.until(service.is_ready, READY_S)
            cpu_s, began_s = service.cpu_s(), time.monotonic()
            service.until(lambda: service.metric(MATCHED) >= work.events, _done_s(work.events))
            service.until(lambda: service.metric(LAG) == 0 and service.metric(PENDING) == 0, READY_S)
            seconds, cpu_s = time.monotonic() - began_s, service.cpu_s() - cpu_s
            held_b = (service.rss_mb("VmRSS") - empty_mb) * MB / work.events
            idle_cpu, rss_mb = service.idle_cpu(), service.rss_mb()
        found = {"events": work.events, "seconds": seconds, "cpu_s": cpu_s, "rss_mb": rss_mb}
        return found | {"held_b": held_b, "idle_cpu": idle_cpu}

    def _latency(self, scenario: Any, stand: Any, fields: dict[str, Any], folder: Path, url: str) -> dict[str, Any]:
        """The full load first, with a sink of its own; then a service that gets LOAD of it, event by event."""
        with sink(folder.with_suffix(".full"), scenario.latency_ms) as target:
            self._send(scenario, fields | {"url": target.url}, folder / "full", target.url)
        full = verdict(folder.with_suffix(".full"), scenario.work)
        rate = LOAD * full["sends"] / full["seconds"]
        work, prefix = latency.workload_of(rate, scenario.work.users), f"{fields['prefix']}paced."
        topic = f"{prefix}events"
        asyncio.run(workload.create_topic(stand.bootstrap, topic, PARTITIONS))
        fields = fields | {"topics": json.dumps([topic]), "prefix": prefix}
        with running(folder / "paced", fields, "router,owner,http") as service:
            service.until(service.is_ready, READY_S)
            cpu_s = service.cpu_s()
            reached = latency.produce(stand.bootstrap, topic, work, rate)
            service.until(lambda: service.metric(ACCEPTED) >= work.events, DONE_S)
            cpu_s, rss_mb = service.cpu_s() - cpu_s, service.rss_mb()
        with urllib.request.urlopen(f"{url}/_ledger", timeout=60) as answer:
            folder.with_suffix(".paced").write_bytes(answer.read())
        routed_ms = latency.routed(stand.bootstrap, f"{prefix}by-user")
        added = latency.judge(folder.with_suffix(".paced"), routed_ms, time.time_ns() - time.monotonic_ns())
        found = {"events": work.events, "seconds": work.events / reached, "cpu_s": cpu_s, "rss_mb": rss_mb}
        return found | added

    @staticmethod
    def _send(scenario: Any, fields: dict[str, Any], folder: Path, url: str) -> dict[str, Any]:
        def count() -> int:
            with urllib.request.urlopen(f"{url}/_count", timeout=10) as answer:
                return int(json.loads(answer.read())["created"])

        with running(folder, fields, "router,owner,http") as service:
            service.until(service.is_ready, READY_S)
            cpu_s, began_s = service.cpu_s(), time.monotonic()
            service.until(lambda: count() >= scenario.work.events, DONE_S)
            seconds = time.monotonic() - began_s
            service.until(lambda: service.metric(ACCEPTED) >= scenario.work.events, DONE_S)
            return {
                "events": scenario.work.events,
                "seconds": seconds,
                "cpu_s": service.cpu_s() - cpu_s,
                "rss_mb": service.rss_mb(),
            }

    def _restore(self, scenario: Any, stand: Any, topic: str, folder: Path) -> dict[str, Any]:
        fields = self._fields(stand, topic.removesuffix(".r.state"), self._restored, "http://127.0.0.1:9", 64)
        with running(folder, fields | {"engine": scenario.engine}, "owner,http") as service:
            service.until(service.is_listening, READY_S)
            started_s = service.cpu_s()
            service.until(service.is_ready, READY_S)
            cpu_s, rss_mb = service.cpu_s() - started_s, service.rss_mb()
        lines = [json.loads(line) for line in service.log.read_text().splitlines()]
        restored = [line for line in lines if line["event"] == "owner.restored"]
        ends = [datetime.fromisoformat(line["timestamp"]).timestamp() for line in restored]
        began_s = min(end - line["seconds"] for end, line in zip(ends, restored, strict=True))
        return {
            "events": sum(line["read_to"] - line["read_from"] for line in restored),
            "seconds": max(ends) - began_s,
            "cpu_s": cpu_s,
            "rss_mb": rss_mb,
        }
