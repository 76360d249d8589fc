"""What a dry run takes over: all that is known and decided; of what live is about to send, that live decided it."""

import json

import pytest
from msgspec.structs import replace

from streamer.core import hop, plan
from streamer.core.attempts import Moment, settle
from streamer.core.delivery import DRY, Accepted, Message, Origin, send_id
from streamer.core.hop import EVENT, LINK, MERGE, Hop
from streamer.core.merging import move_out, moved_of, take_in
from streamer.core.profile import Update
from streamer.core.seeding import DECIDED_LIVE, seeded, seeded_record
from streamer.core.sends import EVENT_KIND, RATE, SCHEDULED, UNKNOWN, WATCHED, Away, Outgoing, Parked, Send
from streamer.core.state import DECIDED_BYTES_MAX, OTHERS, Person, decode, encode, has_business, place_of
from tests.unit.core.town import NOW_MS, Town, identify, track

PHONE = "+15551230001"
TOWN = Town()
RULES = TOWN.rules
LIVE = (hop.ORDER, hop.OUTCOME, hop.CALLBACK, hop.ANSWER, hop.RESOLVE, hop.CANCEL, hop.RELEASE, hop.RETURNED)


def origin(number=1, key="u:1"):
    return Origin(key, "in", 0, number, NOW_MS + number, NOW_MS)


def send(number=1, key="u:1", **more):
    message, at = Message("main", "sms", PHONE, "Hi", "+15550006789"), origin(number, key)
    ids = (send_id("shipped", at, f"m{number}"), "shipped", "1", at, f"m{number}", message, "shop", 1)
    return replace(Send(*ids, NOW_MS, NOW_MS + 10**7), **more)


def away(number=1):
    return Away("slow", b"m" * 8, NOW_MS + number, NOW_MS + 10**9)


def known() -> Person:
    """A person with a phone, whose events of `in/0` were read up to offset 9."""
    return Person(traits=[Update(1, "m", {"phone": PHONE})], seen={"in/0": 9})


def applied(person, number=1, message=1):
    """What the event of `send(number)` does, or its client's repeat at another offset."""
    return plan.apply_event(person, {"userId": "1", **track(message)}, origin(number), RULES, NOW_MS)


def test_what_is_known_and_decided_is_taken_over_and_no_send_is():
    person = known()
    applied(person, 11, 11)
    settle(person, Accepted("SM1", "queued"), Moment("u:1", RULES, NOW_MS))
    person.consent = {"any/sms": ("subscribed", 1)}
    person.once, person.counted = {b"s" * 16: (b"k" * 8, 1, NOW_MS)}, {"shipped/": [NOW_MS]}
    person.cancels, person.merged, person.links, person.moved = {b"c" * 8: (1, 2, "E")}, {"a:d": 4}, [(1, "u:2")], 5
    person.parked = [Parked(b"p" * 16, "shipped", 1, origin(), "m1", b"\x80", "x", NOW_MS)]
    kept = decode(encode(person))
    kept.out = []
    person.due, person.held = [send(1, is_posting=True, attempt=1)], [send(2, reason=SCHEDULED)]
    person.followed, person.away = [send(3, reason=WATCHED, told="accepted")], {b"a" * 16: away()}
    person.homes, person.outgoing = (
        {"slow": 3},
        [Outgoing("u:1", EVENT_KIND, b"{}", 1), Outgoing("s", hop.ORDER, b"", 1)],
    )
    before = encode(person)
    taken = seeded(person)
    assert before == encode(person)
    for name in ("due", "held", "followed", "away", "homes", "out", "outgoing"):
        assert not getattr(taken, name)
    ours = {sent: taken.decided.pop(sent) for sent in (send(1).id, send(2).id)}
    assert ours
    assert {OTHERS: NOW_MS + 1} == taken.forgotten
    taken.forgotten = {}
    assert kept == taken
    assert kept.decided.keys() == {send(11).id}


def test_a_record_with_nothing_but_sends_under_way_leaves_nothing_to_do():
    person = Person(due=[send(1)], held=[send(2, reason=RATE)], out=[send(3).id])
    assert has_business(encode(person))
    assert not has_business(encode(seeded(person)))


@pytest.mark.parametrize("where", ["due", "held"])
@pytest.mark.parametrize("number", [1, 8, 12], ids=["the event again", "a repeat that was read", "a repeat to come"])
def test_the_event_of_a_send_under_way_is_never_decided_again_and_says_that_live_did(where, number):
    """Live sends it: another outcome of the same send id would say of a message that it is both."""
    person = known()
    setattr(person, where, [send(1)])
    person = decode(encode(seeded(person)))
    done = applied(person, number)
    assert (send(1).id,) == done.repeated
    assert not person.due
    decision = person.decision(send(1).id)
    assert ("suppressed", DECIDED_LIVE, "m1") == (decision.outcome, decision.reason, decision.message_id)


