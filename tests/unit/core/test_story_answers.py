"""A story may say how Twilio answers and who said STOP; all else is accepted."""

import msgspec
import pytest

from streamer.config_outcomes import shipped_outcomes
from streamer.core.channels import Sender
from streamer.core.documents_tests import TestFile
from streamer.core.rehearsal import Rehearsal, Reply
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import RuleDefaults, RuleSet
from streamer.core.story import play

START = "2026-01-31T09:00:00Z"
NUMBER = "+12025550101"
SENDERS = {
    "shop": Sender("shop", "main", number="+15550006789", group="both"),
    "billing": Sender("billing", "main", number="+15550006790"),
}
SHIPPED = {"type": "track", "event": "Shipped"}


def rule(name="shipped", **keys):
    document = {"when": 'type = "track" and event = "Shipped"', "send": {"from": "shop", "body": "Hi"}, **keys}
    return compile_rule(name, document, SENDERS, RuleDefaults("US", "shop", 86_400.0))


def rules_of(*rules):
    groups = {name: sender.stop_group for name, sender in SENDERS.items()}
    return RuleSet.of(rules or (rule(),), outcomes=shipped_outcomes(), stop_groups=groups)


def told(expect, *rules, events=(SHIPPED,), **case):
    """The result of a file's one case."""
    document = {"name": "a", "events": list(events), "expect": expect, **case}
    file = {"at": START, "profile": {"phone": NUMBER}, "tests": [document]}
    story = msgspec.convert(file, TestFile)
    return play(story, story.tests[0], rules_of(*rules))


def happened(result):
    return [(each.kind, each.seen.get("reason", ""), each.seen.get("code", 0)) for each in result.happened]


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        (21610, "fail", "optout"),
        (21211, "fail", "recipient"),
        (21617, "fail", "message"),
        (12400, "unknown", "gateway_error"),
    ],
)
def test_a_refusal_ends_a_message_by_what_its_code_means(code, kind, reason):
    answers = [{"code": code}]
    expect = [{kind: {"mapping": "shipped", "reason": reason, "code": code, "detail": "HTTP 400", "at": "+0s"}}]
    assert told(expect, answers=answers).is_passed


@pytest.mark.parametrize(("code", "kind"), [(400, "fail"), (408, "unknown"), (500, "unknown"), (599, "unknown")])
def test_a_status_may_come_without_a_code(code, kind):
    expect = [{kind: {"mapping": "shipped", "code": 0, "detail": f"HTTP {code}"}}]
    assert told(expect, answers=[{"code": code}]).is_passed


@pytest.mark.parametrize("code", [429, 20429])
def test_what_was_never_processed_is_repeated_at_once_and_given_up_after_five_requests(code):
    assert told([{"send": {"mapping": "shipped", "at": "+0s"}}], answers=[{"code": code, "times": 4}]).is_passed
    failed = {"mapping": "shipped", "reason": "gateway_busy", "code": 0 if code == 429 else code, "at": "+0s"}
    assert told([{"fail": failed}], answers=[{"code": code, "times": 5}]).is_passed


def test_what_may_succeed_later_is_tried_again_at_the_earliest_time_of_its_schedule():
    """14107 waits 5, 10, 20, 40 and 60 minutes."""
    expect = [{"send": {"mapping": "shipped", "at": "+15m"}}]
    assert told(expect, answers=[{"code": 14107, "times": 2}]).is_passed
    failed = [{"fail": {"mapping": "shipped", "reason": "later", "code": 14107, "at": "+135m"}}]
    assert told(failed, answers=[{"code": 14107}]).is_passed


def test_what_was_stopped_goes_again_when_its_breaker_would_try_it():
    """After 5 s, and then after twice as long each time."""
    assert told([{"send": {"mapping": "shipped", "at": "+15s"}}], answers=[{"code": 21606, "times": 2}]).is_passed
    late = rule(max_age="1m")
    failed = [{"fail": {"mapping": "shipped", "reason": "too_old", "code": 21606, "at": "+75s"}}]
    assert told(failed, late, answers=[{"code": 21606}]).is_passed


