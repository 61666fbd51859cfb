"""What a stack remembers between starts: its ports and its generated secrets, in `stack.json`."""

import contextlib
import fcntl
import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ops.servers import ports

#: The ports of the stack `dev`, below the range of outgoing connections. Other stacks draw theirs.
DEV_PORTS = {
    "amqp": 27672,
    "amqp_dist": 27673,
    "epmd": 27674,
    "redis": 27679,
    "mongo": 27680,
    "s3": 27690,
    "s3_grpc": 27691,
    "filer": 27692,
    "filer_grpc": 27693,
    "volume": 27694,
    "volume_grpc": 27695,
    "master": 27696,
    "master_grpc": 27697,
}


@dataclass(frozen=True)
class Machine:
    """Where a stack runs: its folder, its ports and generated secrets by name, and the environment."""

    folder: Path
    ports: Mapping[str, int]
    secrets: Mapping[str, str]
    environ: Mapping[str, str]

    @staticmethod
    def exists(folder: Path) -> bool:
        """Whether a stack has ever been opened there."""
        return _file(folder).exists()

    @classmethod
    def open(cls, folder: Path, environ: Mapping[str, str]) -> "Machine":
        """Recalls the stack of that folder, or records a new one, with ports that are free now."""
        with file_lock(folder.parent / "ports.lock"):
            if not cls.exists(folder):
                _record(folder)
        state = json.loads(_file(folder).read_text(encoding="utf-8"))
        return cls(folder, state["ports"], state["secrets"], environ)


@contextlib.contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Held by one process, or thread, at a time; waits. A process that dies lets go of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _file(folder: Path) -> Path:
    return folder / "stack.json"


def _record(folder: Path) -> None:
    fixed = folder.name == "dev"
    state = {
        "ports": DEV_PORTS if fixed else ports.draw(DEV_PORTS, avoid=_recorded_ports(folder.parent)),
        "secrets": {
            "amqp_user": "stockyard",
            "amqp_password": secrets.token_hex(16),
            "s3_access_key": secrets.token_hex(10).upper(),
            "s3_secret_key": secrets.token_hex(20),
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    fresh = _file(folder).with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
    fresh.replace(_file(folder))


def _recorded_ports(root: Path) -> set[int]:
    states = (json.loads(file.read_text(encoding="utf-8")) for file in root.glob("*/stack.json"))
    return {port for state in states for port in state["ports"].values()}
