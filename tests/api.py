"""The API as tests call it: in this process, over real services."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from pymongo import MongoClient
from pymongo.database import Database

from api.app import create_app
from api.connection import Connection
from domain.accounts.rules import CUSTOMER_SCOPES, Role
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

    async def patch(self, path: str, body: Any, *, tag: str | None = None) -> httpx.Response:
        """An edit of what has this ETag."""
        headers = self.headers() | ({"If-Match": tag} if tag else {})
        return await self.client.patch(path, json=body, headers=headers)

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
    #: The store, for what a test makes in a moment before it calls.
    store: Database[dict[str, Any]]

    @property
    def services(self) -> Services:
        found: Services = self.app.state.services
        return found

    @property
    def shop(self) -> Shop:
        return Shop(self.services)

    def user(
        self,
        *more: str,
        scopes: frozenset[str] = CUSTOMER_SCOPES,
        role: Role = "customer",
        groups: Sequence[str] = (),
    ) -> User:
        """A customer with more scopes, or somebody with just these, who is logged in.

        Account and session are written as they are, without the work of hashing a password.
        """
        account_id, session_id, now = new_id(), new_id(), self.services.clock()
        allowed = scopes | set(more)
        account = {
            "_id": account_id, "email": f"{account_id}@example.com", "password_hash": "", "role": role,
            "scopes": sorted(allowed), "groups": list(groups), "created_at": now, "logged_in_at": now,
            "revision": new_id(),
        }  # fmt: skip
        session: dict[str, Any] = {
            "_id": session_id, "account_id": account_id, "device": None, "user_agent": "", "address": "",
            "created_at": now, "last_used_at": now, "expires_at": now + timedelta(days=30),
            "revoked_at": None, "revoked_for": None, "family_hash": "", "refresh_hash": "", "replaced": [],
        }  # fmt: skip
        self.store["accounts"].insert_one(account)
        self.store["sessions"].insert_one(session)
        issued = self.services.accounts._tokens.issue(account_id, session_id, role, allowed)
        return User(account_id, self.client, issued.token)

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
            yield Api(app, client, _store(settings.mongo.url)[settings.mongo.database])


@asynccontextmanager
async def serving(api: Api) -> AsyncIterator[tuple[uvicorn.Server, str]]:
    """The app behind a real server on loopback."""
    config = uvicorn.Config(
        api.app,
        port=0,
        http=Connection,
        lifespan="off",
        log_config=None,
        proxy_headers=False,
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())
    async with asyncio.timeout(5):
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
    try:
        yield server, f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


@cache
def _store(url: str) -> MongoClient[dict[str, Any]]:
    """One client for the whole run: each has threads of its own."""
    return MongoClient(url)
