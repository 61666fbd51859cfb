"""The shop as its clients see it: accounts, catalogue, orders and payments over HTTP."""

import asyncio
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from domain.values import new_id
from ops.client import Client, ClientError
from ops.sample.northwind import CURRENCY, Order, Product

#: Seconds for which one request waits for the end of a job.
WAIT = 20
#: The same, over all requests that follow one job.
PATIENCE = 120.0
#: The most that a page of a list holds.
PAGE = 100
#: How many products are loaded at once.
LOADERS = 16


@dataclass(frozen=True, slots=True)
class Login:
    """Somebody's email address and password, made up for this run."""

    email: str
    password: str

    @classmethod
    def make(cls, name: str) -> "Login":
        """A new one."""
        return cls(email=f"{name}@northwind.example", password=secrets.token_urlsafe(18))

    def as_body(self) -> dict[str, str]:
        """For `/v1/auth/register` and `/v1/auth/login`."""
        return {"email": self.email, "password": self.password}


async def register(client: Client, login: Login) -> str:
    """A new customer; the account's id."""
    answer = await client.post("/v1/auth/register", login.as_body())
    return str(answer.expect(201).json()["id"])


async def log_in(client: Client, login: Login) -> Client:
    """The client of that account, with the scopes that it has now."""
    answer = await client.post("/v1/auth/login", login.as_body())
    return client.as_account(answer.expect(200).json()["access_token"])


async def load(client: Client, products: Iterable[Product], units: Mapping[str, int]) -> None:
    """Products, and `units` of each by SKU as a movement; `client` is an ops account's."""
    gate = asyncio.Semaphore(LOADERS)

    async def one(product: Product) -> None:
        body = {
            "sku": product.sku,
            "name": product.name,
            "category": product.category,
            "price": {"amount": product.price, "currency": CURRENCY},
        }
        async with gate:
            (await client.post("/v1/products", body)).expect(201)
            if units[product.sku]:
                movement = {"quantity": units[product.sku], "reason": "opening stock"}
                path = f"/v1/inventory/{product.sku}/adjustments"
                (await client.post(path, movement, key=new_id())).expect(200, 201)

    await asyncio.gather(*(one(product) for product in products))


@dataclass(frozen=True, slots=True)
class Customer:
    """One customer's account, with the verbs that the demo needs."""

    client: Client
    account_id: str

    async def place(self, order: Order) -> dict[str, Any]:
        """The order once it is reserved or rejected."""
        body = order.as_body()
        accepted = (await self.client.post("/v1/orders", body, key=new_id())).expect(202).json()
        return await self._follow(f"/v1/orders/{accepted['id']}", until=lambda it: it["state"] != "pending")

    async def pay(self, order_id: str) -> dict[str, Any]:
        """The payment's job once it has ended."""
        body = {"source": "sandbox:approve"}
        path = f"/v1/orders/{order_id}/payments"
        accepted = (await self.client.post(path, body, key=new_id())).expect(202).json()
        ended = {"succeeded", "failed", "dead", "cancelled"}
        return await self._follow(f"/v1/jobs/{accepted['job_id']}", until=lambda it: it["state"] in ended)

    async def order(self, order_id: str) -> dict[str, Any]:
        """The order as it is now."""
        answer = await self.client.get(f"/v1/orders/{order_id}")
        return dict(answer.expect(200).json())

    async def orders(self) -> list[dict[str, Any]]:
        """All of the account's orders, page by page."""
        found: list[dict[str, Any]] = []
        path: str | None = f"/v1/orders?limit={PAGE}"
        while path is not None:
            page = (await self.client.get(path)).expect(200).json()
            found += page["orders"]
            following = page.get("next_cursor")
            path = f"/v1/orders?limit={PAGE}&cursor={following}" if following else None
        return found

    async def events(self, after: int) -> list[dict[str, Any]]:
        """The account's stored events past a `seq`: what a listener replays that was away."""
        found: list[dict[str, Any]] = []
        while True:
            path = f"/v1/events?after={found[-1]['seq'] if found else after}&limit={PAGE}"
            page = (await self.client.get(path)).expect(200).json()["events"]
            found += page
            if len(page) < PAGE:
                return found

    async def _follow(self, path: str, *, until: Any) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE
        while True:
            found: dict[str, Any] = (await self.client.get(f"{path}?wait={WAIT}")).expect(200).json()
            if until(found):
                return found
            if loop.time() > deadline:
                raise ClientError(f"GET {path}: still {found['state']} after {PATIENCE:.0f} s")
