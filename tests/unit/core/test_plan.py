"""What an event does to a person, and an answer to an open send: every reason, every order, every repeat."""

from collections import Counter

import pytest
from msgspec.structs import replace

from streamer.core import attempts, leaving, plan
from streamer.core.attempts import Moment
from streamer.core.channels import Sender
from streamer.core.decide import Case
from streamer.core.delivery import ACCEPTED, FAILED, SUPPRESSED, UNKNOWN, Accepted, Origin, Refused, Unknown
from streamer.core.fair import Group
from streamer.core.profile import Update, values
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import RuleDefaults, RuleSet
from streamer.core.sends import send_bytes
from streamer.core.state import DUE_BYTES_MAX, DUE_MAX, SEEN_MAX, WAITING_BYTES_MAX, Person, place_of

NOW_MS = 1_767_225_600_000
MAX_AGE_S = 60.0
SHOP = Sender("shop", "main", number="+15550006789")
SERVICE = Sender("alerts", "second", service_sid="MG" + "0" * 32)
BODY = "Order {{properties.order}} {{properties.note}}"


def at(now_ms, jitter=0.0):
    return Moment("u:1", RuleSet.of(()), now_ms, jitter)


def mapping(name="shipped", body="Order {{properties.order}}", when='event = "Shipped"', wait_s=0.0, **send):
    document = {"when": f'type = "track" and {when}', "send": {"body": body, **send}}
    defaults = RuleDefaults("US", "shop", MAX_AGE_S, wait_s)
    return compile_rule(name, document, {"shop": SHOP, "alerts": SERVICE}, defaults)


def origin(offset=0, event_ms=NOW_MS):
    return Origin("u:1", "events", 0, offset, event_ms, NOW_MS)


def track(number=1, **properties):
    return {
        "type": "track",
        "event": "Shipped",
        "messageId": f"m{number}",
        "properties": {"order": number, **properties},
    }


def with_phone(phone="+15551230001"):
    person = Person()
    person.traits = [Update(1, "m0", {"phone": phone})]
    return person


def apply(person, event, offset=0, mappings=None, now_ms=NOW_MS, event_ms=NOW_MS):
    return plan.apply_event(person, event, origin(offset, event_ms), RuleSet.of(mappings or (mapping(),)), now_ms)


def only(person):
    """The one outcome of a person."""
    [sent] = person.decided
    assert person.out == [sent]
    return person.decision(sent)


# ── deciding ──────────────────────────────────────────────────────────────


def test_a_matched_event_becomes_a_due_send_with_all_it_needs():
    person = with_phone("(555) 123-0001")
    applied = apply(person, track())
    assert (applied.is_changed, applied.matched, applied.repeated) == (True, ("shipped",), ())
    [send] = person.due
    assert (send.message.to, send.message.body) == ("+15551230001", "Order 1")
    assert (send.message.account, send.message.sender_from, send.sender) == ("main", "+15550006789", "shop")
    assert (send.parts, send.attempt, send.is_posting) == (1, 0, False)
    assert send.expires_ms == NOW_MS + 60_000
    assert not person.decided


def test_a_messaging_service_posts_without_a_number_of_its_own():
    person = with_phone()
    apply(person, track(), mappings=(mapping(**{"from": "alerts"}),))
    assert (person.due[0].message.sender_from, person.due[0].message.service_sid) == ("", SERVICE.service_sid)


