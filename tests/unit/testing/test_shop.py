"""The shop's day, the rules by which the demo judges a run, and the proof that its check can fail."""

from collections import Counter, defaultdict
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from streamer.config import load
from streamer.config_outcomes import shipped_outcomes
from streamer.core import attempts, delivery, leaving, plan, records
from streamer.core.attempts import Moment
from streamer.core.delivery import Accepted
from streamer.core.rules import RuleSet
from streamer.core.state import Person
from streamer.errors import BadRecord
from streamer.testing.shop import EVENTS_MIN, IDENTIFY, TRACK, Item, Shop, generate
from streamer.testing.shop_ledger import Found, Letter, Pair, Sms, audit, expected, is_relevant, masked, pairs

SHOP = Path(__file__).parents[3] / "streamer" / "examples" / "shop"
NOW_MS = 1_700_000_000_000
PHONE, E164 = "(212) 555-0142", "+12125550142"
ROWS = {
    ("accepted", "accepted", 0),
    ("suppressed", "profile_incomplete", 0),
    ("suppressed", "no_phone", 0),
    ("suppressed", "bad_number", 0),
    ("suppressed", "missing_value", 0),
    ("suppressed", "too_old", 0),
    ("failed", "optout", 21610),
    ("failed", "recipient", 21614),
    ("failed", "recipient", 21612),
}


def at(now_ms, jitter=0.0):
    return Moment("u:1", RuleSet.of(()), now_ms, jitter)


def by_user(shop):
    """One partition that holds what a router hands on, in the order of production."""
    return {0: [item.value for item in shop.items if is_relevant(item)]}


def outcome(pair, want, sid=""):
    """A record of `deliveries`, as far as the check reads it."""
    properties = {
        "source_message_id": pair.message_id,
        "mapping": pair.mapping,
        "outcome": want.outcome,
        "reason": want.reason,
        "twilio_code": want.code,
        "twilio_sid": sid,
        "to": masked(want.to) if want.to else "",
    }
    return msgspec.json.encode({"properties": properties})


def flawless(shop):
    """What a run without any fault leaves behind."""
    found = Found(by_user=by_user(shop))
    for number, (pair, want) in enumerate(expected(shop, found.by_user).items()):
        sid = f"SM{number}" if want.outcome == "accepted" else ""
        found.add_delivery(outcome(pair, want, sid))
        if sid:
            found.messages.append(Sms(sid, want.to, want.sender, want.body))
    for offset, item in enumerate(item for item in shop.items if item.junk):
        place = ("events", 0, offset)
        found.junk[place] = item
        found.letters.append(Letter(place, item.junk, "", item.value or b""))
    return found


@pytest.fixture
def shop(seed):
    return generate(400, seed, NOW_MS)


@pytest.fixture
def found(shop):
    return flawless(shop)


def event(kind, number, at_ms=NOW_MS - 60_000, **fields):
    at = delivery.datetime.fromtimestamp(at_ms / 1000, delivery.UTC).isoformat()
    value = {"type": kind, "messageId": f"m{number}", "userId": "u", "timestamp": at, **fields}
    return msgspec.json.encode(value)


def shipped(number, **fields):
    return event(TRACK, number, event="Order Shipped", properties={"order_id": "A1", "carrier": "UPS"}, **fields)


def small(*values):
    """A day of these events alone."""
    items = tuple(Item(msgspec.json.decode(value)["type"], b"u", value) for value in values)
    return Shop((items,), {PHONE: E164}, frozenset(), {}, NOW_MS)


def rows(*values):
    day = small(*values)
    return [want.row[:2] for want in expected(day, by_user(day)).values()]


def test_the_same_seed_makes_the_same_day(seed):
    assert generate(400, seed, NOW_MS) == generate(400, seed, NOW_MS) != generate(400, seed + 1, NOW_MS)


@pytest.mark.parametrize("events", [EVENTS_MIN, 400, 5_000, 20_000])
def test_a_day_has_exactly_as_many_records_as_asked_for(events, seed):
    assert events == len(generate(events, seed, NOW_MS).items)


@pytest.mark.parametrize("day_seed", range(20))
def test_every_trouble_occurs_even_on_a_short_day(day_seed):
    """The demo shows each reason, whatever its seed."""
    day = generate(400, day_seed, NOW_MS)
    assert {want.row for want in expected(day, by_user(day)).values()} == ROWS


def test_each_junk_record_is_refused_with_its_code_and_nothing_else_is(shop):
    for item in shop.items:
        reason = ""
        try:
            records.slim(item.value)
        except BadRecord as bad:
            reason = bad.reason
        assert item.junk == reason