def test_what_is_tried_instead_of_a_refused_message_is_the_one_that_is_sent():
    instead = rule(**{"else": [{"on": ["stop"], "send": {"from": "billing", "body": "Then so"}}]})
    expect = [{"send": {"mapping": "shipped", "from": "billing", "body": "Then so", "at": "+0s"}}]
    assert told(expect, instead, answers=[{"from": "shop", "code": 21606}]).is_passed


@pytest.mark.parametrize("of", [{"mapping": "other"}, {"to": "+12025550102"}, {"from": "billing"}])
def test_an_answer_is_for_what_it_names_alone(of):
    assert told([{"send": {"mapping": "shipped"}}], answers=[{"code": 21610, **of}]).is_passed
    assert told([{"send": {"mapping": "shipped"}}], answers=[{"code": 21610, **of, "to": NUMBER + "0"}]).is_passed


def test_of_several_answers_the_first_that_is_not_used_up_counts():
    answers = [{"code": 21211, "times": 1}, {"to": NUMBER, "code": 21617, "times": 1}]
    result = told([], answers=answers, events=[SHIPPED] * 3)
    assert [("fail", "recipient", 21211), ("fail", "message", 21617), ("send", "", 0)] == happened(result)


@pytest.mark.parametrize(("group", "is_stopped"), [("both", True), ("*", True), ("shop", False), ("billing", False)])
def test_who_said_stop_is_not_written_to_by_any_sender_of_that_group(group, is_stopped):
    suppressed, sent = {"suppress": {"mapping": "shipped", "reason": "stopped"}}, {"send": {"mapping": "shipped"}}
    expect = [suppressed if is_stopped else sent]
    assert told(expect, stopped=[{"number": NUMBER, "group": group}]).is_passed


def test_a_refusal_as_opted_out_stops_whatever_else_goes_to_that_number():
    """To the senders of its group alone."""
    other = rule("spare", send={"from": "billing", "body": "Hi"}, when='event = "Other"')
    answers = [{"code": 21610, "times": 1}]
    events = [SHIPPED, {**SHIPPED, "userId": "sister", "context": {"traits": {"phone": NUMBER}}}]
    events.append({"type": "track", "event": "Other"})
    result = told([], rule(), other, events=events, answers=answers)
    assert [("fail", "optout", 21610), ("suppress", "stopped", 0), ("send", "", 0)] == happened(result)


def test_what_is_counted_with_its_number_ends_once():
    """Its outcome is decided in the number's record, and told to the person's."""
    shared = rule(limits=[{"count": 1, "per": "1h", "over": "number"}])
    result = told([], shared, answers=[{"code": 21211}])
    assert [("fail", "recipient", 21211)] == happened(result)


def test_a_case_may_say_otherwise_than_its_file_who_said_stop():
    case = {"name": "a", "events": [SHIPPED], "expect": []}
    file = {"profile": {"phone": NUMBER}, "stopped": [{"number": NUMBER}]}
    story = msgspec.convert({**file, "tests": [case, {**case, "name": "b", "stopped": []}]}, TestFile)
    results = [play(story, each, rules_of()) for each in story.tests]
    assert [[("suppress", "stopped", 0)], [("send", "", 0)]] == [happened(each) for each in results]


def test_a_stop_that_comes_while_a_message_waits_ends_it():
    story = Rehearsal(rules_of(rule(send={"from": "shop", "body": "Hi", "delay": "1h"})), 1_769_850_000_000)
    story.know("u:1", {"phone": NUMBER})
    story.feed(msgspec.json.encode({**SHIPPED, "userId": "1", "timestamp": START}))
    story.stops.put(f"{NUMBER}/*".encode(), b"{}")
    assert story.finish(story.now_ms + 86_400_000)
    assert ([], ["stopped"]) == (story.sent, [each.decision.reason for each in story.suppressed])


