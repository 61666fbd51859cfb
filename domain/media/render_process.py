"""The process that decodes pictures: one order after another, a line of JSON in, a line of JSON out.

It has no secrets in its environment and a bound on its memory. A picture that makes libvips crash or hang
takes this process with it, and nothing else: see `domain.media.renderer`.
"""

import json
import os
import resource
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from domain.media.images import Refused, Unwritten, prepare, render
from domain.media.renditions import Form


def answer(order: Mapping[str, Any]) -> dict[str, Any]:
    """`found` and `made`, or `refused` with a code and `detail`, or `unwritten` with why."""
    forms = [Form(**form) for form in order["forms"]]
    path, folder = Path(order["path"]), Path(order["folder"])
    try:
        found, made = render(path, folder, forms, max_pixels=order["max_pixels"])
    except Refused as refusal:
        return {"refused": refusal.code, "detail": refusal.detail}
    except Unwritten as error:
        return {"unwritten": str(error)}
    return {"found": asdict(found), "made": [asdict(each) for each in made]}


def bound_memory(most: int) -> None:
    """Allocations past that fail. What a system does not bound stays unbounded."""
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    """Ends with its standard input, and over a picture that takes too long: whoever asks may be gone."""
    threads, memory, seconds = map(int, sys.argv[1:])
    # What libraries print is not an answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    bound_memory(memory)
    prepare(threads=threads)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        signal.alarm(seconds)  # nobody catches it: the system ends the process, whatever it is at
        print(json.dumps(answer(json.loads(line))), file=answers, flush=True)
        signal.alarm(0)


if __name__ == "__main__":
    main()
