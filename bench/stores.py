"""What the state stores cost, in processes of their own and without a broker: `python -m bench.stores [people]`.

For both engines, with people of 10 traits over 8 partitions, as the changelog has them: how fast a restore fills the
store, a get, a get with its decode, how long a restart takes from the local copy, and what is resident then that is no
page cache (RssAnon), each beside its goal. Goals are for a million people. Printed: a table and one line of JSON.
"""

import asyncio
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from streamer.clock import SystemClock
from streamer.core import state
from streamer.core.identity import partition_of
from streamer.core.profile import Update, fold
from streamer.ports import Log, StateStore
from streamer.store.disk import LmdbStore
from streamer.store.memory import MemoryStore
from streamer.store.snapshot import SnapshotFolder

PEOPLE = 1_000_000
PARTITIONS = 8
BATCH = 5_000  # as `ChangelogReader` hands them out
GETS = 200_000
DECODES = 50_000
NOW_MS = 1_767_225_600_000
RETENTION_MS = 7 * 24 * 60 * 60 * 1000
ENGINES = ("memory", "lmdb")


class Goal(NamedTuple):
    """What is asked of one engine: `is_floor` means at least."""

    memory: float
    lmdb: float
    is_floor: bool = False

    def is_met(self, engine: str, value: float) -> bool:
        asked = float(getattr(self, engine))
        return value >= asked if self.is_floor else value <= asked


GOALS = {
    "fill_per_s": Goal(200_000, 100_000, is_floor=True),
    "get_us": Goal(3.0, 3.0),
    "restart_s": Goal(5.0, 5.0),
    "rss_anon_mb": Goal(700, 120),
}


def value_of(number: int) -> bytes:
    """The state record of a person with 10 traits and nothing left to do."""
    traits = {
        "firstName": f"First{number % 5_000}",
        "lastName": f"Last{number % 20_000}",
        "email": f"person{number}@example.com",
        "phone": f"+1555{number:07d}",
        "city": f"City {number % 300}",
        "country": "US",
        "plan": ("free", "gold", "silver")[number % 3],
        "orders": number % 40,
        "isSubscribed": number % 2 == 0,
        "createdAt": "2026-01-01T00:00:00.000Z",
    }
    person = state.Person()
    update = Update(NOW_MS + number, f"4b1c6c2e-7e6b-4c51-9d55-{number:012d}", traits)
    person.traits = fold(person.traits, update).updates
    return state.encode(person)


def key_of(number: int) -> bytes:
    """The identity key of a person."""
    return b"u:user-%08d" % number


def batches(people: int) -> Iterator[tuple[int, list[tuple[bytes, bytes | None]]]]:
    """Every person once, in no order, partition by partition as a restore reads them."""
    homes: list[list[int]] = [[] for _ in range(PARTITIONS)]
    for number in range(people):
        homes[partition_of(key_of(number), PARTITIONS)].append(number)
    for partition, numbers in enumerate(homes):
        random.Random(partition).shuffle(numbers)
        for start in range(0, len(numbers), BATCH):
            yield partition, [(key_of(number), value_of(number)) for number in numbers[start : start + BATCH]]


def store_of(engine: str, folder: Path) -> StateStore:
    """The engine over its files."""
    clock = SystemClock()
    return LmdbStore(folder, clock) if engine == "lmdb" else MemoryStore(SnapshotFolder(folder, clock))


def log_of(partition: int) -> Log:
    """The changelog that both phases see."""
    return Log("bench", "bench.state", partition, 0, 10**9, RETENTION_MS)