@pytest.mark.parametrize(
    ("phone", "body", "event_ms", "reason", "detail"),
    [
        (None, "Hi", NOW_MS, "profile_incomplete", "profile.traits.phone"),
        ("", "Hi", NOW_MS, "profile_incomplete", "profile.traits.phone"),
        ("+15551230001", "{{profile.traits.name}}", NOW_MS, "profile_incomplete", "profile.traits.name"),
        ("call me", "Hi", NOW_MS, "bad_number", "not_a_number"),
        ("12", "Hi", NOW_MS, "bad_number", "too_short, read in US (defaults.region)"),
        ("+15551230001", "{{properties.note}}", NOW_MS, "missing_value", "properties.note"),
        ("+15551230001", "{{properties.long}}", NOW_MS, "body_too_long", "1601 characters; at most 1600 can be sent"),
        ("+15551230001", "Hi", NOW_MS - 60_001, "too_old", ""),
        (None, "{{properties.note}}", NOW_MS - 60_001, "too_old", ""),
    ],
)
def test_what_cannot_be_sent_is_suppressed_with_its_reason(phone, body, event_ms, reason, detail):
    person = with_phone(phone) if phone is not None else Person()
    apply(person, track(long="x" * 1601), mappings=(mapping(body=body),), event_ms=event_ms)
    decided = only(person)
    assert (decided.outcome, decided.reason, decided.detail) == (SUPPRESSED, reason, detail)
    assert not person.due
    assert "5551230001" not in decided.to


def test_an_event_just_within_its_age_is_sent():
    person = with_phone()
    apply(person, track(), event_ms=NOW_MS - 60_000)
    assert person.due


def test_the_longest_body_is_sent():
    person = with_phone()
    apply(person, track(long="x" * 1600), mappings=(mapping(body="{{properties.long}}"),))
    assert len(person.due[0].message.body) == 1600


def test_each_matching_mapping_decides_for_itself():
    person = with_phone()
    mappings = (mapping("a"), mapping("b", body=BODY), mapping("c", when='event = "Other"'), mapping("d"))
    applied = apply(person, track(), mappings=mappings)
    assert applied.matched == ("a", "b", "d")
    assert [send.mapping for send in person.due] == ["a", "d"]
    assert only(person).reason == "missing_value"


def test_an_event_that_matches_nothing_changes_nothing():
    person = with_phone()
    applied = apply(person, track(), mappings=(mapping(when='event = "Other"'),))
    assert (applied.is_changed, applied.matched) == (False, ())
    assert not person.seen


def test_an_identify_is_folded_before_it_is_decided():
    person = Person()
    event = {"type": "identify", "traits": {"phone": "+15551230001"}}
    apply(person, event, event_ms=5)
    apply(person, track(), offset=1)
    assert values(person.traits) == {"phone": "+15551230001"}
    assert person.due[0].message.to == "+15551230001"


def test_only_an_identify_is_folded():
    person = Person()
    apply(person, track() | {"traits": {"phone": "+15551230001"}})
    assert not person.traits


def test_traits_too_large_leave_the_profile_as_it_was():
    """An unbounded record would stop a partition."""
    person = with_phone()
    applied = apply(person, {"type": "identify", "traits": {"phone": None, "x": "y" * 25_000}}, event_ms=9)
    assert (applied.is_changed, applied.rejected) == (False, "traits_too_large")
    assert values(person.traits) == {"phone": "+15551230001"}


class Walked(dict):
    """A dict that counts how often it is gone through as a whole."""

    walks = 0

    def __iter__(self):
        self.walks += 1
        return super().__iter__()

    def values(self):
        self.walks += 1
        return super().values()


class Listed(list):
    """A list that counts how often it is gone through, be it to look for something."""

    walks = 0

    def __iter__(self):
        self.walks += 1
        return super().__iter__()

    def __contains__(self, item):
        self.walks += 1
        return super().__contains__(item)


@pytest.mark.parametrize("is_repeated", [False, True])
def test_many_outcomes_of_one_event_take_a_few_passes_over_them(is_repeated):
    """Evicting after each of them took minutes for 1 000, in which the process left its group."""
    mappings = [mapping(f"m{number}") for number in range(100)]
    person = Person()
    if is_repeated:
        apply(person, track(), mappings=mappings)
    person.decided, person.out = Walked(person.decided), Listed(person.out)
    apply(person, track(), mappings=mappings)
    assert person.decided.walks + person.out.walks <= 5
    assert len(person.decided) == len(person.out) == 100


