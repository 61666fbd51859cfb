"""The composition root: everything that a process needs, wired in one place."""

from domain.bootstrap.happenings import DECLARED
from domain.bootstrap.models import MODELS
from domain.bootstrap.opening import open_services
from domain.bootstrap.services import Ping, Ports, Services
from domain.bootstrap.tracing import tracing
from domain.bootstrap.wiring import wire

__all__ = ["DECLARED", "MODELS", "Ping", "Ports", "Services", "open_services", "tracing", "wire"]