def rss_anon_mb() -> float:
    """Resident memory of this process that is no file's."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("this system does not tell RssAnon")


async def fill(engine: str, folder: Path, people: int) -> dict[str, float]:
    """Fill an empty store and leave its copy; the time to make the records is not counted."""
    store = store_of(engine, folder)
    for partition in range(PARTITIONS):
        await store.open(log_of(partition))
    seconds = 0.0
    for partition, batch in batches(people):
        began_s = time.perf_counter()
        await store.fill(partition, batch)
        seconds += time.perf_counter() - began_s
    began_s = time.perf_counter()
    await store.save(dict.fromkeys(range(PARTITIONS), people))
    for partition in range(PARTITIONS):
        await store.close(partition, people)
    await store.stop()
    return {"fill_per_s": people / seconds, "save_s": time.perf_counter() - began_s}


async def restart(engine: str, folder: Path, people: int) -> dict[str, float]:
    """Open what `fill` left, in a new process, then read people at random."""
    store = store_of(engine, folder)
    began_s, late_s = time.perf_counter(), 0.0
    async with asyncio.TaskGroup() as tasks:
        beat = tasks.create_task(heart(), name="heart")
        async with asyncio.TaskGroup() as opening:
            for partition in range(PARTITIONS):
                opening.create_task(take_up(store, partition), name=f"open.{partition}")
        restart_s = time.perf_counter() - began_s
        beat.cancel()
    late_s = max(LATE, default=0.0)
    held = sum(store.count(partition) for partition in range(PARTITIONS))
    assert held == people, f"{held} of {people}"
    draw = random.Random(1)
    asked = [key_of(draw.randrange(people)) for _ in range(GETS)]
    places = [(partition_of(key, PARTITIONS), key) for key in asked]
    get_us = cost_us(store, places, is_decoded=False)
    decode_us = cost_us(store, places[:DECODES], is_decoded=True)
    rss_mb = rss_anon_mb()
    await store.stop()
    return {
        "restart_s": restart_s,
        "loop_late_ms": late_s * 1000,
        "get_us": get_us,
        "get_decode_us": decode_us,
        "rss_anon_mb": rss_mb,
    }


LATE: list[float] = []


async def heart() -> None:
    """How late the event loop is while copies are opened: heartbeats share it."""
    while True:
        began_s = time.perf_counter()
        await asyncio.sleep(0.01)
        LATE.append(time.perf_counter() - began_s - 0.01)


async def take_up(store: StateStore, partition: int) -> None:
    """As a restore whose changelog has no tail."""
    assert await store.open(log_of(partition)) is not None
    await store.busy(partition)


def cost_us(store: StateStore, places: list[tuple[int, bytes]], *, is_decoded: bool) -> float:
    """µs of each get, beside an empty loop over the same places."""
    get, decode = store.get, state.decode
    began_s = time.perf_counter()
    for _partition, _key in places:
        pass
    empty_s = time.perf_counter() - began_s
    began_s = time.perf_counter()
    if is_decoded:
        for partition, key in places:
            decode(get(partition, key) or b"")
    else:
        for partition, key in places:
            get(partition, key)
    return (time.perf_counter() - began_s - empty_s) / len(places) * 1e6


def measure(engine: str, folder: Path, people: int) -> dict[str, float]:
    """Both phases, each in a process of its own, so that memory is that of the phase."""
    figures: dict[str, float] = {}
    for phase in ("fill", "restart"):
        command = [sys.executable, "-m", "bench.stores", phase, engine, str(folder), str(people)]
        figures |= json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return figures


def show(engine: str, figures: dict[str, float]) -> None:
    """One line a figure."""
    for name, value in figures.items():
        goal = GOALS.get(name)
        asked = "" if goal is None else f"{getattr(goal, engine):>12,.0f}"
        missed = "" if goal is None or goal.is_met(engine, value) else "  missed"
        print(f"{engine:<8}{name:<16}{value:>14,.2f}{asked}{missed}")


def main() -> None:
    """Measure both engines; with a phase as first argument, be that phase."""
    phases = {"fill": fill, "restart": restart}
    if len(sys.argv) > 1 and sys.argv[1] in phases:
        _, phase, engine, folder, people = sys.argv
        print(json.dumps(asyncio.run(phases[phase](engine, Path(folder), int(people)))))
        return
    people = int(sys.argv[1]) if len(sys.argv) > 1 else PEOPLE
    print(f"{people:,} people of 10 traits, {len(value_of(1))} bytes each, {PARTITIONS} partitions")
    print(f"{'engine':<8}{'figure':<16}{'measured':>14}{'asked':>12}")
    results = {}
    for engine in ENGINES:
        folder = Path(tempfile.mkdtemp(prefix="streamer-stores-"))
        try:
            results[engine] = measure(engine, folder, people)
        finally:
            shutil.rmtree(folder)
        show(engine, results[engine])
    print(json.dumps(results))


if __name__ == "__main__":
    main()
