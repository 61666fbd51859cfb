"""The API as tests call it: in this process, over real services."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI

from api.app import create_app
from domain.accounts.rules import CUSTOMER_SCOPES, Principal
from domain.bootstrap import Services
from domain.settings import Settings
from domain.values import new_id
from tests.factories import Shop

ORDER = {
    "items": [{"sku": "CHAI", "quantity": 2}],
    "address": {"name": "Ada", "line1": "1 Dock Road", "city": "Leith", "country": "GB"},
}


@dataclass(frozen=True, slots=True)
class User:
    """Somebody with a token."""

    id: str
    client: httpx.AsyncClient
    token: str

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.client.get(path, headers=self.headers(), **options)

    async def delete(self, path: str) -> httpx.Response:
        return await self.client.delete(path, headers=self.headers())

    async def post(self, path: str, body: Any = None, *, key: str | None = None) -> httpx.Response:
        headers = self.headers() | {"Idempotency-Key": key or new_id()}
        return await self.client.post(path, json=body, headers=headers)

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@dataclass(frozen=True, slots=True)
class Api:
    """An app that has started, and a client of it."""

    app: FastAPI
    client: httpx.AsyncClient

    @property
    def services(self) -> Services:
        found: Services = self.app.state.services
        return found

    @property
    def shop(self) -> Shop:
        return Shop(self.services)

    def user(self, *more: str, scopes: frozenset[str] = CUSTOMER_SCOPES) -> User:
        """A customer with more scopes, or somebody with just these; no account is stored."""
        account_id = new_id()
        principal = Principal(account_id, "customer", scopes | set(more))
        return User(account_id, self.client, self.services.accounts._tokens.issue(principal).token)

    async def until_waiting(self, count: int = 1) -> None:
        """Returns once so many requests wait or stream."""
        async with asyncio.timeout(5):
            while self.app.state.gate.waiting < count:  # noqa: ASYNC110 - the gate is no event
                await asyncio.sleep(0.01)

    async def settle(self, job_id: str) -> None:
        """Does an order's work here, as a worker would."""
        await self.services.order_placing.settle(job_id)


@asynccontextmanager
async def open_api(settings: Settings) -> AsyncIterator[Api]:
    """The API over the settings' services. Faults of the server are answers, not exceptions."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
            yield Api(app, client)
        services: Services = app.state.services
        await services.database.client.drop_database(services.database.name)
