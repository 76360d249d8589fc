"""The importer's reading of a trigger is that of Segment's own packages, accident by accident."""

import pytest

from streamer.core.filters import compile_filter
from streamer.importing.actions import read
from streamer.importing.javascript import units
from streamer.importing.triggers import translate
from streamer.importing.witness import is_well_formed
from tests.node import ask
from tests.segment_triggers import EVENTS, GENERATED, VECTORS, generated

TRANSLATED_EACH = 10  # looking for examples takes some 20 ms a text


@pytest.fixture(scope="module")
def answers():
    texts = [*(case["fql"] for case in VECTORS["cases"]), *generated()]
    return list(zip(texts, ask("actions_dialect.js", ({"fql": text, "events": EVENTS} for text in texts)), strict=True))


def test_it_reads_what_the_original_reads_and_matches_what_it_matches(answers):
    wrong = []
    for text, answer in answers:
        reading = read(units(text))
        ours = {"parse": reading.root is not None, "matches": [reading(event) for event in EVENTS]}
        if ours != answer:
            wrong.append((text, answer, ours))
    assert not wrong, f"{len(wrong)} of {len(answers)}, such as {wrong[:3]}"


def test_the_comparison_is_not_empty(answers):
    """Texts that nobody can read, or that match nothing, would show agreement for free."""
    read_by_original = [answer for _, answer in answers if answer["parse"]]
    matching = [answer for answer in read_by_original if any(answer["matches"]) and not all(answer["matches"])]
    assert len(read_by_original) > GENERATED / 4
    assert len(matching) > GENERATED / 8


def test_what_is_written_loads_and_matches_what_the_original_matches_or_is_told(answers):
    """By the original's own answers and the service's own filters, so that no reading of ours is believed here."""
    well_formed = [at for at, event in enumerate(EVENTS) if is_well_formed(event)]
    for text, answer in answers[::TRANSLATED_EACH]:
        trigger = translate(text)
        ours = compile_filter(trigger.when)
        is_alike = all(answer["matches"][at] is ours(EVENTS[at]) for at in well_formed)
        assert is_alike or trigger.differences or trigger.problem, text


def test_the_vectors_say_the_same():
    for case in VECTORS["cases"]:
        assert case["expected"]["match"] is read(units(case["fql"]))(VECTORS["events"][case["event"]]), case["id"]
