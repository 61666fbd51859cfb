"""Logs: structlog for ours and the libraries' records alike, as JSON lines or for a console.

Fields that are bound with `structlog.contextvars` (`request_id`, `job_id`) are on every line of their task.
"""

import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeAlias

import structlog
from pydantic_core import to_json

from domain import telemetry
from domain.settings import Log

_QUIET = ("pika", "apscheduler", "botocore", "pymongo", "httpx", "dramatiq.worker.WorkerThread")


def configure_logging(settings: Log) -> None:
    """Sends every record to stderr in the chosen form. May be called again."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        _add_trace_id,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer() if settings.format == "json" else structlog.dev.ConsoleRenderer()
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=settings.level, force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _add_trace_id(_logger: Any, _method: str, event: Any) -> Any:
    """The trace that a line belongs to, where there is one."""
    trace_id = telemetry.trace_id(telemetry.traceparent())
    if trace_id is not None:
        event["trace_id"] = trace_id
    return event


#: Writes one line: the event and its facts.
HotLog: TypeAlias = Callable[[str, dict[str, Any]], None]


def hot_log(settings: Log, name: str) -> HotLog:
    """For the lines that every request and every job leave, at INFO; nothing where the level is above that.

    A record through `logging` and structlog costs a third of the time that an accepted order takes of the
    API, so JSON lines are written here, in the form of all others.
    """

    def json_line(event: str, facts: dict[str, Any]) -> None:
        stamp = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        line = {**facts, "event": event, "logger": name, "level": "info", "timestamp": stamp}
        sys.stderr.write(to_json(line).decode() + "\n")

    def console_line(event: str, facts: dict[str, Any]) -> None:
        logger(name).info(event, **facts)

    if logging.getLevelName(settings.level) > logging.INFO:
        return lambda _event, _facts: None
    return json_line if settings.format == "json" else console_line


def logger(name: str) -> Any:
    """A structlog logger; events are short sentences, facts are fields."""
    return structlog.get_logger(name)
