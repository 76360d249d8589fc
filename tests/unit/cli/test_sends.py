"""`streamer sends` before and beside Kafka: what it refuses and how it says so, what it finds, its text."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from streamer.cli.deciding import Unsettled
from streamer.cli.finding import Listing, Target, people_with, search
from streamer.cli.main import main
from streamer.cli.sends_find import judge
from streamer.cli.sends_text import by_mapping, table_of, words_of
from streamer.core.delivery import Decision, Message, Origin
from streamer.core.following import VERDICTS
from streamer.core.open_sends import HELD, STATES, OpenSend, by_urgency, is_settled, open_sends
from streamer.core.sends import AT_GATEWAY, BREAKER, QUIET, RECALLED, UNKNOWN, UNRESOLVED, WATCHED, Parked, Send
from streamer.core.state import Person, encode, has_business
from streamer.kafka.inspection import Inspector, Span
from streamer.ports import Partition
from streamer.testing.memory_log import MemoryRecord

CONFIG = """
kafka: {bootstrap_servers: "127.0.0.1:1"}
topics: {events: [events]}
accounts:
  main: {account_sid: "${NOT_SET_SID}", api_key_sid: "${NOT_SET_KEY}", api_key_secret: "${NOT_SET_SECRET}"}
senders: {shop: {from: "+15550006789"}}
"""
TOPIC = "streamer.state"
ORIGIN = Origin("u:ada", "events", 0, 7, 1_000, 1_000)
MESSAGE = Message("main", "sms", "+14155550100", "Hi")
SEND, OTHER = b"s" * 16, b"o" * 16
ID = SEND.hex()
SID = "SM" + "0" * 32


@pytest.fixture
def run(tmp_path):
    def given(*arguments):
        (tmp_path / "streamer.yaml").write_text(CONFIG)
        return CliRunner().invoke(main, ["sends", *arguments, "--config", str(tmp_path)])

    return given


def send(sent: bytes = SEND, **more) -> Send:
    return Send(sent, "shipped", "v", ORIGIN, "m1", MESSAGE, "shop", 1, 1_000, 9_000, **more)


def unknown(sent: bytes = SEND, reason: str = UNKNOWN, **more) -> Send:
    return send(sent, reason=reason, attempt=1, posted_ms=2_000, until_ms=5_000, told="unknown", **more)


def opened(sent: Send) -> OpenSend:
    """As it is listed."""
    [listed] = open_sends("u:ada", Person(followed=[sent]) if sent.told else Person(held=[sent]))
    return listed


class Written(Inspector):
    """An inspector of records that are given, all of which a reading sees at once; it counts what was asked for."""

    def __init__(self, *records: MemoryRecord) -> None:
        self._records = records
        self.read: list[Partition] = []

    async def records(self, partition, span):
        self.read.append(partition)
        yield [each for each in self._records if each.partition == partition.partition and each.offset < span.end]

    def spans(self) -> dict[Partition, Span]:
        """Three partitions of ten offsets."""
        return {Partition(TOPIC, number): Span(0, 10) for number in range(3)}


def record(partition: int, offset: int, key: str, person: Person | None, epoch: int = 0) -> MemoryRecord:
    value = None if person is None else encode(person, epoch)
    return MemoryRecord(TOPIC, partition, offset, 0, key.encode(), value, [])


@pytest.mark.parametrize(
    "arguments", [("list",), ("resolve", ID, "--as", "accepted"), ("resolve", "--all", "--as", "resend")]
)
def test_a_broker_that_is_not_there_is_one_line_and_needs_no_secret_of_twilio(run, arguments):
    result = run(*arguments)
    assert 1 == result.exit_code
    assert result.stderr.startswith("error: no Kafka at 127.0.0.1:1: ")
    assert 1 == result.stderr.count("\n")


@pytest.mark.parametrize(
    ("arguments", "way_out"),
    [
        (("list", "--state", "lost"), "'unresolved'"),
        (("list", "--older-than", "1 hour"), "as in 10m"),
        (("list", "--limit", "0"), "1<=x<="),
        (("resolve", ID), "accepted"),
        (("resolve", ID, "--as", "sent"), "'not_created'"),
        (("resolve", "--as", "accepted"), "`streamer sends list` shows"),
        (("resolve", f"{ID}-1", "--as", "accepted"), "before the dash"),
        (("resolve", SID, "--as", "accepted"), "32 hex digits"),
        (("resolve", ID, "--as", "resend", "--sid", SID), "with --as accepted"),
        (("resolve", ID, OTHER.hex(), "--as", "accepted", "--sid", SID), "name one"),
        (("resolve", "--all", "--as", "accepted", "--sid", SID), "name one"),
        (("resolve", ID, "--as", "accepted", "--sid", "SM1"), "SM or MM"),
        (("resolve", ID, "--as", "accepted", "--key", "ada"), "u:ada for a user id"),
        (("resolve", ID, "--all", "--as", "accepted"), "leave out the one or the other"),
        (("resolve", "--all", "--key", "u:ada", "--as", "accepted"), "leave out the one or the other"),
        (("resolve", ID, "--as", "accepted", "--mapping", "shipped"), "belong to --all"),
        (("resolve", ID, "--as", "accepted", "--older-than", "1h"), "belong to --all"),
        (("resolve", "--all", "--as", "accepted", "--state", "held"), "'unresolved'"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_with_the_way_out_before_it_connects(run, arguments, way_out):
    result = run(*arguments)
    assert 2 == result.exit_code
    assert way_out in " ".join(result.stderr.split())


async def found(*people: Person | None, ids: Sequence[bytes] = (SEND,)):
    """What is said of ids where these are the records of u:ada, the last being the one that counts."""
    inspector = Written(*(record(0, offset, "u:ada", person) for offset, person in enumerate(people)))
    return await search(inspector, inspector.spans(), ids, judge)


def decided(outcome: str) -> Person:
    person = Person()
    person.decide(Decision(SEND, "shipped", "v", ORIGIN, "m1", outcome, "timeout", 1_000, answered_ms=2_000))
    return person


@pytest.mark.parametrize("reason", [UNKNOWN, UNRESOLVED])
async def test_an_unknown_send_is_found_with_whose_it_is(reason):
    said = await found(Person(), Person(followed=[unknown(OTHER), unknown(reason=reason)]))
    target = said[SEND]
    assert isinstance(target, Target)
    assert ("u:ada", ID, reason) == (target.send.key, target.send.send_id, target.send.state)


@pytest.mark.parametrize(
    ("person", "says"),
    [
        (Person(held=[send(reason=BREAKER)]), "is only held"),
        (Person(due=[send()]), "goes next"),
        (Person(due=[send(is_posting=True, attempt=1)]), "is at the gateway now"),
        (Person(followed=[send(reason=WATCHED, told="accepted")]), "was accepted"),
        (Person(followed=[send(reason=AT_GATEWAY, told="accepted")]), "the gateway holds it"),
        (Person(followed=[send(reason=RECALLED, told="accepted")]), "is asked not to send it"),
        (Person(parked=[Parked(SEND, "shipped", 0, ORIGIN, "m1", b"", "profile.traits.phone", 9)]), "for the profile"),
        (Person(parked=[Parked(SEND, "shipped", 0, ORIGIN, "m1", b"", "", 9, reason=QUIET)]), "waits (quiet_hours)"),
        (decided("unknown"), "was resolved since"),
        (decided("accepted"), "its outcome is accepted"),
    ],
)  # fmt: skip
async def test_what_is_not_unknown_says_what_it_is(person, says):
    """A decision that changes nothing would be taken for done."""
    fault = (await found(person))[SEND]
    assert fault.startswith("of u:ada ")
    assert says in fault


async def test_a_send_that_no_record_names_any_more_is_not_found():
    assert {} == await found(Person(followed=[unknown()]), Person(followed=[unknown(OTHER)]))
    assert {} == await found(Person(followed=[unknown()]), None)


async def test_a_search_ends_with_the_last_that_was_asked_for():
    """A changelog of many partitions takes minutes to read."""
    inspector = Written(
        record(0, 1, "u:ada", Person(followed=[unknown()])), record(1, 1, "u:bob", Person(followed=[unknown(OTHER)]))
    )
    said = await search(inspector, inspector.spans(), (OTHER, SEND), judge)
    assert {SEND: "u:ada", OTHER: "u:bob"} == {sent: each.send.key for sent, each in said.items()}
    assert {Partition(TOPIC, 0), Partition(TOPIC, 1)} == set(inspector.read)


async def test_people_without_anything_left_to_be_done_are_not_decoded():
    """They are nearly all."""
    broken = MemoryRecord(TOPIC, 2, 3, 0, b"u:cy", encode(Person())[:2] + b"\xc1", [])
    waiting = (Person(followed=[unknown()]), Person(held=[send(reason="scheduled", until_ms=7)]), Person(due=[send()]))
    inspector = Written(broken, *(record(1, at, f"u:{at}", person) for at, person in enumerate(waiting)))
    listed = [kept.key async for kept in people_with(inspector, inspector.spans(), has_business)]
    assert ["u:0", "u:1", "u:2"] == listed


def target(sent: bytes = SEND, key: str = "u:ada", epoch: int = 5) -> Target:
    [listed] = open_sends(key, Person(followed=[unknown(sent)]))
    return Target(listed, key, epoch, [])


def unknown_yet(*targets: Target[OpenSend]) -> Unsettled[OpenSend]:
    """As `resolve` waits for them."""
    return Unsettled(targets, lambda each, later: is_settled(each.send, each.links, later))


def test_what_is_waited_for_ends_with_a_record_that_has_it_no_more():
    unsettled = unknown_yet(target(), target(OTHER), target(b"b" * 16, key="u:bob"))
    unsettled.hear(record(0, 1, "u:cy", Person(), epoch=5))
    unsettled.hear(record(0, 2, "u:ada", Person(followed=[unknown(), unknown(OTHER)]), epoch=5))
    assert 3 == len(unsettled.left())
    unsettled.hear(record(0, 3, "u:ada", Person(followed=[unknown(OTHER)]), epoch=5))
    assert [OTHER.hex(), (b"b" * 16).hex()] == [each.send.send_id for each in unsettled.left()]
    unsettled.hear(record(0, 4, "u:ada", Person(), epoch=6))
    unsettled.hear(record(0, 5, "u:bob", None))
    assert ["u:bob"] == list(unsettled.by_key), "a tombstone of a former owner"
    unsettled.hear(record(0, 6, "u:bob", Person(), epoch=5))
    assert {} == unsettled.by_key


def test_a_former_owners_record_settles_nothing():
    """It never heard of the decision, nor perhaps of the send."""
    unsettled = unknown_yet(target(epoch=5))
    unsettled.hear(record(0, 1, "u:ada", Person(), epoch=4))
    assert 1 == len(unsettled.left())


def test_a_listing_keeps_the_most_urgent():
    """Memory is bounded by what is shown, not by what waits."""
    sends = [opened(unknown(number.to_bytes(16, "big"))) for number in range(300)]
    sends += [opened(unknown(number.to_bytes(16, "big"), UNRESOLVED)) for number in range(3)]
    listing = Listing(5, by_urgency)
    for each in sends:
        listing.add(each)
    assert sorted(sends, key=by_urgency)[:5] == listing.shown()


def test_the_table_says_what_each_waits_for_and_what_to_do():
    sends = [opened(unknown(reason=UNRESOLVED)), opened(send(OTHER, reason=BREAKER, code=20003))]
    assert (
        """\
