"""The importer's reading of a trigger is that of Segment's own packages, accident by accident."""

import pytest

from streamer.importing.actions import read
from streamer.importing.javascript import units
from tests.node import ask
from tests.segment_triggers import EVENTS, GENERATED, VECTORS, generated


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


def test_the_vectors_say_the_same():
    for case in VECTORS["cases"]:
        assert case["expected"]["match"] is read(units(case["fql"]))(VECTORS["events"][case["event"]]), case["id"]
