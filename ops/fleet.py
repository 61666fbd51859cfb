"""Stockyard's own processes on one machine: API, worker pools, schedulers, over a stack that is up.

What `make up`, the demo, the benchmarks and the tests start. Each process writes a log of its own; all are
ended by the process id that was started here, never by name.
"""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Self
from urllib.error import URLError
from urllib.request import urlopen

from ops.servers.ports import LOOPBACK, is_free
from ops.servers.process import BackgroundProcess

#: Beside the ports of stacks, see `ops.servers.ports.DRAWN_FROM`.
PORTS = range(10_000, 20_000)
#: Where in them this process is: two that begin fleets at once begin elsewhere.
_NUMBERS = count(secrets.randbelow(len(PORTS)))
#: Seconds from SIGTERM to SIGKILL: longer than a worker takes to finish what it has in hand.
GRACE = 40.0
#: A worker process for each pool: the whole platform.
EVERY_POOL = {"orders": 1, "inventory": 1, "notifications": 1, "media": 1}


class FleetError(Exception):
    """A process did not start; the message says which and where its log is."""


@dataclass(slots=True)
class Member:
    """One process: what it runs, and how it is known to be ready."""

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    #: Answers 200 once the process works.
    ready_url: str
    process: subprocess.Popen[bytes] | None = field(default=None)

    def launch(self) -> None:
        """Starts the process without waiting for it. Idempotent."""
        if self.running():
            return
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self.arguments],
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self._record.adopt(self.process.pid)

    @property
    def pid(self) -> int:
        """The process id. Raises FleetError before it was launched."""
        if self.process is None:
            msg = f"{self.name} was not started"
            raise FleetError(msg)
        return self.process.pid

    def running(self) -> bool:
        """Whether the process lives."""
        return self.process is not None and self.process.poll() is None

    def wait_ready(self, *, seconds: float = 30) -> None:
        """Returns once the process says that it works. Raises FleetError when it ends or stays silent."""
        deadline = time.monotonic() + seconds
        while not _answers(self.ready_url):
            if not self.running():
                msg = f"{self.name} ended at start; see {self.log}"
                raise FleetError(msg)
            if time.monotonic() > deadline:
                msg = f"{self.name} was not ready in {seconds:.0f} s; see {self.log}"
                raise FleetError(msg)
            time.sleep(0.05)

    def start(self) -> None:
        """Launches the process and waits until it works."""
        self.launch()
        self.wait_ready()

    def kill(self) -> None:
        """SIGKILL, and reaped."""
        self._signal(signal.SIGKILL)
        self._reap(10)

    def terminate(self) -> None:
        """SIGTERM, without waiting."""
        self._signal(signal.SIGTERM)

    def stop(self, *, seconds: float = GRACE) -> int | None:
        """SIGTERM, then SIGKILL when it takes too long. The exit code; None where it never ran."""
        self.terminate()
        if not self._reap(seconds):
            self.kill()
        return self.process.returncode if self.process else None

    def _signal(self, number: signal.Signals) -> None:
        if self.running():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _reap(self, seconds: float) -> bool:
        if self.process is None:
            return True
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        self._record.pid_file.unlink(missing_ok=True)
        return True

    @property
    def _record(self) -> BackgroundProcess:
        return BackgroundProcess(self.log.with_suffix(".pid"), self.log)


class Fleet:
    """All processes of one platform.

    Args:
      environment: the stack's URLs and whatever settings the processes shall have.
      folder: where the logs go.
      apis, schedulers: how many of each.
      pools: worker processes by pool.
      ports: the APIs' ports; free ones where there are none.
      consoles: the consoles' ports, 0 for a free one; none where there are none.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        folder: Path,
        apis: int = 2,
        pools: Mapping[str, int] | None = None,
        schedulers: int = 1,
        ports: Iterable[int] = (),
        consoles: Iterable[int] = (),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._environment = dict(environment)
        self._folder = folder
        wanted = list(ports)
        self.apis = [self._api(n, wanted[n] if n < len(wanted) else free_port()) for n in range(apis)]
        counts = {"orders": 1, "inventory": 1} if pools is None else pools
        self.workers = [self._worker(pool, n) for pool, count in counts.items() for n in range(count)]
        self.schedulers = [self._scheduler(n) for n in range(schedulers)]
        self.consoles = [self._console(n, port or free_port()) for n, port in enumerate(consoles)]

    @property
    def members(self) -> list[Member]:
        """Every process: workers before APIs, so that no job finds nobody who knows its kind."""
        return [*self.workers, *self.schedulers, *self.consoles, *self.apis]

    @property
    def urls(self) -> list[str]:
        """The APIs' base URLs."""
        return [api.ready_url.removesuffix("/healthz") for api in self.apis]

    @property
    def console_urls(self) -> list[str]:
        """Where the consoles are."""
        return [console.ready_url.removesuffix("/healthz") + "/ops" for console in self.consoles]

    def start(self) -> Self:
        """Starts all that does not run, and waits until all work; stops them all when one does not."""
        try:
            for member in self.members:
                member.launch()
            for member in self.members:
                member.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stops all, APIs first, and waits for them. Idempotent."""
        for member in reversed(self.members):
            member.terminate()
        for member in reversed(self.members):
            member.stop()

    def __enter__(self) -> Self:
        """Starts the fleet."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stops the fleet."""
        self.stop()

    def _api(self, number: int, port: int) -> Member:
        own = {"STOCKYARD_API_HOST": LOOPBACK, "STOCKYARD_API_PORT": str(port)}
        return self._member(f"api-{number}", ("api",), own, port)

    def _console(self, number: int, port: int) -> Member:
        own = {"STOCKYARD_CONSOLE_HOST": LOOPBACK, "STOCKYARD_CONSOLE_PORT": str(port)}
        return self._member(f"console-{number}", ("api.console",), own, port)

    def _worker(self, pool: str, number: int) -> Member:
        port = free_port()
        own = {"STOCKYARD_WORKERS_PROBE_PORT": str(port)}
        return self._member(f"{pool}-{number}", ("workers.main", pool), own, port)

    def _scheduler(self, number: int) -> Member:
        port = free_port()
        own = {"STOCKYARD_SCHEDULER_PROBE_PORT": str(port)}
        return self._member(f"scheduler-{number}", ("scheduler.main",), own, port)

    def _member(self, name: str, arguments: tuple[str, ...], own: Mapping[str, str], port: int) -> Member:
        return Member(
            name=name,
            arguments=arguments,
            environment={**self._environment, **own},
            log=self._folder / f"{name}.log",
            ready_url=f"http://{LOOPBACK}:{port}/healthz",
        )


def end_leftovers(folder: Path) -> list[str]:
    """Idempotent. Ends what a fleet with its logs in `folder` left running when its starter was killed.

    Finds it by the pid files there; answers the names.
    """
    found = [BackgroundProcess(pid_file, pid_file.with_suffix(".log")) for pid_file in folder.glob("*.pid")]
    living = [each for each in found if each.running()]
    for each in living:
        each.terminate()
    for each in found:
        each.stop(grace=GRACE)
    return sorted(each.pid_file.stem for each in living)


def free_port() -> int:
    """A loopback port that nobody listens on now, another one each time.

    None that the system gives to connections: it is still free when its process comes back.
    """
    drawn = (PORTS[number % len(PORTS)] for number in _NUMBERS)
    return next(port for port in drawn if is_free(port))


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=2) as answer:  # noqa: S310 - our own loopback URL
            return bool(answer.status == 200)  # noqa: PLR2004 - HTTP OK
    except (URLError, OSError):
        return False
