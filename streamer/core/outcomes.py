"""What Twilio's answers mean for a message: one of seven kinds, by its code first and by the HTTP status second.

The table is the file `outcomes.csv`, read by the configuration, which may say otherwise of single codes.
Source: Twilio's error dictionary; Twilio adds codes without notice, so each family of codes has a default.
"""

import csv
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from streamer.core.delivery import Refused, Unknown

RETRY: Final = "retry"  # never processed: the same request, after a short backoff
LATER: Final = "later"  # may succeed after its schedule: minutes to a day
UNKNOWN: Final = "unknown"  # the message may exist: find out, never repeat
RECIPIENT: Final = "recipient"  # this number can't be reached so
OPTOUT: Final = "optout"  # the person doesn't want it
MESSAGE: Final = "message"  # this message is bad
STOP: Final = "stop"  # everything of its scope fails until a person mends it
KINDS: Final = (RETRY, LATER, UNKNOWN, RECIPIENT, OPTOUT, MESSAGE, STOP)
INFO: Final = "info"  # a warning that says nothing against the message; only of codes that no create is answered with

SCOPES: Final = ("account", "sender", "region", "mapping")  # of stop
BUSY: Final = 20429  # too many concurrent requests
GATEWAY_BUSY: Final = "gateway_busy"
GATEWAY_ERROR: Final = "gateway_error"
FAMILY: Final = "xxx"  # ends the name of a family: 30xxx is 30000 to 30999


class Verdict(Struct, frozen=True):
    """What one code means. `scope` is of stop and `schedule` of later, else ""; `note` says it in words."""

    kind: str
    scope: str = ""
    schedule: str = ""
    note: str = ""


_UNLISTED: Final = Verdict(MESSAGE, note="an unlisted code")
_DENIED: Final = Verdict(STOP, "account")
_DOUBTFUL: Final = Verdict(UNKNOWN)
# These say more than the family of an unlisted code: nothing was created, and what would help.
_BEFORE_FAMILY: Final = {401: _DENIED, 429: Verdict(RETRY)}
_AFTER_FAMILY: Final = {403: _DENIED, 404: _DENIED}


class Outcomes(Struct, frozen=True):
    """The verdicts by code, and by family (the code without its last three digits)."""

    codes: dict[int, Verdict]
    families: dict[int, Verdict]

    def of_code(self, code: int) -> Verdict:
        """The verdict of a code that comes without an HTTP status, by callback; an unlisted one fails the message."""
        return self.codes.get(code) or self.families.get(code // 1000) or _UNLISTED

    def refusal(self, status: int, code: int, retry_after_s: float | None = None) -> Refused | Unknown:
        """What an HTTP answer that is no acceptance says of the message; `code` 0: the answer has none.

        `Unknown` unless something proves that there is no message: a listed code, or a status of a refusal.
        """
        verdict = self._of(status, code)
        if verdict.kind == UNKNOWN:
            return Unknown(GATEWAY_ERROR, status, code)
        kind = MESSAGE if verdict.kind == INFO else verdict.kind
        reason = GATEWAY_BUSY if kind == RETRY and (code == BUSY or status == 429) else kind
        return Refused(reason, code, status, kind, verdict.scope, verdict.schedule, retry_after_s)

    def with_overrides(self, overrides: Mapping[str, Verdict]) -> "Outcomes":
        """These outcomes with other verdicts for some codes (`30003`) and families (`30xxx`)."""
        other = _by_name(overrides.items())
        return Outcomes(self.codes | other.codes, self.families | other.families)

    def _of(self, status: int, code: int) -> Verdict:
        listed = self.codes.get(code)
        if not 400 <= status < 500 or status == 408:
            # 5xx, 408 and redirects prove nothing, and what an unlisted code means is but a guess.
            return listed if listed and listed.kind != INFO else _DOUBTFUL
        by_status = _BEFORE_FAMILY.get(status) or self.families.get(code // 1000) or _AFTER_FAMILY.get(status)
        return listed or by_status or _UNLISTED


def read_outcomes(lines: Iterable[str]) -> Outcomes:
    """The outcomes of a table in CSV: code, kind, scope, schedule, note, under a line of these names."""
    rows = csv.DictReader(lines)
    return _by_name((row["code"], Verdict(row["kind"], row["scope"], row["schedule"], row["note"])) for row in rows)


def _by_name(verdicts: Iterable[tuple[str, Verdict]]) -> Outcomes:
    codes, families = {}, {}
    for name, verdict in verdicts:
        if name.endswith(FAMILY):
            families[int(name.removesuffix(FAMILY))] = verdict
        else:
            codes[int(name)] = verdict
    return Outcomes(codes, families)