def test_nobody_is_in_two_places_of_the_numbers(shop):
    """A number is reserved for fiction, and never both opted out and refused: one outcome must be right."""
    assert all("555" in number or number.startswith("+447700900") for number in shop.numbers.values())
    assert not shop.opted_out & shop.refused.keys()


def test_core_decides_every_event_as_the_ledger_expects(seed):
    """Two programs that were written apart agree on the fold, the filters, the numbers and the texts."""
    day = generate(5_000, seed, NOW_MS)
    loaded = load(SHOP, secrets=False).mappings
    mappings = RuleSet.of(replace(rule, wait_s=0.0) for rule in loaded.mappings)
    people: dict[str, Person] = {}
    got = {}
    for offset, value in enumerate(by_user(day)[0]):
        slim = records.slim(value)
        key = mappings.people.identities.key(slim.user_id, slim.anonymous_id)
        origin = records.origin(slim, key, "events", 0, offset, NOW_MS)
        person = people.setdefault(origin.key, Person())
        plan.apply_event(person, records.full(value), origin, mappings, NOW_MS)
        while person.due:
            send = leaving.begin(person, at(NOW_MS))
            message = send.message
            code = day.refused.get(message.to) or (21610 if message.to in day.opted_out else 0)
            answer = shipped_outcomes().refusal(400, code) if code else Accepted("SM", "queued")
            attempts.settle(person, answer, at(NOW_MS, 0.0))
            got[Pair(send.message_id, send.mapping)] = (message.to, message.sender_from, message.body)
    decisions = [person.decision(send_id) for person in people.values() for send_id in person.decided]
    want = expected(day, by_user(day))
    assert pairs(day) == want.keys()
    for decision in decisions:
        pair = Pair(decision.message_id, decision.mapping)
        assert want[pair].row == (decision.outcome, decision.reason, decision.code)
    assert {pair: (each.to, each.sender, each.body) for pair, each in want.items() if each.to} == got


def test_a_phone_counts_only_from_its_identify_on():
    traits = {"phone": PHONE, "first_name": "Ada"}
    assert rows(shipped(1), event(IDENTIFY, 2, traits=traits), shipped(3)) == [
        ("suppressed", "profile_incomplete"),
        ("accepted", "accepted"),
    ]


def test_an_older_identify_that_comes_later_changes_nothing():
    new = event(IDENTIFY, 1, traits={"phone": PHONE, "first_name": "Ada"})
    old = event(IDENTIFY, 2, at_ms=NOW_MS - 3_600_000, traits={"phone": "n/a"})
    assert rows(new, old, shipped(3)) == [("accepted", "accepted")]


def test_a_repeat_keeps_the_outcome_of_its_first_record():
    early = shipped(1)
    assert rows(early, event(IDENTIFY, 2, traits={"phone": PHONE, "first_name": "Ada"}), early) == [
        ("suppressed", "profile_incomplete")
    ]


def notes(*values):
    """Why each pair of these events, read in this order, is not sent."""
    day = small(*values)
    return [want.note for want in expected(day, by_user(day)).values()]


def test_a_missing_phone_is_explained_by_what_had_been_read_then_and_not_by_when_it_was_said():
    """Two topics are read in no fixed order: an identify of an hour before may be read after the track."""
    earlier = event(IDENTIFY, 2, at_ms=NOW_MS - 3_600_000, traits={"phone": PHONE, "first_name": "Ada"})
    nameless = event(IDENTIFY, 3, traits={"first_name": "Ada"})
    assert ["their identify had not been read yet"] == notes(shipped(1), earlier)
    assert ["no identify read by then had one"] == notes(nameless, shipped(1), earlier)
    assert ["they never signed up"] == notes(shipped(1))


def test_no_example_shows_a_whole_number(shop):
    """Examples are printed and end in logs of CI."""
    notes = " ".join(want.note for want in expected(shop, by_user(shop)).values())
    assert not any(number[1:] in notes or written in notes for written, number in shop.numbers.items())


def test_a_flawless_run_has_no_faults(shop, found):
    assert audit(shop, found) == []


def test_a_repeated_outcome_is_no_fault_if_it_is_the_same_to_the_byte(shop, found):
    for copies in found.deliveries.values():
        copies.append(copies[0])
    assert audit(shop, found) == []


def accepted(found):
    """An accepted pair and its record."""
    return next((pair, each[0]) for pair, each in found.deliveries.items() if b'"accepted"' in each[0])


def lose_an_outcome(found):
    del found.deliveries[next(iter(found.deliveries))]


