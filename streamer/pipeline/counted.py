"""What one event did, as the metrics count it."""

from streamer.core.plan import Applied
from streamer.telemetry import EVENTS_REJECTED, EVENTS_STRANDED, EVENTS_TAKEN, events_matched, logger

log = logger(__name__)


def count(applied: Applied, *, is_stranded: bool) -> None:
    """Count an event that was handled."""
    if applied.rejected:
        EVENTS_REJECTED.labels(applied.rejected).inc()
    if applied.taken:
        EVENTS_TAKEN.labels(applied.taken).inc()
    for mapping in applied.matched:
        events_matched(mapping).inc()
    if is_stranded:
        EVENTS_STRANDED.inc()
        log.warning("event.stranded", hint="aliases form a chain or a circle; it was decided where it came to")
