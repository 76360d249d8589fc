"""Test files are read whole or refused whole: every fault at once, with its place, and never a traceback."""

import json
from copy import deepcopy

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from streamer.config_tests import load_tests
from streamer.core import documents_tests
from streamer.core.rules import RuleSet
from streamer.core.story import Result, play
from streamer.errors import ConfigError
from tests import schemas

SMALL = "tests: [{name: a, events: [{type: track, event: x}], expect: []}]\n"
# Every key of a test file, so that each can be given every other value in turn.
FULL = {
    "name": "Orders",
    "at": "2026-01-31T09:00:00Z",
    "profile": {"phone": "+12025550101"},
    "tests": [
        {
            "name": "a",
            "profile": {"first_name": "Ada", "tags": ["x", 1, None, {"y": 1.5}]},
            "stopped": [{"number": "+12025550101", "group": "shop"}],
            "answers": [{"mapping": "m", "to": "+12025550101", "from": "shop", "code": 21610, "times": 1}],
            "events": [
                {
                    "at": "+5m",
                    "type": "track",
                    "event": "x",
                    "userId": "u",
                    "anonymousId": "a",
                    "messageId": "m",
                    "timestamp": "2026-01-31T09:00:00Z",
                    "originalTimestamp": "2026-01-31T09:00:00.123Z",
                    "sentAt": "2026-01-31T09:00:00+01:00",
                    "receivedAt": "2026-01-31T09:00:00Z",
                    "name": "n",
                    "category": "c",
                    "groupId": "g",
                    "previousId": "p",
                    "properties": {"total": 1},
                    "traits": {},
                    "context": {},
                    "integrations": {"All": True},
                },
                {"at": "2026-01-31T09:05:00Z", "raw": "{"},
            ],
            "expect": [
                {
                    "send": {
                        "mapping": "m",
                        "body": "b",
                        "to": "+12025550101",
                        "at": "+5m",
                        "channel": "mms",
                        "from": "shop",
                        "media_urls": ["https://a.example/1"],
                        "content_sid": "HX",
                        "content_variables": {"1": "Ada"},
                        "parts": 2,
                        "held_for": "quiet_hours",
                    }
                },
                {"suppress": {"mapping": "m", "reason": "no_phone", "detail": "d", "at": "2026-01-31T09:00:00Z"}},
                {
                    "fail": {
                        "mapping": "m",
                        "reason": "optout",
                        "code": 21610,
                        "detail": "d",
                        "at": "+5m",
                        "held_for": "",
                    }
                },
                {"unknown": {"mapping": "m", "reason": "timeout"}},
                {"dead_letter": {"reason": "bad_request", "at": "+5m"}},
            ],
        }
    ],
}
OTHERS = [None, "", "x", "+5m", "+0s", "-5m", "+401d", "2026-01-31T09:00:00", "2026-13-01T09:00:00Z", "track", "sms"]
OTHERS += [0, 1, -1, 2**64, 1.5, True, [], ["x"], [1], {}, {"x": 1}, {"x": "y"}, {"raw": "x"}, [{}], "x" * 300]


def written(folder, text, name="a.yaml"):
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode(errors="replace"))
    return file


def faults(folder, text):
    """What is wrong with a test file, a line each, without its path."""
    file = written(folder, text if isinstance(text, str | bytes) else json.dumps(text))
    try:
        load_tests([file])
    except ConfigError as error:
        return [line.removeprefix(f"{file}:") for line in str(error).split("\n")]
    return []


def paths(node, path=()):
    entries = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, each in entries:
        yield (*path, key)
        yield from paths(each, (*path, key))


def changed(path, value):
    """FULL with another value at a path, or without it if the value is `...`."""
    document = deepcopy(FULL)
    node = document
    for key in path[:-1]:
        node = node[key]
    if value is ...:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    return document


# ── what is right ─────────────────────────────────────────────────────────


def test_a_file_is_read_with_the_lines_of_its_tests_and_expectations(tmp_path):
    text = """
name: Orders
tests:
  - name: a
    events:
      - type: track
        event: x
    expect:
      - send: {mapping: m}

      - suppress:
          reason: no_phone
  - {name: b, events: [{raw: ""}], expect: []}
"""
    [suite] = load_tests([written(tmp_path, text)])
    assert ("Orders", str(tmp_path / "a.yaml")) == (suite.file.name, suite.path)
    assert [("a", 4, (9, 11)), ("b", 13, ())] == [
        (each.case.name, each.line, each.expect_lines) for each in suite.places
    ]


