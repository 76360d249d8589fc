"""Metrics and logs, declared once. Each metric's help is the question it answers; label sets are bounded.

Labels: `role` router or owner, `part` inputs or owner; `mapping` and `account` come from the configuration; `reason`
and `outcome` are constants of the code. Never a phone number, body, trait, key or topic partition. With several workers
the values live in files (prometheus_client's multiprocess mode), so gauges say how they are summed.
"""

import logging
import sys
import time
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import structlog
from prometheus_client import Counter, Gauge, Histogram

LATENCY_BUCKETS_S: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # Twilio answers in 50 to 300 ms
REPEAT_EVERY_S: Final = 10.0  # as often as our own warnings of a gateway's trouble
PLACES_MAX: Final = 1_024  # aiokafka, uvicorn and asyncio log from some 200 places

_SUM: Final = "livesum"  # over the workers that live

RECORDS_READ: Final = Counter("streamer_read_records_total", "How fast does each stage read?", ("role",))
RECORDS_ROUTED: Final = Counter("streamer_routed_records_total", "What became of the events read?", ("result",))
RECORDS_DEAD: Final = Counter("streamer_dead_letter_records_total", "What can't be read, and why?", ("reason",))
EVENTS_MATCHED: Final = Counter(
    "streamer_matched_events_total", "Which mappings fire, repeated events included?", ("mapping",)
)
EVENTS_REJECTED: Final = Counter(
    "streamer_rejected_events_total",
    "Which events left something out that they said of their person, and why?",
    ("reason",),
)
EVENTS_TAKEN: Final = Counter(
    "streamer_filtered_events_total",
    "What did `integrations` and `filters` keep from the mappings?",
    ("reason",),
)
RECORDS_FORWARDED: Final = Counter(
    "streamer_forwarded_records_total", "How many records went on to the person that their key is linked to?"
)
EVENTS_STRANDED: Final = Counter(
    "streamer_stranded_events_total", "How many events were decided where they came to, as aliases form a chain?"
)
SENDS_DECIDED: Final = Counter(
    "streamer_decided_sends_total", "What became of the matched events, and why?", ("mapping", "outcome", "reason")
)
RECORDS_REPEATED: Final = Counter("streamer_repeated_records_total", "How many outcomes were published again?")
REQUESTS: Final = Counter(
    "streamer_gateway_requests_total",
    "What became of the requests: accepted, refused, gateway_busy (all of them are too many),"
    " not_sent (no connection opened: an outage), or unknown?",
    ("account", "result"),
)
LISTS: Final = Counter(
    "streamer_gateway_lists_total",
    "Can the gateway's list be had, by which unknown sends are settled?",
    ("account", "result"),
)
RECALLS: Final = Counter(
    "streamer_gateway_recalls_total",
    "Is what the gateway holds cancelled when it is asked to: cancelled, too_late, failed, or not_asked?",
    ("account", "result"),
)
REQUEST_SECONDS: Final = Histogram(
    "streamer_gateway_request_seconds", "How fast does the gateway answer?", ("account",), buckets=LATENCY_BUCKETS_S
)
LATE_ANSWERS: Final = Counter("streamer_late_answers_total", "How many answers came after their tenure ended?")
SENDS_OPEN: Final = Gauge(
    "streamer_open_sends", "How many sends hold a slot now?", ("account",), multiprocess_mode=_SUM
)
REQUESTS_MAX: Final = Gauge(
    "streamer_gateway_requests_max",
    "How many requests may be in flight now, as learnt from the gateway's answers?",
    ("account",),
    multiprocess_mode=_SUM,
)
SENDS_QUEUED: Final = Gauge(
    "streamer_queued_sends",
    "How many sends wait for a slot, a pace or a breaker?",
    ("account",),
    multiprocess_mode=_SUM,
)
RELEASES_DEFERRED: Final = Counter(
    "streamer_deferred_releases_total",
    "How many people's time came while their sender was busy, so that they wait in line undecided?",
    ("account",),
)
BREAKERS_OPEN: Final = Gauge(
    "streamer_open_breakers", "What is stopped, until a person mends it?", ("account", "scope"), multiprocess_mode=_SUM
)
BREAKERS_MOVED: Final = Counter(
    "streamer_moved_breakers_total", "How often did breakers open and close?", ("account", "scope", "to")
)
SENDS_RESOLVED: Final = Counter(
    "streamer_resolved_sends_total", "What became of sends after their outcome?", ("status",)
)
SUPPRESSIONS: Final = Gauge(
    "streamer_suppressed_numbers",
    "How many numbers must not be written to, counted by group of senders?",
    multiprocess_mode="livemax",
)
SUPPRESSIONS_BEHIND: Final = Gauge(
    "streamer_suppressions_behind_seconds",
    "How old is what is known of who must not be written to, as from 10 s on nothing is sent?",
    multiprocess_mode="livemax",
)
SUPPRESSIONS_BAD: Final = Counter(
    "streamer_unread_suppressions_total", "Which records of the suppressions topic were skipped, and why?", ("reason",)
)
SENDS_HELD: Final = Gauge("streamer_held_sends", "How many sends wait for their next attempt?", multiprocess_mode=_SUM)
PEOPLE_WAITING: Final = Gauge(
    "streamer_waiting_people",
    "Of how many people does something wait for the profile, or for its send_at?",
    multiprocess_mode=_SUM,
)
RECORDS_WAITING: Final = Gauge(
    "streamer_waiting_records", "How many events wait in memory for their person's turn?", multiprocess_mode=_SUM
)
RECORDS_PENDING: Final = Gauge(
    "streamer_pending_records", "How many writes wait for their ack?", ("sink",), multiprocess_mode=_SUM
)
RECORDS_LAG: Final = Gauge(
    "streamer_lag_records", "How far is each stage behind its topics' ends?", ("role",), multiprocess_mode=_SUM
)
HANDLED_BEHIND: Final = Gauge(
    "streamer_handled_behind_seconds",
    "How far behind is the time up to which everything is handled, which those go by that wait for a time: by all"
    " routers (inputs), and by the owners here (owner)?",
    ("part",),
    multiprocess_mode="livemax",
)
PARTITIONS_OPEN: Final = Gauge(
    "streamer_open_partitions", "How many partitions are being read?", ("role",), multiprocess_mode=_SUM
)
PARTITIONS_RESTORING: Final = Gauge(
    "streamer_restoring_partitions", "How many partitions are still loading state?", multiprocess_mode=_SUM
)
PARTITIONS_PAUSED: Final = Gauge(
    "streamer_paused_partitions", "How many are paused by backpressure?", ("role",), multiprocess_mode=_SUM
)
PEOPLE: Final = Gauge(
    "streamer_state_people", "How many people's state does this service hold?", multiprocess_mode=_SUM
)
RESTORED: Final = Counter("streamer_restored_records_total", "How many changelog records were read at assignments?")
RECORDS_FENCED: Final = Counter(
    "streamer_fenced_records_total",
    "How many people's records were written again, as a process that had lost their partition wrote others?",
)
CLAIMS_LOST: Final = Counter(
    "streamer_lost_claims_total", "How often did an owner find that another had claimed its partition since?"
)
RECORDS_TO_RESTORE: Final = Gauge(
    "streamer_unrestored_records",
    "How many offsets of the changelog are still to be read before every partition is open?",
    multiprocess_mode=_SUM,
)
STORES_REBUILT: Final = Counter(
    "streamer_rebuilt_stores_total", "Which local copies of state could not be used, and why?", ("reason",)
)
SNAPSHOTS: Final = Counter("streamer_store_snapshots_total", "Are snapshots of the state written?", ("result",))
COMMITS: Final = Counter("streamer_offset_commits_total", "Do commits succeed?", ("role", "result"))
WORKER_RESTARTS: Final = Counter(
    "streamer_worker_restarts_total", "How often did each worker process die?", ("worker",)
)