def test_what_is_published_goes_when_one_event_brings_many_outcomes():
    person = Person()
    for number in range(60):
        apply(person, track(number), offset=number)
    person.out.clear()
    apply(person, track(60), offset=60, mappings=[mapping(f"m{number}") for number in range(100)])
    assert list(person.decided) == person.out


def test_an_event_that_decides_nothing_evicts_nothing():
    """It may not be written, and what it repeats must still be there."""
    person = Person()
    apply(person, track(), mappings=[mapping(f"m{number}") for number in range(100)])
    person.out.clear()
    applied = apply(person, track(), mappings=[mapping("m0")])
    assert (applied.is_changed, len(applied.repeated), len(person.decided)) == (False, 1, 100)


# ── repeats ───────────────────────────────────────────────────────────────


def test_a_redelivered_record_repeats_its_published_outcome_and_decides_nothing():
    person = Person()
    apply(person, track())
    person.out.clear()
    before = only_decided(person)
    applied = apply(person, track(), now_ms=NOW_MS + 5)
    assert (applied.is_changed, applied.repeated) == (False, (before.send_id,))
    assert only_decided(person) == before
    assert not person.out


def only_decided(person):
    [sent] = person.decided
    return person.decision(sent)


def test_an_outcome_that_is_on_its_way_is_not_repeated():
    """Its write may not be safe yet: published now and lost in a crash, it would be decided again, differently."""
    person = Person()
    apply(person, track())
    assert apply(person, track()).repeated == ()


def test_a_redelivered_record_whose_send_waits_is_left_alone():
    person = with_phone()
    apply(person, track())
    assert not apply(person, track()).is_changed
    assert len(person.due) == 1
    leaving.begin(person, at(NOW_MS))
    attempts.settle(person, Refused("gateway_busy", kind="retry"), at(NOW_MS, 0.5))
    assert not apply(person, track()).is_changed
    assert len(person.held) == 1
    assert not person.due


def test_a_clients_repeat_is_noted_though_it_decides_nothing():
    """Else, once its decision is evicted, its redelivery would look like a new event and be sent again."""
    person = Person()
    apply(person, track())
    person.out.clear()
    applied = apply(person, track(), offset=8, event_ms=NOW_MS + 9)
    assert applied.is_changed
    assert len(applied.repeated) == 1
    assert person.seen == {"events/0": 8}


def test_what_was_decided_and_evicted_is_not_decided_again_but_a_new_event_is():
    person = Person()
    for number in range(200):
        apply(person, track(number), offset=number)
        person.out.clear()
    count = len(person.decided)
    assert count < 200
    again = apply(person, track(0), offset=0)
    assert (again.is_changed, again.matched, again.repeated) == (False, ("shipped",), ())
    assert apply(person, track(200), offset=200, event_ms=NOW_MS - 50_000).is_changed
    assert len(person.out) == 1


def test_an_event_that_cannot_be_proved_new_gets_an_outcome_and_is_not_sent():
    """Its partition has no room in `seen`: it may be a redelivery, or it may be new, and then it must not vanish."""
    person = with_phone()
    for number in range(SEEN_MAX):
        person.note_seen(f"wide/{number}", 1)
    person.forgotten["shipped"] = NOW_MS
    person.note_seen(place_of(origin(), 0), 0)
    applied = apply(person, track())
    assert (applied.is_changed, applied.matched, applied.repeated) == (True, ("shipped",), ())
    decided = only(person)
    assert (decided.outcome, decided.reason) == (SUPPRESSED, "cannot_prove_new")
    person.out.clear()
    assert apply(person, track()).repeated == (decided.send_id,)
    assert apply(person, track(2), offset=1, event_ms=NOW_MS + 1).is_changed
    assert len(person.due) == 1


# ── what is due at once ───────────────────────────────────────────────────


def reasons(person):
    return Counter(person.decision(sent).reason for sent in person.decided)


def test_no_more_sends_than_fit_into_a_record_are_due_at_once_and_the_rest_has_an_outcome():
    person = with_phone()
    apply(person, track(), mappings=[mapping(f"m{number:03}") for number in range(DUE_MAX + 10)])
    assert [send.mapping for send in person.due] == [f"m{number:03}" for number in range(DUE_MAX)]
    assert reasons(person) == {"too_many_at_once": 10}
    [decided] = {person.decision(sent).to for sent in person.decided}
    assert decided == "+15*******01"


