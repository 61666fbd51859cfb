"""The four servers of the local stack, one module each, over one shared base."""

from ops.servers.base import Server, StackError
from ops.servers.machine import Machine

__all__ = ["Machine", "Server", "StackError"]
