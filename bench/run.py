"""`make bench`: each scenario by each side in turn (A B B A), on one broker, in one go; ratios are the result.

The first of `--sides` is the reference; naming it twice shows the noise. Every run has a sink and a process of its own,
and reads the same topic. Printed: a table a scenario, then one line of JSON, which is also kept in bench/results/.
"""

import argparse
import asyncio
import json
import logging
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, Protocol

from bench import folding, workload
from bench.ledger import verdict
from bench.processes import ROOT, run_json, sink
from bench.service import Streamer
from bench.workload import PARTITIONS, Workload
from streamer.testing.brokers import start_kafka

RATIOS = ("rate", "cpu_us", "rss_mb", "t50_others_s", "parked_b")
FAULTS = ("order_violations", "duplicates", "missing", "wrong")
SENDING = ("send", "park")  # kinds whose figures are the sink's
ALONE = ("latency", "held")  # kinds whose figures no loop has
RESULTS = ROOT / "bench" / "results"
COMPACTED = {"cleanup.policy": "compact"}


class Goal(NamedTuple):
    """A figure to reach: at least, or at most, `limit`; of the ratio to the reference, or as it is."""

    figure: str
    limit: float
    is_floor: bool = True
    is_ratio: bool = True


class Scenario(NamedTuple):
    """One row of the bench. `kind` names the loop: route, send, restore, fold, park; `also` are further sides.

    The kinds latency and held have no loop beside them. `engine` is the store that is restored into; `concurrency_max`
    is how many unanswered requests the sink allows (0: any number). A loop that sends is told it, the service is not.
    """

    name: str
    kind: str
    work: Workload
    latency_ms: float = 0.0
    in_flight: int = 64
    goals: tuple[Goal, ...] = ()
    also: tuple[str, ...] = ()
    engine: str = "memory"
    concurrency_max: int = 0

    @property
    def capacity_per_s(self) -> float:
        """What the sink can create; 0 without a limit."""
        return self.concurrency_max / self.latency_ms * 1000 if self.concurrency_max else 0.0


class Stand(NamedTuple):
    """Where a run happens: the broker, and a folder for its files."""

    bootstrap: str
    folder: Path


class Side(Protocol):
    """One of those compared, in processes of its own."""

    def prepare(self, scenario: Scenario, stand: Stand, topic: str) -> str:
        """From the filled topic make what all sides will read, and return its name; most often the topic itself."""

    def run(self, scenario: Scenario, stand: Stand, topic: str, url: str) -> dict[str, Any]:
        """Read `topic` to its end, posting to `url`.

        Returns events, seconds and cpu_s from the first record handled to the last, and rss_mb, the peak.
        """


class Loop:
    """The hand-written loops of `baselines`."""

    def prepare(self, scenario: Scenario, stand: Stand, topic: str) -> str:
        return topic

    def run(self, scenario: Scenario, stand: Stand, topic: str, url: str) -> dict[str, Any]:
        where = ("--bootstrap", stand.bootstrap, "--topic", topic)
        in_flight = scenario.concurrency_max or scenario.in_flight
        return run_json("bench.baselines", scenario.kind, *where, "--url", url, "--in-flight", in_flight)


class DecodingLoop(Loop):
    """The bare `getmany` that decodes too: how much of a router's time is decoding."""

    def run(self, scenario: Scenario, stand: Stand, topic: str, url: str) -> dict[str, Any]:
        decode = ("--decode",) if scenario.kind == "route" else ()
        where = ("--bootstrap", stand.bootstrap, "--topic", topic)
        return run_json(
            "bench.baselines", scenario.kind, *where, "--url", url, "--in-flight", scenario.in_flight, *decode
        )


