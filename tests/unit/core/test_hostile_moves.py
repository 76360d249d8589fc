"""Records of by-user that strangers wrote: each is a dead letter, none stops an owner or changes a person."""

import msgspec
import pytest
from msgspec.structs import replace

from streamer.core.attempts import Moment
from streamer.core.delivery import Decision, Message, Origin
from streamer.core.handling import handle
from streamer.core.hop import CONSENT, MERGE, Hop
from streamer.core.merging import Moved, take_in
from streamer.core.profile import Update
from streamer.core.rules import RuleSet
from streamer.core.sends import SCHEDULED, Away, Parked, Send
from streamer.core.state import Person, encode
from streamer.errors import BadRecord
from tests.unit.core.town import NOW_MS, Town, identify, rule, track

PHONE = "+15551230001"

RULES = RuleSet.of([rule()])
ORIGIN = Origin("a:d", "in", 0, 1, NOW_MS, NOW_MS)
NOTHING = Moved("a:d", NOW_MS, [], {}, {}, [], {}, [], [], {}, is_suppressed=False)
PARKED = Parked(b"p" * 16, "shipped", RULES.by_id["shipped"].reads_hash, ORIGIN, "m1", b"\x80", "profile.x", NOW_MS)
SEND = Send(b"s" * 16, "shipped", "v", ORIGIN, "m1", Message("main", "sms", "+1", "Hi"), "shop", 1, NOW_MS, NOW_MS)


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def encoded(moved):
    return msgspec.msgpack.encode(moved)


DEEP = b"\x91\x93\x01\xa0\x81\xa1a" + b"\x91" * 5_000 + b"\x90"  # one update, of one trait
MOVES = {
    "traits too deep to be written": encoded(replace(NOTHING, traits=[Update(1, "i", {"a": nested(900)})])),
    "traits too deep to be read": encoded(NOTHING).replace(b"\x90", DEEP, 1),
    "text that is not UTF-8": encoded(NOTHING).replace(b"a:d", b"a\xff\xff"),
    "a state that is none": encoded(replace(NOTHING, consent={"any/sms": ("bogus", 1)})),
    "no source": encoded(replace(NOTHING, source="")),
    "a merged key that is none": encoded(replace(NOTHING, merged={"": 1})),
    "a parked event that is none": encoded(replace(NOTHING, parked=[replace(PARKED, event=b"\xc1")])),
    "a deadline beyond time": encoded(replace(NOTHING, parked=[replace(PARKED, until_ms=2**60)])),
    "a send beyond time": encoded(replace(NOTHING, held=[replace(SEND, until_ms=2**60, reason=SCHEDULED)])),
    "a key for ever": encoded(replace(NOTHING, once={b"s" * 16: (b"k" * 8, NOW_MS, 2**60)})),
    "a key before all time": encoded(replace(NOTHING, once={b"s" * 16: (b"k" * 8, -1, NOW_MS)})),
    "a key too long": encoded(replace(NOTHING, once={b"s" * 16: (b"k" * 9_000, NOW_MS, NOW_MS)})),
    "a send too long": encoded(replace(NOTHING, once={b"s" * 9_000: (b"k" * 8, NOW_MS, NOW_MS)})),
    "a mark too long": encoded(replace(NOTHING, away={b"s" * 16: Away("slow", b"m" * 9_000, 1, 2)})),
    "a send away too long": encoded(replace(NOTHING, away={b"s" * 17: Away("slow", b"m" * 8, 1, 2)})),
    "away beyond time": encoded(replace(NOTHING, away={b"s" * 16: Away("slow", b"m" * 8, 1, 2**60)})),
    "merged from a sender's": encoded(replace(NOTHING, source="s:slow/u:1")),
    "more keys than a person has": encoded(
        replace(NOTHING, once={each.to_bytes(16): (b"k" * 8, NOW_MS, NOW_MS) for each in range(257)})
    ),
    "a number beyond time": encoded(replace(NOTHING, number=2**64 - 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", MOVES)
def test_a_move_that_no_owner_wrote_is_refused_before_it_changes_anything(name):
    person = Person()
    with pytest.raises(BadRecord):
        handle(person, "u:1", Hop(MERGE, ORIGIN, MOVES[name], 1), RULES, NOW_MS)
    assert Person() == person


def test_what_an_owner_wrote_is_taken():
    """The refusals above are of what was changed in it, not of the whole."""
    person = Person()
    moved = replace(NOTHING, traits=[Update(1, "i", {"a": nested(50)})], parked=[PARKED])
    handle(person, "u:1", Hop(MERGE, ORIGIN, encoded(moved), 1), RULES, NOW_MS)
    assert [PARKED.id] == [each.id for each in person.parked]
    encode(person)


@pytest.mark.parametrize("value", [b'{"q":' + b"[" * 9000 + b"]" * 9000 + b"}", b'{"key":"\xff"}', b"[]", b""])
def test_a_statement_of_consent_that_is_none_is_refused(value):
    with pytest.raises(BadRecord):
        handle(Person(), "u:1", Hop(CONSENT, ORIGIN, value), RULES, NOW_MS)


def test_a_move_that_an_erasure_overtook_leaves_no_outcome_and_no_key():
    """The docs promise that outcomes go; and a client's repeat must still not be sent."""
    town = Town().event("a:d", identify(phone=PHONE)).event("a:d", track(1), 5)
    assert [("a:d", "Order 1")] == town.sent
    [decision] = town.person("a:d").decided.values()
    person = Person(erased_ms=NOW_MS + 100)
    moved = replace(NOTHING, decided=[(b"s" * 16, msgspec.msgpack.decode(decision, type=Decision))])
    take_in(person, moved, Moment("u:1", town.rules, NOW_MS + 200))
    assert {} == person.decided
    assert 1 == len(person.passed)
