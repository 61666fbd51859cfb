"""What the four servers share: one of the environment's, or a process of our own on loopback."""

import os
import shutil
import sysconfig
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from ops.servers import ports as loopback
from ops.servers.machine import Machine
from ops.servers.process import BackgroundProcess, wait_until


class StackError(Exception):
    """The stack cannot do what was asked; the message is one line that says why and what helps."""


class Server(ABC):
    """One server: used as it is where the environment names one, else run by us.

    A server of the environment is only ever checked; `stop` leaves it alone and `kill` refuses.
    """

    #: Name of its folder, log and pid file.
    slug: ClassVar[str]
    #: Name for people.
    label: ClassVar[str]
    #: The environment variable that names a server to use instead of one of ours.
    variable: ClassVar[str]
    #: What to do when no program is found.
    remedy: ClassVar[str]
    #: The ports it needs; each has a fixed number in the stack `dev`.
    port_names: ClassVar[tuple[str, ...]]
    #: Seconds it may take to become ready.
    patience: ClassVar[float] = 45
    #: The same for a server of the environment, which should be up already.
    patience_with_given: ClassVar[float] = 15
    #: Seconds from SIGTERM to SIGKILL.
    grace: ClassVar[float] = 15

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.folder = machine.folder / self.slug
        self.log = machine.folder / "logs" / f"{self.slug}.log"
        self._process = BackgroundProcess(machine.folder / f"{self.slug}.pid", self.log)
        self._log_began = 0

    # -- what each server says of itself ---------------------------------------------------------

    @property
    @abstractmethod
    def own_url(self) -> str:
        """The URL of the process we run."""

    @abstractmethod
    def command(self) -> tuple[Sequence[str], Mapping[str, str]]:
        """Program with arguments, and its environment. Prepares folder and config; StackError if absent."""

    @abstractmethod
    def ping(self) -> None:
        """Speaks the server's protocol once at `url`. Any exception but StackError means: not ready."""

    # -- what all of them do ---------------------------------------------------------------------

    @property
    def managed(self) -> bool:
        """False if the environment names a server to use."""
        return not self.machine.environ.get(self.variable)

    @property
    def url(self) -> str:
        """Where clients connect."""
        return self.machine.environ.get(self.variable) or self.own_url

    @property
    def pid(self) -> int | None:
        """Of the process we run; None if it is down or not ours."""
        return self._process.pid() if self.managed else None

    def port(self, name: str) -> int:
        """The loopback port of that name."""
        return self.machine.ports[name]

    def start(self) -> None:
        """Idempotent. Returns when the server answers its protocol, data of the last run included."""
        if self.managed and not self.running():
            self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Starts the process without waiting for it. Raises StackError if port or program is not there."""
        for name in self.port_names:
            self.need_free(self.port(name))
        self.folder.mkdir(parents=True, exist_ok=True)
        argv, environ = self.command()
        self._log_began = self.log.stat().st_size if self.log.exists() else 0
        self._process.start(argv, environ)

    def wait_ready(self, *, seconds: float | None = None) -> None:
        """Returns once the server answers. Raises StackError if it dies or the time is over."""
        if seconds is None:
            seconds = self.patience if self.managed else self.patience_with_given
        last: list[Exception] = []

        def settled() -> bool:
            if self.managed and not self.running():
                raise StackError(f"{self.label} ended while starting{self._last_words()}")
            return self._answers(last)

        if not wait_until(settled, seconds=seconds):
            reason = f": {_first_line(last[-1])}" if last else ""
            where = self._last_words() if self.managed else ""
            raise StackError(f"{self.label} at {self.address} not ready after {seconds:g} s{reason}{where}")

    def running(self) -> bool:
        """Whether our process lives; for a server of the environment, whether it answers."""
        return self._process.running() if self.managed else self._answers([])

    def stop(self) -> None:
        """Idempotent. Clean stop, or SIGKILL after the grace time; a server of the environment stays up."""
        if self.managed:
            self._process.stop(grace=self.grace)

    def kill(self) -> None:
        """SIGKILL, as a crash would; `start` brings it back. Raises StackError if it is not ours."""
        if not self.managed:
            raise StackError(f"{self.label} comes from {self.variable}: it is not ours to kill")
        self._process.kill()

    @property
    def address(self) -> str:
        """The URL without its credentials, for people."""
        scheme, _, rest = self.url.partition("://")
        return f"{scheme}://{rest.rpartition('@')[2]}"

    # -- help for the servers --------------------------------------------------------------------

    def need_free(self, port: int) -> None:
        """Raises StackError, naming the holder where the system tells, if somebody listens there."""
        # A server that was killed a moment ago may still be letting go of it.
        if not wait_until(lambda: loopback.is_free(port), seconds=1):
            raise StackError(
                f"{self.label} needs port {port}, which is taken{loopback.holder(port)}: "
                f"stop that, or set {self.variable}",
            )

    def on_path(self, *names: str) -> str | None:
        """The first of these programs that is on the PATH."""
        path = self.machine.environ.get("PATH", os.defpath)
        return next((found for name in names if (found := shutil.which(name, path=path))), None)

    def missing(self) -> StackError:
        """The error for a program that is nowhere."""
        return StackError(f"{self.label} not found: {self.remedy}, or set {self.variable}")

    def _answers(self, failures: list[Exception]) -> bool:
        try:
            self.ping()
        except StackError:
            raise
        except Exception as error:  # noqa: BLE001  every client library has failures of its own
            failures.append(error)
            return False
        return True

    def _last_words(self) -> str:
        try:
            with self.log.open("rb") as log:
                log.seek(self._log_began)
                lines = log.read().decode(errors="replace").split("\n")
        except OSError:
            lines = []
        said = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f" (log: {self.log}{f'; last line: {said[:300]}' if said else ''})"


def beside_python(name: str) -> str | None:
    """The program of that name which a wheel put next to this interpreter."""
    found = Path(sysconfig.get_path("scripts")) / name
    return str(found) if found.is_file() else None


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__} {error}".strip().split("\n")[0][:200]
