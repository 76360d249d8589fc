"""What an operator sees of a record: where each trait comes from, who is linked, what waits, what was sent."""

from streamer.core.delivery import ACCEPTED, Decision, Message, Origin
from streamer.core.profile import Update
from streamer.core.profile_view import (
    AwayView,
    ConsentView,
    ErasedView,
    HeldView,
    LinkView,
    MergedView,
    ParkedView,
    SendView,
    TraitView,
    owner_of,
    view_of,
)
from streamer.core.sends import Away, Parked, Send
from streamer.core.state import Person

NUMBER = "+14155550100"
ORIGIN = Origin("u:ada", "events", 0, 7, 1_000, 1_000)


def decision(number: int) -> Decision:
    return Decision(
        *(b"%d" % number, "shipped", "v", ORIGIN, f"m{number}", ACCEPTED, "accepted", 1_000 + number),
        sid=f"SM{number}",
        channel="sms",
        to="+14*******00",
    )


def send(*, until_ms=0, is_posting=False, reason="") -> Send:
    message = Message("main", "sms", NUMBER, "Hi")
    return Send(
        *(b"s", "later", "v", ORIGIN, "m8", message, "shop", 1, 1_000, 9_000),
        until_ms=until_ms,
        is_posting=is_posting,
        reason=reason,
    )


def test_each_trait_names_the_identify_that_set_it_a_deleted_one_too():
    person = Person(traits=[Update(5, "m1", {"phone": NUMBER, "age": 3}), Update(9, "e/0/4", {"email": None})])
    assert [
        TraitView("age", 3, 5, "m1"),
        TraitView("email", None, 9, "e/0/4"),
        TraitView("phone", NUMBER, 5, "m1"),
    ] == view_of("u:ada", person).traits


def test_the_last_sends_come_newest_first_and_no_more_than_asked_for():
    person = Person()
    person.decide(*(decision(number) for number in (2, 9, 4)))
    view = view_of("u:ada", person, sends_max=2)
    first = SendView("shipped", "accepted", "accepted", "", 1_009, "sms", "+14*******00", "SM9", 0, "m9")
    assert first == view.last_sends[0]
    assert ["SM9", "SM4"] == [each.twilio_sid for each in view.last_sends]


def test_what_one_partition_sends_for_its_sender_is_named_by_sender_and_send():
    """It lies under another key, as does what is known of its attempts."""
    view = view_of("u:ada", Person(away={b"\x01" * 16: Away("slow", b"m" * 8, 1, 2)}))
    assert [AwayView("slow", "01" * 16)] == view.away


def test_what_waits_says_for_what_and_until_when_and_shows_no_number():
    person = Person(
        due=[send(is_posting=True)],
        held=[send(until_ms=5_000, reason="scheduled")],
        parked=[Parked(b"p", "shipped", 0, ORIGIN, "m7", b"", "profile.traits.phone", 4_000)],
    )
    view = view_of("u:ada", person)
    assert [ParkedView("shipped", "profile.traits.phone", 4_000, 1_000, "m7", "profile_incomplete")] == view.parked
    to = "+14*******00"
    assert [
        HeldView("later", "", 0, 0, True, "sms", to, 1_000, "m8"),
        HeldView("later", "scheduled", 5_000, 0, False, "sms", to, 1_000, "m8"),
    ] == view.held


def test_sends_that_go_on_after_their_outcome_are_shown_apart_from_what_waits():
    """Whoever looks up a person for an "SMS Unknown" finds the id to resolve it by."""
    person = Person(held=[send(reason="rate")], followed=[send(reason="unknown", until_ms=5_000)])
    view = view_of("u:ada", person)
    assert [(b"s".hex(), "unknown", 5_000, "+14*******00")] == [
        (each.send_id, each.state, each.until_ms, each.to) for each in view.followed
    ]
    assert ["rate"] == [each.reason for each in view.held]


def test_links_merges_consent_and_an_erasure_are_shown():
    person = Person(
        links=[(1, "u:ada"), (2, ""), (3, "u:bob")],
        merged={"a:1": 77, "#1f2e": 78},  # the hash of one that was forgotten
        consent={"any/any": ("subscribed", 6)},
        erased_ms=4,
        keep_ms=8,
        is_suppressed=True,
    )
    view = view_of("a:9", person)
    assert [LinkView("u:ada", 1), LinkView(None, 2), LinkView("u:bob", 3)] == view.links
    assert [MergedView("a:1", 77)] == view.merged
    assert [ConsentView("any/any", "subscribed", 6)] == view.consent
    assert ErasedView(4, 8, is_suppressed=True) == view.erased
    assert view_of("a:9", Person()).erased is None


def test_a_key_belongs_to_whom_it_was_linked_last():
    assert "u:ada" == owner_of("u:ada", Person())
    assert "u:bob" == owner_of("a:1", Person(links=[(1, "u:ada"), (2, "u:bob")]))
    assert "" == owner_of("a:1", Person(links=[(1, "")]))
