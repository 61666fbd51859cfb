"""RabbitMQ, Redis, MongoDB and S3 on this machine, where the environment names none.

A stack has a name and lives in `.stack/<name>/`: data, logs, pid files and `stack.json` with its ports
and generated secrets. Everything listens on loopback only. Servers outlive the process that started
them; a second `up`, from any process, reuses them.

    stack = Stack("test")
    urls = stack.up(fresh=True)     # StackUrls; urls.as_env() for child processes
    stack.rabbitmq.kill()           # as a crash would
    stack.rabbitmq.start()          # back, with its messages
    stack.down()

On the command line: `python -m ops.stack up|down|status|kill [--name dev]`.
"""

import argparse
import contextlib
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ops.servers import Machine, Server, StackError
from ops.servers.machine import file_lock
from ops.servers.mongo import Mongo
from ops.servers.rabbitmq import RabbitMQ
from ops.servers.seaweedfs import ACCESS_KEY, SECRET_KEY, SeaweedFS
from ops.servers.valkey import Valkey


@dataclass(frozen=True)
class StackUrls:
    """Where the four services are, credentials included."""

    mongo_url: str
    redis_url: str
    rabbitmq_url: str
    s3_endpoint_url: str
    s3_access_key: str
    s3_secret_key: str

    def as_env(self) -> dict[str, str]:
        """The environment variables that Stockyard's processes read."""
        return {
            Mongo.variable: self.mongo_url,
            Valkey.variable: self.redis_url,
            RabbitMQ.variable: self.rabbitmq_url,
            SeaweedFS.variable: self.s3_endpoint_url,
            ACCESS_KEY: self.s3_access_key,
            SECRET_KEY: self.s3_secret_key,
        }


class Stack:
    """The four servers under one name. Nothing is touched on disk before the first use.

    A name is lower-case letters, digits and dashes. `environ` is what decides which services are
    given (`STOCKYARD_*_URL`) and which programs are on the PATH; the process's own by default.
    """

    def __init__(
        self,
        name: str = "dev",
        root: Path = Path(".stack"),
        *,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,30}", name):
            raise StackError(f"{name!r} is no name for a stack: use lower-case letters, digits and dashes")
        self.name = name
        self.root = root.resolve()
        self.folder = self.root / name
        self._environ = dict(os.environ if environ is None else environ)

    @cached_property
    def rabbitmq(self) -> RabbitMQ:
        """The message broker."""
        return RabbitMQ(self._machine)

    @cached_property
    def valkey(self) -> Valkey:
        """Locks, cache and pub/sub."""
        return Valkey(self._machine)

    @cached_property
    def mongo(self) -> Mongo:
        """The truth."""
        return Mongo(self._machine)

    @cached_property
    def s3(self) -> SeaweedFS:
        """Object storage."""
        return SeaweedFS(self._machine)

    @property
    def servers(self) -> tuple[Server, ...]:
        """All four, slowest first."""
        return (self.rabbitmq, self.s3, self.mongo, self.valkey)

    @property
    def urls(self) -> StackUrls:
        """Where the services are, or will be once they are up."""
        return StackUrls(
            mongo_url=self.mongo.url,
            redis_url=self.valkey.url,
            rabbitmq_url=self.rabbitmq.url,
            s3_endpoint_url=self.s3.url,
            s3_access_key=self.s3.access_key,
            s3_secret_key=self.s3.secret_key,
        )

    def exists(self) -> bool:
        """Whether there has been such a stack: its ports and secrets are recorded."""
        return Machine.exists(self.folder)

    def up(self, *, fresh: bool = False) -> StackUrls:
        """Idempotent: reuses what runs, starts the rest in parallel, returns when all answer.

        `fresh` first stops what runs and deletes all data, logs and recorded ports. Raises StackError,
        and stops again what this call had started, if a server cannot come up.
        """
        with self._locked():
            if fresh:
                self._wipe()
            stopped = [server for server in self.servers if not server.running()]
            try:
                _each(self.servers, lambda server: server.start())
            except BaseException:
                _each(stopped, lambda server: server.stop())
                raise
            return self.urls

    def down(self) -> None:
        """Idempotent. Stops every process of this stack, epmd included; data and logs stay."""
        with self._locked():
            self._down()

    def wipe(self) -> None:
        """Stops what runs and deletes the stack's folder. The next start draws new ports."""
        with self._locked():
            self._wipe()

    def _down(self) -> None:
        if self.exists():
            _each(self.servers, lambda server: server.stop())

    def _wipe(self) -> None:
        self._down()
        shutil.rmtree(self.folder, ignore_errors=True)
        for cached in ("rabbitmq", "valkey", "mongo", "s3", "_machine"):
            self.__dict__.pop(cached, None)

    @cached_property
    def _machine(self) -> Machine:
        return Machine.open(self.folder, self._environ)

    def _locked(self) -> contextlib.AbstractContextManager[None]:
        return file_lock(self.root / f"{self.name}.lock")


def _each(servers: "tuple[Server, ...] | list[Server]", act: Callable[[Server], None]) -> None:
    if not servers:
        return
    with ThreadPoolExecutor(len(servers)) as pool:
        outcomes = [pool.submit(act, server) for server in servers]
    for outcome in outcomes:
        outcome.result()


def _print_status(stack: Stack) -> None:
    for server in stack.servers:
        how = "given" if not server.managed else f"pid {server.pid}"
        state = f"up ({how})" if server.running() else "down"
        print(f"{server.label:10} {state:16} {server.address}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ops.stack", description=__doc__.split("\n")[0])
    parser.add_argument("--name", default="dev", help="which stack; `dev` has fixed ports (default)")
    verbs = parser.add_subparsers(dest="verb", required=True)
    up = verbs.add_parser("up", help="start what does not run yet")
    up.add_argument("--fresh", action="store_true", help="delete the data first")
    verbs.add_parser("down", help="stop everything, keep the data")
    verbs.add_parser("status", help="what runs, and where")
    kill = verbs.add_parser("kill", help="SIGKILL, as a crash would")
    kill.add_argument("server", nargs="*", help="rabbitmq valkey mongo seaweedfs (default: all)")
    for verb in verbs.choices.values():
        verb.add_argument("--name", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    return parser


def main(argv: list[str] | None = None) -> int:
    """The command line. 0, or 1 after one line on standard error."""
    asked = _parser().parse_args(argv)
    try:
        stack = Stack(asked.name)
        if asked.verb == "up":
            stack.up(fresh=asked.fresh)
            _print_status(stack)
        elif asked.verb == "down":
            stack.down()
        elif asked.verb == "kill":
            _kill(stack, asked.server)
        else:
            _print_status(stack)
    except StackError as error:
        print(f"stack: {error}", file=sys.stderr)
        return 1
    return 0


def _kill(stack: Stack, slugs: list[str]) -> None:
    known = {server.slug: server for server in stack.servers}
    if unknown := set(slugs) - set(known):
        raise StackError(f"no such server: {', '.join(sorted(unknown))} (there are {', '.join(known)})")
    for slug in slugs or known:
        known[slug].kill()


if __name__ == "__main__":
    sys.exit(main())
