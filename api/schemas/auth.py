"""Accounts and tokens on the wire."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from api.schemas.common import Shown, Timestamp, Wire
from domain.accounts.rules import Role


class Credentials(Wire):
    """Who one is, and the proof. A password has 10 to 256 characters."""

    email: Annotated[str, Field(max_length=254)]
    password: Annotated[str, Field(max_length=1024, json_schema_extra={"format": "password"})]

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"email": "ada@example.com", "password": "correct horse battery"}]}
    )


class AccountView(Shown):
    """An account as its holder sees it."""

    id: str
    email: str
    role: Role
    scopes: list[str]
    created_at: Timestamp


class TokenView(Shown):
    """An access token (RFC 6749 names), for `Authorization: Bearer`."""

    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int
    expires_at: Timestamp