class StoringLoop:
    """The loop of `fold` that also has each profile on a compacted topic, acked."""

    def prepare(self, scenario: Scenario, stand: Stand, topic: str) -> str:
        return topic

    def run(self, scenario: Scenario, stand: Stand, topic: str, url: str) -> dict[str, Any]:
        stored = f"{topic}.{time.time_ns()}"
        asyncio.run(workload.create_topic(stand.bootstrap, stored, PARTITIONS, COMPACTED))
        return run_json("bench.baselines", "fold", "--bootstrap", stand.bootstrap, "--topic", topic, "--store", stored)


SIDES: dict[str, Side] = {
    "loop": Loop(),
    "streamer": Streamer(),
    "decoding-loop": DecodingLoop(),
    "storing-loop": StoringLoop(),
}

ALONE_SIDE = "streamer"
DEFAULT = ["loop", ALONE_SIDE]

SEND_GOALS = {0: (Goal("rate", 0.7),), 50: (Goal("rate", 0.95),)}
FOLDING = (Goal("rate", 50_000, is_ratio=False), Goal("cpu_us", 20, is_floor=False, is_ratio=False))
UNDELAYED = Goal("t50_others_s", 1.2, is_floor=False)
UNREFUSED = (
    Goal("capacity_used", 0.95, is_ratio=False),
    Goal("refused", 0.01, is_floor=False, is_ratio=False),
)
QUICK = (Goal("p99_ms", 15, is_floor=False, is_ratio=False),)
CHEAP_TO_HOLD = (
    Goal("held_b", 1_000, is_floor=False, is_ratio=False),
    Goal("idle_cpu", 0.05, is_floor=False, is_ratio=False),
)

# Enough events for 5 s or more of the loop. Zipf at 50 ms: the hottest user's 600 sends take 30 s by themselves.
SCENARIOS = (
    Scenario("route 1 %", "route", Workload(500_000, 100_000, match_share=0.01), goals=(Goal("rate", 0.6),)),
    Scenario(
        "route 1 %, known devices", "route", Workload(500_000, 1_000, match_share=0.01), goals=(Goal("rate", 0.6),)
    ),
    Scenario("send 0 ms, 64", "send", Workload(20_000, 10_000), 0, 64, SEND_GOALS[0]),
    Scenario("send 0 ms, 64, known devices", "send", Workload(20_000, 1_000), 0, 64, SEND_GOALS[0]),
    Scenario("send 0 ms, 256", "send", Workload(20_000, 10_000), 0, 256, SEND_GOALS[0]),
    Scenario("send 50 ms, 64", "send", Workload(10_000, 10_000), 50, 64, SEND_GOALS[50]),
    Scenario("send 50 ms, 256", "send", Workload(20_000, 10_000), 50, 256, (Goal("rate", 0.9),)),
    Scenario("send 0 ms, 64, Zipf", "send", Workload(20_000, 10_000, is_zipf=True), 0, 64, (UNDELAYED,)),
    Scenario("send 0 ms, 256, Zipf", "send", Workload(20_000, 10_000, is_zipf=True), 0, 256, (UNDELAYED,)),
    Scenario("send 50 ms, 64, Zipf", "send", Workload(4_000, 10_000, is_zipf=True), 50, 64, (UNDELAYED,)),
    Scenario("send 50 ms, 256, Zipf", "send", Workload(4_000, 10_000, is_zipf=True), 50, 256, (UNDELAYED,)),
    Scenario(
        "send-429, 50 ms, 100 allowed",
        "send",
        Workload(20_000, 10_000),
        50,
        256,
        UNREFUSED,
        concurrency_max=100,
    ),
    Scenario("latency at half load, 50 ms", "latency", Workload(20_000, 1_000), 50, 256, QUICK),
    Scenario("latency at half load, 0 ms", "latency", Workload(20_000, 1_000), 0, 64, QUICK),
    Scenario(
        "restore 100 000",
        "restore",
        Workload(0, 100_000),
        goals=(
            Goal("rate", 0.4),
            Goal("rate", 200_000, is_ratio=False),
            Goal("rss_mb", 150, is_floor=False, is_ratio=False),
        ),
    ),
    Scenario(
        "restore 100 000, lmdb",
        "restore",
        Workload(0, 100_000),
        goals=(Goal("rate", 100_000, is_ratio=False),),
        engine="lmdb",
    ),
    Scenario("fold, 100 000 people", "fold", Workload(200_000, 100_000), goals=FOLDING, also=("storing-loop",)),
    Scenario("fold, 1 000 people", "fold", Workload(200_000, 1_000), goals=FOLDING, also=("storing-loop",)),
    Scenario(
        "park, 0 ms, 64",
        "park",
        Workload(200_000, 200_000),
        goals=(Goal("idle_cpu", 0.05, is_floor=False, is_ratio=False),),
    ),
    Scenario("held", "held", Workload(200_000, 200_000), goals=CHEAP_TO_HOLD),
)


