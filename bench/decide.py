"""What a decision costs, in one process and without a broker: beside hand-written code that does the same, in turn.

`prefilter`: an event that no mapping wants, from bytes to dropped, as the router does it; beside the bare slim decode.
`decide`: a matched event, from the decoded event to the message: filter, mapping, template, number; beside an `if`, a
look-up and an f-string. Printed: a table with medians of µs of CPU an event, and one line of JSON.
"""

import json
import time
from collections.abc import Callable
from statistics import median

import msgspec

from bench import workload
from bench.service import MAPPING
from bench.workload import EVENT_OTHER, EVENT_SENT, Workload
from streamer.config_section import fields
from streamer.config_yaml import Document, Faults
from streamer.core import plan, records
from streamer.core.channels import Sender
from streamer.core.delivery import Message, Origin
from streamer.core.links import LatelyLinked
from streamer.core.profile import Update
from streamer.core.routing import Place, routed
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import RuleDefaults, RuleSet
from streamer.core.state import Person

EVENTS = 2_000
ROUNDS = 15
TRAITS = 10
NOW_MS = 1_767_225_600_000
GOALS = {"prefilter": 1.2, "decide": 25.0}


def rules() -> RuleSet:
    """The mapping that `make bench` sends with."""
    document = Document("bench.yaml", Faults(), environ=None, needs_variables=False)
    document.compose(MAPPING.encode())
    senders = {"shop": Sender("shop", "main", "+15550006789")}
    return RuleSet.of([compile_rule("order-shipped", fields(document), senders, RuleDefaults("US", "shop", 1e9))])


def values(match_share: float) -> list[bytes]:
    """Events as bytes, all of them sent or none."""
    return [value for _, value in workload.tracks(Workload(EVENTS, 500, match_share=match_share), NOW_MS)]


def prefilter() -> tuple[Callable[[], int], Callable[[], int]]:
    """Ours and theirs; both count what they drop. Ours looks at whom an event links, too: they were linked before."""
    given, ruleset, slim, lately = values(0.0), rules(), records.slim, LatelyLinked()

    def ours() -> int:
        dropped = 0
        for offset, value in enumerate(given):
            dropped += not routed(slim(value), value, Place("events", 0, offset, NOW_MS), ruleset, lately)
        return dropped

    ours()

    decode = msgspec.json.Decoder(records.Slim).decode

    def theirs() -> int:
        dropped = 0
        for value in given:
            dropped += decode(value).event == EVENT_OTHER
        return dropped

    return ours, theirs


def decide() -> tuple[Callable[[], int], Callable[[], int]]:
    """Ours and theirs; both count the messages they make."""
    given, ruleset = [records.full(value) for value in values(1.0)], rules()
    person = Person(traits=[Update(NOW_MS, "m1", {f"trait_{n}": "a value" for n in range(TRAITS)})])
    (rule,) = ruleset.mappings
    origin = Origin("u:1", "events", 0, 1, NOW_MS, NOW_MS)

    def ours() -> int:
        made = 0
        for event in given:
            scope = plan.scope_of(event, person, ruleset)
            if rule.when(scope):
                case = plan.Case(rule, b"", origin, event["messageId"], NOW_MS)
                made += not isinstance(plan.decide(person, scope, case), plan.Decision)
        return made

    def theirs() -> int:
        made = 0
        for event in given:
            if event["type"] == "track" and event["event"] == EVENT_SENT:
                properties = event["properties"]
                body = f"Hi {properties['first_name']}, order {properties['order_id']} has shipped."
                made += bool(Message("main", "sms", properties["phone"], body, "+15550006789"))
        return made

    return ours, theirs


def cost_us(run: Callable[[], int]) -> float:
    """µs of CPU an event of one run, which must deal with all of them."""
    began = time.process_time()
    dealt_with = run()
    took_s = time.process_time() - began
    assert dealt_with == EVENTS, f"{dealt_with} of {EVENTS}"
    return took_s / EVENTS * 1e6


def main() -> None:
    """Measure both, in turn."""
    results = []
    print(f"{'scenario':<12}{'streamer µs':>12}{'by hand µs':>12}{'asked µs':>10}")
    for name, sides in {"prefilter": prefilter(), "decide": decide()}.items():
        pairs = [(cost_us(sides[0]), cost_us(sides[1])) for _ in range(ROUNDS)]
        ours, theirs = median(a for a, _ in pairs), median(b for _, b in pairs)
        print(f"{name:<12}{ours:>12.2f}{theirs:>12.2f}{GOALS[name]:>10.1f}{'' if ours <= GOALS[name] else '  missed'}")
        results.append({"scenario": name, "streamer_us": ours, "by_hand_us": theirs, "asked_us": GOALS[name]})
    print(json.dumps(results))


if __name__ == "__main__":
    main()