def lose_an_accepted_one_with_its_message(found):
    pair, value = accepted(found)
    del found.deliveries[pair]
    sid = msgspec.json.decode(value)["properties"]["twilio_sid"]
    found.messages = [sms for sms in found.messages if sms.sid != sid]


def decide_twice(found):
    pair, value = accepted(found)
    found.deliveries[pair].append(value.replace(b'"accepted"', b'"failed"'))


def decide_otherwise(found):
    pair, value = accepted(found)
    found.deliveries[pair] = [value.replace(b'"reason":"accepted"', b'"reason":"luck"')]


def decide_what_does_not_match(found):
    pair, value = accepted(found)
    found.deliveries[Pair("another", pair.mapping)] = [value.replace(b'"accepted"', b'"suppressed"')]


def show_a_number(found):
    pair, value = accepted(found)
    sid = msgspec.json.decode(value)["properties"]["twilio_sid"]
    to = next(sms.to for sms in found.messages if sms.sid == sid)
    found.deliveries[pair] = [value.replace(masked(to).encode(), to.encode())]


def send_twice(found):
    found.messages.append(found.messages[0]._replace(sid="SMtwice"))


def send_nothing(found):
    found.messages.pop()


def send_another_text(found):
    found.messages[0] = found.messages[0]._replace(body="Hello")


def send_to_another(found):
    found.messages[0] = found.messages[0]._replace(to="+12025550199")


def claim_one_message_twice(found):
    sids = [sms.sid for sms in found.messages[:2]]
    for copies in found.deliveries.values():
        copies[:] = [each.replace(f'"{sids[1]}"'.encode(), f'"{sids[0]}"'.encode()) for each in copies]
    del found.messages[1]


def lose_a_letter(found):
    found.letters.pop()


def write_a_letter_twice(found):
    found.letters.append(found.letters[0])


def write_a_letter_for_an_event(found):
    found.letters.append(Letter(("events", 3, 99), "bad_request", "", b"{}"))


def name_another_reason(found):
    found.letters[0] = found.letters[0]._replace(reason="luck")


def cut_a_letter(found):
    number = next(number for number, letter in enumerate(found.letters) if letter.value)
    found.letters[number] = found.letters[number]._replace(value=b"")


def hand_on_what_nobody_needs(found):
    found.by_user[0].append(event(IDENTIFY, "x", traits={}))


@pytest.mark.parametrize(
    "harm",
    [
        lose_an_outcome,
        lose_an_accepted_one_with_its_message,
        decide_twice,
        decide_otherwise,
        decide_what_does_not_match,
        show_a_number,
        send_twice,
        send_nothing,
        send_another_text,
        send_to_another,
        claim_one_message_twice,
        lose_a_letter,
        write_a_letter_twice,
        write_a_letter_for_an_event,
        name_another_reason,
        cut_a_letter,
        hand_on_what_nobody_needs,
    ],
    ids=lambda harm: harm.__name__,
)
def test_the_check_fails_when_one_thing_is_wrong(shop, found, harm):
    """A check that can't fail would make the demo a film."""
    harm(found)
    assert audit(shop, found)


def test_the_check_finds_an_event_that_never_reached_by_user(shop, found):
    """Even one that matters to no message: an identify whose person bought nothing."""
    lost = next(item.value for item in shop.items if item.stream == IDENTIFY and not item.junk)
    found.by_user[0] = [value for value in found.by_user[0] if value != lost]
    assert any("lost between" in fault for fault in audit(shop, found))


def stop_refused(shop, found, first):
    """Have the service stop, from the `first` on, what Twilio refused of the number that opted out most."""
    groups = defaultdict(list)
    for pair, said in expected(shop, found.by_user).items():
        if said.reason == "optout":
            groups[said.to, said.sender].append(pair)
    for pair in max(groups.values(), key=len)[first:]:
        text = found.deliveries[pair][0].replace(b'"failed"', b'"suppressed"').replace(b'"optout"', b'"stopped"')
        found.deliveries[pair] = [text.replace(b'"twilio_code":21610', b'"twilio_code":0')]
    return max(map(len, groups.values())) - first


def test_who_opted_out_is_stopped_once_twilio_has_said_so_and_not_before(shop, found):
    assert stop_refused(shop, found, 1) > 0
    assert audit(shop, found) == []
    stop_refused(shop, found, 0)
    assert audit(shop, found)


def test_an_event_handed_on_twice_is_no_fault(shop, found):
    """A router that starts again may do so; the owner recognises it."""
    found.by_user[0].append(found.by_user[0][-1])
    assert audit(shop, found) == []


def test_live_counts_take_each_pair_once(shop, found):
    before = Counter(found.outcomes)
    found.add_delivery(accepted(found)[1])
    assert before == found.outcomes