# Looked up for every send: 0.1 µs, where `labels` takes 3. Bounded by mappings x reasons.
sends_decided: Final = cache(SENDS_DECIDED.labels)
events_matched: Final = cache(EVENTS_MATCHED.labels)


def logger(module: str) -> Any:
    """The structured logger of one module: `log.info("noun.verb", key=value)`."""
    return structlog.get_logger(module=module)


class RepeatFilter(logging.Filter):
    """Lets one record of each (logger, line number) through in REPEAT_EVERY_S, with `suppressed`: how many it did not.

    A library that retries for ever logs for ever: aiokafka without its broker some 190 lines a second. At most
    PLACES_MAX places are kept in mind; beyond, the one that was heard longest ago is forgotten.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._heard: dict[tuple[str, int], tuple[float, int]] = {}  # when, how many since; the longest ago first

    def __len__(self) -> int:
        return len(self._heard)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be written; asked once for each."""
        place, now_s = (record.name, record.lineno), self._clock()
        heard_s, left_out = self._heard.get(place, (-REPEAT_EVERY_S + now_s, 0))
        if now_s - heard_s < REPEAT_EVERY_S:
            self._heard[place] = heard_s, left_out + 1
            return False
        self._heard.pop(place, None)
        if len(self._heard) >= PLACES_MAX:
            self._heard.pop(next(iter(self._heard)))
        self._heard[place] = now_s, 0
        if left_out:
            record.suppressed = left_out
        return True


def configure_logs(level: str = "INFO", **always: Any) -> None:
    """One JSON object a line on stderr; the standard library's loggers (aiokafka, uvicorn) only from WARNING.

    Of theirs each place is heard once in REPEAT_EVERY_S. `always` stands in every line, as in `worker=2`.
    """
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        lambda _logger, _method, event: event | always,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*processors, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),  # one write a line, also with several workers
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processor=structlog.processors.JSONRenderer(),
            foreign_pre_chain=[
                *processors,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(allow=["suppressed"]),
            ],
        )
    )
    handler.addFilter(RepeatFilter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
