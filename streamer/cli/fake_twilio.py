"""`streamer fake-twilio`: the fake Twilio as a process of its own."""

import asyncio
import re
import signal
from typing import Any

import click
import uvloop

from streamer.testing.fake_twilio import FakeTwilio
from streamer.testing.fake_twilio_api import Setup
from streamer.testing.fake_twilio_faults import Faults

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class Duration(click.ParamType[float]):
    """`50ms`, `1.5s`, `10m`, `24h`: seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds of what was written; fails with the forms that are understood."""
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)", str(value))
        if not match:
            self.fail(f"{value!r} is no duration: write 50ms, 1.5s, 10m or 24h", param, ctx)
        return float(match[1]) * SECONDS[match[2]]


class Latency(Duration):
    """A duration, or two of them: `20ms-80ms`."""

    name = "latency"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Seconds, or the pair of bounds."""
        low, dash, high = str(value).partition("-")
        if isinstance(value, float) or not dash:
            return super().convert(value, param, ctx)
        return super().convert(low, param, ctx), super().convert(high, param, ctx)


class Listen(click.ParamType[tuple[str, int]]):
    """HOST:PORT; port 0 takes a free one."""

    name = "host:port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """The pair of host and port."""
        host, colon, port = str(value).rpartition(":")
        if not colon or not host or not port.isdecimal() or int(port) > 65535:
            self.fail(f"{value!r} is no HOST:PORT", param, ctx)
        return host, int(port)


class Pair(click.ParamType[tuple[str, str]]):
    """NUMBER=OTHER."""

    name = "number=other"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """What stands before and after the equals sign."""
        number, equals, other = str(value).partition("=")
        if not equals or not number or not other:
            self.fail(f"{value!r} is not written NUMBER={self.name.partition('=')[2].upper()}", param, ctx)
        return number, other


class ListDelay(Duration):
    """A duration, or `never`."""

    name = "duration|never"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Seconds; None is never."""
        return None if value == "never" else super().convert(value, param, ctx)


class NumberCode(Pair):
    """NUMBER=CODE."""

    name = "number=code"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number and the code as an integer."""
        number, code = super().convert(value, param, ctx)
        if not code.isdecimal():
            self.fail(f"{code!r} is no code", param, ctx)
        return number, int(code)


SHARE = click.FloatRange(0.0, 1.0)


@click.command("fake-twilio")
@click.option(
    "--listen", type=Listen(), default="127.0.0.1:0", show_default=True, help="Where; port 0 takes a free one."
)
@click.option("--seed", default=0, show_default=True, help="What the faults are drawn from.")
@click.option(
    "--opt-out", "opt_outs", type=Pair(), multiple=True, help="NUMBER=SENDER (a From or service SID); repeatable."
)
@click.option("--refuse", "refused_numbers", type=NumberCode(), multiple=True, help="NUMBER=CODE; repeatable.")
@click.option("--latency", "latency_s", type=Latency(), default="0s", help="Of each create: 50ms, or 20ms-80ms.")
@click.option("--concurrency-max", default=0, help="Requests at once before 429; 0 is no limit.")
@click.option("--too-many-share", type=SHARE, default=0.0, help="Creates answered 429, nothing created.")
@click.option("--error-before-share", type=SHARE, default=0.0, help="Creates answered 5xx, nothing created.")
@click.option("--error-after-share", type=SHARE, default=0.0, help="Creates answered 5xx though created.")
@click.option("--hang-after-share", type=SHARE, default=0.0, help="Created, then no reply.")
@click.option("--hang", "hang_s", type=Duration(), default="60s", show_default=True, help="How long it then holds.")
@click.option(
    "--refuse-sender", "refused_senders", type=NumberCode(), multiple=True, help="SENDER=CODE, as --refuse; repeatable."
)
@click.option("--unauthorized", is_flag=True, help="Every request is answered 401.")
@click.option("--list-delay", "list_delay_s", type=ListDelay(), default="0s", help="Before a message shows in lists.")
@click.option("--list-tags/--no-list-tags", default=True, help="Whether lists show tags.")
@click.option("--list-error", "list_error_code", default=0, help="The code that every list is answered with.")
@click.option("--callbacks/--no-callbacks", default=True, help="Whether statuses are called back.")
def fake_twilio(listen: tuple[str, int], seed: int, opt_outs: tuple[tuple[str, str], ...], **faults: Any) -> None:
    """Run a fake Twilio until SIGTERM or SIGINT.

    It prints its URL once it listens, and its account as export lines for a shell.

    \b
    account  AC0123456789abcdef0123456789abcdef, with the token fake-auth-token
    API key  SK0123456789abcdef0123456789abcdef, with the secret fake-api-key-secret

    GET /_fake/messages and /_fake/stats show what it holds; POST /_fake/faults, /_fake/opt-outs and /_fake/reset
    steer it.
    """
    for name in ("refused_numbers", "refused_senders"):
        faults[name] = dict(faults[name])
    setup = Setup(faults=Faults(**faults), seed=seed, opt_outs=frozenset(opt_outs))
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(setup, listen))
    except OSError as exc:  # of the bind: what goes wrong later comes in an ExceptionGroup
        raise click.ClickException(f"cannot listen on {listen[0]}:{listen[1]}: {exc.strerror}") from exc


async def _serve(setup: Setup, listen: tuple[str, int]) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with FakeTwilio(setup, host=listen[0], port=listen[1]) as twilio:
        account = twilio.account
        print(
            f"fake Twilio on {twilio.base_url}",
            f"export TWILIO_ACCOUNT_SID={account.account_sid}",
            f"export TWILIO_API_KEY_SID={account.api_key_sid}",
            f"export TWILIO_API_KEY_SECRET={account.api_key_secret}",
            sep="\n",
            flush=True,
        )
        await stopped.wait()
