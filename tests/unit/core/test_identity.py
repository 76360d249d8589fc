"""Where a person lives: pinned, for a partition function that changes splits everyone from their state."""

import pytest

from streamer.core.identity import RESERVED, Identities, partition_of


@pytest.mark.parametrize(
    ("key", "of_1", "of_8", "of_12"),
    [("u:1", 0, 2, 6), ("u:alice@example.com", 0, 0, 0), ("a:é", 0, 5, 1), ("n:+15551230001", 0, 3, 3)],
)
def test_a_key_lives_in_the_partition_it_always_lived_in(key, of_1, of_8, of_12):
    """crc32 modulo the count; no other producer's partitioner, and never another one of ours."""
    assert [partition_of(key.encode(), count) for count in (1, 8, 12)] == [of_1, of_8, of_12]


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