async def fill(scenario: Scenario, stand: Stand, topic: str) -> None:
    """Make the scenario's topic: tracks; for `restore` one identify a user, for `fold` what a router makes of them.

    `park` has a second one, with one identify a user.
    """
    now_ms, work = time.time_ns() // 1_000_000, scenario.work
    await workload.create_topic(stand.bootstrap, topic, PARTITIONS, COMPACTED if scenario.kind == "restore" else None)
    match scenario.kind:
        case "restore":
            await workload.fill(stand.bootstrap, topic, PARTITIONS, workload.identifies(work.users, now_ms))
        case "fold":
            await workload.fill(stand.bootstrap, topic, PARTITIONS, folding.records(work))
        case _:
            await workload.fill(stand.bootstrap, topic, PARTITIONS, workload.tracks(work, now_ms))
    if scenario.kind == "park":
        later = f"{topic}.identify"
        await workload.create_topic(stand.bootstrap, later, PARTITIONS)
        await workload.fill(stand.bootstrap, later, PARTITIONS, workload.identifies(work.users, now_ms))


def run_side(side: Side, scenario: Scenario, stand: Stand, topic: str) -> dict[str, Any]:
    """One run with a sink of its own; where something is sent its clock counts, which is the same for every side."""
    ledger = stand.folder / "ledger.jsonl"
    with sink(ledger, scenario.latency_ms, scenario.concurrency_max) as target:
        run = side.run(scenario, stand, topic, target.url)
    if scenario.kind in SENDING:
        run |= verdict(ledger, scenario.work, scenario.capacity_per_s)
    ledger.unlink()
    done = run["sends"] if scenario.kind in SENDING else run["events"]
    return run | {"rate": done / run["seconds"], "cpu_us": run["cpu_s"] / done * 1e6}


def compare(scenario: Scenario, names: Sequence[str], stand: Stand, rounds: int) -> dict[str, Any]:
    """The scenario by each side in turn: medians of each side, and of the ratios to the first within one round."""
    topic = f"bench-{time.time_ns()}"
    asyncio.run(fill(scenario, stand, topic))
    for name in names:
        topic = SIDES[name].prepare(scenario, stand, topic)
    # Not counted: the first read after a fill is the slowest, for the broker has just begun to serve the topic.
    run_json("bench.baselines", "route", "--bootstrap", stand.bootstrap, "--topic", topic)
    runs = []
    for number in range(rounds):  # there and back, so that no side always comes first
        places = range(len(names)) if number % 2 == 0 else reversed(range(len(names)))
        turn = {place: run_side(SIDES[names[place]], scenario, stand, topic) for place in places}
        runs.append([turn[place] for place in range(len(names))])
    sides = []
    for place, name in enumerate(names):
        mine = [turn[place] for turn in runs]
        figures = {figure: median(run[figure] for run in mine) for figure in mine[0]}
        ratios = {
            figure: median(turn[place][figure] / turn[0][figure] for turn in runs)
            for figure in RATIOS
            if figure in figures
        }
        sides.append({"side": name, "figures": figures, "ratios": ratios, "missed": missed(scenario, figures, ratios)})
    return {"scenario": scenario.name, "sides": sides, "runs": runs}


