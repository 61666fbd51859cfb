"""Coming in and going out: registration, log-in, refresh, log-out."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from api import refresh_cookie
from api.answers import json
from api.body import JsonBody
from api.deps import PUBLIC, Authenticated, Caller, Public
from api.device import device_of
from api.openapi import problems
from api.schemas.accounts import AccountView
from api.schemas.auth import Credentials, LogIn, Refresh, TokenView
from domain.accounts.models import Account
from domain.accounts.sessions import LoggedIn
from domain.bootstrap import Services
from domain.errors import Unauthenticated

routes = APIRouter(prefix="/v1/auth", tags=["accounts"])


@routes.post(
    "/register",
    status_code=201,
    response_model=AccountView,
    responses=problems(409, 429),
    openapi_extra=PUBLIC,
    summary="Register a customer",
)
async def register(
    credentials: Annotated[Credentials, Depends(JsonBody(Credentials))], request: Request, services: Public
) -> Account:
    """A new customer, who may write and read own orders."""
    device = device_of(request)
    return await services.accounts.register(credentials.email, credentials.password, device=device)


@routes.post(
    "/login",
    response_model=TokenView,
    responses=problems(401, 429),
    openapi_extra=PUBLIC,
    summary="Log in",
)
async def log_in(
    wanted: Annotated[LogIn, Depends(JsonBody(LogIn))], request: Request, services: Public
) -> Response:
    """A new session of this device, with an access token and a refresh token."""
    device = device_of(request, wanted.device)
    session = await services.accounts.log_in(wanted.email, wanted.password, device=device)
    return _answer(session, services, in_cookie=wanted.refresh == "cookie")


@routes.post(
    "/refresh",
    response_model=TokenView,
    responses=problems(401),
    openapi_extra=PUBLIC,
    summary="Get new tokens",
)
async def refresh(
    shown: Annotated[Refresh, Depends(JsonBody(Refresh))], request: Request, services: Public
) -> Response:
    """New tokens for the session. The refresh token is taken from the body, else from the cookie.

    It goes back where it came from, and replaces the one that was shown.
    """
    in_cookie = shown.refresh_token is None
    token = refresh_cookie.read(request) if in_cookie else shown.refresh_token
    if token is None:
        raise Unauthenticated
    session = await services.accounts.sessions.refresh(token, device_of(request))
    return _answer(session, services, in_cookie=in_cookie)


@routes.post("/logout", status_code=204, summary="Log out")
async def log_out(caller: Annotated[Caller, Depends(Authenticated(session=True))]) -> Response:
    """Ends the session: its access token and its refresh token are refused everywhere."""
    session_id = caller.principal.session_id or ""
    await caller.services.accounts.sessions.end(session_id, account_id=caller.account_id)
    answer = Response(status_code=204)
    refresh_cookie.drop(answer)
    return answer


def _answer(session: LoggedIn, services: Services, *, in_cookie: bool) -> Response:
    view = TokenView(
        access_token=session.token,
        token_type="Bearer",  # noqa: S106 - a scheme, no secret
        expires_in=max(0, (session.expires_at - services.clock()) // timedelta(seconds=1)),
        expires_at=session.expires_at,
        refresh_token=None if in_cookie else session.refresh_token,
        refresh_expires_at=session.refresh_expires_at,
        session_id=session.session_id,
    )
    answer = json(view)
    if in_cookie:
        refresh_cookie.put(answer, session, services.clock)
    return answer
