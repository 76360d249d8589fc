"""What the gateway is asked of one partition's sends: its list for the unknown, and not to send the recalled.

The lane of each stays until it has answered.
"""

from collections.abc import Callable, Sequence
from functools import partial

from streamer.core import following, recall
from streamer.core.attempts import Moment
from streamer.core.delivery import Found
from streamer.core.sends import Send
from streamer.pipeline.lane import Lane, Services

Judged = Callable[[Lane, Sequence[Send]], None]


class Looks:
    """Those of one partition. Once an answer is judged at a `moment`, `judged` is told, with what is held newly."""

    def __init__(self, services: Services, moment: Callable[[Lane], Moment], judged: Judged) -> None:
        self._services = services
        self._moment = moment
        self._judged = judged

    def begin(self, lane: Lane, handled_ms: int) -> None:
        """Ask of every unknown and every recalled send whose time it is, unless it is being asked of."""
        for send in following.due_for_a_look(lane.person, handled_ms):
            dispatcher = self._services.dispatchers.get(send.message.account)
            if dispatcher is None:
                following.leave(lane.person, send, self._moment(lane))
                lane.is_dirty = True
            elif send.id not in lane.looking:
                lane.looking.add(send.id)
                dispatcher.look(send, partial(self._found, lane, send))
        self.recall(lane, handled_ms)

    def recall(self, lane: Lane, now_ms: int) -> None:
        """Ask for every recalled send whose time it is, unless it is being asked for.

        As soon as the record that says so is acked: what has been read up to then is no reason to wait. A crash asks
        again, for the record's timer is due.
        """
        for send in recall.due_for_recall(lane.person, now_ms):
            dispatcher, asked = self._services.dispatchers.get(send.message.account), send.sid.encode()
            if dispatcher is None:
                recall.leave(lane.person, send, self._moment(lane))
                lane.is_dirty = True
                self._judged(lane, [])
            elif asked not in lane.looking:
                lane.looking.add(asked)
                dispatcher.cancel(send, partial(self._answered, lane, send))

    def _found(self, lane: Lane, send: Send, listed: Sequence[Found] | None) -> None:
        lane.looking.discard(send.id)
        held = lane.person.held.copy()
        lane.is_dirty |= following.look(lane.person, send, listed, self._moment(lane))
        lane.timer_ms = 0  # it rang; what is left is set again by the write
        self._judged(lane, [each for each in lane.person.held if each not in held])

    def _answered(self, lane: Lane, send: Send, answer: bool | None) -> None:
        lane.looking.discard(send.sid.encode())
        lane.is_dirty |= recall.take_recall(lane.person, send, answer, self._moment(lane))
        lane.timer_ms = 0
        self._judged(lane, [])
