"""Logging in, tokens and sessions on the wire."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from api.schemas.common import ID, TIME, NextCursor, Shown, Timestamp, Wire
from domain.values import Text

Email = Annotated[str, Field(max_length=254)]
Password = Annotated[
    str, Field(max_length=1024, pattern=r"^[^\x00]*$", json_schema_extra={"format": "password"})
]
RefreshText = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]*$")]

_EXAMPLE: dict[str, Any] = {"email": "ada@example.com", "password": "correct horse battery"}


class Credentials(Wire):
    """Who one is, and the proof. A password has 10 to 256 characters and is not easy to guess."""

    email: Email
    password: Password

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})


class LogIn(Credentials):
    """`refresh` says where the refresh token goes: into the answer's body, or into a cookie."""

    device: Annotated[Text, Field(max_length=100)] | None = None
    refresh: Literal["body", "cookie"] = "body"

    model_config = ConfigDict(
        json_schema_extra={"examples": [{**_EXAMPLE, "device": "Ada's phone", "refresh": "cookie"}]}
    )


class Refresh(Wire):
    """The refresh token; nothing where it is in the cookie."""

    refresh_token: RefreshText | None = None

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"refresh_token": f"rt_{ID}.Ws3dT6m0Yx1c9QeRk2vLZA.{'p7Hn2w' * 7}A"}, {}]
        }
    )


class NewPassword(Wire):
    """The password as it is, and as it shall be."""

    current_password: Password
    new_password: Password

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"current_password": "correct horse battery", "new_password": "seventeen green bicycles"}
            ]
        }
    )


class TokenView(Shown):
    """An access token for `Authorization: Bearer`, and what gets the next one (RFC 6749 names).

    `refresh_token` is null where the cookie has it.
    """

    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int
    expires_at: Timestamp
    refresh_token: str | None
    refresh_expires_at: Timestamp
    session_id: str


class SessionView(Shown):
    """A device that is logged in. `last_used_at` is exact to a minute."""

    id: str
    device: str | None
    user_agent: str
    address: str
    created_at: Timestamp
    last_used_at: Timestamp
    expires_at: Timestamp
    current: bool

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": ID,
                    "device": "Ada's phone",
                    "user_agent": "Mozilla/5.0",
                    "address": "192.0.2.7",
                    "created_at": TIME,
                    "last_used_at": TIME,
                    "expires_at": "2026-12-22T10:45:28.123Z",
                    "current": True,
                }
            ]
        }
    )


class SessionPage(Shown):
    """Live sessions, newest first."""

    sessions: list[SessionView]
    next_cursor: NextCursor


class Ended(Shown):
    """How many sessions were ended."""

    ended: int
