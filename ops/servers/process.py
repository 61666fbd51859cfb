"""A background process that outlives its starter and is found again by its pid file."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

#: Pause between two looks at a condition, in seconds.
POLL = 0.02

#: A process found under a recorded pid is ours if it began within this many seconds of the record;
#: the clock may have been set meanwhile, so not exactly.
SAME_START = 2.0


def wait_until(condition: Callable[[], bool], *, seconds: float) -> bool:
    """Whether the condition came true within the given time. Looks at least once."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL)
    return True


@dataclass(frozen=True)
class BackgroundProcess:
    """One process, known by a pid file that survives the starter.

    The pid file holds the pid and the time the process began, so a pid that the system has since
    given to somebody else's process is never signalled.
    """

    pid_file: Path
    log: Path

    def start(self, argv: Sequence[str], environ: Mapping[str, str]) -> None:
        """Starts the program in a session of its own (no Ctrl-C reaches it), output appended to the log."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        pid = os.posix_spawn(
            argv[0],
            list(argv),
            dict(environ),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(self.log), append, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
        self.adopt(pid)

    def adopt(self, pid: int) -> None:
        """Records a process that somebody else started."""
        self.pid_file.parent.mkdir(parents=True, exist_ok=True)
        record = json.dumps({"pid": pid, "began": psutil.Process(pid).create_time()})
        fresh = self.pid_file.with_suffix(".new")
        fresh.write_text(record, encoding="utf-8")
        fresh.replace(self.pid_file)

    def running(self) -> bool:
        """Whether the recorded process still lives; a zombie does not."""
        return self._process() is not None

    def pid(self) -> int | None:
        """The process id, or None when it does not run."""
        process = self._process()
        return process.pid if process else None

    def terminate(self) -> None:
        """SIGTERM, without waiting."""
        process = self._process()
        if process is not None:
            _send(process, signal.SIGTERM)

    def stop(self, *, grace: float) -> None:
        """SIGTERM, and SIGKILL to what is left of the process and its children after `grace` seconds."""
        self._end(signal.SIGTERM, grace=grace)

    def kill(self) -> None:
        """SIGKILL at once, children included; returns when they are gone."""
        self._end(signal.SIGKILL, grace=0)

    def _end(self, first: signal.Signals, *, grace: float) -> None:
        process = self._process()
        if process is not None:
            family = [process, *_children(process)]
            if first is not signal.SIGKILL:
                _send(process, first)
                wait_until(lambda: not any(map(_alive, family)), seconds=grace)
            for member in family:
                _send(member, signal.SIGKILL)
            wait_until(lambda: not any(map(_alive, family)), seconds=10)
        self.pid_file.unlink(missing_ok=True)

    def _process(self) -> psutil.Process | None:
        try:
            record = json.loads(self.pid_file.read_text(encoding="utf-8"))
            process = psutil.Process(record["pid"])
            ours = abs(process.create_time() - record["began"]) < SAME_START
        except (OSError, ValueError, KeyError, psutil.Error):
            return None
        return process if ours and _alive(process) else None


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def _send(process: psutil.Process, number: signal.Signals) -> None:
    # psutil looks at the start time again before it signals.
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _alive(process: psutil.Process) -> bool:
    # Our own dead child stays a zombie until somebody waits for it.
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)
    try:
        # A killed process is a zombie as soon as its first thread has ended, while others may still
        # hold its ports for a moment.
        gone = process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1
        return process.is_running() and not gone
    except psutil.Error:
        return False
