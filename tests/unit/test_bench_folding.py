"""The judge of `fold` must be able to say no, and what it asks for must be what the rules make of its records."""

import pytest

from bench.folding import expected, records, wrong
from bench.workload import Workload
from streamer.core import state
from streamer.core.handling import handle
from streamer.core.hop import read_hop
from streamer.core.rules import RuleSet
from streamer.core.state import Person

WORK = Workload(events=60, users=7)


def stored() -> dict[bytes, bytes]:
    """Every record as it must be."""
    return {key: state.encode(Person(traits=profile)) for key, profile in expected(WORK).items()}


@pytest.mark.parametrize("step", [1, -1])
def test_folding_its_records_in_any_order_gives_what_it_asks_for(step):
    people: dict[bytes, Person] = {}
    for key, value, headers in list(records(WORK))[::step]:
        person = people.setdefault(key, Person())
        handle(person, key.decode(), read_hop(key, value, headers), RuleSet.of([]), 0)
    assert 0 == wrong({key: state.encode(person) for key, person in people.items()}, WORK)


def test_a_missing_profile_is_counted():
    given = stored()
    del given[b"u:user-000003"]
    assert 1 == wrong(given, WORK)


def test_a_profile_that_nobody_asked_for_is_counted():
    assert 1 == wrong(stored() | {b"u:stranger": state.encode(Person())}, WORK)


def test_a_profile_that_an_older_identify_supplied_is_counted():
    given = stored()
    person = state.decode(given[b"u:user-000003"])
    (update,) = person.traits
    older = Person(traits=[type(update)(update.event_ms - 1, update.id, update.traits)])
    assert 1 == wrong(given | {b"u:user-000003": state.encode(older)}, WORK)
