"""`streamer holds` before and beside Kafka: what it refuses and how it says so, what it finds, writes and tells."""

import re
import shlex
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from streamer.cli.finding import Found, Target, search
from streamer.cli.holds_act import Order, Verdicts, done_of, is_done, question_of, verdicts_of, without_stuck
from streamer.cli.holds_find import judge, wanted_of
from streamer.cli.holds_text import document_of, histogram_of, listing_of
from streamer.cli.main import main
from streamer.cli.profile_scan import Kept
from streamer.config import load
from streamer.core.delivery import Decision, Message
from streamer.core.holding import Command, encode_command
from streamer.core.holds import ENDED, GOES, HOUR_MS, LEFT, MOVED, REASONS, WAITS, Hold, Sought, Tally, holds_of
from streamer.core.hop import CANCEL, RELEASE
from streamer.core.outcomes import Outcomes
from streamer.core.rules import RuleSet
from streamer.core.sends import (
    AT_GATEWAY,
    BREAKER,
    INCOMPLETE,
    LATER,
    LIMIT,
    QUIET,
    RATE,
    SCHEDULED,
    UNKNOWN,
    Parked,
    Send,
)
from streamer.core.state import Person
from streamer.kafka.groups import GroupReader
from streamer.kafka.inspection import Span
from streamer.ports import Committed, Partition
from tests.unit.cli.test_sends import CONFIG, ORIGIN, TOPIC, Written, record

RULES = RuleSet.of([], outcomes=Outcomes({}, {}))
MESSAGE = Message("main", "sms", "+14155550100", "Hi")
SENT, OTHER = b"s" * 16, b"o" * 16
ID = SENT.hex()
BY_USER = "streamer.by-user"


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "streamer.yaml").write_text(CONFIG)
    return tmp_path


@pytest.fixture
def run(folder):
    return lambda *arguments: CliRunner().invoke(main, ["holds", *arguments, "--config", str(folder)])


@pytest.fixture
def config(folder):
    return load(folder, secrets=False)


def parked(reason: str = QUIET, until_ms: int = 9_000, sent: bytes = SENT, mapping: str = "shipped", **more) -> Parked:
    lacks = "profile.traits.phone" if reason == INCOMPLETE else ""
    return Parked(sent, mapping, 0, ORIGIN, "m1", b"\x80", lacks, until_ms, reason=reason, **more)


def send(reason: str = LATER, sent: bytes = SENT, **more) -> Send:
    return Send(sent, "shipped", "v", ORIGIN, "m1", MESSAGE, "shop", 1, 1_000, 9_000, reason=reason, **more)


def hold(each: Parked | Send, key: str = "u:ada") -> Hold:
    person = Person(parked=[each]) if isinstance(each, Parked) else Person(held=[each])
    [listed] = holds_of(key, person, RULES)
    return listed


def target(each: Parked | Send, key: str = "u:ada") -> Target[Hold]:
    return Target(hold(each, key), key, 5, [])


def found(*targets: Target[Hold]) -> Found[Hold]:
    return Found(list(targets), [], {})


# ── before it connects ────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "arguments",
    [("list",), ("cancel", ID, "--yes"), ("release", "--all", "--yes"), ("list", "--key", "n:+14155550100")],
)
def test_a_broker_that_is_not_there_is_one_line_and_needs_no_secret_of_twilio(run, arguments):
    result = run(*arguments)
    assert 1 == result.exit_code
    assert result.stderr.startswith("error: no Kafka at 127.0.0.1:1: ")
    assert 1 == result.stderr.count("\n")


