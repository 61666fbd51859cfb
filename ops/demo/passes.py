"""One pass of the demo: a fleet, a catalogue, accounts, and every order to its end."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from domain.bootstrap import Services, open_services
from domain.errors import OrderNotPayable
from domain.settings import Settings
from ops import books
from ops.bench.figures import percentile
from ops.books import Books
from ops.client import Client, ClientError
from ops.demo import shop
from ops.demo.listener import Listener
from ops.sample.northwind import Order, Product

#: Clients that submit at once.
CLIENTS = 32
#: Customer accounts that the orders are spread over.
ACCOUNTS = 4
#: Of so many reservations one is left unpaid, where a pass leaves any.
UNPAID_EVERY = 10
#: Seconds after the end of its hold in which an order has to be seen expired.
EXPIRY_PATIENCE = 15.0
#: Seconds for which the listener is given time to hear of what is stored.
EVENTS_PATIENCE = 30.0

#: Called with what happened to an order, once per order and step.
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a pass does: opening stock by SKU, and orders in waves.

    Where reservations are left unpaid, each wave ends with the last of them expired.
    """

    title: str
    stock: Mapping[str, int]
    waves: tuple[tuple[Order, ...], ...]
    leave_unpaid: bool = False

    @property
    def orders(self) -> list[Order]:
        """All of them."""
        return [order for wave in self.waves for order in wave]


@dataclass(slots=True)
class Outcome:
    """What a pass did and saw."""

    plan: Plan
    accepted: int = 0
    reserved: int = 0
    rejected: int = 0
    paid: int = 0
    expired: int = 0
    #: Units that expired holds gave back, and those of them that nobody could have bought otherwise.
    freed: int = 0
    sold_again: int = 0
    #: Seconds from the end of a hold to its release, the longest.
    release_lag: float = 0.0
    #: What the server says of the paid orders, in cents.
    gross: int = 0
    net: int = 0
    #: Milliseconds from POST to reserved, by order.
    latencies: list[float] = field(default_factory=list)
    #: Seconds by stage.
    seconds: dict[str, float] = field(default_factory=dict)
    books: Books = field(default_factory=Books)
    events: Counter[str] = field(default_factory=Counter)
    events_stored: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def orders_per_second(self) -> float:
        """Orders brought to their end, over the time from the first POST to the last end."""
        took = self.seconds.get("orders", 0.0)
        return (self.rejected + self.paid) / took if took else 0.0

    def percentile(self, percent: float) -> float:
        """Of the latencies, in milliseconds (nearest rank); 0 where there are none."""
        return percentile(self.latencies, percent)


async def run_pass(
    plan: Plan, *, products: Sequence[Product], urls: Sequence[str], settings: Settings, progress: Progress
) -> Outcome:
    """Runs the plan against APIs that are up. Raises ClientError where they answer what they should not."""
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(open_services(settings))
        client = await stack.enter_async_context(Client(urls))
        run = _Run(plan, services=services, client=client, progress=progress)
        await run.prepare(products)
        listener = Listener(run.customers)
        await stack.enter_async_context(listener.listening(services.pubsub))
        await run.submit()
        await run.conclude(listener)
        return run.outcome


