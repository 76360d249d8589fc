"""`python -m streamer` is the `streamer` command."""

from streamer.cli.main import main

if __name__ == "__main__":
    main(prog_name="streamer")