def missed(scenario: Scenario, figures: dict[str, float], ratios: dict[str, float]) -> list[str]:
    """The goals that one side did not reach, and by how much; of figures that it doesn't have none."""
    found = [f"{fault} {figures[fault]:.0f}" for fault in FAULTS if figures.get(fault)]
    for goal in scenario.goals:
        value = (ratios if goal.is_ratio else figures).get(goal.figure)
        if value is None:
            continue
        if (value < goal.limit) if goal.is_floor else (value > goal.limit):
            found.append(f"{goal.figure} {value:.2f}, not {goal.limit}")
    return found


COLUMNS = {
    "rate": ("/s", 9, 0),
    "cpu_us": ("CPU µs", 8, 1),
    "rss_mb": ("peak MB", 9, 0),
    "t50_others_s": ("t50 others s", 14, 2),
    "order_violations": ("misordered", 12, 0),
    "duplicates": ("repeated", 10, 0),
    "missing": ("missing", 9, 0),
    "wrong": ("wrong", 7, 0),
    "parked_b": ("B/parked", 10, 0),
    "held_b": ("B/held", 9, 0),
    "idle_cpu": ("idle CPU", 10, 3),
    "capacity_used": ("of capacity", 13, 3),
    "refused": ("refused", 9, 4),
    "p50_ms": ("p50 ms", 8, 1),
    "p99_ms": ("p99 ms", 8, 1),
    "max_ms": ("max ms", 8, 1),
}


def table(result: dict[str, Any]) -> str:
    """One scenario as text: a row a side; ratios to the first side in a row below each other."""
    sides = result["sides"]
    columns = {key: each for key, each in COLUMNS.items() if any(key in side["figures"] for side in sides)}
    lines = [f"{result['scenario']:<24}" + "".join(f"{head:>{width}}" for head, width, _ in columns.values())]
    for side in sides:
        figures, ratios = side["figures"], side["ratios"]
        cells = (
            f"{figures[key]:>{width}.{digits}f}" if key in figures else " " * width
            for key, (_, width, digits) in columns.items()
        )
        lines.append(f"  {side['side']:<22}" + "".join(cells))
        if side is not sides[0]:
            cells = (
                f"{ratios[key]:>{width}.2f}" if key in ratios else " " * width for key, (_, width, _) in columns.items()
            )
            lines.append(f"  {'  ÷ ' + sides[0]['side']:<22}" + "".join(cells))
        lines += [f"    missed: {text}" for text in side["missed"]]
    return "\n".join(lines)


def scaled(scenario: Scenario, scale: float) -> Scenario:
    """The scenario with so many times its events, or its users where there are no events; for what waits both."""
    work = scenario.work
    users = int(work.users * scale) if scenario.kind in ("park", "held") or not work.events else work.users
    return scenario._replace(work=work._replace(events=int(work.events * scale), users=users))


def main() -> None:
    """Run the scenarios asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sides", nargs="+", choices=list(SIDES), default=DEFAULT)
    parser.add_argument("--only", default="", help="scenarios whose name holds this")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        help="of the number of events: 0.1 for a quick look; 5 parks or holds a million",
    )
    given = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.ERROR)  # a new topic's first writes are retried, and it says so
    results = []
    with tempfile.TemporaryDirectory(prefix="streamer-bench-") as folder, start_kafka(Path(folder) / "kafka") as broker:
        stand = Stand(broker.bootstrap, Path(folder))
        for scenario in SCENARIOS:
            if given.only in scenario.name:
                names = list(dict.fromkeys((*given.sides, *scenario.also))) if given.sides == DEFAULT else given.sides
                names = [ALONE_SIDE] if scenario.kind in ALONE else names
                results.append(compare(scaled(scenario, given.scale), names, stand, given.rounds))
                print(table(results[-1]), flush=True)
    text = json.dumps(results)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{time.strftime('%Y%m%dT%H%M%S')}.json").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
