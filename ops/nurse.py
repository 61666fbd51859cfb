"""Starts again what dies while `make up` runs: processes, and the services of the stack."""

import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from ops.fleet import Member
from ops.servers import Server, StackError

#: The longest pause before something that keeps dying is started again.
LONGEST_PAUSE = 30.0


class Nurse:
    """Looks at processes and services; each death gets one line, and a longer pause than the one before."""

    def __init__(self, members: Callable[[], Iterable[Member]], servers: Iterable[Server]) -> None:
        self._members = members
        # A service of the environment is not ours to start.
        self._servers = [server for server in servers if server.managed]
        self._not_before: dict[str, float] = {}
        self._pause: dict[str, float] = {}

    def look(self) -> None:
        """Once over all. Services first: processes end where they are away."""
        for server in self._servers:
            if not server.running() and self._may_try(server.label):
                self._revive_server(server)
        for member in self._members():
            if not member.running() and self._may_try(member.name):
                code = member.process.returncode if member.process else None
                say(f"{member.name} ended with {code}; starting it again (log: {short(member.log)})")
                member.launch()

    def _revive_server(self, server: Server) -> None:
        say(f"{server.label} has ended; starting it again (log: {short(server.log)})")
        try:
            server.start()
        except StackError as error:
            say(f"{server.label} does not start: {error}")
        else:
            say(f"{server.label} is back")

    def _may_try(self, name: str) -> bool:
        now = time.monotonic()
        if now < self._not_before.get(name, 0.0):
            return False
        self._pause[name] = min(self._pause.get(name, 0.5) * 2, LONGEST_PAUSE)
        self._not_before[name] = now + self._pause[name]
        return True


def short(path: Path) -> str:
    """Relative to where we are, if it is below."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def say(what: str) -> None:
    """One line for whoever runs `make up`."""
    print(f"up: {what}", file=sys.stderr, flush=True)
