"""What a reader accepts is right for the schema of its type."""

import json

from hypothesis import given

from streamer.core.records import slim
from streamer.errors import BadRecord
from tests.property.test_records import near_events
from tests.schemas import faults


@given(near_events)
def test_an_accepted_event_is_right_by_its_schema(event):
    """A producer that checks its events by the schema must not hold back what would be read."""
    try:
        seen = slim(json.dumps(event).encode())
    except BadRecord:
        return
    assert [] == faults(f"event-{seen.type}", event)
