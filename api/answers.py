"""The answers that many routes share."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from fastapi import Response
from pydantic_core import to_json

from api.cursors import encode
from api.deps import Caller
from domain.jobs.commands import Command
from domain.jobs.models import Accepted

Row = TypeVar("Row")

#: Says that an earlier request with this key had the effect, and this one none.
REPLAYED = {"Idempotent-Replayed": "true"}


def json(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`body`, which is JSON already, without another look at it."""
    return Response(to_json(body), status, dict(headers) if headers else None, media_type="application/json")


async def submit(caller: Caller, command: Command, *, key: str, subject: str | None = None) -> Accepted:
    """Hands the command to the ledger as the caller's job."""
    return await caller.services.jobs.submit(
        command, owner=caller.account_id, key=key, request_id=caller.request_id, subject=subject
    )


def accepted(job: Accepted, *, state: str, **links: str) -> Response:
    """202. A replay answers as the first request did, whatever has become of the job since."""
    job_id = job.job_id
    where = f"/v1/jobs/{job_id}"
    headers = {"Location": where, "Retry-After": "1"}
    if job.replayed:
        headers |= REPLAYED
    body = {"id": job_id, "job_id": job_id, "state": state, "links": {"self": where, "job": where, **links}}
    return json(body, 202, headers)


def page(rows: Sequence[Row], limit: int, key: Callable[[Row], Any]) -> tuple[list[Row], str | None]:
    """The page and its `next_cursor`, which holds the `key` of the last row shown, see `api.cursors`.

    `rows` was asked for with one more than `limit`.
    """
    shown = list(rows[:limit])
    return shown, encode(key(shown[-1])) if len(rows) > limit else None
