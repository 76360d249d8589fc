"""`streamer profiles` before it connects: what it refuses and how it says so; its resume file; its text."""

import json

import click
import pytest
from click.testing import CliRunner

from streamer.cli.main import main
from streamer.cli.profile_keys import key_fault
from streamer.cli.profile_text import text_of
from streamer.cli.profiles_fix import Progress
from streamer.cli.tables import columns, plain
from streamer.core.profile import Update
from streamer.core.profile_view import view_of
from streamer.core.state import Person
from streamer.errors import StreamerError
from streamer.kafka.inspection import Span
from streamer.ports import Partition

CONFIG = """
kafka: {bootstrap_servers: "127.0.0.1:1"}
topics: {events: [%s]}
accounts:
  main: {account_sid: "${NOT_SET_SID}", api_key_sid: "${NOT_SET_KEY}", api_key_secret: "${NOT_SET_SECRET}"}
senders: {shop: {from: "+15550006789"}}
"""
EVENTS = "events.track, events.identify"
STATE = Partition("streamer.state", 3)


@pytest.fixture
def run(tmp_path):
    def given(*arguments, events=EVENTS, more="", text=None):
        (tmp_path / "streamer.yaml").write_text(CONFIG % events + more)
        return CliRunner().invoke(main, ["profiles", *arguments, "--config", str(tmp_path)], input=text)

    return given


@pytest.mark.parametrize(
    ("key", "way_out"),
    [
        ("123", "u:123 for a user id, a:123 for an anonymous id"),
        ("U:123", "u:U:123"),
        ("u:", "holds no id"),
        ("a:" + "x" * 2_000, "too long"),
        ("n:+14155550100", "name its person"),
        ("s:slow/u:123", "name the person: u:123"),
        ("u:\udcff", "not UTF-8"),
    ],
)
def test_what_names_nobody_is_refused_with_the_way_out(key, way_out):
    assert way_out in key_fault(key)


@pytest.mark.parametrize("key", ["u:123", "a:7f3b-11", "u:a:b", "u:Zoë Müller"])
def test_a_prefix_and_an_id_name_somebody(key):
    assert "" == key_fault(key)


def test_a_key_without_a_prefix_is_wrong_usage_with_a_hint(run):
    result = run("get", "123")
    assert 2 == result.exit_code
    assert "u:123 for a user id" in result.stderr


def test_a_broker_that_is_not_there_is_one_line_and_needs_no_secret_of_twilio(run):
    for arguments in (("get", "u:1"), ("audit",), ("forget", "u:1", "--yes")):
        result = run(*arguments)
        assert 1 == result.exit_code
        assert result.stderr.startswith("error: no Kafka at 127.0.0.1:1: ")
        assert 1 == result.stderr.count("\n")


def test_a_secret_of_kafka_is_needed(run):
    result = run("get", "u:1", events='"${NOT_SET_TOPIC}"')
    assert 2 == result.exit_code
    assert "environment variable NOT_SET_TOPIC" in result.stderr


def test_a_wrong_configuration_exits_with_2(run):
    result = run("get", "u:1", more="nonsense: 1\n")
    assert 2 == result.exit_code
    assert "nonsense" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("audit", "--apply"), "belong to --fix"),
        (("audit", "--topic", "events.track"), "belong to --fix"),
        (("audit", "--fix", "--resume", "r.json"), "belongs to --apply"),
        (("audit", "--fix", "--topic", "other"), "events.track, events.identify"),
        (("audit", "--rate", "0", "--fix"), "0<x<="),
        (("forget",), "nobody is named"),
        (("forget", "u:1"), "add --yes"),
    ],
)
def test_options_that_make_no_sense_are_wrong_usage(run, arguments, says):
    result = run(*arguments)
    assert 2 == result.exit_code
    assert says in result.stderr


@pytest.mark.parametrize(
    ("events", "says"), [("events.a, events.b", "events.a, events.b"), ("identify.a, identify.b, c", "identify.b")]
)
def test_without_one_topic_named_after_identify_the_choice_is_asked_for(run, events, says):
    result = run("audit", "--fix", events=events)
    assert 2 == result.exit_code
    assert "choose with --topic" in result.stderr
    assert says in result.stderr