def test_the_fullest_file_is_right_for_the_reader_and_for_the_schema(tmp_path):
    assert [] == faults(tmp_path, FULL)
    assert [] == schemas.faults("test", FULL)


def test_dates_are_text(tmp_path):
    """YAML would make objects of them, which no event holds."""
    text = SMALL.replace("event: x", "event: x, timestamp: 2026-01-01T00:00:00Z, properties: {day: 2026-01-31}")
    [suite] = load_tests([written(tmp_path, text)])
    assert {"day": "2026-01-31"} == suite.file.tests[0].events[0].properties


# ── files and folders ─────────────────────────────────────────────────────


def test_a_folder_is_read_with_all_below_it_but_what_is_hidden(tmp_path):
    for name in ("b.yml", "a.yaml", "sub/c.yaml", ".x.yaml", ".git/y.yaml", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        written(tmp_path, SMALL, name)
    found = [suite.path.removeprefix(f"{tmp_path}/") for suite in load_tests([tmp_path, tmp_path / "sub/../a.yaml"])]
    assert ["a.yaml", "b.yml", "sub/c.yaml"] == found


def test_a_file_named_is_read_whatever_its_name(tmp_path):
    assert 1 == len(load_tests([written(tmp_path, SMALL, "cases.txt")]))


def test_paths_that_lead_nowhere_are_told_with_the_faults_of_the_others(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    bad = written(tmp_path, "tests: x")
    with pytest.raises(ConfigError) as caught:
        load_tests([tmp_path / "nope", tmp_path / "empty", tmp_path / "circle", bad, tmp_path / ("x" * 300)])
    lines = str(caught.value).split("\n")
    assert 5 == len(lines)
    for said, line in zip(
        ("not there", "no test file", "cannot be read", "cannot be read", "expected a list"), lines, strict=True
    ):
        assert said in line


def test_files_and_tests_are_bounded(tmp_path):
    for number in range(3):
        written(tmp_path, SMALL, f"{number}.yaml")
    assert 3 == len(load_tests([tmp_path], files_max=3, tests_max=3))
    with pytest.raises(ConfigError, match="more than 2 tests"):
        load_tests([tmp_path], tests_max=2)
    with pytest.raises(ConfigError, match="more than 2 test files"):
        load_tests([tmp_path], files_max=2)


# ── what is wrong ─────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "1:1: tests: is missing; it is required"),
        ("tests: []", "1:1: tests: is empty; a test has a `name`, `events` and what to `expect` of them"),
        ("tests: {a: 1}", "1:1: tests: expected a list, found a mapping"),
        ("tests: [x]", "1:9: tests[0]: expected a mapping of keys to values, found text"),
        ("test: []", '1:1: test: unknown key; did you mean "tests"?'),
        ("at: 2026-01-31", "1:1: at: must be a time with its zone, such as 2026-12-24T09:00:00Z"),
        ("tests: [{name: *a}]", "1:16: not YAML: aliases (*) are refused; write the value out, or put text that"),
        (b"\xff", "1:1: not UTF-8; save the file in that encoding"),
        (SMALL.replace("expect: []", ""), "1:9: tests[0].expect: is missing; it is required"),
        (SMALL.replace("name: a", "name: 1"), "1:10: tests[0].name: expected text, found a whole number; put it in"),
        (SMALL.replace("events: [{type: track, event: x}]", "events: []"), "1:19: tests[0].events: is empty; somethin"),
        (SMALL.replace("track", "trak"), "1:29: tests[0].events[0].type: must be alias, delete, group, identify, pag"),
        (SMALL.replace("type: track", "userid: u"), '1:29: tests[0].events[0].userid: unknown key; did you mean "use'),
        (SMALL.replace("type: track,", ""), "1:28: tests[0].events[0]: needs a `type`, such as track"),
        (SMALL.replace("event: x", "at: +5"), "1:42: tests[0].events[0].at: expected text, found a whole number; put"),
        (SMALL.replace("event: x", "at: 5m"), "1:42: tests[0].events[0].at: must be an offset such as +5m, or a tim"),
        (SMALL.replace("event: x", "at: +500d"), "1:42: tests[0].events[0].at: is more than 400 days after the star"),
        (SMALL.replace("x}", "x, at: +2s}, {type: page, at: +1s}"), "1:75: tests[0].events[1].at: is earlier than the"),
        (SMALL.replace("event: x", "raw: x"), "1:29: tests[0].events[0].type: stands beside `raw`, which is the whol"),
        (SMALL.replace("event: x", "sentAt: 1h"), "1:42: tests[0].events[0].sentAt: must be a time such as 2026-01-"),
        (SMALL.replace("event: x", "traits: [a]"), "1:42: tests[0].events[0].traits: expected a mapping of keys to"),
        (SMALL.replace("event: x", "traits: {a: .nan}"), "1:42: tests[0].events[0].traits: holds a number that JSON"),
        (SMALL.replace("event: x", f"traits: {{a: {2**64}}}"), "1:42: tests[0].events[0].traits: holds an integer b"),
        (SMALL.replace("event: x", f"userId: {'u' * 257}"), "1:42: tests[0].events[0].userId: has over 256 character"),
        (SMALL.replace("event: x", "event: '${X}'"), "1:42: tests[0].events[0].event: ${…} is read in streamer.yaml "),
        (SMALL.replace("[]", "[{sent: {}}]"), "1:63: tests[0].expect[0]: needs one of send, suppress, fail, unknown, "),
        (SMALL.replace("[]", "[{send: {at: +0s}}]"), "1:64: tests[0].expect[0].send: needs a `mapping`, a `body` or "),
        (SMALL.replace("[]", "[{send: {to: +15550100001}}]"), "1:71: tests[0].expect[0].send.to: expected text, fou"),
        (SMALL.replace("[]", "[{send: {body: b, bdy: c}}]"), "1:80: tests[0].expect[0].send.bdy: unknown key; did y"),
        (SMALL.replace("[]", "[{send: {body: b, channel: fax}}]"), "1:80: tests[0].expect[0].send.channel: must be "),
        (SMALL.replace("[]", "[{suppress: {detail: x}}]"), "1:64: tests[0].expect[0].suppress: needs a `mapping` or"),
        (SMALL.replace("[]", "[{dead_letter: {}}]"), "1:64: tests[0].expect[0].dead_letter.reason: is missing; it is"),
        (SMALL.replace("[]", "[{fail: {code: 21610}}]"), "1:64: tests[0].expect[0].fail: needs a `mapping` or a `reas"),
        (SMALL.replace("[]", "[{unknown: {reason: x, code: -1}}]"), "1:85: tests[0].expect[0].unknown.code: must be f"),
        (SMALL.replace("name: a", "name: a, answers: [{}]"), "1:29: tests[0].answers[0]: needs a `code`: Twilio's, su"),
        (SMALL.replace("name: a", "name: a, answers: [{code: 700}]"), "1:30: tests[0].answers[0].code: is neither an "),
        (SMALL.replace("name: a", "name: a, answers: [{code: 429, times: 0}]"), "1:41: tests[0].answers[0].times: mus"),
        (SMALL.replace("name: a", "name: a, stopped: [{number: '1'}]"), "1:30: tests[0].stopped[0].number: must be a "),
        (SMALL.replace("name: a", "name: a, stopped: [{number: '+15', group: a b}]"), "1:45: tests[0].stopped[0].grou"),
        (SMALL.replace("name: a", "name: a, profile: 1"), "1:19: tests[0].profile: expected a mapping of keys to val"),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_its_place_and_the_way_out(tmp_path, text, fault):
    assert any(line.startswith(fault) for line in faults(tmp_path, text)), faults(tmp_path, text)


def test_every_fault_of_every_file_is_told_at_once(tmp_path):
    written(tmp_path, "at: x\ntests:\n- {name: a, events: [{type: track, at: y}], expect: [{send: {}}]}\n", "a.yaml")
    written(tmp_path, "name: 5\ntest: []\n", "b.yaml")
    with pytest.raises(ConfigError) as caught:
        load_tests([tmp_path])
    places = [line.removeprefix(f"{tmp_path}/").partition(": ")[0] for line in str(caught.value).split("\n")]
    assert ["a.yaml:1:1", "a.yaml:3:36", "a.yaml:3:55", "b.yaml:1:1", "b.yaml:1:1", "b.yaml:2:1"] == places


def test_two_tests_of_one_name_are_refused(tmp_path):
    """A report would show one of them."""
    two = "tests:\n- {name: a, events: [{raw: x}], expect: []}\n- {name: a, events: [{raw: x}], expect: []}\n"
    expected = ["3:4: tests[1].name: is the name of the test on line 2 too; give this one another"]
    assert expected == faults(tmp_path, two)


def test_a_test_may_have_a_thousand_events_and_as_many_expectations(tmp_path):
    """More keys and values than a configuration may have."""
    event = {"at": "+1s", "type": "track", "event": "x", "userId": "u", "properties": {"a": 1, "b": 2}}
    case = {"name": "a", "events": [event] * 1000, "expect": [{"send": {"mapping": "m", "body": "x"}}] * 1000}
    assert [] == faults(tmp_path, {"tests": [case]})


def test_events_and_expectations_of_a_test_are_bounded(tmp_path):
    case = {"name": "a", "events": [{"raw": "x"}] * 1001, "expect": [{"send": {"body": "x"}}] * 1001}
    said = [line.rpartition(": ")[2] for line in faults(tmp_path, {"tests": [case]})]
    assert ["1001 of them; at most 1000"] * 2 == said


# ── the reader, the types and the schema ──────────────────────────────────


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ((), "TestFile"),
        (("tests", 0), "TestCase"),
        (("tests", 0, "events", 0), "TestEvent"),
        (("tests", 0, "expect", 0), "Expectation"),
        (("tests", 0, "expect", 0, "send"), "ExpectedSend"),
        (("tests", 0, "expect", 1, "suppress"), "ExpectedSuppression"),
        (("tests", 0, "expect", 2, "fail"), "ExpectedEnd"),
        (("tests", 0, "expect", 3, "unknown"), "ExpectedEnd"),
        (("tests", 0, "expect", 4, "dead_letter"), "ExpectedDeadLetter"),
        (("tests", 0, "answers", 0), "TestAnswer"),
        (("tests", 0, "stopped", 0), "TestStopped"),
    ],
)
def test_every_mapping_has_the_keys_of_its_type(tmp_path, path, name):
    """A key on one side only is refused by the editor though it works, or completed by the editor though it fails."""
    [said] = [line.partition("known here: ")[2] for line in faults(tmp_path, changed((*path, "☃"), 1)) if "☃" in line]
    fields = msgspec.structs.fields(getattr(documents_tests, name))
    assert {field.encode_name for field in fields} == set(said.split(", "))


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(list(paths(FULL))), value=st.sampled_from([..., *OTHERS]))
def test_the_schema_refuses_only_what_the_reader_refuses(tmp_path, path, value):
    """Else an editor would mark what works. And what the reader takes, its types take: no fault is at 1:1 for them."""
    document = changed(path, value)
    refused = faults(tmp_path, document)
    if not refused:
        assert [] == schemas.faults("test", document)
    assert not [line for line in refused if line.startswith("1:1: Expected ")]


