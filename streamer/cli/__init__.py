"""The `streamer` command: one module a verb; each parses arguments, calls app or core, and prints."""
