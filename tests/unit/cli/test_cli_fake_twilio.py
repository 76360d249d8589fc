"""`streamer fake-twilio` as a user starts it."""

import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner

from streamer.cli.fake_twilio import fake_twilio

CODE = "from streamer.cli.fake_twilio import fake_twilio; fake_twilio()"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_listens_and_a_signal_ends_it_with_0(number):
    options = ["--seed", "1", "--latency", "20ms-80ms", "--too-many-share", "0.05", "--refuse", "+15551230001=21635"]
    options += ["--refuse-sender", "+15550006789=21606", "--unauthorized", "--no-list-tags", "--list-error", "20500"]
    options += ["--list-delay", "never", "--no-callbacks"]
    with subprocess.Popen([sys.executable, "-c", CODE, *options], stdout=subprocess.PIPE, text=True) as process:
        line, *exports = [process.stdout.readline() for _ in range(4)]
        process.send_signal(number)
        assert process.wait(timeout=20) == 0
    assert line.startswith("fake Twilio on http://127.0.0.1:")
    assert exports == [  # to be pasted into a shell that runs the README's configuration
        "export TWILIO_ACCOUNT_SID=AC0123456789abcdef0123456789abcdef\n",
        "export TWILIO_API_KEY_SID=SK0123456789abcdef0123456789abcdef\n",
        "export TWILIO_API_KEY_SECRET=fake-api-key-secret\n",
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--latency", "50"], "write 50ms"),
        (["--latency", "50ms-"], "write 50ms"),
        (["--too-many-share", "5"], "0.0<=x<=1.0"),
        (["--listen", "8080"], "HOST:PORT"),
        (["--refuse", "+15551230001"], "NUMBER=CODE"),
        (["--refuse", "+15551230001=STOP"], "no code"),
        (["--list-delay", "sometimes"], "write 50ms"),
        (["--refuse-sender", "Shop=STOP"], "no code"),
        (["--opt-out", "+15551230001="], "NUMBER=OTHER"),
        (["--listen", "256.0.0.1:0"], "cannot listen"),
    ],
)
def test_an_option_that_means_nothing_is_explained(options, said):
    result = CliRunner().invoke(fake_twilio, options)
    assert result.exit_code in (1, 2)
    assert said in result.output


def test_help_names_the_credentials():
    result = CliRunner().invoke(fake_twilio, ["--help"])
    assert result.exit_code == 0
    for secret in ("AC0123456789abcdef0123456789abcdef", "fake-auth-token", "fake-api-key-secret"):
        assert secret in result.output
