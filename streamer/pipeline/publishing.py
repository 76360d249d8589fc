"""What one tenure's state records list, on its way: outcomes, and records for other keys; until each is safe."""

from collections.abc import Callable, Sequence
from functools import partial

from streamer.core.sends import Outgoing
from streamer.pipeline.effects import Effects
from streamer.pipeline.lane import Lane
from streamer.pipeline.outbox import OnAck, Outbox
from streamer.telemetry import RECORDS_REPEATED, SENDS_RESOLVED, sends_decided


class Publishing:
    """That of one partition; `go_on` is told of whose something became safe. Bounded by what its records list."""

    def __init__(self, effects: Effects, outbox: Outbox, go_on: Callable[[Lane], None]) -> None:
        self.is_over = False  # the tenure: later acks change nothing
        self._effects = effects
        self._outbox = outbox
        self._go_on = go_on

    def publish(
        self, lane: Lane, fresh: Sequence[bytes], outgoing: Sequence[Outgoing], at: int, *, is_new: bool
    ) -> None:
        """Produce what was first listed by the state record at offset `at`: outcomes, and records for other keys.

        Outcomes that are not new were counted as decided by the process that wrote them.
        """
        self._effects.begin(at, len(fresh) + len(outgoing))
        for send_id in fresh:
            decision = lane.person.decision(send_id)
            assert decision is not None  # a decision listed in `out` is never evicted
            if is_new:
                sends_decided(decision.mapping, decision.outcome, decision.reason).inc()
            else:
                RECORDS_REPEATED.inc()
            self._outbox.publish(lane.key, decision, partial(self._published, lane, send_id, at))
        for each in outgoing:
            if is_new and each.status:
                SENDS_RESOLVED.labels(each.status).inc()
            self._outbox.send(lane.key, each, at, partial(self._sent, lane, each, at))

    def repeat(self, lane: Lane, send_id: bytes, on_ack: OnAck | None) -> None:
        """Publish a stored outcome again, under the same messageId."""
        decision = lane.person.decision(send_id)
        if decision is None:
            return  # evicted by a decision of the same event, whose write completes the offset
        RECORDS_REPEATED.inc()
        self._outbox.publish(lane.key, decision, on_ack)

    def _published(self, lane: Lane, send_id: bytes, at: int, _offset: int) -> None:
        if self.is_over:
            return
        lane.person.out.remove(send_id)
        lane.publishing.discard(send_id)
        self._effects.done(at)
        self._go_on(lane)

    def _sent(self, lane: Lane, outgoing: Outgoing, at: int, _offset: int) -> None:
        """One record of those on their way is safe; with the last the person is written without them.

        What was listed since goes with that write: an answer may come at any time.
        """
        if self.is_over:
            return
        self._effects.done(at)
        lane.person.outgoing.remove(outgoing)
        lane.sending -= 1
        if not lane.sending:
            lane.is_dirty = True
        self._go_on(lane)
