"""Accounts and tokens."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Response

from api.answers import json
from api.body import JsonBody
from api.deps import PUBLIC, Caller, Public, Requires
from api.openapi import problems
from api.schemas.auth import AccountView, Credentials, TokenView
from domain.accounts.models import Account

routes = APIRouter(prefix="/v1", tags=["accounts"])

Proof = Annotated[Credentials, Depends(JsonBody(Credentials))]


@routes.post(
    "/auth/register",
    status_code=201,
    response_model=AccountView,
    responses=problems(409),
    openapi_extra=PUBLIC,
    summary="Register a customer",
)
async def register(credentials: Proof, services: Public) -> Account:
    """A new customer, who may write and read own orders."""
    return await services.accounts.register(credentials.email, credentials.password)


@routes.post(
    "/auth/login",
    response_model=TokenView,
    responses=problems(401),
    openapi_extra=PUBLIC,
    summary="Get an access token",
)
async def log_in(credentials: Proof, services: Public) -> Response:
    """A token with the scopes that the account has now."""
    token = await services.accounts.log_in(credentials.email, credentials.password)
    view = TokenView(
        access_token=token.token,
        token_type="Bearer",  # noqa: S106 - a scheme, no secret
        expires_in=max(0, (token.expires_at - services.clock()) // timedelta(seconds=1)),
        expires_at=token.expires_at,
    )
    return json(view)


@routes.get("/me", response_model=AccountView, summary="The caller's account")
async def me(caller: Annotated[Caller, Depends(Requires())]) -> Account:
    """The account that the token is for."""
    return await caller.services.accounts.get(caller.account_id)
