"""A rolling restart of a fleet: every process is replaced, one after another, while the others work."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace

import psutil

from ops.fleet import Fleet, FleetError, Member, free_port
from ops.servers.ports import LOOPBACK

#: Seconds that the replacement of one process may take.
PATIENCE = 240.0


def replace_all(fleet: Fleet, *, say: Callable[[str], None] = lambda _line: None) -> None:
    """Workers first, for they have to know what the API submits; then schedulers; then the APIs' workers.

    Raises FleetError where a new process does not start: then the old one goes on.
    """
    for members in (fleet.workers, fleet.schedulers):
        for place, old in enumerate(members):
            members[place] = succeed(old)
            say(f"{old.name} was replaced")
    for api in fleet.apis:
        restart_api(api)
        say(f"{api.name} was replaced")


def succeed(old: Member) -> Member:
    """Starts another process like it, and stops the old one once that works."""
    port = free_port()
    variable = next(name for name in old.environment if name.endswith("_PROBE_PORT"))
    path = "/readyz" if "WORKERS" in variable else "/healthz"
    fresh = replace(
        old,
        environment={**old.environment, variable: str(port)},
        log=old.log.with_name(f"{old.log.stem}-{port}.log"),
        ready_url=f"http://{LOOPBACK}:{port}{path}",
        process=None,
    )
    fresh.start()
    code = old.stop()
    if code:
        raise FleetError(f"{old.name} ended with {code}; see {old.log}")
    return fresh


def restart_api(api: Member) -> None:
    """SIGHUP to an API of several workers; returns once all of them are new. Raises FleetError."""
    before = workers_of(api)
    os.kill(api.pid, signal.SIGHUP)
    deadline = time.monotonic() + PATIENCE
    while before & workers_of(api) or len(workers_of(api)) != len(before):
        if not api.running() or time.monotonic() > deadline:
            raise FleetError(f"{api.name} was not replaced; see {api.log}")
        time.sleep(0.1)


def workers_of(api: Member) -> set[int]:
    """The process ids of an API's workers."""
    return {child.pid for child in psutil.Process(api.pid).children()}
