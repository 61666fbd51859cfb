"""Pictures: how they come in, what is made of them, and how they are delivered."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings

from domain.settings.forms import config, duration
from domain.values import Duration, Value

MEBIBYTE = 1024**2


class RenditionForm(Value):
    """A picture that is made of each original, as WebP and as JPEG: its box, and how it fits."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")
    width: int = Field(ge=1, le=8192)
    height: int = Field(ge=1, le=8192)
    #: `inside` keeps the whole picture within the box, `cover` fills it and cuts off what is beyond.
    fit: Literal["inside", "cover"] = "inside"
    webp_quality: int = Field(default=80, ge=1, le=100)
    jpeg_quality: int = Field(default=82, ge=1, le=100)


class Media(BaseSettings):
    """Uploads and renditions."""

    model_config = config("MEDIA")
    #: Bytes of the largest upload.
    max_bytes: int = Field(default=100 * MEBIBYTE, ge=1, le=1024 * MEBIBYTE)
    #: Larger ones are sent in parts of `part_bytes`, of which S3 takes none below 5 MiB but the last.
    multipart_over: int = Field(default=16 * MEBIBYTE, ge=1)
    part_bytes: int = Field(default=8 * MEBIBYTE, ge=5 * MEBIBYTE, le=1024 * MEBIBYTE)
    #: Content types that may be announced. What the bytes are is looked at by the worker.
    types: list[Annotated[str, Field(pattern=r"^[a-z]+/[a-z0-9.+-]+$", max_length=100)]] = Field(
        default=["image/jpeg", "image/png", "image/webp", "image/gif", "image/avif"], min_length=1
    )
    #: How long the address that is uploaded to can be used.
    upload_time: Duration = Field(default=timedelta(minutes=10), gt=timedelta(0), le=timedelta(days=7))
    #: An upload that was not completed by then is given up.
    abandon_after: Duration = duration("1d")
    #: How long what was deleted, or failed, is kept.
    keep_deleted: Duration = duration("7d")
    #: What one account may have: bytes of originals, and their number.
    quota_bytes: int = Field(default=10 * 1024 * MEBIBYTE, ge=0)
    quota_count: int = Field(default=10_000, ge=0)
    #: What is made of each picture. Pictures that are ready keep what they have.
    renditions: list[RenditionForm] = Field(
        default=[
            RenditionForm(name="thumb", width=240, height=240, fit="cover"),
            RenditionForm(name="card", width=600, height=600),
            RenditionForm(name="zoom", width=1600, height=1600),
        ],
        min_length=1,
        max_length=20,
    )
    #: Pixels of the largest picture, those of all its frames together.
    max_pixels: int = Field(default=64_000_000, ge=1, le=1_000_000_000)
    #: Processes of one worker that decode pictures, each with one at a time, and their threads.
    render_processes: int = Field(default=2, ge=1, le=64)
    render_threads: int = Field(default=1, ge=1, le=64)
    #: Bytes of memory that one of them may take, and the longest that it may take for one picture.
    render_memory: int = Field(default=1536 * MEBIBYTE, ge=256 * MEBIBYTE)
    render_time: Duration = Field(
        default=timedelta(minutes=1), ge=timedelta(seconds=1), le=timedelta(minutes=4)
    )

    @field_validator("renditions")
    @classmethod
    def _named_once(cls, forms: list[RenditionForm]) -> list[RenditionForm]:
        if len({form.name for form in forms}) < len(forms):
            msg = "each rendition has a name of its own"
            raise ValueError(msg)
        return forms


def _in_lines(key: SecretStr) -> SecretStr:
    """The key, which may be written in one line: environments often are."""
    return SecretStr(key.get_secret_value().replace(r"\n", "\n"))


class Cdn(BaseSettings):
    """CloudFront, or another CDN before the bucket."""

    model_config = config("CDN")
    #: Where the bucket's public objects are delivered from, such as https://cdn.example.com.
    url: str | None = Field(default=None, pattern=r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?$")
    #: The id of CloudFront's public key, and the RSA private key (PEM) that belongs to it: both or none.
    key_pair_id: str | None = Field(default=None, pattern=r"^[A-Z0-9]{1,64}$")
    private_key: Annotated[SecretStr, AfterValidator(_in_lines)] | None = None
    #: How long a signed address can be used, if nobody asks for another time; S3 gives 7 days at most.
    link_time: Duration = Field(default=timedelta(hours=1), gt=timedelta(0), le=timedelta(days=7))
