"""What is told of media."""

from domain.events.registry import ACCOUNT, ID, EventData, event


class MadeRendition(EventData):
    """One picture that was made of the original."""

    name: str
    content_type: str
    key: str
    width: int
    height: int
    bytes: int


@event(
    "media.ready",
    subject="medium",
    whose=ACCOUNT,
    example={
        "media_id": ID,
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "renditions": [
            {
                "name": "thumb", "content_type": "image/webp", "key": "renditions/9f86d081-thumb.webp",
                "width": 200, "height": 150, "bytes": 6144,
            }
        ],
    },
)  # fmt: skip
class MediaReady(EventData):
    """A picture was checked and its renditions are there."""

    media_id: str
    sha256: str | None = None
    renditions: list[MadeRendition]


@event(
    "media.failed",
    subject="medium",
    whose=ACCOUNT,
    example={"media_id": ID, "code": "not_a_picture", "reason": "The bytes are no picture that is known."},
)
class MediaFailed(EventData):
    """What was uploaded cannot be used; `reason` can be shown."""

    media_id: str
    code: str
    reason: str
