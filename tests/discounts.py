"""Discounts as tests make them, and the books of their uses (P5)."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from domain.bootstrap import Services
from domain.discounts.builder import Discount
from domain.values import Money, new_id

Doc = dict[str, Any]
#: Redemptions that count as taken, and as what.
TAKEN = {"held": ("taken",), "committed": ("taken", "committed"), "released": ("released",)}


def usd(amount: int) -> Money:
    return Money(amount=amount, currency="USD")


def eur(amount: int) -> Money:
    return Money(amount=amount, currency="EUR")


async def make(services: Services, discount: Discount, *, by: str = "staff") -> Doc:
    """Stores it, active."""
    return (await services.discounts.create(discount.build(), by=by, key=new_id())).row


async def used(services: Services, discount: Doc) -> tuple[int, int, int]:
    """Its held, committed and released uses."""
    row = await services.discounts.get(discount["_id"])
    return row["taken"] - row["committed"], row["committed"], row["released"]


async def check_uses(services: Services) -> None:
    """P5: bounds hold, and counts are those of the redemptions. Raises AssertionError with what differs."""
    database = services.database
    discounts = {row["_id"]: row for row in await database["discounts"].find().to_list()}
    redemptions = await database["redemptions"].find().to_list()
    customers = await database["discount_customers"].find().to_list()
    of_discount = counted(((row["discount_id"],), row) for row in redemptions)
    of_customer = counted(
        ((f"{discounts[row['discount_id']]['lookup']}:{row['account_id']}",), row) for row in redemptions
    )
    for row in discounts.values():
        compare(row, of_discount)
        assert row["limit"] is None or row["taken"] <= row["limit"], row
        if row["budget"] is not None:
            assert row["amounts"][row["currency"]]["taken"] <= row["budget"], row
    for row in customers:
        compare(row, of_customer)
    limits = {row["lookup"]: row["per_customer"] for row in discounts.values()}
    for row in customers:
        limit = limits[row["_id"].removesuffix(f":{row['account_id']}")]
        assert limit is None or row["taken"] <= limit, row
    await check_orders(services, redemptions)


async def check_orders(services: Services, redemptions: Iterable[Mapping[str, Any]]) -> None:
    """What orders show as taken off is what redemptions say, and they end together."""
    ended = {
        "reserved": "held",
        **dict.fromkeys(("paid", "fulfilled", "completed"), "committed"),
        **dict.fromkeys(("expired", "cancelled", "refunded"), "released"),
    }
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in redemptions:
        found.setdefault(row["order_id"], []).append(row)
    for order in await services.database["orders"].find().to_list():
        mine = found.pop(order["_id"], [])
        if order["state"] == "rejected":
            assert mine == [], order
            continue
        assert {row["_id"] for row in mine} == {entry["id"] for entry in order["redemptions"]}, order
        assert sum(row["amount"] for row in mine) == order["discount"], order
        assert {row["state"] for row in mine} <= {ended[order["state"]]}, order
    assert found == {}


def counted(rows: Iterable[tuple[tuple[str, ...], Mapping[str, Any]]]) -> Counter[tuple[str, ...]]:
    total: Counter[tuple[str, ...]] = Counter()
    for (key,), row in rows:
        for name in TAKEN[row["state"]]:
            total[key, name] += 1
            total[key, row["currency"], name] += row["amount"]
    return total


def compare(row: Doc, counts: Counter[tuple[str, ...]]) -> None:
    for name in ("taken", "committed", "released"):
        assert row[name] == counts[row["_id"], name], (name, row, counts)
        for currency, amounts in row["amounts"].items():
            assert amounts[name] == counts[row["_id"], currency, name], (name, row, counts)
