"""One person's record always fits into a Kafka message: else its write fails for ever, and its partition stands."""

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from streamer.core import state
from streamer.core.links import LINKS_BYTES_MAX
from streamer.core.profile import TRAITS_BYTES_MAX
from streamer.core.state import DUE_BYTES_MAX, HELD_BYTES_MAX, MERGED_BYTES_MAX, WAITING_BYTES_MAX
from streamer.kafka.producer import BATCH_BYTES_MAX
from tests.largest import CONSENT_BYTES_MAX, Largest, part_bytes

V2, ZSTD = 2, 4  # Kafka's codes for the format and the compression that `BatchSink` writes
ONCE_BYTES_MAX = 12 * 1024
COUNTED_BYTES_MAX = 27 * 1024
CANCELS_BYTES_MAX = 14 * 1024
MESSAGE_BYTES_MAX = 1_000_000  # a broker's default is 1 048 588


def test_the_largest_record_fits_into_a_kafka_message(seed):
    """What a broker bounds is the batch as it was produced."""
    largest = Largest(seed)
    person = largest.person()
    value = state.encode(person)
    batch = DefaultRecordBatchBuilder(V2, ZSTD, 0, -1, -1, -1, BATCH_BYTES_MAX)
    assert batch.append(0, None, largest.key.encode(), value, []) is not None
    assert len(batch.build()) < MESSAGE_BYTES_MAX
    assert state.decode(value) == person
    assert DUE_BYTES_MAX * 0.98 < part_bytes(person, "due") < DUE_BYTES_MAX * 1.01
    assert HELD_BYTES_MAX * 0.98 < part_bytes(person, "held")
    assert WAITING_BYTES_MAX * 0.85 < person.waiting_bytes() <= WAITING_BYTES_MAX
    assert TRAITS_BYTES_MAX * 0.98 < part_bytes(person, "traits") <= TRAITS_BYTES_MAX
    assert LINKS_BYTES_MAX * 0.85 < part_bytes(person, "links")
    assert MERGED_BYTES_MAX * 0.85 < part_bytes(person, "merged")
    assert 0.9 * ONCE_BYTES_MAX < part_bytes(person, "once") <= ONCE_BYTES_MAX
    assert 0.9 * COUNTED_BYTES_MAX < part_bytes(person, "counted") <= COUNTED_BYTES_MAX
    assert 0.9 * CANCELS_BYTES_MAX < part_bytes(person, "cancels") <= CANCELS_BYTES_MAX
    assert CONSENT_BYTES_MAX * 0.9 < part_bytes(person, "consent")
