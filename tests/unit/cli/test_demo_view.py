"""What the demo shows where there is no terminal: nothing is said before it has happened."""

from click.testing import CliRunner

from streamer.cli.demo_summary import Summary, Times
from streamer.cli.demo_view import Progress, Screen
from streamer.cli.main import main

START = Progress(total=5_000, read=0, expected=1_234, accepted=0, suppressed=0, failed=0, in_flight=0)
SUMMARY = Summary(
    is_right=True,
    faults=[],
    seed=7,
    produced_events=10,
    read_events=10,
    usable_events=10,
    repeated_events=0,
    matched=3,
    accepted=3,
    twilio_messages=3,
    twilio_busy=0,
    not_sent=[],
    dead_letters=[],
    times=Times(1.0, 1.0, 2.0),
    folder="",
)


def test_the_first_line_of_progress_claims_nothing(capsys):
    """What must match is known from the events alone; "matched 1,234" with 0 read was taken for a defect."""
    Screen().show(START, 0.1)
    line = capsys.readouterr().out
    assert "read 0 of 5,000; 0 of 1,234 expected outcomes: accepted 0, suppressed 0, failed 0; in flight 0" in line
    assert "matched" not in line


def test_the_outcomes_so_far_are_counted_against_those_expected(capsys):
    Screen().show(START._replace(read=900, accepted=5, suppressed=3, failed=2, in_flight=4), 1.0)
    assert "read 900 of 5,000; 10 of 1,234 expected outcomes: accepted 5," in capsys.readouterr().out


def test_the_summary_says_what_a_seed_repeats_and_what_it_does_not(capsys):
    """Two runs of one seed differ by a few outcomes, and both are right."""
    Screen().summary(SUMMARY)
    said = capsys.readouterr().out
    assert "--seed 7 makes this day again, not the order in which its topics are read" in said


def test_the_help_says_so_too():
    said = " ".join(CliRunner().invoke(main, ["demo", "--help"]).stdout.split())
    assert "The same seed makes the same day" in said
    assert "not the order in which its topics are read" in said
