"""How pools are shown: plain JSON, for the API and the command line alike. Pure."""

from dataclasses import asdict
from typing import Any

from domain.control.pools import Minute
from domain.events.rules import rfc3339
from domain.jobs.pool_reports import PoolReport

#: Units belong into the names that others see.
_NAMES = {
    "oldest": "oldest_seconds",
    "arrivals": "arrivals_per_second",
    "arrivals_5m": "arrivals_per_second_5m",
    "completions": "completions_per_second",
    "completions_5m": "completions_per_second_5m",
    "mean_run": "mean_run_seconds",
    "p95_run": "p95_run_seconds",
    "busy": "busy_ratio",
    "target": "target_wait_seconds",
    "drain": "drain_seconds",
    "recommended": "recommended_workers",
}


def pool_form(report: PoolReport) -> dict[str, Any]:
    """A pool at one moment."""
    return {_NAMES.get(name, name): _short(value) for name, value in asdict(report).items()}


def minute_form(minute: Minute) -> dict[str, Any]:
    """A minute of a pool's past."""
    return {
        "at": rfc3339(minute.at),
        "arrived": round(minute.arrived),
        "done": round(minute.done),
        "faults": round(minute.faults),
        "mean_run_seconds": _short(minute.mean_run),
        "p95_run_seconds": _short(minute.p95_run),
        "busy_ratio": _short(minute.busy),
        "workers": round(minute.workers, 2),
    }


def _short(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value
