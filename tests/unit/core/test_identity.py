"""Where a person lives: pinned, for a partition function that changes splits everyone from their state."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.core.identity import (
    RESERVED,
    Identities,
    home_of,
    is_identity_key,
    is_record_key,
    partition_of,
    pattern_fault,
    person_of,
    sender_key,
)


@pytest.mark.parametrize(
    ("key", "of_1", "of_8", "of_12"),
    [("u:1", 0, 2, 6), ("u:alice@example.com", 0, 0, 0), ("a:é", 0, 5, 1), ("n:+15551230001", 0, 3, 3)],
)
def test_a_key_lives_in_the_partition_it_always_lived_in(key, of_1, of_8, of_12):
    """crc32 modulo the count; no other producer's partitioner, and never another one of ours."""
    assert [partition_of(key.encode(), count) for count in (1, 8, 12)] == [of_1, of_8, of_12]


def test_all_of_a_senders_keys_live_in_one_partition():
    """Its whole pace is one owner's."""
    keys = [sender_key("slow", f"{kind}:{number}/x") for kind in "ua" for number in range(100)]
    assert {home_of("slow", 8)} == {partition_of(key.encode(), 8) for key in keys}
    assert {0, 1, 2, 3, 4, 5, 6, 7} == {home_of(f"slow{number}", 8) for number in range(100)}


def test_a_sender_key_names_its_person():
    assert "u:a/b" == person_of(sender_key("slow", "u:a/b"))
    assert "u:s:slow/u:1" == person_of("u:s:slow/u:1"), "a person whose id looks like one"


LONGEST = "u:" + "\U0001f600" * 256


@pytest.mark.parametrize("key", ["s:slow/u:1", "s:a.b_c-d/a:x/y", f"s:{'n' * 64}/{LONGEST}", "u:1", "n:+15551230001"])
def test_a_state_record_has_a_persons_key_or_a_senders(key):
    assert is_record_key(key.encode())
    assert is_identity_key(key.encode()) == (not key.startswith("s:")), "a sender's is nobody's"


@pytest.mark.parametrize(
    "key",
    [
        *(b"", b"s:", b"s:slow", b"s:slow/", b"s:slow/x:1", b"s:/u:1", b"s:slow/u:", b"s:slow/u:\xff", b"s:s\xff/u:1"),
        *(b"s:" + b"n" * 65 + b"/u:1", b"s:slow/s:slow/u:1", b"S:slow/u:1", b"\x00effects"),
    ],
)
def test_no_other_has(key):
    assert not is_record_key(key)


def test_people_spread_over_the_partitions():
    counts = [0] * 8
    for number in range(8_000):
        counts[partition_of(f"u:{number}".encode(), 8)] += 1
    assert all(900 < count < 1_100 for count in counts)


def test_a_user_id_goes_before_an_anonymous_id():
    ids = Identities()
    assert ids.key("alice", "device") == "u:alice"
    assert ids.key(None, "device") == ids.key("", "device") == "a:device"


def test_no_id_makes_a_reserved_key():
    """A NUL first byte marks our own records of the state topic."""
    assert not Identities().key("\x00effects", None).encode().startswith(RESERVED)


@pytest.mark.parametrize(
    "blocked",
    ["", "0", "00000000-0000-0000-0000-000000000000", "-1", "null", "NULL", "None", "undefined", "NaN", "Anonymous"],
)
def test_what_programs_write_for_nobody_is_nobody(blocked):
    """Everybody whom a program calls so would become one person, and get each other's messages."""
    ids = Identities()
    assert ids.key(blocked, blocked) is None
    assert ids.key(blocked, "device") == "a:device"
    assert ids.key("alice", blocked) == "u:alice"
    assert ids.links("track", "alice", blocked, None) == ()
    assert ids.links("track", blocked, "device", None) == ()
    assert ids.links("alias", "alice", None, blocked) == ()
    assert ids.links("alias", blocked, None, "old") == ()


@pytest.mark.parametrize("plain", ["1", "-10", "00x", "nulls", "a null", "anonymous-1", "nobody"])
def test_an_id_is_blocked_only_as_a_whole(plain):
    assert Identities().key(plain, None) == f"u:{plain}"


def test_the_blocked_ids_are_those_that_are_configured():
    ids = Identities(("guest-.*", "é"))
    assert [None, None, "u:guest", "u:null"] == [ids.key(each, None) for each in ("Guest-7", "É", "guest", "null")]


@pytest.mark.parametrize(
    ("event_type", "ids", "expected"),
    [
        ("track", ("1", "d", None), [("a:d", "u:1")]),
        ("identify", ("1", "d", "old"), [("a:d", "u:1")]),
        ("track", ("1", None, None), []),
        ("track", (None, "d", None), []),
        ("alias", ("1", None, "old"), [("u:old", "u:1"), ("a:old", "u:1")]),
        ("alias", ("1", "d", "old"), [("a:d", "u:1"), ("u:old", "u:1"), ("a:old", "u:1")]),
        ("alias", ("1", "old", "old"), [("a:old", "u:1"), ("u:old", "u:1")]),
        ("alias", ("1", None, "1"), []),
        ("alias", (None, "d", "old"), []),
        ("delete", ("1", "d", None), []),
    ],
)
def test_an_event_links_what_it_says_is_one_person(event_type, ids, expected):
    """A previous id may be a user's or a device's; and who is deleted is not tied to anybody by that."""
    assert expected == list(Identities().links(event_type, *ids))


@pytest.mark.parametrize("pattern", ["x" * 200, "test-[0-9]+", "(?i)null", ""])
def test_a_pattern_of_some_ids_is_right(pattern):
    assert "" == pattern_fault(pattern)


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("x" * 201, "at most 200"),
        ("(", "no regular expression"),
        ("*", "no regular expression"),
        ("x{9999999999999}", "no regular expression"),
        (".*", "every kind"),
        ("[^ ]+", "every kind"),
        ("", ""),
    ],
)
def test_what_is_wrong_with_a_pattern_is_said(pattern, says):
    """One that matches every id would make a dead letter of every event."""
    assert says in pattern_fault(pattern)


@given(st.binary(max_size=4).map(lambda tail: b"u:" + tail) | st.binary(max_size=6))
def test_only_a_key_that_a_person_can_have_is_one(key):
    """Under another a state record could not be restored."""
    if is_identity_key(key):
        assert key.decode()[:2] in ("u:", "a:", "n:")
        assert len(key) > 2
