"""A shop to load: products with stock, and customers with tokens. Run as a child; see `children`.

In:  {"stock": {"SKU": units}, "customers": 32, "endpoint": {"url": "http://...", "events": ["order.*"]}}
Out: {"accounts": ["id"], "tokens": ["..."], "secret": "whsec_..."}

`endpoint`, a webhook of the shop, may be left out; `secret` is null then.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from domain.bootstrap import Services, open_services
from domain.changes import Changes
from domain.events.rules import SHOP
from domain.inventory.models import MOVEMENTS, STOCK
from domain.inventory.rules import DEFAULT_LOCATION, stock_id
from domain.settings import Settings
from domain.values import Money, new_id, utcnow
from ops.bench import children

#: Opens nothing but these shops.
PASSWORD = "correct horse battery staple"  # noqa: S105
#: Products of one transaction.
CHUNK = 250


async def open_shop(services: Services, stock: Mapping[str, int], *, customers: int) -> dict[str, Any]:
    """Products at 10.00 with so many units each, and customers who are logged in."""
    skus = sorted(stock)
    for start in range(0, len(skus), CHUNK):
        await _introduce(services, {sku: stock[sku] for sku in skus[start : start + CHUNK]})
    people = await asyncio.gather(*(_customer(services) for _ in range(customers)))
    return {"accounts": [account for account, _ in people], "tokens": [token for _, token in people]}


async def _introduce(services: Services, stock: Mapping[str, int]) -> None:
    changes, at = Changes(), utcnow()
    for sku, units in stock.items():
        price = Money(amount=1000)
        services.products.create(changes, sku=sku, name=f"Bench {sku}", price=price, category="Bench")
        where = {"_id": stock_id(sku), "sku": sku, "location": DEFAULT_LOCATION}
        low_at = services.settings.inventory.low_at
        threshold = {"low_at": low_at, "low": units <= low_at}
        changes.insert(STOCK, [{**where, "available": units, "reserved": 0, **threshold}])
        moved = {"_id": f"bench:{new_id()}", "stock_id": stock_id(sku), "quantity": units, "at": at}
        changes.insert(MOVEMENTS, [{**moved, "kind": "adjustment", "reason": "bench", "actor": "bench"}])
    await changes.commit(services.database, seconds=60)


async def _customer(services: Services) -> tuple[str, str]:
    email = f"{new_id()}@bench.example"
    account = await services.accounts.register(email, PASSWORD)
    token = await services.accounts.log_in(email, PASSWORD)
    return account.id, token.token


async def _endpoint(services: Services, wanted: Mapping[str, Any] | None) -> str | None:
    if wanted is None:
        return None
    made = await services.webhooks.endpoints.create(SHOP, **wanted, description="", enabled=True)
    return str(made["secret"])


async def main() -> None:
    """Reads what is wanted, and answers."""
    wanted = children.question()
    async with open_services(Settings()) as services:
        shop = await open_shop(services, wanted["stock"], customers=wanted["customers"])
        children.answer(shop | {"secret": await _endpoint(services, wanted.get("endpoint"))})


if __name__ == "__main__":
    asyncio.run(main())