class _Run:
    def __init__(self, plan: Plan, *, services: Services, client: Client, progress: Progress) -> None:
        self.outcome = Outcome(plan)
        self.customers: list[shop.Customer] = []
        self._plan = plan
        self._services = services
        self._client = client
        self._progress = progress
        self._ops = client
        self._unpaid: list[tuple[shop.Customer, dict[str, Any]]] = []
        #: Units by SKU that the expired orders of the wave before gave back.
        self._freed: Counter[str] = Counter()

    # -- before ----------------------------------------------------------------------------------

    async def prepare(self, products: Sequence[Product]) -> None:
        """Accounts, products and stock."""
        began = time.monotonic()
        self._ops = await self._make_ops()
        self.customers += await asyncio.gather(*map(self._customer, range(ACCOUNTS)))
        await shop.load(self._ops, products, self._plan.stock)
        self.outcome.seconds["catalogue"] = time.monotonic() - began

    async def _make_ops(self) -> Client:
        login = shop.Login.make("ops")
        # As `stockyard accounts create-ops` does: never over HTTP.
        await self._services.accounts.create_ops(login.email, login.password)
        return await shop.log_in(self._client, login)

    async def _customer(self, number: int) -> shop.Customer:
        login = shop.Login.make(f"demo-{number + 1}")
        account_id = await shop.register(self._client, login)
        # As `stockyard accounts grant` does. The next log-in has the scope.
        await self._services.accounts.grant(account_id, ["orders:price"])
        return shop.Customer(await shop.log_in(self._client, login), account_id)

    # -- orders ----------------------------------------------------------------------------------

    async def submit(self) -> None:
        """Every order to its end, wave by wave."""
        self.outcome.seconds["orders"] = self.outcome.seconds["expiry"] = 0.0
        for wave in self._plan.waves:
            await self._timed("orders", self._wave(wave))
            if self._freed:
                await self._count_sold_again()
            if self._plan.leave_unpaid:
                await self._timed("expiry", self._see_expire())

    async def _wave(self, orders: Iterable[Order]) -> None:
        waiting = iter(orders)

        async def client() -> None:
            for order in waiting:
                await self._one(order)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(CLIENTS):
                    group.create_task(client())
        except* ClientError as errors:
            raise errors.exceptions[0] from None

    async def _one(self, order: Order) -> None:
        customer = self.customers[int(order.number) % len(self.customers)]
        began = time.perf_counter()
        placed = await customer.place(order)
        took = (time.perf_counter() - began) * 1000
        self.outcome.accepted += 1
        if placed["state"] != "reserved":
            self.outcome.rejected += 1
            self._progress("rejected")
            return
        self.outcome.latencies.append(took)
        self.outcome.reserved += 1
        if self._plan.leave_unpaid and self.outcome.reserved % UNPAID_EVERY == 1:
            self._unpaid.append((customer, placed))
            self._progress("left unpaid")
            return
        await self._pay(customer, placed)

    async def _pay(self, customer: shop.Customer, placed: dict[str, Any]) -> None:
        payment = await customer.pay(placed["id"])
        if payment["state"] == "succeeded":
            self.outcome.paid += 1
            self._progress("paid")
        elif self._plan.leave_unpaid and payment["error"]["code"] == OrderNotPayable.code:
            # On a busy machine a hold of a few seconds can end before its payment comes.
            self._unpaid.append((customer, placed))
            self._progress("paid too late")
        else:
            self.outcome.problems.append(f"order {placed['id']} was not paid: {payment['error']}")

    # -- expiry ----------------------------------------------------------------------------------

    async def _see_expire(self) -> None:
        ended = await asyncio.gather(*(self._expiry(customer, placed) for customer, placed in self._unpaid))
        self._unpaid.clear()
        self._freed = Counter()
        for order in ended:
            if order is not None:
                self.outcome.expired += 1
                self._freed.update({line["sku"]: line["quantity"] for line in order["lines"]})
        self.outcome.freed += self._freed.total()

    async def _expiry(self, customer: shop.Customer, placed: Mapping[str, Any]) -> dict[str, Any] | None:
        expires_at = datetime.fromisoformat(placed["expires_at"])
        wait = (expires_at - self._services.clock()).total_seconds()
        await asyncio.sleep(max(wait, 0.0))
        deadline = time.monotonic() + EXPIRY_PATIENCE
        while True:
            order = await customer.order(placed["id"])
            if order["state"] == "expired":
                released_at = datetime.fromisoformat(order["timeline"][-1]["at"])
                lag = (released_at - expires_at).total_seconds()
                self.outcome.release_lag = max(self.outcome.release_lag, lag)
                return order
            if time.monotonic() > deadline:
                self.outcome.problems.append(f"order {placed['id']} did not expire: it is {order['state']}")
                return None
            await asyncio.sleep(0.1)

    async def _available(self, sku: str) -> int:
        stock = (await self._ops.get(f"/v1/inventory/{sku}")).expect(200).json()
        return int(stock["available"])

    async def _count_sold_again(self) -> None:
        """Freed units that are not on the shelf any more; what else lies there was not counted as sold."""
        available = await asyncio.gather(*map(self._available, self._freed))
        for sku, left in zip(self._freed, available, strict=True):
            self.outcome.sold_again += max(0, self._freed[sku] - left)

    # -- after -----------------------------------------------------------------------------------

    async def conclude(self, listener: Listener) -> None:
        """Asks the server, the store and the listener what became of it all."""
        listed = [order for each in self.customers for order in await each.orders()]
        paid = [order for order in listed if order["state"] == "paid"]
        self.outcome.gross = sum(order["gross"] for order in paid)
        self.outcome.net = sum(order["net"] for order in paid)
        states = Counter(order["state"] for order in listed)
        seen = {name: getattr(self.outcome, name) for name in ("paid", "rejected", "expired")}
        if states != Counter(seen):
            self.outcome.problems.append(f"the server lists {dict(states)}, the clients saw {seen}")
        self.outcome.books = await asyncio.to_thread(self._audit)
        self.outcome.events_stored = sum(
            [await self._services.events.last(each.account_id) for each in self.customers]
        )
        await listener.hear(self.outcome.events_stored, seconds=EVENTS_PATIENCE)
        self.outcome.events = listener.by_type

    def _audit(self) -> Books:
        settings = self._services.settings.mongo
        with books.store(settings.url, settings.database) as database:
            return books.audit(database)

    async def _timed(self, stage: str, work: Awaitable[None]) -> None:
        began = time.monotonic()
        await work
        self.outcome.seconds[stage] += time.monotonic() - began