def test_what_a_message_waited_for_can_be_expected():
    daily = rule(limits=[{"count": 1, "per": "1h"}])
    expect = [
        {"send": {"mapping": "shipped", "held_for": ""}},
        {"send": {"mapping": "shipped", "held_for": "limit 1 per 1h over mapping", "at": "+1h"}},
    ]
    assert told(expect, daily, events=[SHIPPED, SHIPPED]).is_passed
    wrong = [*expect[:1], {"send": {"mapping": "shipped", "held_for": "quiet_hours"}}]
    assert ("held_for",) == told(wrong, daily, events=[SHIPPED, SHIPPED]).mismatches[0].wrong


def test_a_definite_refusal_gives_its_limit_back_and_an_unknown_one_keeps_it():
    daily = rule(limits=[{"count": 1, "per": "1h", "when_full": "drop"}])
    refused = told([], daily, events=[SHIPPED, SHIPPED], answers=[{"code": 21211, "times": 1}])
    assert [("fail", "recipient", 21211), ("send", "", 0)] == happened(refused)
    unknown = told([], daily, events=[SHIPPED, SHIPPED], answers=[{"code": 12400, "times": 1}])
    assert [("unknown", "gateway_error", 12400), ("suppress", "limit", 0)] == happened(unknown)


def test_a_retry_that_falls_into_the_night_waits_for_the_morning():
    hours = {"open": {"daily": "08:00-09:03"}, "zone": "UTC"}
    expect = [{"send": {"mapping": "shipped", "at": "2026-02-01T08:00:00Z", "held_for": "quiet_hours"}}]
    at_night = rule(quiet_hours=hours, max_age="2d")
    answers = [{"code": 14107, "times": 1}]
    profile = {"phone": NUMBER, "timezone": "UTC"}
    assert told(expect, at_night, answers=answers, profile=profile).is_passed
    late = rule(quiet_hours=hours, max_age="1h")
    detail = "in UTC, which lasts longer than max_age"
    failed = [{"fail": {"mapping": "shipped", "reason": "quiet_hours", "code": 14107, "detail": detail, "at": "+5m"}}]
    assert told(failed, late, answers=answers, profile=profile).is_passed


def test_a_retry_that_finds_a_limit_full_waits_until_it_is_not():
    """The refused one gave its place back, and another took it meanwhile."""
    hourly = rule(limits=[{"count": 1, "per": "1h"}])
    events = [SHIPPED, {**SHIPPED, "at": "+1m"}]
    expect = [
        {"send": {"mapping": "shipped", "at": "+1m", "held_for": ""}},
        {"send": {"mapping": "shipped", "at": "+61m", "held_for": "limit 1 per 1h over mapping"}},
    ]
    assert told(expect, hourly, events=events, answers=[{"code": 14107, "times": 1}]).is_passed


def test_a_message_that_twilio_holds_hides_no_later_time_of_its_person():
    """What is followed has a time too, at which nothing is due here."""
    senders = {**SENDERS, "service": Sender("service", "main", service_sid="MG" + "0" * 32)}
    document = {"when": 'event = "Shipped"', "send": {"from": "service", "body": "Hi", "delay": "1h"}}
    then = compile_rule("then", document, senders, RuleDefaults("US", "shop", 86_400.0))
    expect = [
        {"send": {"mapping": "then", "at": "+1h"}},
        {"send": {"mapping": "shipped", "at": "+2h"}},
    ]
    assert told(expect, then, rule(send={"from": "shop", "body": "Hi", "delay": "2h"})).is_passed


def test_replies_of_a_number_of_times_are_used_up_by_requests_alone():
    """Not by what is held or suppressed before it is asked for."""
    replies = [Reply(21211, times=1)]
    story = Rehearsal(rules_of(), 1_769_850_000_000, replies=replies)
    story.know("u:1", {"phone": "no number"})
    story.feed(msgspec.json.encode({**SHIPPED, "userId": "1"}))
    story.know("u:2", {"phone": NUMBER})
    story.feed(msgspec.json.encode({**SHIPPED, "userId": "2"}))
    assert ["suppressed", "failed"] == [each.decision.outcome for each in story.ended]
