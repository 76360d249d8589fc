"""`outcomes` in a streamer.yaml: what it may say of Twilio's codes, and every fault at its place."""

# ruff: noqa: E501  # a table of faults reads best with one fault a line
from pathlib import Path

import pytest
from flit_core.common import Module

from streamer.config import load
from streamer.config_outcomes import shipped_outcomes
from streamer.core.outcomes import Verdict
from streamer.errors import ConfigError

ROOT = Path(__file__).parents[2]
REST = "kafka: {bootstrap_servers: a}\ntopics: {events: [a]}\n"


def outcomes(folder, text, *, secrets=True):
    (folder / "streamer.yaml").write_text(f"{REST}outcomes:\n{text}", encoding="utf-8")
    return load(folder, secrets=secrets).mappings.outcomes


def said(outcomes, code):
    verdict = outcomes.of_code(code)
    return verdict.kind, verdict.scope, verdict.schedule


def test_the_table_is_part_of_the_package():
    """Without it nothing starts."""
    files = {Path(file).relative_to(ROOT).as_posix() for file in Module("streamer", ROOT).iter_files()}
    assert "streamer/outcomes.csv" in files


def test_without_a_word_the_table_holds(tmp_path):
    assert shipped_outcomes() == outcomes(tmp_path, "")


def test_a_configuration_says_what_codes_and_families_mean(tmp_path):
    """A code need not be in quotes, though YAML takes it for a number."""
    ours = outcomes(
        tmp_path,
        """
  30003: recipient
  "30004": optout
  21612: {kind: stop, scope: sender}
  30450:
    kind: later
    schedule: day
  45000: message
  30xxx: recipient
""",
    )
    assert ("recipient", "", "") == said(ours, 30003)
    assert ("optout", "", "") == said(ours, 30004)
    assert ("stop", "sender", "") == said(ours, 21612)
    assert ("later", "", "day") == said(ours, 30450)
    assert ("message", "", "") == said(ours, 45000)
    assert ("recipient", "", "") == said(ours, 30999)
    assert ("later", "", "once") == said(ours, 30008)
    assert shipped_outcomes().of_code(21610) == ours.of_code(21610)


def test_a_kind_may_come_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("UNREACHABLE", "recipient")
    assert ("recipient", "", "") == said(outcomes(tmp_path, "  30003: ${UNREACHABLE}\n"), 30003)
    monkeypatch.delenv("UNREACHABLE")
    unset = outcomes(tmp_path, "  30003: ${UNREACHABLE}\n  30004: {kind: '${UNREACHABLE}'}\n", secrets=False)
    assert shipped_outcomes() == unset


