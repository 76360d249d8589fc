"""How commands read the files that people name to them: up to a bound, and never waiting."""

import errno
from pathlib import Path


def read_up_to(path: Path, bytes_max: int) -> bytes:
    """A file's bytes; one more than `bytes_max` when there are more.

    Raises: OSError; also for a pipe or a socket, which might never have a writer or an end; but what the shell opened
    itself (`<(…)` is /dev/fd/63) has one.
    """
    if (path.is_fifo() or path.is_socket()) and path.parent != Path("/dev/fd"):
        raise OSError(errno.EINVAL, "a pipe, not a file")
    with path.open("rb") as stream:
        return stream.read(bytes_max + 1)
