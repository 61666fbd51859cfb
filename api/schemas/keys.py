"""API keys on the wire."""

from typing import Annotated

from pydantic import AwareDatetime, ConfigDict, Field

from api.schemas.accounts import Scopes
from api.schemas.common import NextCursor, Shown, Timestamp, Wire
from domain.values import Text

End = Annotated[AwareDatetime, Field(strict=True)]
PerMinute = Annotated[int, Field(strict=True, ge=1, le=1_000_000, description="Requests a minute.")]


class NewKey(Wire):
    """A key that may do what its maker may, or less. Without `expires_at` it has no end."""

    name: Annotated[Text, Field(max_length=100)]
    scopes: Annotated[Scopes, Field(min_length=1)]
    expires_at: End | None = None
    rate_limit: PerMinute | None = None

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "warehouse scanner",
                    "scopes": ["orders:read"],
                    "expires_at": "2035-06-01T00:00:00Z",
                    "rate_limit": 120,
                }
            ]
        }
    )


class KeyRotation(Wire):
    """How long the old key works on, such as 24h; and when the new one ends, else as the old one would."""

    overlap: Annotated[str, Field(pattern=r"^[0-9]{1,9}(ms|s|m|h|d)$")] = "0s"
    expires_at: End | None = None

    model_config = ConfigDict(json_schema_extra={"examples": [{"overlap": "24h"}]})


class KeyView(Shown):
    """An API key, by which nobody can come in. `last_used_at` is exact to a minute."""

    id: str
    name: str
    prefix: str
    scopes: list[str]
    rate_limit: int
    created_at: Timestamp
    expires_at: Timestamp | None
    last_used_at: Timestamp | None
    revoked_at: Timestamp | None
    replaced_by: str | None


class MadeKeyView(KeyView):
    """A new key, with the key itself: shown here, and never again."""

    key: Annotated[str, Field(examples=["sk_Zq81mRt0vJ6yqk3N0c5WbL4xHd2uEoSf9aTgPiXB7Ys"])]


class KeyPage(Shown):
    """Keys, newest first, with those that have ended."""

    keys: list[KeyView]
    next_cursor: NextCursor
