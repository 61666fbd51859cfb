"""A platform of real processes, and the people who use it over HTTP."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import httpx
from pymongo.asynchronous.collection import AsyncCollection

from domain.bootstrap import Services, open_services
from domain.values import new_id
from ops.environment import settings_of
from ops.fleet import Fleet
from tests.factories import check_books, eventually

ADDRESS = {"name": "Ada", "line1": "1 Dock Road", "city": "Leith", "country": "GB"}
PASSWORD = "correct horse battery staple"
#: Seconds that one request may take.
TIMEOUT = 30.0
_names = count()


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is logged in."""

    id: str
    token: str
    client: httpx.AsyncClient

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    async def get(self, path: str) -> Any:
        answer = await self.client.get(path, headers=self.headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def send(self, path: str, body: Any = None, *, key: str | None = None) -> httpx.Response:
        headers = self.headers | {"Idempotency-Key": key or new_id()}
        return await self.client.post(path, json=body, headers=headers)

    async def ask(
        self, method: str, path: str, body: Any = None, *, status: int = 200, tag: str | None = None
    ) -> httpx.Response:
        """The answer, which has this status; to a request about what has the ETag `tag`, if one is given."""
        headers = self.headers | {"Idempotency-Key": new_id()} | ({"If-Match": tag} if tag else {})
        answer = await self.client.request(method, path, json=body, headers=headers)
        assert answer.status_code == status, (method, path, answer.status_code, answer.text)
        return answer

    async def post(self, path: str, body: Any = None, *, key: str | None = None) -> Any:
        """The answer to what is accepted or made."""
        answer = await self.send(path, body, key=key)
        assert answer.status_code in {200, 201, 202}, answer.text
        return answer.json()

    async def submit(
        self, units: Mapping[str, int], *, key: str | None = None, reservation: str | None = None
    ) -> str:
        """The id of an order that was accepted, for units by SKU."""
        accepted = await self.post("/v1/orders", order_of(units, reservation=reservation), key=key)
        return str(accepted["id"])

    async def order(self, units: Mapping[str, int], *, reservation: str | None = None) -> dict[str, Any]:
        """An order that was reserved or rejected."""
        return await self.settled(await self.submit(units, reservation=reservation))

    async def settled(self, order_id: str) -> dict[str, Any]:
        return dict(await self.get(f"/v1/orders/{order_id}?wait=25"))

    async def look(self, order_id: str) -> dict[str, Any]:
        return dict(await self.get(f"/v1/orders/{order_id}"))

    async def done(self, job_id: str) -> dict[str, Any]:
        """The job once it has ended."""
        return dict(await self.get(f"/v1/jobs/{job_id}?wait=25"))

    async def pay(self, order_id: str, source: str = "sandbox:approve") -> dict[str, Any]:
        """The payment's job once it has ended."""
        accepted = await self.post(f"/v1/orders/{order_id}/payments", {"source": source})
        return await self.done(accepted["id"])

    async def cancel(self, order_id: str) -> dict[str, Any]:
        accepted = await self.post(f"/v1/orders/{order_id}/cancel")
        return await self.done(accepted["id"])

    async def events(self) -> list[dict[str, Any]]:
        page = await self.get("/v1/events?limit=200")
        return list(page["events"])


@dataclass(frozen=True, slots=True)
class Town:
    """One fleet, what looks into its store, and somebody from ops."""

    fleet: Fleet
    services: Services
    client: httpx.AsyncClient
    ops: Person

    async def customer(self) -> Person:
        """Registered and logged in."""
        email = f"customer-{new_id()}@example.com"
        credentials = {"email": email, "password": PASSWORD}
        answer = await self.client.post("/v1/auth/register", json=credentials)
        assert answer.status_code == 201, answer.text
        return await log_in(self.client, email, account_id=answer.json()["id"])

    async def product(self, units: int) -> str:
        """The SKU of a new product with so many units, at 10.00."""
        sku = f"SKU{next(_names)}"
        price = {"amount": 1000, "currency": "USD"}
        await self.ops.post("/v1/products", {"sku": sku, "name": sku, "price": price, "category": "Goods"})
        if units:
            await self.ops.post(f"/v1/inventory/{sku}/adjustments", {"quantity": units, "reason": "new"})
        return sku

    async def levels(self, sku: str) -> tuple[int, int]:
        """(available, reserved)."""
        found = await self.ops.get(f"/v1/inventory/{sku}")
        return found["available"], found["reserved"]

    async def job(self, job_id: str) -> dict[str, Any]:
        """The job as the ledger has it."""
        found = await self.collection("jobs").find_one({"_id": job_id})
        assert found is not None
        return found

    def collection(self, name: str) -> AsyncCollection[dict[str, Any]]:
        return self.services.database[name]

    async def check_settled(self) -> None:
        """Nothing is open, unpublished or oversold, and no message waits. Waits a little for all of that."""
        await eventually(self._nothing_open, within=20)
        await eventually(self._nothing_unpublished, within=20)
        await eventually(self._queues_empty, within=20)
        await check_books(self.services)

    async def _nothing_open(self) -> bool:
        open_jobs = {"state": {"$in": ["queued", "running"]}}
        return await self.collection("jobs").count_documents(open_jobs) == 0

    async def _nothing_unpublished(self) -> bool:
        return await self.collection("event_outbox").count_documents({}) == 0

    async def _queues_empty(self) -> bool:
        depths = [await self.services.queue.depth(pool) for pool in ("orders", "inventory")]
        return all(depth is not None and depth.ready == 0 for depth in depths)


@asynccontextmanager
async def open_town(environment: Mapping[str, str], fleet: Fleet) -> AsyncIterator[Town]:
    """Over a fleet that runs in that environment."""
    async with (
        open_services(settings_of(environment)) as services,
        httpx.AsyncClient(base_url=fleet.urls[0], timeout=TIMEOUT) as client,
    ):
        email = f"ops-{new_id()}@example.com"
        account = await services.accounts.create_ops(email, PASSWORD)
        yield Town(fleet, services, client, await log_in(client, email, account_id=account.id))


async def log_in(client: httpx.AsyncClient, email: str, *, account_id: str) -> Person:
    answer = await client.post("/v1/auth/login", json={"email": email, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return Person(account_id, answer.json()["access_token"], client)


def order_of(units: Mapping[str, int], *, reservation: str | None = None) -> dict[str, Any]:
    """The body of an order."""
    items = [{"sku": sku, "quantity": quantity} for sku, quantity in units.items()]
    return {"items": items, "address": ADDRESS} | ({"reservation_id": reservation} if reservation else {})


def moment(order: Mapping[str, Any], state: str) -> datetime:
    """When the order came into the state, by its timeline."""
    (at,) = [each["at"] for each in order["timeline"] if each["state"] == state]
    return datetime.fromisoformat(at)


def said(log: Path) -> str:
    """What a process has logged so far."""
    return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""


def event_of(payload: str) -> dict[str, Any]:
    """A message of a channel, read."""
    return dict(json.loads(payload))
