"""Which job an event is made by: its page shows what it told, and not what others told of the same thing.

What a job does by itself is known by its context. A batch has none, as it is many jobs' at once: there each
`NewEvent` names its job.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_JOB: ContextVar[str | None] = ContextVar("job", default=None)


@contextmanager
def made_by(job_id: str) -> Iterator[None]:
    """Events that are recorded within are the job's."""
    token = _JOB.set(job_id)
    try:
        yield
    finally:
        _JOB.reset(token)


def maker() -> str | None:
    """The job that is at work here; None where it is none, or many."""
    return _JOB.get()
