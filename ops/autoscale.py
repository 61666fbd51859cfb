"""Starts and stops the worker processes of one host by what their pools recommend.

It ends only what it started, by its process id, with SIGTERM and the time that a worker asks for. When it
dies itself, in whatever way, its workers notice by a pipe, finish what they have in hand, and stop.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from pymongo.errors import PyMongoError

from domain.control.pools import Pools
from domain.control.processes import Processes
from domain.control.rules import WORKER
from domain.jobs.pool_reports import PoolReport
from domain.lifeline import lifeline
from ops.steering import Steering

#: What runs a worker; the lifeline and the pool follow.
COMMAND: Sequence[str] = (sys.executable, "-m", "workers.main")
#: Seconds beyond a worker's own time to stop, before it is killed.
MARGIN = 10.0
#: Seconds before a worker is started again that ended by itself; doubles up to the longest.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
#: A worker that lived for so long has started well.
GOOD_START = 30.0


@dataclass(frozen=True, slots=True)
class Change:
    """A pool has more or fewer processes of this host than before, or is not given more, and why.

    What ops have drained is not counted: it takes no jobs.
    """

    pool: str
    before: int
    after: int
    why: str


@dataclass(slots=True)
class Herd:
    """The worker processes of one pool that this process started."""

    steering: Steering
    command: Sequence[str]
    reading: int
    environment: Mapping[str, str]
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    #: Told to stop; they finish what they have in hand.
    leaving: list[tuple[subprocess.Popen[bytes], float]] = field(default_factory=list)
    #: Drained by ops: they take no place, and stay until they work again or all end.
    resting: list[subprocess.Popen[bytes]] = field(default_factory=list)
    #: Whether it is not grown because its pool is paused, which was said.
    held: bool = False
    #: Why the last resize could not start one.
    fault: str | None = None
    pause: float = FIRST_PAUSE
    not_before: float = float("-inf")
    started_at: float = float("-inf")

    @property
    def pool(self) -> str:
        """Its name."""
        return self.steering.bounds.pool

    @property
    def pids(self) -> set[int]:
        """All that it started, and that have not ended."""
        return {each.pid for each in (*self.running, *self.resting, *(each for each, _ in self.leaving))}

    def rest(self, drained: Container[int]) -> None:
        """Those that are drained leave their place to others; those that are no more take it again."""
        both = [*self.resting, *self.running]
        self.resting = [each for each in both if each.pid in drained]
        self.running = [each for each in both if each.pid not in drained]

    def bury(self, now: float) -> int:
        """Forgets those that have ended; answers how many did so unasked."""
        self.leaving = [(each, since) for each, since in self.leaving if each.poll() is None]
        self.resting = [each for each in self.resting if each.poll() is None]
        dead = [each for each in self.running if each.poll() is not None]
        if dead:
            self.running = [each for each in self.running if each not in dead]
            self._put_off(now)
        return len(dead)

    def _put_off(self, now: float) -> None:
        """The next start, by a pause that grows."""
        if now - self.started_at > GOOD_START:
            self.pause = FIRST_PAUSE
        self.not_before = now + self.pause
        self.pause = min(2 * self.pause, LONGEST_PAUSE)

    def resize(self, count: int, now: float) -> None:
        """Starts or stops so many that `count` run; starts none too soon after a death, or a failed start."""
        while len(self.running) > count:
            # The youngest goes: it has the least in hand that others would have to begin anew.
            last = self.running.pop()
            last.terminate()
            self.leaving.append((last, now))
        self.fault = None
        while len(self.running) < count and now >= self.not_before:
            try:
                self.running.append(self._start())
            except OSError as error:
                # The host has no process, memory or file left for now.
                self.fault = f"no worker can be started: {error.strerror or error}"
                self._put_off(now)
            self.started_at = now

    def kill_late(self, now: float, *, patience: float) -> None:
        """SIGKILL to those that have been told to stop for too long."""
        for process, since in self.leaving:
            if now - since > patience:
                process.kill()

    def _start(self) -> subprocess.Popen[bytes]:
        arguments = [*self.command, "--lifeline", str(self.reading), self.pool]
        # A session of its own: Ctrl-C is for us, and a second signal would end a worker at once.
        return subprocess.Popen(
            arguments,
            pass_fds=[self.reading],
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )


class Autoscaler:
    """Looks, decides, starts and stops, until it is told to end."""

    def __init__(
        self,
        pools: Pools,
        processes: Processes,
        steerings: Sequence[Steering],
        *,
        every: float,
        stop_within: float,
        tell: Callable[[Change], None],
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._pools = pools
        self._processes = processes
        self._steerings = steerings
        self._every = every
        self._patience = stop_within + MARGIN
        self._tell = tell
        self._command = command

    async def run(self, stop: asyncio.Event) -> None:
        """Returns once told to, and once all that it started has ended."""
        with lifeline() as reading:
            # Probes of many workers on one host cannot share a port.
            own = {"STOCKYARD_WORKERS_PROBE_PORT": "0"}
            herds = [Herd(steering, self._command, reading, own) for steering in self._steerings]
            try:
                while not stop.is_set():
                    for herd in herds:
                        await self._look(herd)
                    with suppress(TimeoutError):
                        async with asyncio.timeout(self._every):
                            await stop.wait()
            finally:
                await self._end(herds)

    async def _look(self, herd: Herd) -> None:
        now = time.monotonic()
        dead = herd.bury(now)
        herd.kill_late(now, patience=self._patience)
        try:
            others = await self._attend(herd)
            report = await self._pools.look_at(herd.pool)
        except PyMongoError:
            # What runs goes on, and what died is started again.
            before = len(herd.running)
            count, why = max(before + dead, herd.steering.bounds.least), "nobody can say how its queue is"
        else:
            before = len(herd.running)
            count = herd.steering.wanted(report.recommended, running=before, others=others, now=now)
            why = report.words
            self._tell_pause(herd, report)
        herd.resize(count, now)
        if herd.fault:
            self._tell(Change(herd.pool, before + dead, len(herd.running), herd.fault))
        elif len(herd.running) != before + dead:
            self._tell(Change(herd.pool, before + dead, len(herd.running), why))
        elif dead:
            self._tell(Change(herd.pool, before, len(herd.running), "a worker ended by itself"))

    def _tell_pause(self, herd: Herd, report: PoolReport) -> None:
        """Says once why a pool is not grown that has jobs waiting."""
        held = report.paused and report.depth > 0
        if held and not herd.held:
            count = len(herd.running)
            self._tell(Change(herd.pool, count, count, f"{report.words}: more workers would not help"))
        herd.held = held

    async def _attend(self, herd: Herd) -> int:
        """Has those rest that ops have drained; answers how many others take jobs of the pool."""
        here, others, drained = socket.gethostname(), 0, set[int]()
        for each in await self._processes.find():
            if each.process["role"] != WORKER or herd.pool not in each.process["pools"]:
                continue
            ours = each.process["host"] == here and each.process["pid"] in herd.pids
            if ours and each.process.get("drain") is not None:
                drained.add(each.process["pid"])
            others += not ours and each.state == "working"
        herd.rest(drained)
        return others

    async def _end(self, herds: Sequence[Herd]) -> None:
        now = time.monotonic()
        for herd in herds:
            herd.rest(())
            herd.resize(0, now)
        while any(herd.leaving for herd in herds):
            for herd in herds:
                herd.bury(now)
                herd.kill_late(time.monotonic(), patience=self._patience)
            await asyncio.sleep(0.1)


def stop_on_signals() -> asyncio.Event:
    """Set by SIGTERM, SIGINT and SIGHUP."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
