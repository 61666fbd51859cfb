"""Who calls, with what: everything that routes are handed."""

import re
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from pydantic import BeforeValidator

from api.cursors import CursorOf, Key, Uuid
from api.errors import BadRequest, invalid_field
from api.rate_limits import spend
from domain.accounts.rules import KEY_PREFIX, Principal
from domain.bootstrap import Services
from domain.errors import Forbidden, SessionRequired, Unauthenticated

#: What numbers are written with: no underscores and no spaces, which Python would read, too.
_NUMBER = re.compile(r"[-+0-9.eE]+")
_KEY = re.compile(r"[\x21-\x7e]{1,200}")
#: The greatest `seq` that JSON keeps exact.
LAST_SEQ = 2**53 - 1
#: What OpenAPI calls the ways in: with a token or key, and with a token alone.
BEARER, SESSION = "bearer", "session"
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
    credential: str = field(repr=False)

    @property
    def account_id(self) -> str:
        """Whose account it is."""
        return self.principal.account_id

    async def still_in(self) -> bool:
        """Whether the credential is good now: for answers that take long, such as streams."""
        try:
            await self.services.accounts.authenticate(self.credential)
        except Unauthenticated:
            return False
        return True

    def owner(self, unless: str) -> str | None:
        """The owner that the caller is confined to; None for those with the scope `unless`."""
        return None if self.principal.may(unless) else self.principal.account_id


class Requires(SecurityBase):
    """Authenticates by `Authorization: Bearer` or `X-API-Key`, and asks for any one of the scopes.

    The one way into every route that is not marked PUBLIC. Raises Unauthenticated, Forbidden and, past an
    API key's limit, TooManyRequests. Reads no store for a credential that came a moment ago.
    """

    #: Whether only somebody may come in who has logged in, and no API key.
    session = False

    def __init__(self, *scopes: str) -> None:
        if not scopes:
            raise ValueError("a route asks for a scope, or says that any account will do: Authenticated")
        self._ask_for(scopes)

    def _ask_for(self, scopes: tuple[str, ...]) -> None:
        self.scopes = scopes
        self.scheme_name = SESSION if self.session else BEARER
        more = "" if self.session else ", or an API key"
        told = f"The access token that `/v1/auth/login` answers{more}."
        self.model = HTTPBearer(bearerFormat="JWT", description=told)

    async def __call__(self, request: Request) -> Caller:
        """The caller."""
        services: Services = request.app.state.services
        shown = credential(request)
        principal = await services.accounts.authenticate(shown)
        request.scope["account_id"] = principal.account_id
        if principal.rate_limit is not None:
            await spend(request, services.accounts.limiter, principal)
        if self.session and principal.session_id is None:
            raise SessionRequired
        if self.scopes and not any(scope in principal.scopes for scope in self.scopes):
            raise Forbidden(scope=self.scopes[0])
        return Caller(principal, services, request.scope["request_id"], shown)


class Authenticated(Requires):
    """As `Requires`, for what every account may do whatever its scopes; with `session`, by no API key."""

    def __init__(self, *, session: bool = False) -> None:
        self.session = session
        self._ask_for(())


def credential(request: Request) -> str:
    """The access token or API key of the request. Raises Unauthenticated: for none, and for two."""
    shown = request.headers.getlist("authorization")
    keys = request.headers.getlist("x-api-key")
    if len(shown) + len(keys) != 1:
        raise Unauthenticated
    if keys:
        if not keys[0].startswith(KEY_PREFIX):
            raise Unauthenticated
        return keys[0]
    scheme, _, token = shown[0].partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated
    return token.strip()


def idempotency_key(request: Request) -> str:
    """The request's key. Raises BadRequest where there is none, or none that will do."""
    keys = request.headers.getlist("idempotency-key")
    if not keys:
        raise BadRequest(400, "idempotency_key_missing", "This request needs an Idempotency-Key header.")
    key, *others = keys
    if others:
        raise BadRequest(400, "idempotency_key_invalid", "A request has one Idempotency-Key header.")
    if not _KEY.fullmatch(key):
        message = "An Idempotency-Key is 1 to 200 visible ASCII characters, without spaces."
        raise BadRequest(400, "idempotency_key_invalid", message)
    return key


def _as_written(value: object) -> object:
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        msg = "this is not how a number is written"
        raise ValueError(msg)
    return value


#: For numbers of queries and headers.
Plain = BeforeValidator(_as_written)


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
        Plain,
    ] = 0,
) -> float:
    longest = request.app.state.services.settings.api.max_wait.total_seconds()
    if wait > longest:
        raise invalid_field("query", "wait", kind="less_than_equal", message=f"At most {longest:g} seconds.")
    return wait


IdempotencyKey = Annotated[str, Depends(_key)]
Public = Annotated[Services, Depends(_services)]
Wait = Annotated[float, Depends(_wait)]
Limit = Annotated[int, Query(ge=1, le=200, description="Entries of one page."), Plain]
#: Of a listing by a key, such as the SKU.
Cursor = Annotated[str | None, Depends(CursorOf[str](Key))]
#: Of a listing by id.
IdCursor = Annotated[str | None, Depends(CursorOf[str](Uuid))]
After = Annotated[int, Query(ge=0, le=LAST_SEQ, description="The last `seq` that is known."), Plain]