KEYS = ["name", "at", "profile", "tests", "events", "expect", "send", "type", "raw", "x", "userId", "send", "reason"]
SCALARS = ["a", "", "+5m", "track", "1", "1.5", ".nan", "true", "~", "2026-01-31T09:00:00Z", "+99999999d", "!x", "*a"]
SCALARS += ["&a 1", "|", '"\\x00"', "=", "<<", "1e400", "[", "}", "'", "a: b: c", "9" * 70, "[a, {b: c}]", "${X}"]
yamlish = st.recursive(
    st.sampled_from(SCALARS) | st.text(max_size=8),
    lambda inner: (
        st.lists(st.tuples(st.sampled_from(KEYS), inner), max_size=4).map(
            lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"
        )
        | st.lists(inner, max_size=3).map(lambda items: "[" + ", ".join(items) + "]")
    ),
    max_leaves=10,
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=yamlish | st.text() | st.binary(max_size=80))
@example(text="!!null {tests: 1}")
@example(text=SMALL.replace("event: x", "properties: !!str [x]"))
@example(text=SMALL.replace("event: x", "timestamp: 9999-12-31T23:59:59Z, sentAt: 1970-01-01T00:00:00Z"))
@example(text="at: 9999-12-31T23:59:59Z\n" + SMALL)
@example(text="at: 2999-12-31T23:59:59Z\n" + SMALL.replace("event: x", "at: +400d"))
def test_any_text_gives_faults_or_results(tmp_path, text):
    """A traceback would hide the fault."""
    file = written(tmp_path, text)
    try:
        [suite] = load_tests([file])
    except ConfigError as error:
        told = str(error).split("\n")
    else:
        told = [type(play(suite.file, case, RuleSet.of(()))).__name__ for case in suite.file.tests]
        assert {"Result"} == set(told)
    assert all(line.isprintable() for line in told)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(list(paths(FULL))), value=st.sampled_from(OTHERS) | st.text(max_size=5))
def test_whatever_is_read_can_be_played(tmp_path, path, value):
    try:
        [suite] = load_tests([written(tmp_path, json.dumps(changed(path, value)))])
    except ConfigError:
        return
    assert isinstance(play(suite.file, suite.file.tests[0], RuleSet.of(())), Result)
