"""Accounts on the wire."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from api.schemas.common import NextCursor, Shown, Timestamp, Wire
from domain.accounts.rules import Role

Scopes = Annotated[list[Annotated[str, Field(max_length=40)]], Field(max_length=40)]
Groups = Annotated[
    list[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$", examples=["wholesale"])]],
    Field(max_length=20),
]


class AccountView(Shown):
    """An account. `groups` are customer groups, which discounts may be for."""

    id: str
    email: str
    role: Role
    scopes: list[str]
    groups: list[str]
    created_at: Timestamp


class AccountPage(Shown):
    """Accounts, oldest first."""

    accounts: list[AccountView]
    next_cursor: NextCursor


class AccountChange(Wire):
    """What is given is set, whole. A new role without `scopes` brings the role's own."""

    role: Literal["customer", "staff"] | None = None
    scopes: Scopes | None = None
    groups: Groups | None = None

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"role": "staff", "scopes": ["orders:read", "ops:read"], "groups": ["wholesale"]}]
        }
    )
