"""`streamer try`: one event through the production path, and what every mapping makes of it; sends nothing."""

import asyncio
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec.structs import replace

from streamer.cli.options import Instant, config_option
from streamer.cli.reading import read_up_to
from streamer.clock import SystemClock
from streamer.config import load
from streamer.config_model import AccountConfig, Config
from streamer.core.delivery import Accepted, Answer, Attempt, Message, Refused
from streamer.core.outcomes import Outcomes
from streamer.core.phone import read
from streamer.core.story import profile_fault
from streamer.core.trial import HOLD, NO_MATCH, PARK, SEND, SUPPRESS, Trial, attempt, event_time_ms
from streamer.core.trial_policies import Gate
from streamer.errors import BadRecord
from streamer.twilio.client import Credentials, TwilioGateway, create_url, form_of

EXIT_NOT_SENT = 1
EXIT_WOULD_NOT = 3
SEND_ID_BYTES = 16
FILE_BYTES_MAX = 1 << 20
SEEN_CHARS_MAX = 70
UNREAD = "(from the environment)"  # a SID or number that the configuration names by a variable
MARKS = {SEND: "→", HOLD: "→", PARK: "…", SUPPRESS: "✗", NO_MATCH: "·"}
_json = msgspec.json.Encoder()


@click.command("try", short_help="Try one event: which mappings match, and what would be sent.")
@click.argument("event", type=click.Path(path_type=Path, allow_dash=True), metavar="EVENT.json")
@click.option(
    "--profile",
    "profile_path",
    type=click.Path(path_type=Path),
    metavar="P.json",
    help="The traits of the event's person, as a JSON object.",
)
@click.option(
    "--at",
    "at_ms",
    type=Instant(),
    metavar="TIME",
    help="The time of the trial, ISO 8601 with its zone.  [default: the event's own]",
)
@click.option("--send-to", metavar="+1…", help="Really send what would be sent, to this number and to no other.")
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object.")
@config_option
@click.pass_context
def try_event(
    context: click.Context,
    event: Path,
    profile_path: Path | None,
    at_ms: int | None,
    send_to: str | None,
    is_json: bool,
    config_path: Path,
) -> None:
    """Try one event (a file, or - for standard input) on every mapping, through exactly what `run` would do.

    Shows which mappings match and, if not, which condition failed with the value it saw; each field as it was resolved;
    the number before and after; and the request, but for what marks its attempt. Sends nothing, connects to nothing and
    needs no secrets, unless --send-to says otherwise.

    Exits with 0 if something would be sent, 3 if nothing would, for now at least; with --send-to, 1 if a message was
    not accepted.
    """
    config = load(config_path, secrets=send_to is not None)
    number = _number(send_to, config.defaults.region)
    value = _read(event, "the event")
    traits = _traits(profile_path)
    clock_ms = SystemClock().now_ms()
    try:
        now_ms = event_time_ms(value, clock_ms) if at_ms is None else at_ms
        trials = attempt(value, traits, config.mappings, now_ms)
    except BadRecord as bad:
        _tell_dead_letter(bad, is_json)
        context.exit(EXIT_WOULD_NOT)
    answers: dict[str, Answer] = {}
    if number is not None:
        trials = tuple(_redirected(trial, number) for trial in trials)
        answers = asyncio.run(_send(trials, config))
    if is_json:
        decisions = [_decision(trial, config, answers.get(trial.mapping)) for trial in trials]
        click.echo(msgspec.json.format(_json.encode({"at": _iso(now_ms), "decisions": decisions}), indent=2))
    else:
        shown = sorted(trials, key=lambda trial: trial.verdict == NO_MATCH)  # what matched comes first
        click.echo("\n\n".join([f"As of {_iso(now_ms)}:", *(_text(trial, config) for trial in shown)]))
        if not trials:
            click.echo("no mapping is enabled; put one into the folder `mappings` beside streamer.yaml")
        for mapping, answer in answers.items():
            click.echo(f"\n{mapping}: {_said(answer)}")
    if any(not isinstance(answer, Accepted) for answer in answers.values()):
        context.exit(EXIT_NOT_SENT)
    if not any(trial.message for trial in trials):
        context.exit(EXIT_WOULD_NOT)


def _number(send_to: str | None, region: str) -> str | None:
    if send_to is None:
        return None
    phone = read(send_to, region)
    if not phone.e164:
        raise click.BadParameter(f"not a number that can be sent to: {phone.verdict}", param_hint="--send-to")
    return phone.e164


def _read(path: Path, what: str) -> bytes:
    try:
        is_input = str(path) == "-"
        content = sys.stdin.buffer.read(FILE_BYTES_MAX + 1) if is_input else read_up_to(path, FILE_BYTES_MAX)
    except OSError as error:
        way_out = "; name a file, or - for standard input" if path.is_fifo() else ""
        raise click.UsageError(f"{what} can't be read: {path}: {error.strerror}{way_out}") from None
    if not content.strip():
        raise click.UsageError(f"{what} is empty: {path}")
    if len(content) > FILE_BYTES_MAX:
        raise click.UsageError(f"{what} is larger than {FILE_BYTES_MAX >> 20} MiB: {path}")
    return content


