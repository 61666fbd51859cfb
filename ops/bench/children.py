"""Child processes of this package: JSON in on standard input, JSON out on standard output."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

#: The longest that one child may take, in seconds, unless its caller knows better.
PATIENCE = 600.0


class ChildError(Exception):
    """A child process failed; the message ends with what it said."""


def ask(
    module: str,
    question: Mapping[str, Any],
    environment: Mapping[str, str] | None = None,
    *,
    patience: float = PATIENCE,
) -> Any:
    """Runs `python -m ops.bench.<module>` with the question on its standard input; answers what it prints.

    Raises ChildError, and TimeoutExpired after `patience` seconds.
    """
    child = subprocess.run(
        [sys.executable, "-m", f"ops.bench.{module}"],
        input=json.dumps(question).encode(),
        env={**os.environ, **(environment or {})},
        capture_output=True,
        timeout=patience,
        check=False,
    )
    if child.returncode:
        said = child.stderr.decode(errors="replace").strip()[-1500:]
        raise ChildError(f"ops.bench.{module} ended with {child.returncode}: {said}")
    return json.loads(child.stdout.decode().splitlines()[-1])


def question() -> dict[str, Any]:
    """What the parent asked."""
    return dict(json.load(sys.stdin))


def answer(result: Mapping[str, Any]) -> None:
    """Tells the parent."""
    print(json.dumps(result))
