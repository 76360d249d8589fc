"""A dead letter holds all that is needed to find the record again, and always fits."""

from hashlib import sha256

import pytest

from streamer.errors import BadRecord
from streamer.pipeline.dead_letters import BYTES_MAX, KEY_BYTES_MAX, DeadLetters
from streamer.ports import Partition
from streamer.testing.fakes import FakeSink, ManualClock
from streamer.testing.memory_log import MemoryLog, MemoryRecord

PARTITIONS = 3


def letter(value, key=b"key", partition=7, bad=None, acked=None):
    log = MemoryLog({"dead-letters": PARTITIONS}, ManualClock())
    sink = FakeSink(log, is_automatic=False)
    record = MemoryRecord("in", partition, 42, 1_000, key, value, ())
    bad = bad or BadRecord("id_not_string", "userId is not a string")
    DeadLetters(sink, "dead-letters", PARTITIONS).put(record, bad, (acked if acked is not None else []).append)
    [place] = sink.queued
    sink.write(place)
    sink.ack(place)
    return log.read(place, 0, 9)


def test_a_letter_says_why_whence_and_what():
    [found] = letter(b"original \xff")
    assert found.value == b"original \xff"
    assert found.key == b"key"
    assert dict(found.headers) == {
        "reason": b"id_not_string",
        "detail": b"userId is not a string",
        "topic": b"in",
        "partition": b"7",
        "offset": b"42",
        "timestamp": b"1000",
        "bytes": b"10",
        "sha256": sha256(b"original \xff").hexdigest().encode(),
    }


def test_a_large_original_is_cut_and_its_length_and_hash_are_of_the_whole():
    original = bytes(range(256)) * 2_000
    [found] = letter(original)
    assert found.value == original[:BYTES_MAX]
    assert dict(found.headers)["bytes"] == str(len(original)).encode()
    assert dict(found.headers)["sha256"] == sha256(original).hexdigest().encode()


def test_a_large_key_is_cut():
    [found] = letter(b"x", key=b"k" * 100_000)
    assert found.key == b"k" * KEY_BYTES_MAX


@pytest.mark.parametrize(("value", "key"), [(None, None), (b"", b"")])
def test_nothing_is_a_letter_too(value, key):
    [found] = letter(value, key)
    assert (found.value, found.key) == (b"", b"")


def test_a_detail_that_is_no_utf8_is_written_all_the_same():
    [found] = letter(b"x", bad=BadRecord("bad_request", "type '\udfff'"))
    assert dict(found.headers)["detail"] == b"type '?'"


@pytest.mark.parametrize("partition", [0, 1, 2, 3, 100])
def test_any_input_partition_has_a_place(partition):
    [found] = letter(b"x", partition=partition)
    assert (found.topic, found.partition) == ("dead-letters", partition % PARTITIONS)


def test_the_writer_is_told_once_it_is_safe():
    """Until then the commit is held back."""
    acked = []
    letter(b"x", acked=acked)
    assert acked == [0]


def test_a_letter_waits_like_any_record():
    log = MemoryLog({"dead-letters": 1}, ManualClock())
    sink, acked = FakeSink(log, is_automatic=False), []
    record = MemoryRecord("in", 0, 0, 0, None, b"", ())
    DeadLetters(sink, "dead-letters", 1).put(record, BadRecord("bad_request", ""), acked.append)
    sink.write(Partition("dead-letters", 0))
    assert not acked