CODE = "must be a code of Twilio's such as 30003, or a family such as 30xxx"
FAULTS = {
    "a slip in a kind": ("30003: recipent", '4:3: outcomes.30003: unknown kind; did you mean "recipient"?'),
    "an unknown kind": (
        "30003: zzz",
        "4:3: outcomes.30003: unknown kind; known here: retry, later, unknown, recipient, optout, message, stop",
    ),
    "a kind that only the table may have": (
        "30003: info",
        "4:3: outcomes.30003: unknown kind; known here: retry, later, unknown, recipient, optout, message, stop",
    ),
    "a slip in a kind of a mapping": (
        "21612: {kind: stp, scope: sender}",
        '4:11: outcomes.21612.kind: unknown kind; did you mean "stop"?',
    ),
    "a slip in a scope": (
        "21612: {kind: stop, scope: sendr}",
        '4:23: outcomes.21612.scope: unknown scope; did you mean "sender"?',
    ),
    "a slip in a schedule": (
        "30450: {kind: later, schedule: halfhour}",
        '4:24: outcomes.30450.schedule: unknown schedule; did you mean "half_hour"?',
    ),
    "a slip in a key": (
        "30450: {kind: later, shedule: day, schedule: day}",
        '4:24: outcomes.30450.shedule: unknown key; did you mean "schedule"?',
    ),
    "a stop without scope": (
        "21612: stop",
        "4:3: outcomes.21612: stop needs its scope, as in {kind: stop, scope: sender}",
    ),
    "a stop that lacks its scope": (
        "21612: {kind: stop}",
        "4:3: outcomes.21612.scope: is missing; kind: stop needs it: account, sender, region or mapping",
    ),
    "an empty scope": ("21612: {kind: stop, scope: ''}", "4:23: outcomes.21612.scope: is empty; give it a value"),
    "a later without schedule": (
        "30450: later",
        "4:3: outcomes.30450: later needs its schedule, as in {kind: later, schedule: minutes}",
    ),
    "a later that lacks its schedule": (
        "30450: {kind: later}",
        "4:3: outcomes.30450.schedule: is missing; kind: later needs it: once, minutes, queue, half_hour, hour, unreachable, day, pacific_day or utc_day",
    ),
    "a scope of another kind": (
        "21612: {kind: message, scope: sender}",
        "4:26: outcomes.21612.scope: is only for kind: stop; remove it",
    ),
    "a schedule of another kind": (
        "21612: {kind: message, schedule: day}",
        "4:26: outcomes.21612.schedule: is only for kind: later; remove it",
    ),
    "no kind": ("21612: {scope: sender}", "4:3: outcomes.21612.kind: is missing; it is required"),
    "no value": ("21612:", "4:3: outcomes.21612: has no value; give it one or remove the key"),
    "a list": ("21612: [stop]", "4:3: outcomes.21612: expected text, found a list"),
    "a number": ("21612: 3", "4:3: outcomes.21612: expected text, found a whole number; put it in quotes"),
    "too few digits": ("3003: recipient", f"4:3: outcomes.3003: {CODE}"),
    "a number as no code is written": ("30_003: recipient", f"4:3: outcomes.30_003: {CODE}"),
    "a word for a code": ("landline: recipient", f"4:3: outcomes.landline: {CODE}"),
    "a family of four": ("3xxxx: recipient", f"4:3: outcomes.3xxxx: {CODE}"),
    "a fraction for a code": (
        "300.03: recipient",
        "4:3: outcomes: a key must be text, found a number; put it in quotes",
    ),
    "a code twice": ('30003: recipient\n  "30003": message', "5:3: outcomes.30003: given twice; first on line 4"),
    "what is always tried again": (
        "20429: message",
        "4:3: outcomes.20429: is always tried again, for Twilio has not processed it; remove this",
    ),
    "what may have made a message": (
        "20503: retry",
        "4:3: outcomes.20503: always leaves it open whether there is a message; remove this",
    ),
}


@pytest.mark.parametrize(("text", "expected"), FAULTS.values(), ids=FAULTS.keys())
def test_each_fault_is_told_at_its_place_with_the_way_out(tmp_path, text, expected):
    with pytest.raises(ConfigError) as caught:
        outcomes(tmp_path, f"  {text}\n")
    assert f"streamer.yaml:{expected}" == str(caught.value)


def test_every_fault_is_told_at_once(tmp_path):
    with pytest.raises(ConfigError) as caught:
        outcomes(tmp_path, "  1: stp\n  20429: stop\n")
    assert 4 == len(str(caught.value).split("\n"))


def test_elsewhere_a_key_must_still_be_text(tmp_path):
    with pytest.raises(ConfigError) as caught:
        outcomes(tmp_path, "  30450: {kind: message, 5: day}\n")
    assert "streamer.yaml:4:26: outcomes.30450: a key must be text, found a whole number; put it in quotes" == str(
        caught.value
    )


def test_a_verdict_of_ours_is_what_was_written(tmp_path):
    assert Verdict("stop", "region") == outcomes(tmp_path, "  30018: {kind: stop, scope: region}\n").of_code(30018)


def test_the_guide_says_what_is_so(tmp_path):
    """Its example loads, and its count is that of the table."""
    guide = (ROOT / "docs" / "sends.md").read_text(encoding="utf-8")
    example = guide.partition("```yaml\noutcomes:\n")[2].partition("```")[0]
    assert ("later", "", "hour") == said(outcomes(tmp_path, example), 30450)
    assert f"all {len(shipped_outcomes().codes)} codes" in guide.replace("\n", " ")