def test_they_are_bounded_in_bytes_too_and_a_smaller_one_still_finds_room():
    person = with_phone()
    long, short = "{{properties.long}}", "Hi"
    mappings = [mapping(f"m{number:02}", body=short if number == 50 else long) for number in range(51)]
    apply(person, track(long="\U0001f600" * 1600), mappings=mappings)
    due_bytes = sum(map(send_bytes, person.due))
    assert DUE_BYTES_MAX - 8_000 < due_bytes <= DUE_BYTES_MAX
    assert person.due[-1].mapping == "m50"
    assert reasons(person) == {"too_many_at_once": 51 - len(person.due)}


def test_sends_that_are_due_already_count():
    person = with_phone()
    for number in range(DUE_MAX + 3):
        apply(person, track(number), offset=number)
    assert len(person.due) == DUE_MAX
    assert reasons(person) == {"too_many_at_once": 3}


def test_a_detail_is_cut_in_bytes_and_stays_text():
    """It repeats what somebody wrote, and a record has room for 1 000 of them."""
    case = Case(mapping(), b"1", origin(), "m1", NOW_MS)
    assert case.suppressed("bad_value", "x" + "é" * 150).detail == "x" + "é" * 99


def test_a_defect_of_ours_costs_one_message_and_has_its_outcome():
    """Else the record would be read again at every start, and its partition would stand still."""

    def broken(_scope):
        raise RuntimeError("Ada's number")

    sound, rule = mapping("sound"), mapping("broken")
    values = tuple((name, replace(value, resolve=broken)) for name, value in rule.action.fields)
    person = with_phone()
    applied = apply(person, track(), mappings=(sound, replace(rule, action=replace(rule.action, fields=values))))
    assert applied.matched == ("broken", "sound")
    assert [send.mapping for send in person.due] == ["sound"]
    assert (only(person).reason, only(person).detail) == ("undecidable", "RuntimeError")


# ── sending ───────────────────────────────────────────────────────────────


def due(count=1, mappings=None):
    person = with_phone()
    for number in range(count):
        apply(person, track(number), offset=number, event_ms=NOW_MS - 1_000 + number, mappings=mappings)
    return person


def test_only_the_first_due_send_is_posted_and_the_others_keep_their_order():
    person = due(3)
    posting = leaving.begin(person, at(NOW_MS))
    assert (posting.message.body, posting.attempt, posting.is_posting, posting.posted_ms) == (
        "Order 0",
        1,
        True,
        NOW_MS,
    )
    assert [(send.message.body, send.is_posting) for send in person.due] == [
        ("Order 0", True),
        ("Order 1", False),
        ("Order 2", False),
    ]


def test_a_send_that_expired_in_line_is_suppressed_as_too_old():
    person = due()
    assert leaving.begin(person, at(NOW_MS - 1_000 + 60_001)) is None
    assert (only(person).outcome, only(person).reason, only(person).attempt) == (SUPPRESSED, "too_old", 0)
    assert not person.due


def test_a_request_that_never_left_does_not_count_as_an_attempt():
    person = due()
    before = person.due[0]
    leaving.begin(person, at(NOW_MS))
    attempts.unbegin(person)
    assert person.due == [before]


