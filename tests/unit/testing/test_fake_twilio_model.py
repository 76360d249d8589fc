"""The fake's ledger: statuses by age, lists, cancellation, bounds."""

import pytest

from streamer.testing.fake_twilio_model import SERVICE_NUMBER, Ledger, Order, Query, Step, rfc2822

SENDER = "+15550006789"
SERVICE = "MG" + "0" * 32
SCRIPT = (Step("queued", 1), Step("sent", 2), Step("undelivered", 3, 30003))
T0_MS = 1_692_853_305_000


def order(to="+15551230001", sender=SENDER, service_sid=None, send_at_ms=0, body="Hi"):
    return Order(to=to, sender=sender, service_sid=service_sid, body=body, send_at_ms=send_at_ms)


@pytest.fixture
def ledger():
    return Ledger("AC" + "0" * 32, SCRIPT)


def listed(ledger, query, now_ms=T0_MS):
    return list(ledger.newest_first(query, now_ms, now_ms))


def test_a_status_follows_the_script(ledger):
    sid = ledger.create(order(), T0_MS).sid
    ages = {0: "queued", 1_500: "queued", 2_000: "sent", 3_000: "undelivered", 10**6: "undelivered"}
    assert {age: ledger.find(sid, T0_MS + age).status for age in ages} == ages
    shown = ledger.resource(ledger.find(sid, T0_MS + 10**6))
    assert (shown["error_code"], shown["date_sent"]) == (30003, "Thu, 24 Aug 2023 05:01:47 +0000")


def test_a_services_message_has_a_sender_once_it_is_queued(ledger):
    message = ledger.create(order(sender=None, service_sid=SERVICE), T0_MS)
    first = ledger.resource(message)
    later = ledger.resource(ledger.settle(message, T0_MS + 1_000))
    fields = ("status", "from", "num_segments")
    assert [first[name] for name in fields] == ["accepted", None, "0"]
    assert [later[name] for name in fields] == ["queued", SERVICE_NUMBER, "1"]


def test_a_scheduled_message_starts_at_its_time(ledger):
    message = ledger.create(order(sender=None, service_sid=SERVICE, send_at_ms=T0_MS + 60_000), T0_MS)
    assert ledger.settle(message, T0_MS + 59_999).status == "scheduled"
    assert ledger.settle(message, T0_MS + 62_000).status == "sent"


def test_what_was_sent_cannot_be_cancelled(ledger):
    message = ledger.create(order(), T0_MS)
    assert not ledger.cancel(message, T0_MS + 2_000)
    assert message.status == "sent"


def test_a_cancelled_message_stays_so(ledger):
    message = ledger.create(order(), T0_MS)
    assert ledger.cancel(message, T0_MS)
    assert ledger.cancel(message, T0_MS + 1)
    assert ledger.settle(message, T0_MS + 10**6).status == "canceled"


def test_a_list_is_newest_first_and_filters_by_both_ends(ledger):
    mine = [ledger.create(order(), T0_MS) for _ in range(3)]
    ledger.create(order(to="+15551230002"), T0_MS)
    ledger.create(order(sender="+15550006790"), T0_MS)
    assert listed(ledger, Query(to="+15551230001", sender=SENDER)) == mine[::-1]
    assert len(listed(ledger, Query())) == 5


def test_a_list_by_time_sent_leaves_out_what_was_not_sent(ledger):
    """Why an unknown outcome cannot be looked for by DateSent."""
    ledger.create(order(), T0_MS)
    query = Query(sent=(T0_MS, T0_MS + 2_001))
    assert listed(ledger, query, T0_MS + 1_999) == []
    assert len(listed(ledger, query, T0_MS + 2_000)) == 1
    assert listed(ledger, Query(sent=(0, T0_MS)), T0_MS + 2_000) == []


def test_a_list_shows_nothing_younger_than_allowed(ledger):
    old, _young = ledger.create(order(), T0_MS), ledger.create(order(), T0_MS + 1)
    assert list(ledger.newest_first(Query(), T0_MS, T0_MS + 5_000)) == [old]


def test_a_deleted_message_leaves_lists_but_not_the_ledger(ledger):
    message = ledger.create(order(), T0_MS)
    message.is_deleted = True
    assert ledger.find(message.sid, T0_MS) is None
    assert listed(ledger, Query(to=message.to)) == []
    assert list(ledger.all_messages()) == [message]


def test_a_full_ledger_forgets_the_oldest():
    ledger = Ledger("AC" + "0" * 32, SCRIPT, messages_max=2)
    first, second, third = (ledger.create(order(body=str(n)), T0_MS) for n in range(3))
    assert list(ledger.all_messages()) == [second, third]
    assert ledger.find(first.sid, T0_MS) is None
    assert listed(ledger, Query(to=first.to)) == [third, second]
    assert (ledger.created, third.number) == (3, 3)


def test_sids_are_unique_and_tell_media():
    ledger = Ledger("AC" + "0" * 32)
    media = Order(to="+15551230001", sender=SENDER, service_sid=None, body="", media=("https://example.com/1.png",))
    sids = [ledger.create(each, T0_MS).sid for each in (order(), order(), media)]
    assert [sid[:2] for sid in sids] == ["SM", "SM", "MM"]
    assert len(set(sids)) == 3


def test_dates_are_rfc_2822():
    assert rfc2822(T0_MS // 1000) == "Thu, 24 Aug 2023 05:01:45 +0000"
