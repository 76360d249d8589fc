"""What each answer of Twilio's means: written down here by hand from its dictionary, not read from the table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.config_outcomes import shipped_outcomes
from streamer.core.delivery import Refused, Unknown
from streamer.core.outcomes import INFO, KINDS, LATER, SCOPES, STOP, Verdict
from streamer.core.retry import SCHEDULES

SHIPPED = shipped_outcomes()

# The rows of the dictionary: its codes, and kind, scope and schedule.
ROWS = [
    ("10001 20005 90010 30002", "stop", "account", ""),
    ("20001 20422", "message", "", ""),
    ("20003 20403 20006", "stop", "account", ""),
    ("20008", "stop", "account", ""),
    ("20404", "stop", "account", ""),
    ("20429", "retry", "", ""),
    ("20500 20503 12400", "unknown", "", ""),
    ("21730", "later", "", "minutes"),
    ("14107", "later", "", "minutes"),
    ("21201 21604", "message", "", ""),
    ("21211 21217 21421 21401", "recipient", "", ""),
    ("21212 21606 21603 21659 21910", "stop", "sender", ""),
    ("21214 21612", "recipient", "", ""),
    ("21408", "stop", "region", ""),
    ("21602 21619", "message", "", ""),
    ("21607 21608 21219", "stop", "account", ""),
    ("21609", "stop", "account", ""),
    ("21610", "optout", "", ""),
    ("21611", "later", "", "queue"),
    ("21614 21635", "recipient", "", ""),
    ("21617 21605", "message", "", ""),
    ("21618", "message", "", ""),
    ("21620 21623 12300", "message", "", ""),
    ("21621 21622", "stop", "sender", ""),
    ("21624 90007 90014 30012 30013 30045", "message", "", ""),
    ("21654 21656 21658 92006 92007", "message", "", ""),
    ("21655", "stop", "mapping", ""),
    ("21664 21666 21667", "stop", "sender", ""),
    ("21701 21702 21704 21705 21712", "stop", "sender", ""),
    ("21703", "recipient", "", ""),
    ("21708 21709 21711", "stop", "sender", ""),
    ("30001", "later", "", "queue"),
    ("30003", "later", "", "unreachable"),
    ("30004", "recipient", "", ""),
    ("30005 30006", "recipient", "", ""),
    ("30007", "message", "", ""),
    ("30008", "later", "", "once"),
    ("30010", "message", "", ""),
    ("30011", "recipient", "", ""),
    ("30014 30015 30016", "message", "", ""),
    ("30017 30410", "later", "", "minutes"),
    ("30018 30024 30040 30041", "stop", "sender", ""),
    ("30019 11751 63034", "message", "", ""),
    ("30020 30021 30047", "later", "", "minutes"),
    ("30022", "later", "", "minutes"),
    ("30023 30027", "later", "", "pacific_day"),
    ("30025 30026", "info", "", ""),
    ("30029 30030 30031", "message", "", ""),
    ("30032 30033 30034 30035 30037", "stop", "sender", ""),
    ("30036", "message", "", ""),
    ("30038 30043", "message", "", ""),
    ("30103", "message", "", ""),
    ("30409", "info", "", ""),
    ("30450", "later", "", "half_hour"),
    ("30454 63038", "later", "", "utc_day"),
    ("30485", "recipient", "", ""),
    ("30610", "later", "", "hour"),
    ("30640", "optout", "", ""),
    ("35111 35112 35113 35114 35115 35116 35117 35118", "message", "", ""),
    ("35119 35120 35121 35122 35123 35124 35126", "message", "", ""),
    ("35125", "later", "", "hour"),
    ("63001 63008 63020 63051", "stop", "sender", ""),
    ("63002 63007", "stop", "sender", ""),
    ("63003 63024", "recipient", "", ""),
    ("63005 63006 63013 63021 63028 63030", "message", "", ""),
    ("63009 63010 63012", "later", "", "minutes"),
    ("63014 63033", "optout", "", ""),
    ("63015", "recipient", "", ""),
    ("63016", "message", "", ""),
    ("63017", "later", "", "minutes"),
    ("63018", "later", "", "day"),
    ("63119", "later", "", "hour"),
    ("63019", "message", "", ""),
    ("63026", "stop", "sender", ""),
    ("63027 63029 63040 63041 63042", "stop", "mapping", ""),
    ("63032", "recipient", "", ""),
    ("63036", "recipient", "", ""),
    ("63049", "later", "", "day"),
]
EACH = [
    (int(code), kind, scope, schedule)
    for codes, *rest in ROWS
    for code in codes.split()
    for kind, scope, schedule in [rest]
]


@pytest.mark.parametrize(("code", "kind", "scope", "schedule"), EACH)
def test_each_code_means_what_the_dictionary_says(code, kind, scope, schedule):
    """By callback, and in an answer of 400 alike."""
    verdict = SHIPPED.of_code(code)
    assert (kind, scope, schedule) == (verdict.kind, verdict.scope, verdict.schedule)
    answer = SHIPPED.refusal(400, code)
    if kind == "unknown":
        assert Unknown("gateway_error", 400, code) == answer
    else:
        refused_as = {"retry": ("gateway_busy", "retry"), "info": ("message", "message")}.get(kind, (kind, kind))
        assert Refused(refused_as[0], code, 400, refused_as[1], scope, schedule) == answer


def test_the_table_has_these_codes_and_no_other():
    """A code that slips in unseen would be acted on without anybody having looked at it."""
    assert {code for code, *_ in EACH} == set(SHIPPED.codes)
    assert len(EACH) == len(SHIPPED.codes) == 171


@pytest.mark.parametrize("verdict", [*SHIPPED.codes.values(), *SHIPPED.families.values()])
def test_every_verdict_of_the_table_is_whole(verdict):
    """A stop without scope would stop nothing, and a later without schedule would never come."""
    assert verdict.kind in (*KINDS, INFO)
    assert (verdict.kind == STOP) == (verdict.scope in SCOPES)
    assert (verdict.kind == LATER) == (verdict.schedule in SCHEDULES)
    assert verdict.note


FAMILIES = {
    20999: ("stop", "account", ""),
    21999: ("message", "", ""),
    30999: ("later", "", "once"),
    63999: ("message", "", ""),
}


@pytest.mark.parametrize(("code", "expected"), FAMILIES.items())
def test_an_unlisted_code_means_what_its_family_does(code, expected):
    """Twilio adds codes without notice."""
    verdict = SHIPPED.of_code(code)
    assert expected == (verdict.kind, verdict.scope, verdict.schedule)
    assert Refused(expected[0], code, 400, *expected) == SHIPPED.refusal(400, code)


@pytest.mark.parametrize("code", [0, 7, 35200, 45000, 92099, 10**9])
def test_a_code_of_no_family_fails_its_message(code):
    """Whatever is not known to help is not tried again."""
    assert "message" == SHIPPED.of_code(code).kind
    assert Refused("message", code, 400, "message") == SHIPPED.refusal(400, code)


STATUSES = {
    400: Refused("message", 0, 400, "message"),
    401: Refused("stop", 0, 401, "stop", "account"),
    403: Refused("stop", 0, 403, "stop", "account"),
    404: Refused("stop", 0, 404, "stop", "account"),
    405: Refused("message", 0, 405, "message"),
    408: Unknown("gateway_error", 408),
    422: Refused("message", 0, 422, "message"),
    429: Refused("gateway_busy", 0, 429, "retry"),
    500: Unknown("gateway_error", 500),
    502: Unknown("gateway_error", 502),
    503: Unknown("gateway_error", 503),
    504: Unknown("gateway_error", 504),
}


@pytest.mark.parametrize(("status", "expected"), STATUSES.items())
def test_without_a_code_the_status_decides(status, expected):
    assert expected == SHIPPED.refusal(status, 0)


@pytest.mark.parametrize("status", [400, 429, 500, 503])
def test_too_many_concurrent_requests_is_always_tried_again(status):
    """Twilio has not processed it, whatever the status says."""
    assert Refused("gateway_busy", 20429, status, "retry", retry_after_s=2.0) == SHIPPED.refusal(status, 20429, 2.0)


@pytest.mark.parametrize(("code", "schedule"), [(63038, "utc_day"), (21611, "queue"), (14107, "minutes")])
def test_another_limit_that_comes_as_429_waits_for_its_own_time(code, schedule):
    """To try a full queue or a spent day again within seconds uses up the tries."""
    assert Refused("later", code, 429, "later", "", schedule, 9.0) == SHIPPED.refusal(429, code, 9.0)


@pytest.mark.parametrize("code", [20999, 21999, 30999, 45000])
def test_429_says_more_than_an_unlisted_codes_family(code):
    """A new limit of Twilio's must neither stop the account nor fail its messages."""
    assert Refused("gateway_busy", code, 429, "retry") == SHIPPED.refusal(429, code)