send                              since                     mapping  sender  to            attempt  key    state
73737373737373737373737373737373  1970-01-01T00:00:02.000Z  shipped  shop    +14*******00  1        u:ada  unresolved: waits for you, until 1970-01-01T00:00:05.000Z
6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f  1970-01-01T00:00:01.000Z  shipped  shop    +14*******00  0        u:ada  held behind a breaker: its account, sender, region or mapping is refused (refused before: 20003)

9 open: 1 unresolved, 8 held
2 are shown; --limit shows more
what waits for you: streamer sends resolve SEND --as accepted|not_created|resend
what is held, and events that wait: streamer holds list"""  # noqa: E501
        == table_of(sends, {"unresolved": 1, "held": 8})
    )
    assert "no such send" in table_of([], {})


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (unknown(), "unknown: is being looked for, next look 1970-01-01T00:00:05.000Z"),
        (send(reason="later", until_ms=1), "held as the gateway takes it only later, until 1970-01-01T00:00:00.001Z"),
        (send(reason="rate"), "held for the pace of its sender or account"),
        (send(reason="something new"), "held something new"),
        (unknown(reason=AT_GATEWAY), "scheduled: the gateway holds it, until 1970-01-01T00:00:05.000Z"),
        (
            unknown(reason=RECALLED, held_for="forgotten"),
            "recalled: the gateway is asked not to send it (forgotten), next request 1970-01-01T00:00:05.000Z",
        ),
    ],
)
def test_a_state_is_said_in_words(sent, says):
    assert says == words_of(opened(sent))


def test_what_people_wrote_moves_no_cursor():
    """A user id is anybody's text."""
    [listed] = open_sends("u:\x1b[2J", Person(followed=[unknown()]))
    assert all(line.isprintable() for line in table_of([listed], {HELD: 1}).splitlines())