@pytest.mark.parametrize(
    ("arguments", "way_out"),
    [
        (("list", "--reason", "night"), "'quiet_hours'"),
        (("list", "--until", "tomorrow"), "2026-01-31T09:00:00Z"),
        (("list", "--within", "2 hours"), "as in 10m"),
        (("list", "--within", "2h", "--until", "2026-01-31T09:00:00Z"), "the one or the other"),
        (("list", "--key", "ada"), "u:ada for a user id"),
        (("list", "--group-by", "sender"), "'person'"),
        (("cancel",), "`streamer holds list` shows"),
        (("release", f"{ID}-1"), "32 hex digits"),
        (("cancel", ID, "--all"), "leave out the one or the other"),
        (("cancel", ID, "--mapping", "shipped"), "belong to --all"),
        (("release", ID, "--within", "0s"), "belong to --all"),
        (("release", ID, "--key", "u:ada"), "belong to --all"),
        (("cancel", ID, "--by", "x" * 118), "at most 77"),
        (("cancel", ID, "--by", "a\nb"), "one line"),
        (("release", ID, "--by", "me"), "No such option"),
        (("cancel", ID, "--force"), "No such option"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_with_the_way_out_before_it_connects(run, arguments, way_out):
    result = run(*arguments)
    assert 2 == result.exit_code
    assert way_out in " ".join(result.stderr.split())


# ── what is found ─────────────────────────────────────────────────────────


async def said_of(person: Person | None, *ids: bytes):
    inspector = Written(record(0, 0, "u:ada", person))
    return await search(inspector, inspector.spans(), ids or (SENT,), lambda sent, kept: judge(sent, kept, RULES))


async def test_what_waits_is_found_by_its_id_with_the_key_of_its_record():
    [said] = (await said_of(Person(parked=[parked()], held=[send(sent=OTHER)]), OTHER)).values()
    assert ("u:ada", OTHER.hex(), LATER) == (said.key, said.send.send_id, said.send.reason)


def decided(outcome: str) -> Person:
    person = Person()
    person.decide(Decision(SENT, "shipped", "v", ORIGIN, "m1", outcome, "", 1_000, answered_ms=2_000))
    return person


@pytest.mark.parametrize(
    ("person", "says"),
    [
        (Person(due=[send("")]), "goes next"),
        (Person(due=[send("", is_posting=True, attempt=1)]), "is at the gateway now"),
        (Person(followed=[send(UNKNOWN, attempt=1, told="unknown")]), "streamer sends resolve"),
        (Person(followed=[send(AT_GATEWAY, told="accepted")]), "the gateway holds it"),
        (decided("accepted"), "its outcome is accepted"),
        (decided("suppressed"), "its outcome is suppressed"),
    ],
)
async def test_what_does_not_wait_says_what_it_does(person, says):
    fault = (await said_of(person))[SENT]
    assert fault.startswith("of u:ada ")
    assert says in fault


async def test_a_person_whose_send_is_away_leaves_the_word_to_the_record_that_has_it():
    assert {} == await said_of(Person(seen={"events/0": 3}))


def test_what_is_wanted_is_taken_of_a_record_of_any_key():
    kept = Kept(0, "s:shop/u:ada", Person(held=[send(), send(RATE, OTHER)]), 0)
    assert [LATER] == [each.reason for each in wanted_of(kept, Sought(reasons=frozenset((LATER,)), key="u:ada"), RULES)]


# ── what is shown ─────────────────────────────────────────────────────────

NIGHT_MS = 2 * HOUR_MS


def tally_of(*holds: Hold, by: str = "") -> Tally:
    tally = Tally(by, 5)
    for each in holds:
        tally.add(each)
    return tally


def test_the_listing_says_at_a_glance_what_comes_when():
    morning = [hold(parked(until_ms=NIGHT_MS + number, sent=bytes([number]) * 16)) for number in range(1, 5)]
    holds = [
        *morning,
        hold(parked(SCHEDULED, 7, OTHER, "news", held_for="scheduled", count=3)),
        hold(parked(INCOMPLETE, 9, mapping="news")),
        hold(send(BREAKER, code=20003), "s:shop/u:ada"),
    ]
    assert (
        """\
reason              mapping  count  until
quiet_hours         shipped  4      1970-01-01T02:00:00.001Z to 1970-01-01T02:00:00.004Z
breaker             shipped  1      in turn
profile_incomplete  news     1      1970-01-01T00:00:00.009Z
scheduled           news     1      1970-01-01T00:00:00.007Z

when they leave (UTC)
  01-01 00:00  1  ██████████
  01-01 01:00
  01-01 02:00  4  ████████████████████████████████████████
  in turn      1  at no time of their own
  given up     1  1970-01-01T00:00:00.009Z, unless the profile answers

send                              event of                  mapping  sender  key           reason              until                     detail
6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f  1970-01-01T00:00:01.000Z  news             u:ada         scheduled           1970-01-01T00:00:00.007Z  3 events
73737373737373737373737373737373  1970-01-01T00:00:01.000Z  news             u:ada         profile_incomplete  1970-01-01T00:00:00.009Z  lacks profile.traits.phone
73737373737373737373737373737373  1970-01-01T00:00:01.000Z  shipped  shop    s:shop/u:ada  breaker             in turn                   refused before: 20003

7 wait
3 are shown, those that leave first; --limit shows more
to let some go, or to end them: streamer holds release|cancel SEND"""  # noqa: E501
        == listing_of(tally_of(*holds), holds[4:])
    )
    assert "nothing waits" in listing_of(tally_of(), [])


def test_an_hour_with_few_is_seen_beside_one_with_many():
    many = [hold(parked(until_ms=9)) for _ in range(200)]
    bars = [line.count("█") for line in histogram_of(tally_of(*many, hold(parked(until_ms=HOUR_MS))))]
    assert [0, 40, 1, 0] == bars


def test_what_people_wrote_moves_no_cursor():
    """A user id is anybody's text."""
    odd = hold(parked(), "u:\x1b[2J")
    assert all(line.isprintable() for line in listing_of(tally_of(odd, by="person"), [odd]).splitlines())


def test_json_says_the_same():
    said = msgspec.json.decode(msgspec.json.encode(document_of(tally_of(hold(parked())), [hold(parked())])))
    row = {"count": 1, "first_until_ms": 9_000, "last_until_ms": 9_000}
    assert [{"reason": QUIET, "mapping": "shipped", **row}] == said["groups"]
    assert [{"from_ms": 0, "count": 1}] == said["leave"]["hours"]
    assert (1, QUIET, ID) == (said["count"], said["holds"][0]["reason"], said["holds"][0]["send_id"])


# ── what is ordered ───────────────────────────────────────────────────────


def test_whoever_is_asked_sees_of_how_many_people_and_mappings():
    holds = [hold(parked()), hold(parked(mapping="news")), hold(send(RATE), "s:shop/u:ada")]
    lines, question = question_of(Order(CANCEL, (), Sought()), holds, 0)
    assert "Cancel 3 sends of 1 person, of 2 mappings? They are never sent." == question
    assert ["reason", "quiet_hours", "quiet_hours", "rate"] == [line.split()[0] for line in lines]
    lines, question = question_of(Order(RELEASE, (), Sought()), holds, 0)
    assert "Release 3 sends of 1 person, of 2 mappings?" == question
    assert "2 of them wait for quiet hours or a limit, which still hold unless --force is given" in lines[-1]
    assert "whatever quiet hours and limits say" in question_of(Order(RELEASE, (), None, is_forced=True), holds, 0)[1]


def test_the_command_names_the_send_and_who_ended_it():
    assert encode_command(Command(SENT, "by ada")) == Order(CANCEL, (), None, "by ada").value(hold(parked()))
    assert encode_command(Command(SENT, "", True)) == Order(RELEASE, (), None, is_forced=True).value(hold(parked()))


def test_what_cannot_be_released_says_why_by_its_kind():
    stuck = [target(parked(INCOMPLETE)), target(send(RATE)), target(send(RATE, OTHER)), target(send(BREAKER))]
    named = without_stuck(found(*stuck, target(parked())), is_named=True)
    assert [QUIET] == [each.send.reason for each in named.targets]
    assert f"{ID} lacks something of its person's profile" in named.faults[0]
    assert named.faults[0].endswith(": profile.traits.phone")
    many = without_stuck(found(*stuck), is_named=False)
    assert [] == many.targets
    assert ["1 send", "2 sends", "1 send"] == [fault.partition(" left out")[0] for fault in many.faults]


# ── what became of it ─────────────────────────────────────────────────────


class Later(Written):
    """An inspector that finds each partition at its end at once."""

    async def span(self, partition):
        return Span(0, 10)


@dataclass
class Owners(GroupReader):
    """A group whose owners have committed up to there."""

    at: int

    async def read(self, group, topics):
        assert ("streamer.owner", [BY_USER]) == (group, topics)
        return {Partition(BY_USER, number): Committed(self.at, "") for number in range(64)}


async def followed(config, person: Person | None, each: Parked | Send) -> Verdicts:
    """Where the owners have committed past the command, and `person` is the record by then."""
    places = {Partition(TOPIC, number): 0 for number in range(config.topics.partitions)}
    inspector = Later(*(record(place.partition, 3, "u:ada", person, 5) for place in places))
    return await verdicts_of(config, Found([target(each)], [], places), inspector, Owners(10))


async def test_one_that_waits_on_after_its_command_is_told_with_what_for(config):
    """Released from its delay, it may meet the night."""
    verdicts = await followed(config, Person(parked=[parked(QUIET)]), parked(SCHEDULED))
    assert Verdicts({ID: WAITS}, Counter({QUIET: 1}), []) == verdicts
    assert not is_done(Order(RELEASE, (), None), verdicts)
    assert "released: 1 still waits (quiet_hours 1); " in done_of(config, Order(RELEASE, (), None), 1, verdicts)


async def test_one_that_ended_or_left_is_told(config):
    verdicts = await followed(config, decided("suppressed"), parked())
    assert Verdicts({ID: ENDED}, Counter(), []) == verdicts
    assert "cancelled: 1 ended; " in done_of(config, Order(CANCEL, (), None), 1, verdicts)
    verdicts = await followed(config, decided("accepted"), parked())
    assert Verdicts({ID: LEFT}, Counter(), []) == verdicts
    assert "cancelled: 1 left before; " in done_of(config, Order(CANCEL, (), None), 1, verdicts)


@pytest.mark.parametrize(
    ("kind", "verdict", "reasons", "is_so"),
    [
        (CANCEL, ENDED, {}, True),
        (CANCEL, LEFT, {}, False),
        (CANCEL, WAITS, {QUIET: 1}, False),
        (CANCEL, MOVED, {}, False),
        (RELEASE, LEFT, {}, True),
        (RELEASE, GOES, {}, True),
        (RELEASE, ENDED, {}, True),
        (RELEASE, WAITS, {RATE: 1}, True),
        (RELEASE, WAITS, {LIMIT: 1}, False),
        (RELEASE, MOVED, {}, False),
    ],
)
def test_it_is_done_if_all_came_to_what_was_asked_for(kind, verdict, reasons, is_so):
    """What is let go may still have to take its turn."""
    assert is_so == is_done(Order(kind, (), None), Verdicts({ID: verdict}, Counter(reasons), []))
    assert not is_done(Order(kind, (), None), Verdicts({ID: verdict}, Counter(reasons), [ID]))


def test_without_waiting_it_says_that_it_is_written(config):
    said = done_of(config, Order(CANCEL, (), None), 2, None)
    assert said.startswith(f"written to {BY_USER}: 2 sends to be cancelled; ")
    assert "nothing waits" in done_of(config, Order(CANCEL, (), None), 0, None)


# ── documents ─────────────────────────────────────────────────────────────

ROOT = Path(__file__).resolve().parents[3]
DOCUMENT = ROOT / "docs" / "sends.md"
COMMANDS = re.findall(r"^\$ streamer holds (.+)$", DOCUMENT.read_text(), re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_documents_commands_are_taken_up_to_the_broker(run, command):
    result = run(*shlex.split(command))
    assert 1 == result.exit_code
    assert result.stderr.startswith("error: no Kafka at ")


def test_the_document_and_the_help_explain_every_reason():
    text = DOCUMENT.read_text()
    said = " ".join(CliRunner().invoke(main, ["holds", "list", "--help"]).output.split()).partition("Options:")[0]
    assert [] == [name for name in REASONS if f"| `{name}` |" not in text]
    assert [] == [name for name in REASONS if name not in said]
    assert len(COMMANDS) >= 4, "the worked example"


@pytest.mark.parametrize("name", ["list", "cancel", "release"])
def test_the_readme_names_only_options_that_there_are(name):
    row = next(line for line in (ROOT / "README.md").read_text().splitlines() if f"| `streamer holds {name} " in line)
    said = CliRunner().invoke(main, ["holds", name, "--help"]).output
    assert [] == [option for option in re.findall(r"--[a-z-]+", row) if f"{option} " not in said]
