"""Who calls, with what: everything that routes are handed."""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase

from api.errors import BadRequest, invalid_field
from domain.accounts.rules import Principal
from domain.bootstrap import Services
from domain.errors import Forbidden, Unauthenticated
from domain.values import parse_duration

_KEY = re.compile(r"[\x21-\x7e]{1,200}")
_DURATION = r"^[0-9]{1,9}(ms|s|m|h|d)$"
#: The oldest age that a filter takes.
OLDEST = timedelta(days=3650)
#: The greatest `seq` that JSON keeps exact.
LAST_SEQ = 2**53 - 1
#: Marks a route that needs no credentials.
PUBLIC: dict[str, Any] = {"security": []}
#: Documents the header that `IdempotencyKey` reads.
KEYED: dict[str, Any] = {
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": True,
            "description": "Chosen by the client, one per effect. A repetition answers as the first did.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"},
            "example": "cart-4711-checkout",
        }
    ]
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and what they may reach."""

    principal: Principal
    services: Services
    request_id: str

    @property
    def account_id(self) -> str:
        """Whose account it is."""
        return self.principal.account_id

    def owner(self, unless: str) -> str | None:
        """The owner that the caller is confined to; None for those with the scope `unless`."""
        return None if self.principal.may(unless) else self.principal.account_id


class Requires(SecurityBase):
    """Authenticates by `Authorization: Bearer`, and asks for any one of the scopes. Without any: for none.

    Raises Unauthenticated and Forbidden. Reads no store.
    """

    def __init__(self, *scopes: str) -> None:
        self.scopes = scopes
        self.scheme_name = "bearer"
        self.model = HTTPBearer(
            bearerFormat="JWT", description="The access token that `/v1/auth/login` answers."
        )

    async def __call__(self, request: Request) -> Caller:
        """The caller."""
        services: Services = request.app.state.services
        principal = services.accounts.authenticate(bearer(request))
        request.scope["account_id"] = principal.account_id
        if self.scopes and not any(scope in principal.scopes for scope in self.scopes):
            raise Forbidden(scope=self.scopes[0])
        return Caller(principal, services, request.scope["request_id"])


def bearer(request: Request) -> str:
    """The token of the request. Raises Unauthenticated."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated
    return token.strip()


def idempotency_key(request: Request) -> str:
    """The request's key. Raises BadRequest where there is none, or none that will do."""
    key = request.headers.get("idempotency-key")
    if key is None:
        raise BadRequest(400, "idempotency_key_missing", "This request needs an Idempotency-Key header.")
    if not _KEY.fullmatch(key):
        message = "An Idempotency-Key is 1 to 200 visible ASCII characters, without spaces."
        raise BadRequest(400, "idempotency_key_invalid", message)
    return key


async def _key(request: Request) -> str:
    return idempotency_key(request)


async def _services(request: Request) -> Services:
    found: Services = request.app.state.services
    return found


async def _wait(
    request: Request,
    wait: Annotated[
        float,
        Query(ge=0, allow_inf_nan=False, description="Seconds to wait for the job's end.", examples=[10]),
    ] = 0,
) -> float:
    longest = request.app.state.services.settings.api.max_wait.total_seconds()
    if wait > longest:
        raise invalid_field("query", "wait", kind="less_than_equal", message=f"At most {longest:g} seconds.")
    return wait


async def _older_than(
    older_than: Annotated[
        str | None, Query(pattern=_DURATION, description="Such as 30s, 15m, 12h or 7d.", examples=["15m"])
    ] = None,
) -> timedelta | None:
    age = parse_duration(older_than)
    if isinstance(age, timedelta) and age > OLDEST:
        raise invalid_field("query", "older_than", kind="less_than_equal", message=f"At most {OLDEST.days}d.")
    return age if isinstance(age, timedelta) else None


IdempotencyKey = Annotated[str, Depends(_key)]
Public = Annotated[Services, Depends(_services)]
Wait = Annotated[float, Depends(_wait)]
OlderThan = Annotated[timedelta | None, Depends(_older_than)]
Limit = Annotated[int, Query(ge=1, le=200, description="Entries of one page.")]
Cursor = Annotated[str | None, Query(max_length=200, description="The `next_cursor` of the page before.")]
After = Annotated[int, Query(ge=0, le=LAST_SEQ, description="The last `seq` that is known.")]