def test_401_says_more_than_an_unlisted_codes_family():
    """Every further request would be refused like this one."""
    assert Refused("stop", 21999, 401, "stop", "account") == SHIPPED.refusal(401, 21999)
    assert Refused("message", 21999, 403, "message") == SHIPPED.refusal(403, 21999)


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_a_server_error_with_the_code_of_a_refusal_is_a_refusal(status):
    assert Refused("optout", 21610, status, "optout") == SHIPPED.refusal(status, 21610)


@pytest.mark.parametrize("code", [20500, 20503, 12400, 20999, 21999, 30999, 45000, 30025])
@pytest.mark.parametrize("status", [302, 408, 500, 503])
def test_a_server_error_with_any_other_code_is_unknown(status, code):
    """A guess by family is no proof that nothing was created."""
    assert Unknown("gateway_error", status, code) == SHIPPED.refusal(status, code)


@given(st.integers(100, 599).filter(lambda status: not 400 <= status < 500), st.integers(0, 99_999))
def test_only_a_listed_code_makes_a_refusal_of_a_status_that_is_none(status, code):
    """What is called refused may be sent again."""
    answer = SHIPPED.refusal(status, code)
    assert isinstance(answer, Unknown) or code in {code for code, *_ in EACH}


@given(st.integers(400, 499), st.integers(0, 99_999))
def test_only_a_request_that_was_never_processed_is_tried_again_at_once(status, code):
    answer = SHIPPED.refusal(status, code)
    is_retry = isinstance(answer, Refused) and answer.kind == "retry"
    assert not is_retry or code == 20429 or status == 429


def test_an_override_replaces_one_code_or_the_rest_of_a_family():
    ours = SHIPPED.with_overrides(
        {"30003": Verdict("recipient"), "30xxx": Verdict("message"), "45000": Verdict("optout")}
    )
    assert Refused("recipient", 30003, 400, "recipient") == ours.refusal(400, 30003)
    assert Refused("message", 30999, 400, "message") == ours.refusal(400, 30999)
    assert Refused("optout", 45000, 500, "optout") == ours.refusal(500, 45000)  # who names a code knows it
    assert Refused("retry", 21603, 400, "retry") == SHIPPED.with_overrides({"21603": Verdict("retry")}).refusal(
        400, 21603
    )
    assert ("later", "once") == (ours.of_code(30008).kind, ours.of_code(30008).schedule)
    assert SHIPPED.of_code(21999) == ours.of_code(21999)
    assert "later" == SHIPPED.of_code(30003).kind  # the table itself is as it was
