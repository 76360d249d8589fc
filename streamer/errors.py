"""Every exception that crosses a module's edge: one tree under `StreamerError`.

`reason` is a short constant, used alike as log key, metric label, record header and test name.
Expected results (suppressed, refused, throttled) are values, never exceptions.
"""

from collections.abc import Sequence
from typing import NamedTuple


class StreamerError(Exception):
    """Something this service could not do; the message says what to do about it."""

    reason = "error"


class Fault(NamedTuple):
    """One fault of a file; lines and columns count from 1, and further lines of `text` are indented."""

    file: str
    line: int
    column: int
    text: str


class ConfigError(StreamerError):
    """The configuration is wrong; the message lists every fault with its place, and so does `faults`.

    `faults` is empty when there is nothing that could be wrong, such as no file at all.
    """

    reason = "config_invalid"

    def __init__(self, message: str, faults: Sequence[Fault] = ()) -> None:
        super().__init__(message)
        self.faults = tuple(faults)


class FilterError(StreamerError):
    """A `when:` text that means nothing or could mean two things; the message shows a caret under the place."""

    reason = "filter_invalid"

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


class TemplateError(StreamerError):
    """A template text that cannot be compiled."""

    reason = "template_invalid"


class MappingError(StreamerError):
    """A mapping that cannot be compiled; `faults` are (path, what is wrong) pairs, every one of them."""

    reason = "mapping_invalid"

    def __init__(self, faults: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{path}: {text}" for path, text in faults))
        self.faults = faults


class BadRecord(StreamerError):
    """A consumed record that is not an event: `reason` is one of Segment's discard codes, `detail` says more.

    Source: facts of the Segment ingest ("no_user_anon_id", "event_not_string", …, "bad_request").
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class BrokerUnusable(StreamerError):
    """Kafka cannot be used as configured: unreachable, wrong partition count, missing topic, lost offsets."""

    reason = "broker_unusable"


class BadToken(StreamerError):
    """A callback's token that no key of ours has sealed."""

    reason = "bad_token"


class StateUnreadable(StreamerError):
    """A state record of a format that this version cannot read."""

    reason = "state_unreadable"


class CopyUnusable(StreamerError):
    """A local copy of a state partition that must not be used; `reason` says why. It is read from Kafka again."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class StoreUnusable(StreamerError):
    """The folder of `store.path` can't be written: no space, no permission, or another process has it."""

    reason = "store_unusable"


class ListenFailed(StreamerError):
    """The address of `http.listen` can't be used."""

    reason = "listen_failed"


def first(errors: BaseExceptionGroup[StreamerError]) -> StreamerError:
    """The first error in a group of groups: the cause; the others follow from it."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, StreamerError)
    return error