@pytest.mark.parametrize(
    ("answer", "outcome", "reason", "more"),
    [
        (Accepted("SM1", "queued"), ACCEPTED, "accepted", {"sid": "SM1", "parts": 1}),
        (Accepted("SM1", "queued", 3), ACCEPTED, "accepted", {"sid": "SM1", "parts": 3}),
        (Refused("optout", 21610, 400, "optout"), FAILED, "optout", {"code": 21610, "detail": "HTTP 400"}),
        (Refused("message", 0, 404), FAILED, "message", {"code": 0, "detail": "HTTP 404"}),
        (Unknown("timeout"), UNKNOWN, "timeout", {"detail": ""}),
        (Unknown("gateway_error", 503, 20503), UNKNOWN, "gateway_error", {"code": 20503, "detail": "HTTP 503"}),
    ],
)
def test_an_answer_gives_the_send_its_outcome(answer, outcome, reason, more):
    person = due(2)
    leaving.begin(person, at(NOW_MS))
    assert attempts.settle(person, answer, at(NOW_MS + 7, 0.5)) is None
    decided = only(person)
    assert (decided.outcome, decided.reason, decided.attempt) == (outcome, reason, 1)
    assert (decided.posted_ms, decided.answered_ms, decided.to) == (NOW_MS, NOW_MS + 7, "+15*******01")
    assert {name: getattr(decided, name) for name in more} == more
    assert [send.message.body for send in person.due] == ["Order 1"]


def test_a_stop_holds_the_send_behind_its_breaker():
    """Nothing is wrong with the message, and somebody will mend what is."""
    person = due()
    leaving.begin(person, at(NOW_MS))
    held = attempts.settle(person, Refused("stop", 20003, 401, "stop", "account"), at(NOW_MS))
    assert (held.reason, held.until_ms, held.attempt, held.code) == ("breaker", 0, 1, 20003)
    assert (person.held, person.decided) == ([held], {})
    assert not attempts.release(person, NOW_MS + 999_999, NOW_MS + 999_999)
    assert attempts.release_queued(person, "main", "shop", Group("shipped", "1 555"))
    assert leaving.begin(person, at(NOW_MS)).attempt == 2


def test_what_stays_stopped_until_it_is_too_old_has_failed_with_the_gateways_code():
    person = due()
    leaving.begin(person, at(NOW_MS))
    attempts.settle(person, Refused("stop", 20003, 401, "stop", "account"), at(NOW_MS))
    attempts.release_queued(person, "main", "shop", Group("shipped", "1 555"))
    assert leaving.begin(person, at(NOW_MS + 60_000)) is None
    assert (only(person).outcome, only(person).reason, only(person).code) == (FAILED, "too_old", 20003)


def test_later_waits_by_its_schedule_and_blocks_nobody():
    person = due(2)
    leaving.begin(person, at(NOW_MS))
    refused = Refused("later", 30003, 400, "later", schedule="once")
    assert attempts.settle(person, refused, at(NOW_MS)) is None, "five minutes are over its max_age of one"
    assert (only(person).outcome, only(person).reason, only(person).code) == (FAILED, "later", 30003)
    assert [send.message.body for send in person.due] == ["Order 1"]


def test_what_may_wait_for_long_is_bounded_and_the_rest_ends():
    """A hot person's sends behind a breaker would fill their record."""
    person = with_phone()
    for number in range(60):
        apply(person, track(number, note="x" * 900), offset=number, mappings=[mapping(body=BODY)])
        attempts.hold(person, at(NOW_MS), "breaker")
    assert person.waiting_bytes() <= WAITING_BYTES_MAX
    reasons = Counter(person.decision(sent).reason for sent in person.decided)
    assert (len(person.held) + reasons["too_many_held"], set(reasons)) == (60, {"too_many_held"})


def busy(person, now_ms=NOW_MS, retry_after_s=2.0):
    leaving.begin(person, at(now_ms))
    return attempts.settle(
        person, Refused("gateway_busy", 20429, 429, "retry", retry_after_s=retry_after_s), at(now_ms)
    )


def test_a_busy_gateway_holds_the_send_and_the_next_attempt_is_counted():
    person = due()
    held = busy(person)
    assert (held.until_ms, held.reason, held.attempt, held.is_posting) == (NOW_MS + 2_000, "gateway_busy", 1, False)
    assert person.held == [held]
    assert not person.due
    assert not person.decided
    assert attempts.release(person, NOW_MS + 2_000, 0)
    assert leaving.begin(person, at(NOW_MS + 2_000)).attempt == 2


