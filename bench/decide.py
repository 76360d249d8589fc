"""What a decision costs, in one process and without a broker: beside hand-written code that does the same, in turn.

`prefilter`: an event that no mapping wants, from bytes to dropped, as the router does it; beside the bare slim decode.
`decide`: a matched event, from the decoded event to the message: filter, mapping, template, number; beside an `if`, a
look-up and an f-string. Then the same decision with policies, each alone and all at once: what each costs beyond one
without, measured in turn with it. Printed: tables with medians of µs of CPU an event, and a line of JSON.
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
from streamer.core import plan, records, suppressions
from streamer.core.channels import Sender
from streamer.core.consent import OPT_IN, SUBSCRIBED, ConsentRules
from streamer.core.decide import Case, decide
from streamer.core.delivery import Message, Origin
from streamer.core.gate import Standing
from streamer.core.links import LatelyLinked
from streamer.core.people import People
from streamer.core.policies import Common
from streamer.core.profile import Update
from streamer.core.routing import Place, routed
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import RuleDefaults, RuleSet
from streamer.core.sends import Send
from streamer.core.state import Person
from streamer.core.suppressions import EMPTY, Suppressions

EVENTS = 2_000
ROUNDS = 15
TRAITS = 10
NOW_MS = 1_767_225_600_000
HOUR_MS = 3_600_000
GOALS = {"prefilter": 1.2, "decide": 25.0}
POLICIES_US = 15.0
BASE = {
    "when": f'type = "track" and event = "{EVENT_SENT}"',
    "send": {
        "from": "shop",
        "to": "{{properties.phone}}",
        "body": "Hi {{properties.first_name}}, order {{properties.order_id}} has shipped.",
    },
}
ZONE = {"zone": "Europe/Berlin", "open": {"mon-sun": "08:00-23:00"}}
LIMITS = [
    {"count": 3, "per": "1h", "over": "mapping"},
    {"count": 5, "per": "day", "over": "category"},
    {"count": 10, "per": "week", "over": "all"},
]
CANCEL = {"event": "Order Cancelled", "key": "properties.order_id"}
ELSE = [{"send": {"from": "other", "body": "Order {{properties.order_id}} has shipped."}}]
OWN = {
    "limits": LIMITS,
    "quiet_hours": ZONE,
    "category": "orders",
    "holdout": "1%",
    "cancel_when": CANCEL,
    "once_per": {"key": "properties.order_id", "within": "24h"},
    "else": ELSE,
}
# What each row's mapping has beside BASE; `zone`, `allow` and `stops` are the person's and the configuration's.
ROWS: dict[str, tuple[str, ...]] = {
    "quiet hours, by trait": ("quiet_hours", "zone"),
    "quiet hours, by number": ("quiet_hours",),
    "three limits": ("limits", "category"),
    "consent": ("category",),
    "holdout": ("holdout",),
    "cancel_when": ("cancel_when",),
    "once_per": ("once_per",),
    "allow_numbers": ("allow",),
    "1 000 suppressions": ("stops",),
    "all but else": (*(key for key in OWN if key != "else"), "allow", "stops", "zone"),
    "all but else, by number": (*(key for key in OWN if key != "else"), "allow", "stops"),
    "an else": ("else",),
    "all": (*OWN, "allow", "stops", "zone"),
}


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


def by_hand() -> tuple[Callable[[], int], Callable[[], int]]:
    """Ours and theirs; both count the messages they make."""
    given, ruleset = [records.full(value) for value in values(1.0)], rules()
    person = Person(traits=[Update(NOW_MS, "m1", {f"trait_{n}": "a value" for n in range(TRAITS)})])
    (rule,) = ruleset.mappings
    origin, standing = Origin("u:1", "events", 0, 1, NOW_MS, NOW_MS), Standing(ruleset, EMPTY, NOW_MS)

    def ours() -> int:
        made = 0
        for event in given:
            scope = plan.scope_of(event, person, ruleset)
            if rule.when(scope):
                case = Case(rule, b"", origin, event["messageId"], NOW_MS)
                made += isinstance(decide(person, scope, case, standing), Send)
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


def somebody(names: tuple[str, ...]) -> Person:
    """A person who agreed, was sent to lately, and of whom five things that end others are remembered."""
    traits: dict[str, object] = {f"trait_{n}": "a value" for n in range(TRAITS)}
    if "zone" in names:
        traits["timezone"] = "America/New_York"
    person = Person(traits=[Update(NOW_MS, "m1", traits)])
    if "category" in names:
        person.consent["orders/sms"] = (SUBSCRIBED, NOW_MS)
    if "limits" in names:
        for name, count in {"order-shipped/orders": 3, "other/orders": 1, "news/marketing": 4}.items():
            person.counted[name] = [NOW_MS - HOUR_MS // 2 * n for n in range(count, 0, -1)]
    if "cancel_when" in names:
        person.cancels |= {bytes((n,)) * 8: (NOW_MS, NOW_MS + HOUR_MS, "Order Cancelled") for n in range(5)}
    if "once_per" in names:
        person.once |= {bytes((n,)) * 16: (bytes((n,)) * 8, NOW_MS, NOW_MS + HOUR_MS) for n in range(5)}
    return person


def case_of(names: tuple[str, ...]) -> Callable[[], int]:
    """Decides EVENTS events with these policies on; counts the messages."""
    events = [records.full(value) for value in values(1.0)]
    allowed = frozenset(event["properties"]["phone"] for event in events) if "allow" in names else None
    common = Common(allow_numbers=allowed)
    senders = {name: Sender(name, "main", f"+1555000678{n}") for n, name in enumerate(("shop", "other"))}
    document = BASE | {key: OWN[key] for key in names if key in OWN}
    people = People(consent=ConsentRules(mode=OPT_IN)) if "category" in names else People()
    defaults = RuleDefaults("US", "shop", 1e9, common=common)
    ruleset = RuleSet.of([compile_rule("order-shipped", document, senders, defaults)], common=common, people=people)
    (rule,) = ruleset.mappings
    stops = Suppressions()
    for number in range(1_000 if "stops" in names else 0):
        stops.put(suppressions.key_of(f"+1415555{number:04d}", "shop"), b"{}")
    standing = Standing(ruleset, stops, NOW_MS)
    person = somebody(names)
    origin = Origin("u:1", "events", 0, 1, NOW_MS, NOW_MS)

    def run() -> int:
        made = 0
        for event in events:
            scope = plan.scope_of(event, person, ruleset)
            if rule.when(scope):
                case = Case(rule, b"", origin, event["messageId"], NOW_MS)
                made += isinstance(decide(person, scope, case, standing), Send)
        return made

    return run


def cost_us(run: Callable[[], int]) -> float:
    """µs of CPU an event of one run, which must deal with all of them."""
    began = time.process_time()
    dealt_with = run()
    took_s = time.process_time() - began
    assert dealt_with == EVENTS, f"{dealt_with} of {EVENTS}"
    return took_s / EVENTS * 1e6


def policies() -> list[dict[str, object]]:
    """What each row of ROWS costs beyond no policy, in turn with it."""
    print(f"\n{'policies':<26}{'beyond none µs':>15}{'asked µs':>10}")
    bare, results = case_of(()), []
    for name, names in ROWS.items():
        run = case_of(names)
        more_us = median(cost_us(run) - cost_us(bare) for _ in range(ROUNDS))
        missed = "  missed" if more_us > POLICIES_US else ""
        print(f"{name:<26}{more_us:>15.2f}{POLICIES_US:>10.1f}{missed}")
        results.append({"scenario": name, "more_us": more_us, "asked_us": POLICIES_US})
    return results


def main() -> None:
    """Measure both, in turn."""
    results: list[dict[str, object]] = []
    print(f"{'scenario':<12}{'streamer µs':>12}{'by hand µs':>12}{'asked µs':>10}")
    for name, sides in {"prefilter": prefilter(), "decide": by_hand()}.items():
        pairs = [(cost_us(sides[0]), cost_us(sides[1])) for _ in range(ROUNDS)]
        ours, theirs = median(a for a, _ in pairs), median(b for _, b in pairs)
        print(f"{name:<12}{ours:>12.2f}{theirs:>12.2f}{GOALS[name]:>10.1f}{'' if ours <= GOALS[name] else '  missed'}")
        results.append({"scenario": name, "streamer_us": ours, "by_hand_us": theirs, "asked_us": GOALS[name]})
    print(json.dumps(results + policies()))


if __name__ == "__main__":
    main()