def test_a_send_whose_outcome_is_out_keeps_it():
    """It is held for another attempt: live's outcome stands, and not that live decided it."""
    person = known()
    applied(person)
    settle(person, Accepted("SM1", "queued"), Moment("u:1", RULES, NOW_MS))
    person.held = [send(1, told="unknown")]
    assert "accepted" == seeded(person).decision(send(1).id).reason


def test_the_event_of_a_send_that_is_away_is_not_decided_again():
    person = known()
    person.away = {send(1).id: away(1)}
    person = decode(encode(seeded(person)))
    assert () == applied(person).repeated
    assert ([], {}) == (person.due, person.decided)


def test_what_comes_after_the_seeding_is_decided_dry():
    person = known()
    person.held, person.away = [send(1)], {send(2).id: away(2)}
    person = decode(encode(seeded(person)))
    applied(person, 20, 20)
    settle(person, Accepted("DRY1", DRY), Moment("u:1", RULES, NOW_MS))
    assert ("accepted", "dry_run") == (
        person.decision(send(20).id).outcome,
        person.decision(send(20).id).reason,
    )


def test_decisions_stay_within_their_bound_and_the_evicted_are_known_by_their_place():
    person = known()
    person.due = [send(number) for number in range(10)]
    person.held = [send(number) for number in range(10, 90)]
    person.seen = {"in/0": 100}
    taken = seeded(person)
    assert 0 < sum(map(len, taken.decided.values())) <= DECIDED_BYTES_MAX
    evicted = [number for number in range(90) if send(number).id not in taken.decided]
    assert evicted
    for number in evicted:
        applied(taken, number, number)
    assert not taken.due


def test_what_is_parked_is_decided_by_the_dry_run_too():
    town = Town().event("u:1", track())
    assert {"u:1": ["m1"]} == town.parked()
    dry = Town()
    dry.answer = Accepted("DRY1", DRY)
    dry.people = {"u:1": decode(encode(seeded(town.person("u:1"))))}
    dry.event("u:1", identify(phone=PHONE))
    assert {"m1": "dry_run"} == dry.reasons()
    assert {"m1": "accepted"} == town.event("u:1", identify(phone=PHONE)).reasons()


def moving() -> Person:
    """A pointer whose move to u:1 is not known to be produced."""
    person = Person(
        traits=[Update(1, "m", {"phone": PHONE})],
        held=[send(1, "a:d", reason="gateway_busy")],
        followed=[send(2, "a:d", reason=UNKNOWN, told="unknown")],
        away={b"a" * 16: away()},
        links=[(NOW_MS, "u:1")],
    )
    move_out(person, "a:d", "u:1", NOW_MS, NOW_MS)
    return person


def test_a_move_on_its_way_is_made_and_brings_no_sends():
    """Without it two halves of a person would never meet; with its sends they would be sent from the dry run too."""
    [outgoing] = seeded(moving()).outgoing
    moved = moved_of(outgoing.value)
    assert ("u:1", MERGE, "a:d", NOW_MS) == (outgoing.key, outgoing.kind, moved.source, moved.number)
    target = Person()
    take_in(target, moved, Moment("u:1", RULES, NOW_MS))
    assert ({"phone": PHONE}, ["decided_live"]) == (
        target.traits[0].traits,
        [target.decision(each).reason for each in target.decided],
    )
    assert not any((target.due, target.held, target.followed, target.away, target.out))
    assert "a:d" == target.decision(send(1, "a:d").id).person
    assert OTHERS in target.forgotten


def test_a_move_in_the_topic_is_copied_alike():
    [outgoing] = moving().outgoing
    [kept] = seeded(moving()).outgoing
    assert kept.value == seeded_record(MERGE, outgoing.value)
    assert b"no move" == seeded_record(MERGE, b"no move")


@pytest.mark.parametrize("kind", LIVE)
def test_what_is_said_of_lives_sends_is_not_copied(kind):
    assert seeded_record(kind, b"x") is None


@pytest.mark.parametrize("kind", [EVENT, LINK, hop.FORGET, hop.CONSENT, "theirs"])
def test_everything_else_is_copied_as_it_is(kind):
    assert b"x" == seeded_record(kind, b"x")


def test_every_kind_is_either_of_people_or_of_sends():
    """A new kind has to be put on one side."""
    assert set(hop.KINDS.values()) == {EVENT, LINK, MERGE, hop.FORGET, hop.CONSENT, *LIVE}


def test_an_event_that_is_in_the_state_and_in_the_copy_is_decided_once():
    """Live had handled it, and not committed it yet."""
    town = Town().event("u:1", identify(phone=PHONE), offset=1).event("u:1", track(), offset=2)
    dry = Town()
    dry.people = {"u:1": seeded(town.person("u:1"))}
    value = json.dumps({"userId": "1", **track()}).encode()
    dry.way.append(("u:1", Hop(EVENT, Origin("u:1", "in", 0, 2, NOW_MS, NOW_MS), value)))
    [handled] = dry.run().handled
    assert ([], 1) == (dry.sent, len(handled.applied.repeated))
    assert place_of(origin(), 0) in dry.person("u:1").seen