def test_a_file_of_keys_is_refused_with_its_line(run):
    result = run("forget", "--yes", "--file", "-", text="u:1\n\na:2\nbob\n")
    assert 2 == result.exit_code
    assert "-:4: 'bob'" in result.stderr


def progress(file, topic="events.identify", traits=("phone",)):
    return Progress(file, STATE.topic, topic, traits)


def test_a_resumed_run_reads_only_what_is_left(tmp_path):
    """Also of a partition that has grown since."""
    file = tmp_path / "resume.json"
    first = progress(file)
    first.load()
    assert Span(10, 90) == first.left(STATE, Span(10, 90))
    first.save(STATE.partition, 42)
    first.save(5, 7)
    second = progress(file)
    second.load()
    assert Span(42, 100) == second.left(STATE, Span(10, 100))
    assert Span(7, 9) == second.left(Partition(STATE.topic, 5), Span(0, 9))
    assert Span(60, 90) == second.left(STATE, Span(60, 90))
    assert ["resume.json"] == [each.name for each in tmp_path.iterdir()]


def test_a_resume_file_of_another_run_is_refused(tmp_path):
    file = tmp_path / "resume.json"
    progress(file).save(0, 1)
    for other in (progress(file, topic="events"), progress(file, traits=("mobile",))):
        with pytest.raises(click.UsageError, match="is of another run"):
            other.load()
    file.write_text(json.dumps([1]))
    with pytest.raises(click.UsageError, match="no resume file"):
        progress(file).load()


def test_a_topic_that_was_made_anew_is_not_taken_for_done(tmp_path):
    """Its people would be passed by."""
    file = tmp_path / "resume.json"
    said = progress(file)
    said.save(STATE.partition, 42)
    with pytest.raises(StreamerError, match="made anew"):
        said.left(STATE, Span(0, 41))


def test_a_resume_file_that_cannot_be_written_ends_the_run(tmp_path):
    with pytest.raises(StreamerError, match="can't be written"):
        progress(tmp_path / "nowhere" / "resume.json").save(0, 1)


def test_columns_are_aligned_and_end_without_blanks():
    assert ["  a    bb", "  ccc"] == columns([("a", "bb"), ("ccc", "")])


def test_what_people_wrote_moves_no_cursor():
    """A trait is anybody's text, and C1 is obeyed by some terminals."""
    assert "a\N{REPLACEMENT CHARACTER}[2Jb\N{REPLACEMENT CHARACTER}" == plain("a\x1b[2Jb\x9b")
    text = text_of(view_of("u:\x1b", Person(traits=[Update(0, "\x9b", {"na\nme": "\x1b[31mred"})])))
    assert [] == [line for line in text.split("\n") if not line.isprintable()]
    assert 4 == text.count("\n") + 1


def test_a_person_is_shown_with_the_sections_that_hold_something():
    person = Person(
        traits=[Update(0, "m1", {"phone": "+14155550100", "age": None})],
        links=[(1_000, "u:bob")],
        erased_ms=500,
        keep_ms=86_400_000,
    )
    assert """\
a:1

forgotten: everything up to 1970-01-01T00:00:00.500Z
that they were is remembered until 1970-01-02T00:00:00.000Z at least

traits
  age    (deleted)       1970-01-01T00:00:00.000Z  m1
  phone  "+14155550100"  1970-01-01T00:00:00.000Z  m1

belongs to
  u:bob  for what happened from 1970-01-01T00:00:01.000Z on""" == text_of(view_of("a:1", person))


@pytest.mark.parametrize(
    ("arguments", "way_out"),
    [
        (("u:1", "maybe"), "'subscribed'"),
        (("1", "subscribed"), "u:1 for a user id"),
        (("u:1", "subscribed", "--channel", "fax"), "'whatsapp'"),
        (("u:1", "subscribed", "--category", ""), "the category is empty"),
        (("u:1", "subscribed", "--category", "x" * 65), "at most 64"),
        (("u:1", "subscribed", "--category", "\udcff"), "is not UTF-8"),
    ],
)
def test_a_consent_that_states_nothing_is_refused_before_it_connects(run, arguments, way_out):
    result = run("consent", *arguments)
    assert 2 == result.exit_code
    assert way_out in result.output


def test_a_consent_without_a_broker_says_so_in_a_line(run):
    result = run("consent", "u:1", "unsubscribed")
    assert 1 == result.exit_code
    assert isinstance(result.exception, StreamerError | SystemExit)
