"""Where a partition's owner produces what its people's records list: delivery events, suppressions, and records for
other keys.
"""

from collections.abc import Callable

from streamer.core import following, suppressions
from streamer.core.delivery import Answer, Decision, Origin, Unknown, delivery_event
from streamer.core.following import LateAnswer
from streamer.core.handling import Handled
from streamer.core.hop import ANSWER, Hop, headers_of
from streamer.core.identity import partition_of
from streamer.core.sends import EVENT_KIND, SUPPRESSION_KIND, Outgoing, Send
from streamer.pipeline.lane import Services
from streamer.ports import Partition
from streamer.telemetry import RECORDS_FORWARDED

OnAck = Callable[[int], None]


class Outbox:
    """That of one partition."""

    def __init__(self, services: Services, partition: int) -> None:
        self._services = services
        self._state = Partition(services.state_topic, partition)
        self._deliveries = Partition(services.deliveries_topic, partition)

    def publish(self, key: bytes, decision: Decision, on_ack: OnAck | None) -> None:
        """Produce an outcome of the person `key`."""
        said, encoded, place = key.decode(), key, self._deliveries
        if decision.person:  # made under another key, whose record moved here since, or under a sender key
            said, encoded = decision.person, decision.person.encode()
            place = self._deliveries_of(encoded)
        self._services.event_sink.append(place, encoded, delivery_event(said, decision), None, on_ack)

    def send(self, key: bytes, outgoing: Outgoing, at: int, on_ack: OnAck) -> None:
        """Produce what the state record of `key` at the offset `at` lists beside its outcomes."""
        if outgoing.kind == EVENT_KIND:
            whose = outgoing.key.encode()
            self._services.event_sink.append(self._deliveries_of(whose), whose, outgoing.value, None, on_ack)
            return
        if outgoing.kind == SUPPRESSION_KIND:
            self._suppress(outgoing.key.encode(), outgoing.value, on_ack)
            return
        now_ms = self._services.clock.now_ms()
        origin = Origin(key.decode(), *self._state, at, outgoing.event_ms, now_ms)
        self.hop(outgoing.key, outgoing.value, headers_of(outgoing.kind, origin, 1), on_ack)

    def _suppress(self, key: bytes, value: bytes, on_ack: OnAck) -> None:
        """Produce a suppression; in this process it holds from now on, before the topic is read."""
        services = self._services
        services.suppressions.put(key, value)
        place = Partition(services.suppressions_topic, partition_of(key, suppressions.PARTITIONS))
        services.event_sink.append(place, key, value, None, on_ack)

    def _deliveries_of(self, key: bytes) -> Partition:
        return Partition(self._deliveries.topic, partition_of(key, self._services.partitions))

    def hop(self, key: str, value: bytes, headers: list[tuple[str, bytes]], on_ack: OnAck) -> None:
        """Produce a record to by-user under that key."""
        encoded = key.encode()
        place = Partition(self._services.by_user_topic, partition_of(encoded, self._services.partitions))
        self._services.event_sink.append(place, encoded, value, headers, on_ack)

    def forward(self, hop: Hop, handled: Handled, on_acks: Callable[[], None]) -> None:
        """Send a record on to all that it belongs to; `on_acks` is called once each is safe."""
        left = len(handled.forward)
        headers = headers_of(hop.kind, hop.origin, hop.hops + 1, is_repeat=handled.is_repeat)

        def acked(_at: int) -> None:
            nonlocal left
            left -= 1
            if not left:
                on_acks()

        for key in handled.forward:
            RECORDS_FORWARDED.inc()
            self.hop(key, hop.value, headers, acked)

    def hand_on(self, key: bytes, send: Send, answer: Answer) -> None:
        """Tell the next owner, who calls this send unknown, what became of its request; of an unknown one, nothing."""
        if isinstance(answer, Unknown):
            return
        said = following.encode(LateAnswer(send.id, send.attempt, answer))
        origin = Origin(key.decode(), *self._state, 0, send.origin.event_ms, self._services.clock.now_ms())
        self.hop(key.decode(), said, headers_of(ANSWER, origin), lambda _at: None)