def _traits(path: Path | None) -> dict[str, Any]:
    """The traits in a file: an object of them, or one that has them under `traits`."""
    if path is None:
        return {}
    try:
        content = msgspec.json.decode(_read(path, "the profile"))
    except RecursionError:
        raise click.UsageError(f"the profile is nested too deep: {path}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise click.UsageError(f"the profile is not JSON: {path}: {error}") from None
    traits = content.get("traits", content) if isinstance(content, dict) else content
    if not isinstance(traits, dict):
        raise click.UsageError(f'the profile must be a JSON object of traits, as in {{"phone": "+1…"}}: {path}')
    if fault := profile_fault(traits):
        raise click.UsageError(f"the profile can't be a person's: {fault}: {path}")
    return traits


def _tell_dead_letter(bad: BadRecord, is_json: bool) -> None:
    if is_json:
        click.echo(_json.encode({"decisions": [], "dead_letter": {"reason": bad.reason, "detail": bad.detail}}))
    else:
        click.echo(f"no event: it would become a dead letter, {bad.reason}: {bad.detail}")


def _decision(trial: Trial, config: Config, answer: Answer | None) -> dict[str, Any]:
    gates = [{"name": gate.name, "passed": gate.passed, "seen": gate.seen} for gate in trial.gates]
    decision: dict[str, Any] = {
        "mapping": trial.mapping,
        "verdict": trial.verdict,
        "reason": trial.reason,
        "detail": trial.detail,
        "gates": gates,
    }
    if trial.message is not None:
        decision["sender"] = trial.sender
        decision["parts"] = trial.parts
        decision["request"] = _request(trial.message, config)
    if trial.until_ms:
        decision["until"] = _iso(trial.until_ms)
    if answer is not None:
        decision["answer"] = _said(answer)
    return decision


def _request(message: Message, config: Config) -> dict[str, Any]:
    account = config.accounts[message.account]
    return {
        "method": "POST",
        "url": create_url(account.base_url, account.account_sid or UNREAD),
        "form": [(name, value or UNREAD) for name, value in form_of(message)],
    }


def _text(trial: Trial, config: Config) -> str:
    reason = f", {trial.reason}" if trial.reason and trial.reason != "when" else ""
    detail = f" ({trial.detail})" if trial.detail else ""
    head = f"{MARKS[trial.verdict]} {trial.mapping}: {trial.verdict}{reason}{detail}"
    lines = [
        head,
        *(_gate_line(gate, trial.reason) for gate in trial.gates if gate.name != "filters" or not gate.passed),
    ]
    if trial.message is not None:
        request = _request(trial.message, config)
        when = f", held until {_iso(trial.until_ms)}" if trial.until_ms else ""
        count = f"{trial.parts} {'part' if trial.parts == 1 else 'parts'}"
        lines.append(f"  {request['method']} {request['url']}  ({count}{when})")
        lines += [f"      {name} = {value}" for name, value in request["form"]]
    if trial.verdict == PARK:
        lines.append(f"  waits until {_iso(trial.until_ms)} for an event that brings it")
    return "\n".join(lines)


def _gate_line(gate: Gate, reason: str) -> str:
    is_seen = gate.seen is not None or not (gate.passed or gate.detail or gate.name == "when")
    seen = f"   saw {_shown(gate.seen)}" if is_seen else ""
    if gate.said:
        seen = f"   {gate.said}"
    if gate.name == "number":
        seen = _number_line(gate.seen)
    fault = f"   {reason}: {gate.detail}" if gate.detail else ""
    return f"  {'✓' if gate.passed else '✗'} {gate.name}{fault}{seen}"


def _number_line(phone: dict[str, str]) -> str:
    """The number to send to, the verdict on it, the country it was read in and who said so, and what was written."""
    parts = [phone["e164"], phone["verdict"] if phone["e164"] else ""]
    if phone["region"] and phone["e164"]:  # else the fault says so
        parts.append(f"read in {phone['region']} ({phone['region_from']})")
    return "".join(f"   {part}" for part in (*parts, f"saw {_shown(phone['raw'])}") if part)


def _shown(value: Any) -> str:
    text = _json.encode(value).decode()
    return text if len(text) <= SEEN_CHARS_MAX else text[: SEEN_CHARS_MAX - 1] + "…"


def _iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _redirected(trial: Trial, number: str) -> Trial:
    """The trial with its message to `number` in place of its own, and for now."""
    if trial.message is None:
        return trial
    return replace(trial, message=replace(trial.message, to=number, send_at_ms=0), until_ms=0)


async def _send(trials: tuple[Trial, ...], config: Config) -> dict[str, Answer]:
    """Send each message, and its answer by mapping. No send of the service has their ids: it takes none for its own."""
    answers: dict[str, Answer] = {}
    for trial in trials:
        if trial.message is not None:
            gateway = _gateway(config.accounts[trial.message.account], config.mappings.outcomes)
            try:
                answers[trial.mapping] = await gateway.create(trial.message, Attempt(os.urandom(SEND_ID_BYTES), 1, ""))
            finally:
                await gateway.close()
    return answers


def _said(answer: Answer) -> str:
    if isinstance(answer, Accepted):
        return f"sent as {answer.sid}"
    if isinstance(answer, Refused):
        return f"refused: {answer.reason}, HTTP {answer.http_status}, code {answer.code}"
    return f"unknown: {answer.reason}; a message may exist"


def _gateway(account: AccountConfig, outcomes: Outcomes) -> TwilioGateway:
    credentials = Credentials(account.account_sid, account.api_key_sid, account.api_key_secret)
    return TwilioGateway(account.base_url, credentials, account.timeout_s, outcomes)
