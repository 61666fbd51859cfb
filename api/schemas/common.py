"""What many features' wire models share."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from domain.events.rules import rfc3339

#: UTC, RFC 3339, with milliseconds.
Timestamp = Annotated[datetime, PlainSerializer(rfc3339, return_type=str, when_used="json")]

ID = "019a9d2e-7c1a-7b60-9d51-3f0c5f6a2b11"
TIME = "2026-11-22T10:45:28.123Z"
#: The keys of this page's cursor.
NextCursor = Annotated[str | None, Field(description="Null on the last page.")]


class Wire(BaseModel):
    """Base of what comes in: unknown fields are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Shown(BaseModel):
    """Base of what goes out."""


class FieldProblem(Shown):
    """One part of the request that cannot be accepted."""

    field: str
    code: str
    message: str


class Problem(Shown):
    """RFC 9457. `code` is stable; `facts` are what a client can act on."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str | None
    facts: dict[str, Any] | None = None
    errors: list[FieldProblem] | None = None

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:stockyard:problem:below_reserved",
                    "title": "Conflict",
                    "status": 409,
                    "code": "below_reserved",
                    "detail": "The adjustment would take more than what is available.",
                    "request_id": "5b1f3a52-4c4f-4c8e-a7a4-0d6f2c8d9e10",
                    "facts": {"sku": "CHAI-1", "available": 3, "reserved": 2},
                }
            ]
        }
    )


class JobAccepted(Shown):
    """A job that will run to its end. `id` is that of the thing that it makes, and of the job."""

    id: str
    job_id: str
    state: str
    links: dict[str, str]

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": ID,
                    "job_id": ID,
                    "state": "pending",
                    "links": {"self": f"/v1/orders/{ID}", "job": f"/v1/jobs/{ID}"},
                }
            ]
        }
    )
