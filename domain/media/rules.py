"""What media are called, where their objects are, and how they are shown. Pure."""

from collections.abc import Mapping
from typing import Any

from domain.events.rules import rfc3339

Doc = dict[str, Any]

#: States. Only `processing` becomes `ready` or `failed`; what is deleted comes back to where it was.
UPLOADING, PROCESSING, READY, FAILED, DELETED = "uploading", "processing", "ready", "failed", "deleted"

#: The code of media that failed because their job died or was cancelled.
STOPPED = "rendering_stopped"

#: Prefixes of keys. Renditions are public; what is uploaded and originals are not.
UPLOADS, ORIGINALS, RENDITIONS = "uploads/", "originals/", "renditions/"


def upload_key(media_id: str) -> str:
    """Where the client's bytes arrive: an object of this medium alone."""
    return f"{UPLOADS}{media_id}"


def original_key(sha256: str) -> str:
    """Where the original of these bytes is kept."""
    return f"{ORIGINALS}{sha256}"


def renditions_prefix(sha256: str) -> str:
    """What the keys of all renditions of these bytes begin with."""
    return f"{RENDITIONS}{sha256}/"


def sha256_of(key: str) -> str | None:
    """The bytes that an object belongs to, by its key; None for an upload, and for what is not ours."""
    for prefix in (ORIGINALS, RENDITIONS):
        if key.startswith(prefix):
            return key.removeprefix(prefix).partition("/")[0]
    return None


def part_sizes(size: int, part: int) -> list[int]:
    """The parts of an upload: all of `part` bytes but the last."""
    whole, rest = divmod(size, part)
    return [part] * whole + ([rest] if rest else [])


def stopped(medium: Mapping[str, Any]) -> bool:
    """Whether its job ended without an outcome for it: what was uploaded is there, and was not looked at."""
    return medium["state"] == FAILED and _stopped(medium)


def awaits_bytes(medium: Mapping[str, Any]) -> bool:
    """Whether what its client has uploaded is still needed, be it only to bring it back."""
    states = {medium["state"], medium["deleted_from"]}
    return not states.isdisjoint({UPLOADING, PROCESSING}) or _stopped(medium)


def _stopped(medium: Mapping[str, Any]) -> bool:
    return bool(medium["error"]) and medium["error"]["code"] == STOPPED


def view(medium: Mapping[str, Any]) -> Doc:
    """As it is shown; JSON, but for renditions: those have keys, which `domain.media.delivery` replaces."""
    upload = medium["upload"]
    times = ("created_at", "completed_at", "finished_at", "deleted_at")
    return {
        "id": medium["_id"],
        "account_id": medium["account_id"],
        "state": medium["state"],
        "name": medium["name"],
        "size": upload["size"],
        "content_type": upload["content_type"],
        **{name: medium[name] for name in ("sha256", "width", "height", "format", "job_id", "error")},
        "renditions": [dict(rendition) for rendition in medium["renditions"]],
        **{name: rfc3339(medium[name]) if medium[name] else None for name in times},
        "kept_until": rfc3339(medium["sweep_at"]) if medium["sweep_at"] else None,
    }


def attached(medium: Mapping[str, Any], *, alt: str | None) -> Doc:
    """What a product keeps of a picture: all that is shown of it."""
    told = ("name", "content_type", "key", "width", "height")
    return {
        "id": medium["_id"],
        "alt": alt,
        "width": medium["width"],
        "height": medium["height"],
        "renditions": [{name: rendition[name] for name in told} for rendition in medium["renditions"]],
    }
