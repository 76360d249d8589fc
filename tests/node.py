"""Node's packages for the tests that compare us with an original: installed on first use from a folder's lock file."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

ORACLES = Path(__file__).parent / "contracts" / "oracles"
INSTALL_TIMEOUT_S = 240
ANSWER_TIMEOUT_S = 240


def install(folder: Path) -> Path:
    """The `node_modules` of a folder with a package-lock.json; a lock makes parallel workers take turns.

    Without Node the test fails in CI, and is skipped with the reason elsewhere.
    """
    npm = shutil.which("npm")
    if not (shutil.which("node") and npm):
        reason = "Node 20 with npm is needed for the packages that this test compares with"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    lockfile = folder / "package-lock.json"
    stamp = folder / "node_modules" / ".installed"
    wanted = hashlib.sha256(lockfile.read_bytes()).hexdigest()
    with lockfile.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != wanted:
            command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False
            )
            if done.returncode:
                pytest.fail(f"npm ci failed:\n{done.stderr[-2000:]}")
            stamp.write_text(wanted)
    return folder / "node_modules"


def ask(script: str, questions: Iterable[Any]) -> list[Any]:
    """The answers of `oracles/<script>`: one JSON line each way a question, in order, in one process."""
    install(ORACLES)
    lines = "".join(json.dumps(question) + "\n" for question in questions)
    done = subprocess.run(
        ["node", str(ORACLES / script)],
        input=lines,
        cwd=ORACLES,
        env={**os.environ, "TZ": "UTC"},
        capture_output=True,
        text=True,
        timeout=ANSWER_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"{script} failed:\n{done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.split("\n") if line]