def test_a_send_that_would_wait_past_its_age_fails_with_the_gateways_code():
    person = due()
    assert busy(person, retry_after_s=61.0) is None
    assert (only(person).outcome, only(person).reason, only(person).code) == (FAILED, "gateway_busy", 20429)


def test_nothing_is_released_before_its_time():
    person = due()
    busy(person)
    assert not attempts.release(person, NOW_MS + 1_999, NOW_MS + 60_000)
    assert not person.due


def test_released_sends_take_their_place_in_event_order_behind_the_one_that_is_posting():
    person = due(4)
    busy(person, retry_after_s=5.0)
    busy(person, retry_after_s=1.0)
    leaving.begin(person, at(NOW_MS))
    assert attempts.release(person, NOW_MS + 5_000, 0)
    assert [send.message.body for send in person.due] == ["Order 2", "Order 0", "Order 1", "Order 3"]
    assert [send.is_posting for send in person.due] == [True, False, False, False]
    assert all(send.until_ms == 0 and send.reason == "" for send in person.due)


def test_two_sends_of_one_instant_are_ordered_by_their_offset():
    person = with_phone()
    for number in (2, 1):
        apply(person, track(number), offset=number, event_ms=NOW_MS)
    busy(person)
    attempts.release(person, NOW_MS + 2_000, 0)
    assert [send.origin.offset for send in person.due] == [1, 2]


def test_a_posting_found_after_a_crash_is_unknown_and_the_others_go_on():
    """Its request may have left: sending again could text twice."""
    person = due(2)
    leaving.begin(person, at(NOW_MS))
    assert attempts.interrupted(person, at(NOW_MS + 9))
    assert (only(person).outcome, only(person).reason, only(person).attempt) == (UNKNOWN, "interrupted", 1)
    assert [send.message.body for send in person.due] == ["Order 1"]
    assert not attempts.interrupted(person, at(NOW_MS + 9))


def test_held_and_due_sends_found_after_a_crash_were_not_sent():
    person = due(2)
    busy(person)
    assert not attempts.interrupted(person, at(NOW_MS))
    assert (len(person.held), len(person.due)) == (1, 1)


def test_an_outcome_that_cannot_be_stored_leaves_the_send_posting():
    """Else a defect in one answer would lose the send: its event's offset is complete since the intent."""
    huge = Refused("message", code=2**70)
    person = with_phone()
    apply(person, track())
    leaving.begin(person, at(NOW_MS))
    with pytest.raises(OverflowError):
        attempts.settle(person, huge, at(NOW_MS, 0.0))
    assert [True] == [send.is_posting for send in person.due]
    assert ({}, []) == (person.decided, person.out)


def test_a_connection_that_never_opened_is_no_try():
    """An outage of a minute must not cost every message of that minute."""
    person = due()
    now_ms = NOW_MS
    for number in range(1, 12):
        send = leaving.begin(person, at(now_ms))
        assert send.attempt == number
        held = attempts.settle(person, Refused("not_sent", kind="retry"), at(now_ms, 0.99))
        if held is None:
            break
        now_ms = held.until_ms
        attempts.release(person, now_ms, now_ms)
    assert number > 6, "five tries are over after a second and a half"
    assert (only(person).outcome, only(person).reason) == (FAILED, "not_sent")
    assert now_ms <= NOW_MS - 1_000 + 60_000


def test_what_was_refused_before_and_finds_no_room_has_failed():
    person = due()
    leaving.begin(person, at(NOW_MS))
    attempts.settle(person, Refused("gateway_busy", 20429, 429, "retry"), at(NOW_MS))
    attempts.release(person, NOW_MS + 1_000, NOW_MS + 1_000)
    big = replace(person.due[0], id=b"x" * 16, reason="scheduled", until_ms=NOW_MS * 2)
    person.held = [replace(big, message=replace(big.message, body="y" * WAITING_BYTES_MAX))]
    assert attempts.hold(person, at(NOW_MS), "rate") is None
    assert (only(person).outcome, only(person).reason, only(person).code) == (FAILED, "too_many_held", 20429)
