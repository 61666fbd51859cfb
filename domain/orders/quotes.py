"""Quotes: what an order would cost, promised for some minutes and good for one order."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pymongo
from beanie import Document
from pymongo import IndexModel

from domain.carts.rules import Ordered
from domain.changes import Changes, Database, Doc
from domain.errors import QuoteNotFound
from domain.events.rules import rfc3339
from domain.orders.prices import Item, Prices, totals_view
from domain.orders.rules import line_view
from domain.values import Clock, new_id

QUOTES = "quotes"
#: How long a quote is kept that cannot be ordered any more: to say so.
KEPT = timedelta(days=1)
#: Old quotes that one run deletes, at most.
SWEEP = 500
OPEN, EXPIRED, ORDERED = "open", "expired", "ordered"


class Quote(Document):
    """An offer to one account. Amounts are minor units of `currency`."""

    id: str  # type: ignore[assignment]  # a UUIDv7
    account_id: str
    #: As an order has them: SKU, quantity, agreed prices.
    items: list[dict[str, Any]]
    #: Codes that applied; `refusals` are of the others.
    codes: list[str]
    refusals: list[dict[str, Any]]
    country: str
    currency: str
    lines: list[dict[str, Any]]
    gross: int
    net: int
    discounts: list[dict[str, Any]]
    discount: int
    shipping: int
    tax: int
    tax_included: bool
    total: int
    #: The cart's lines that it is for; None where it is for items.
    cart: list[dict[str, Any]] | None = None
    order_id: str | None = None
    created_at: datetime
    expires_at: datetime

    class Settings:
        """Where, and how the old ones are found."""

        name = QUOTES
        indexes = (IndexModel([("expires_at", pymongo.ASCENDING)], name="to_sweep"),)


class Quotes:
    """Makes and finds quotes; ordering one is in `checkout`."""

    def __init__(self, *, database: Database, prices: Prices, clock: Clock, ttl: timedelta) -> None:
        self._database = database
        self._prices = prices
        self._clock = clock
        self._ttl = ttl

    async def make(
        self,
        items: Sequence[Item],
        *,
        codes: Sequence[str],
        country: str,
        account_id: str,
        cart: Sequence[Ordered] | None = None,
    ) -> Doc:
        """A new quote. Codes that do not apply are left out, and shown as refused.

        Raises UnknownSku, NotForSale, CurrencyMismatch, OrderTooLarge and NoShippingTo.
        """
        known = await self._prices.read(items, codes=codes, account_id=account_id)
        priced = known.price(items, country=country)
        shown, now = totals_view(priced), self._clock()
        refused = {refusal["code"] for refusal in shown["refusals"]}
        quote = {
            "_id": new_id(),
            "account_id": account_id,
            "items": [dict(item) for item in items],
            "codes": [code for code in codes if code.upper() not in refused],
            "country": country,
            **shown,
            "lines": list(priced.lines),
            "cart": None if cart is None else [each.model_dump() for each in cart],
            "order_id": None,
            "created_at": now,
            "expires_at": now + self._ttl,
        }
        await self._database[QUOTES].insert_one(quote)
        return quote

    async def get(self, quote_id: str, *, account_id: str) -> Doc:
        """The stored quote. Raises QuoteNotFound, also for another account's."""
        quote = await self._database[QUOTES].find_one({"_id": quote_id})
        if quote is None or quote["account_id"] != account_id:
            raise QuoteNotFound(quote=quote_id)
        return quote

    @staticmethod
    def use(changes: Changes, quote: Doc, *, order_id: str) -> None:
        """Adds to an order's transaction that it is this quote's; it fails its guard where another was."""
        query = {"_id": quote["_id"], "order_id": None}
        changes.update(QUOTES, query, {"$set": {"order_id": order_id}}, expect=1, name="quote")

    def view(self, quote: Doc) -> Doc:
        """The quote as it is shown; JSON."""
        hidden = {"_id", "account_id", "items", "cart"}
        shown = {name: value for name, value in quote.items() if name not in hidden}
        return shown | {
            "id": quote["_id"],
            "state": self.state(quote),
            "lines": [line_view(line) for line in quote["lines"]],
            "created_at": rfc3339(quote["created_at"]),
            "expires_at": rfc3339(quote["expires_at"]),
        }

    def state(self, quote: Doc) -> str:
        """OPEN, EXPIRED or ORDERED."""
        if quote["order_id"] is not None:
            return ORDERED
        return OPEN if quote["expires_at"] > self._clock() else EXPIRED

    async def sweep(self) -> int:
        """Deletes quotes that are long past; answers how many."""
        rows = self._database[QUOTES].find({"expires_at": {"$lte": self._clock() - KEPT}}, {"_id": 1})
        deleted = 0
        for row in await rows.limit(SWEEP).to_list():
            deleted += (await self._database[QUOTES].delete_one({"_id": row["_id"]})).deleted_count
        return deleted
