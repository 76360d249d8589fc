"""Who said STOP is kept by number and group of senders, in a form that people can read and write."""

import pytest

from streamer.core.suppressions import EVERYONE, Suppression, Suppressions, decode, encode, key_of, read_key
from streamer.errors import BadRecord

ADA, BOB = "+14155550100", "+14155550101"
SAID = encode(Suppression(1, "21610", "ab" * 16))


def stopped(*keys):
    made = Suppressions()
    for key in keys:
        made.put(key, SAID)
    return made


def test_a_stop_is_about_one_number_and_one_group():
    known = stopped(key_of(ADA, "alerts"))
    assert known.stops(ADA, "alerts")
    assert not known.stops(BOB, "alerts")
    assert not known.stops(ADA, "shop")


def test_a_stop_to_everyone_is_about_every_group():
    known = stopped(key_of(ADA, EVERYONE))
    assert [known.stops(ADA, group) for group in ("alerts", "shop", EVERYONE)] == [True] * 3
    assert not known.stops(BOB, "shop")


def test_a_tombstone_lifts_a_stop_of_its_own_key_only():
    known = stopped(key_of(ADA, "alerts"), key_of(BOB, "alerts"), key_of(ADA, EVERYONE))
    known.put(key_of(ADA, EVERYONE), None)
    assert [known.stops(ADA, "alerts"), known.stops(ADA, "shop"), known.stops(BOB, "alerts")] == [True, False, True]
    known.put(key_of(ADA, "alerts"), None)
    known.put(key_of(ADA, "never-heard-of"), None)
    assert not known.stops(ADA, "alerts")


def test_its_length_counts_each_key_once():
    known = stopped(key_of(ADA, "alerts"), key_of(ADA, "alerts"), key_of(ADA, "shop"), key_of(BOB, EVERYONE))
    assert len(known) == 3
    for _ in range(2):
        known.put(key_of(ADA, "shop"), None)
    assert len(known) == 2


def test_a_record_is_readable_json_under_a_readable_key():
    """Whoever imports a list of opt-outs writes these by hand."""
    assert key_of(ADA, "alerts") == b"+14155550100/alerts"
    assert read_key(key_of(ADA, "alerts")) == (ADA, "alerts")
    assert encode(Suppression(5, "21610", "ab")) == b'{"at_ms":5,"reason":"21610","source":"ab"}'
    assert decode(b"{}") == Suppression(0, "import", "")
    assert decode(b'{"reason":"complained","by":"Eve"}') == Suppression(0, "complained", "")


@pytest.mark.parametrize(
    "key",
    [
        None,
        b"",
        b"+14155550100",
        b"+14155550100/",
        b"/alerts",
        b"14155550100/alerts",
        b"+04155550100/alerts",
        b"+1 415/alerts",
        b"+1_415/alerts",
        b"+" + b"1" * 16 + b"/alerts",
        b"+14155550100/al/erts",
        b"+14155550100/al erts",
        b"+14155550100/" + b"g" * 65,
        b"+14155550100/\xff",
        "+١٤١٥٥٥٥/alerts".encode(),
    ],
)
def test_a_key_that_is_not_a_number_and_a_group_is_refused_without_its_number(key):
    known = Suppressions()
    with pytest.raises(BadRecord) as refused:
        known.put(key, SAID)
    assert "5550100/" not in str(refused.value).replace("+14155550100/alerts", "")
    assert len(known) == 0


@pytest.mark.parametrize(
    "value", [b"", b"STOP", b"[]", b'{"at_ms":-1}', b'{"at_ms":"1"}', b'{"reason":"' + b"x" * 65 + b'"}', b"\xff"]
)
def test_a_value_of_another_shape_is_refused_and_changes_nothing(value):
    known = stopped(key_of(ADA, "alerts"))
    with pytest.raises(BadRecord):
        known.put(key_of(BOB, "alerts"), value)
    with pytest.raises(BadRecord):
        known.put(key_of(ADA, "alerts"), value)
    assert (len(known), known.stops(ADA, "alerts"), known.stops(BOB, "alerts")) == (1, True, False)


@pytest.mark.parametrize("number", ["", "shop", "+"])
def test_what_is_no_number_is_not_stopped(number):
    assert not stopped(key_of(ADA, EVERYONE)).stops(number, "alerts")
