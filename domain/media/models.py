"""Media as stored."""

from datetime import datetime
from typing import Any

import pymongo
from beanie import Document
from pydantic import BaseModel, Field
from pymongo import IndexModel

from domain.media.rules import PROCESSING

MEDIA = "media"
MEDIA_USAGE = "media_usage"
MEDIA_GARBAGE = "media_garbage"
MEDIA_MARKS = "media_marks"


class Upload(BaseModel):
    """What the client said that it would send, and where to. `key` is this medium's alone."""

    key: str
    size: int
    content_type: str
    #: S3's name of a multipart upload; None for one that is sent in one go.
    multipart_id: str | None


class Rendition(BaseModel):
    """One picture made of the original. Its key comes from the original's bytes: media share it."""

    name: str
    content_type: str
    key: str
    width: int
    height: int
    bytes: int


class Medium(Document):
    """A picture, from the promise to upload it until its renditions are there."""

    id: str  # type: ignore[assignment]  # a UUIDv7
    account_id: str
    state: str
    #: The file's, as the client named it. Nothing is decided by it.
    name: str
    upload: Upload
    #: What `domain.media.claims` has set, before objects of these bytes are stored or relied upon.
    sha256: str | None = None
    #: What the worker found the original to be; its key is `rules.original_key(sha256)`.
    width: int | None = None
    height: int | None = None
    format: str | None = None
    renditions: list[Rendition] = Field(default=[])
    #: `code` and `message`, of one that failed.
    error: dict[str, Any] | None = None
    #: The job that renders it.
    job_id: str | None = None
    #: Anew with each write that attaching or deleting has to know of.
    revision: str
    created_at: datetime
    completed_at: datetime | None = None
    #: When it became ready, or failed.
    finished_at: datetime | None = None
    deleted_at: datetime | None = None
    #: The state that it was deleted in, and comes back to.
    deleted_from: str | None = None
    #: When the sweep takes it away, if nothing becomes of it until then; None while it is kept.
    sweep_at: datetime | None = None
    #: Set by the sweep, together with giving its room back: its bytes are gone.
    swept: bool = False

    class Settings:
        """Where; an account's, those of the same bytes, what the sweep looks for, and what jobs are at."""

        name = MEDIA
        indexes = (
            IndexModel([("account_id", pymongo.ASCENDING), ("_id", pymongo.DESCENDING)], name="by_owner"),
            IndexModel([("sha256", pymongo.ASCENDING)], name="by_bytes"),
            IndexModel([("sweep_at", pymongo.ASCENDING)], name="by_end"),
            IndexModel(
                [("job_id", pymongo.ASCENDING)],
                partialFilterExpression={"state": PROCESSING},
                name="by_job",
            ),
        )


class MediaUsage(Document):
    """What counts against an account's quota: originals, from the promise of room until they are swept."""

    id: str  # type: ignore[assignment]  # the account's
    bytes: int
    number: int

    class Settings:
        """Where."""

        name = MEDIA_USAGE


class MediaGarbage(Document):
    """Bytes whose objects are being looked through, see `domain.media.claims`."""

    id: str  # type: ignore[assignment]  # the SHA-256
    at: datetime
    #: Which call looks, as only that one says when it is done.
    by: str

    class Settings:
        """Where."""

        name = MEDIA_GARBAGE


class MediaMark(Document):
    """How far a walk has come: over the bucket's keys, or over what jobs are at."""

    id: str  # type: ignore[assignment]  # the prefix, or the walk's name: `stalled`, `parts`
    #: A key, or what else the walk goes on from; empty at its beginning.
    after: str

    class Settings:
        """Where."""

        name = MEDIA_MARKS
