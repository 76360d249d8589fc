"""How long a restart takes beside what is held: `python -m bench.held [people]`, on a real Kafka.

A state topic of 8 partitions with one event a person that waits for the morning (300 bytes of it, as much of traits);
then the real `streamer run` as one owner of them all, from the topic and, once more, from the copy that it left on
disk. Beside it the same people with nothing that waits. Printed, as a line of JSON too: seconds from the first claim
to the last partition being open with every timer set, and what is resident then.
"""

import asyncio
import json
import logging
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from bench import workload
from bench.releases import record, rules, sample
from bench.service import READY_S, running
from bench.workload import PARTITIONS
from streamer.core.state import Person
from streamer.testing.brokers import start_kafka

PEOPLE = 1_000_000
GOAL_S = 10.0
HOLD_MS = 20 * 86_400_000  # so far away is their morning: nobody's comes while we look
NIGHT_MS = 3 * 3_600_000  # of a day: hours open at nine
WAITING = "streamer_waiting_people"


def somebody(*, is_held: bool) -> Person:
    """Whom all are like."""
    now_ms = time.time_ns() // 1_000_000
    person = sample("slow", rules(), now_ms - now_ms % 86_400_000 + NIGHT_MS)
    parked = [replace(each, until_ms=now_ms + HOLD_MS) for each in person.parked]
    return Person(traits=person.traits, seen=person.seen, parked=parked if is_held else [])


def records(people: int, like: Person) -> Iterator[tuple[bytes, bytes]]:
    """Key and value of everybody's state record."""
    return (record(number, like) for number in range(people))


async def fill(bootstrap: str, prefix: str, people: int, like: Person) -> None:
    """Make the state topic, and the topics that are read, which are empty."""
    compacted = {"cleanup.policy": "compact"}
    await workload.create_topic(bootstrap, f"{prefix}events", PARTITIONS)
    await workload.create_topic(bootstrap, f"{prefix}state", PARTITIONS, compacted)
    await workload.fill(bootstrap, f"{prefix}state", PARTITIONS, records(people, like))


def restart(bootstrap: str, prefix: str, folder: Path, engine: str) -> dict[str, float]:
    """One start, until all is open; stopped again, which leaves a copy in the folder."""
    topics = json.dumps([f"{prefix}events"])
    fields = {"bootstrap": bootstrap, "topics": topics, "prefix": prefix, "url": "http://127.0.0.1:9"}
    with running(folder, fields | {"slots": 64, "engine": engine}, "router,owner,http") as service:
        service.until(service.is_listening, READY_S)
        cpu_s = service.cpu_s()
        service.until(service.is_ready, 10 * READY_S)
        found = {"cpu_s": service.cpu_s() - cpu_s, "rss_mb": service.rss_mb("VmRSS"), "peak_mb": service.rss_mb()}
        time.sleep(1)  # gauges are set now and then
        found["waiting"] = service.metric(WAITING)
    lines = [json.loads(line) for line in service.log.read_text().splitlines()]
    restored = [line for line in lines if line["event"] == "owner.restored"]
    ends = [datetime.fromisoformat(line["timestamp"]).timestamp() for line in restored]
    began_s = min(end - line["seconds"] for end, line in zip(ends, restored, strict=True))
    return {
        "seconds": max(ends) - began_s,
        "read": sum(each["read_to"] - each["read_from"] for each in restored),
    } | found


def main() -> None:
    """Measure, and print."""
    people = int(sys.argv[1]) if len(sys.argv) > 1 else PEOPLE
    logging.getLogger("aiokafka").setLevel(logging.ERROR)
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="streamer-held-") as name, start_kafka(Path(name) / "kafka") as broker:
        for is_held, engine in ((True, "memory"), (True, "lmdb"), (False, "memory")):
            what = "held" if is_held else "nothing held"
            like, prefix = somebody(is_held=is_held), f"{what[:4]}-{engine}."
            print(f"{people:,} people, {what}, {engine}: {len(record(1, like)[1])} bytes each", flush=True)
            asyncio.run(fill(broker.bootstrap, prefix, people, like))
            for way in ("from the topic", "from the copy") if is_held else ("from the topic",):
                found = restart(broker.bootstrap, prefix, Path(name) / prefix, engine)
                missed = "  missed" if found["seconds"] > GOAL_S else ""
                figures = ", ".join(f"{key} {value:,.1f}" for key, value in found.items())
                print(f"  {way}: {figures}; asked {GOAL_S:.0f} s{missed}", flush=True)
                results.append({"what": what, "engine": engine, "way": way} | found)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
