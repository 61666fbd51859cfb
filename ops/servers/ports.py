"""Loopback ports: finding free ones, and saying who holds a taken one."""

import random
import socket
from collections.abc import Collection

import psutil

LOOPBACK = "127.0.0.1"

#: Ports are drawn from below the range that Linux gives to outgoing connections (32768 and up), so
#: that a recorded port is not lost to some client while the stack is down.
DRAWN_FROM = range(20_000, 27_000)


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def accepts(port: int, *, host: str = LOOPBACK) -> bool:
    """Whether something listens there."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def draw(names: Collection[str], *, avoid: Collection[int]) -> dict[str, int]:
    """A free loopback port for each name, none of them in `avoid`."""
    ports: list[int] = []
    taken = set(avoid)
    while len(ports) < len(names):
        port = random.choice(DRAWN_FROM)
        if port not in taken and is_free(port):
            ports.append(port)
        taken.add(port)
    return dict(zip(names, ports, strict=True))


def holder(port: int) -> str:
    """The process that listens there, as ` by name (pid n)`; empty where the system will not tell."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        pass
    return ""
