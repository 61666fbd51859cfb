"""The composition root: everything that a process needs, wired in one place."""

from domain.bootstrap.checking import check_services
from domain.bootstrap.happenings import DECLARED
from domain.bootstrap.models import MODELS
from domain.bootstrap.opening import open_services
from domain.bootstrap.services import Ports, Services
from domain.bootstrap.tracing import tracing
from domain.bootstrap.wiring import wire

__all__ = ["DECLARED", "MODELS", "Ports", "Services", "check_services", "open_services", "tracing", "wire"]
