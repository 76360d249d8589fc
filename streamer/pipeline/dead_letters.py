"""Dead letters: what could not be read, kept for a person to look at, with all that is needed to find it again."""

from collections.abc import Callable
from hashlib import sha256
from typing import Final

from streamer.errors import BadRecord
from streamer.ports import Partition, Record, RecordSink
from streamer.telemetry import RECORDS_DEAD

BYTES_MAX: Final = 256 * 1024  # of the original, so that a letter always fits into a Kafka message
KEY_BYTES_MAX: Final = 1024


class DeadLetters:
    """Writes each bad record to the dead-letter topic once, and says when it is safe."""

    def __init__(self, sink: RecordSink, topic: str, partitions: int) -> None:
        self._sink = sink
        self._topic = topic
        self._partitions = partitions

    def put(self, record: Record, bad: BadRecord, on_ack: Callable[[int], None]) -> None:
        """One letter: the original bytes cut at BYTES_MAX; reason, detail, length, hash and coordinates as headers."""
        original = record.value or b""
        headers = [
            ("reason", bad.reason.encode()),
            ("detail", bad.detail.encode(errors="replace")),
            ("topic", record.topic.encode()),
            ("partition", str(record.partition).encode()),
            ("offset", str(record.offset).encode()),
            ("timestamp", str(record.timestamp).encode()),
            ("bytes", str(len(original)).encode()),
            ("sha256", sha256(original).hexdigest().encode()),
        ]
        place = Partition(self._topic, record.partition % self._partitions)
        self._sink.append(place, (record.key or b"")[:KEY_BYTES_MAX], original[:BYTES_MAX], headers, on_ack)
        RECORDS_DEAD.labels(bad.reason).inc()
