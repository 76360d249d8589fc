"""What a seeding says of itself, in one line however many partitions there are."""

from streamer.cli.seed import OFFSETS_TOLD, Seeded, told
from streamer.ports import Partition


def test_the_summary_counts_and_names_where_the_reading_begins():
    routed = {Partition("events", 1): 7, Partition("events", 0): 5}
    expected = "seeded 3 people and 2 records of by-user in 1.2 s; reading from events/0:5 events/1:7"
    assert expected == told(Seeded(3, 2, 1.23, routed))


def test_of_many_partitions_the_summary_names_some_and_counts_the_others():
    said = told(Seeded(0, 0, 0.0, {Partition("events", number): 0 for number in range(OFFSETS_TOLD + 5)}))
    assert said.endswith(f"events/{OFFSETS_TOLD - 1}:0 and 5 more")