def test_whoever_is_asked_sees_how_many_of_which_mapping():
    sends = [opened(unknown(bytes([number]) * 16)) for number in range(3)]
    assert ["  shipped  3  since 1970-01-01T00:00:02.000Z"] == by_mapping(sends, 1)


def test_every_state_is_explained_by_the_commands_help():
    """`--state` takes them, and the table shows them."""
    said = " ".join(CliRunner().invoke(main, ["sends", "list", "--help"]).output.lower().split())
    assert [] == [name for name in STATES if name not in said.partition("options:")[0]]


ROOT = Path(__file__).resolve().parents[3]
DOCUMENT = ROOT / "docs" / "sends.md"
COMMANDS = re.findall(r"^\$ streamer sends (.+)$", DOCUMENT.read_text(), re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_documents_commands_are_taken_up_to_the_broker(run, command):
    """They are copied into a shell at night."""
    result = run(*shlex.split(command))
    assert 1 == result.exit_code
    assert result.stderr.startswith("error: no Kafka at ")


def test_the_document_explains_every_state_and_verdict():
    text = DOCUMENT.read_text()
    assert [] == [name for name in STATES if f"| `{name}` |" not in text]
    assert [] == [name for name in VERDICTS if f"- `{name}`: " not in text]
    assert len(COMMANDS) >= 4, "the worked example"


@pytest.mark.parametrize("name", ["list", "resolve"])
def test_the_readme_names_only_options_that_there_are(name):
    row = next(line for line in (ROOT / "README.md").read_text().splitlines() if f"| `streamer sends {name} " in line)
    said = CliRunner().invoke(main, ["sends", name, "--help"]).output
    assert [] == [option for option in re.findall(r"--[a-z-]+", row) if f"{option} " not in said]
