"""Media on the wire."""

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, AwareDatetime, ConfigDict, Field, StringConstraints, model_validator

from api.body import Examples
from api.schemas.common import ID, TIME, NextCursor, Shown, Timestamp, Wire
from api.schemas.pictures import RENDITION, SHA256, RenditionView
from domain.values import Text

#: How far from now an address may begin: clocks differ, and nobody plans for longer.
LATE, AHEAD = timedelta(days=1), timedelta(days=365)

MediaState = Literal["uploading", "processing", "ready", "failed", "deleted"]

#: Shown with `POST /v1/media/uploads`.
UPLOADS: Examples = {
    "picture": {"value": {"name": "chai.jpg", "size": 482_133, "content_type": "image/jpeg"}}
}
#: Shown with `POST /v1/media/{media_id}/complete`.
PARTS: Examples = {
    "one form": {"value": {}},
    "parts": {"value": {"etags": ["69a41dff505e8c36b0373e700e2c875d", "5d41402abc4b2a76b9719d911017c592"]}},
}
#: Shown with `POST /v1/media/{media_id}/links`.
LINKS: Examples = {
    "an hour": {"value": {"seconds": 3600}},
    "an office": {"value": {"seconds": 600, "network": "203.0.113.0/24"}},
}
#: Shown with `PUT /v1/products/{ref}/media`.
PICTURES: Examples = {"one": {"value": {"media": [{"media_id": ID, "alt": "A glass of chai"}]}}}


def _network(text: str) -> str:
    return str(IPv4Network(text)) if "/" in text else str(IPv4Network(text).network_address)


#: CloudFront takes IPv4 alone.
Network = Annotated[str, StringConstraints(max_length=18), AfterValidator(_network)]
Etag = Annotated[str, StringConstraints(pattern=r'^"?[0-9A-Za-z-]{1,64}"?$')]


class NewUpload(Wire):
    """What will be sent: its name, which is only shown, its bytes, and what it is said to be."""

    name: Annotated[Text, Field(max_length=200)]
    size: Annotated[int, Field(strict=True, ge=1, le=10**12, description="Bytes.")]
    content_type: Annotated[str, StringConstraints(max_length=100, pattern=r"^[a-z]+/[a-z0-9.+-]+$")]


class Completion(Wire):
    """Of an upload in parts: the `ETag` that the store answered to each, in order."""

    etags: Annotated[tuple[Etag, ...], Field(max_length=10_000)] = ()


class NewLink(Wire):
    """How long the address is good, from when, and for whom. The last two need CloudFront."""

    seconds: Annotated[int, Field(strict=True, ge=1, le=7 * 86_400)] | None = None
    starts_at: AwareDatetime | None = None
    network: Network | None = Field(default=None, description="One IPv4 address, or a range such as /24.")

    @model_validator(mode="after")
    def _soon(self) -> Self:
        now = datetime.now(UTC)
        if self.starts_at is not None and not now - LATE < self.starts_at < now + AHEAD:
            raise ValueError("starts_at is over, or more than a year ahead")
        return self


class ReasonView(Shown):
    """Why a medium failed."""

    code: str
    message: str


class MediumView(Shown):
    """A medium. `width`, `height`, `format` and `sha256` are what the worker found."""

    id: str
    account_id: str
    state: MediaState
    name: str
    size: int
    content_type: str
    sha256: str | None = None
    width: int | None = None
    height: int | None = None
    format: str | None = None
    job_id: str | None = None
    error: ReasonView | None = None
    renditions: list[RenditionView]
    created_at: Timestamp
    completed_at: Timestamp | None = None
    finished_at: Timestamp | None = None
    deleted_at: Timestamp | None = None
    kept_until: Timestamp | None = Field(
        default=None, description="When it goes by itself; null while it is to stay."
    )

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": ID, "account_id": ID, "state": "ready", "name": "chai.jpg", "size": 482_133,
                    "content_type": "image/jpeg", "sha256": SHA256, "width": 4000, "height": 3000,
                    "format": "jpeg", "job_id": ID, "renditions": [{**RENDITION, "bytes": 6144}],
                    "created_at": TIME, "completed_at": TIME, "finished_at": TIME,
                }
            ]
        }
    )  # fmt: skip


class RoomView(Shown):
    """Bytes and media."""

    bytes: int
    count: int


class UsageView(Shown):
    """What the account has, and has room for."""

    bytes: int
    count: int
    left: RoomView


class MediaPage(Shown):
    """Media of one account, newest first."""

    media: list[MediumView]
    usage: UsageView
    next_cursor: NextCursor


class PartView(Shown):
    """Where one part goes, by PUT."""

    number: int
    size: int
    url: str


class AddressView(Shown):
    """Where the bytes go. `POST`: a form of `fields`, then `file`. `PUT`: each of `parts`."""

    method: Literal["POST", "PUT"]
    expires_at: Timestamp
    url: str | None = None
    fields: dict[str, str] | None = None
    parts: list[PartView] | None = None


class UploadView(Shown):
    """A medium that is to come, and where its bytes go."""

    id: str
    state: MediaState
    upload: AddressView

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": ID,
                    "state": "uploading",
                    "upload": {
                        "method": "POST",
                        "expires_at": TIME,
                        "url": "https://stockyard-media.s3.amazonaws.com/",
                        "fields": {"key": f"uploads/{ID}", "Content-Type": "image/jpeg", "policy": "eyJl..."},
                    },
                }
            ]
        }
    )


class LinkView(Shown):
    """An address of the original, for whoever has it."""

    url: str
    expires_at: Timestamp

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"url": f"https://cdn.example.com/originals/{SHA256}?Expires=1795344328", "expires_at": TIME}
            ]
        }
    )
