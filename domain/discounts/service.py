"""Discounts as staff makes them, and what they would do."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from domain.changes import Doc
from domain.discounts.builder import Discount
from domain.discounts.models import AUTOMATIC, fields_of, terms_of, unused
from domain.discounts.redemptions import Ask, Redemptions
from domain.discounts.repository import DiscountRepository
from domain.discounts.rules import Basket, BasketLine, Discounted, Terms
from domain.errors import (
    CodeTaken,
    CurrencyMismatch,
    DiscountNotFound,
    IdempotencyKeyReused,
    StaleRevision,
    TryAgain,
)
from domain.products.rules import require_sellable
from domain.products.service import Products
from domain.values import Clock, Money, new_id

#: How often an edit that names no revision is tried again.
TRIES = 8
#: Bounds whose change makes an exhausted discount one that can be exhausted again.
_BOUNDS = ("limit", "budget")


@dataclass(frozen=True, slots=True)
class Created:
    """A discount that was made, now or by an earlier request with the same key."""

    row: Doc
    replayed: bool


@dataclass(frozen=True, slots=True)
class Preview:
    """What discounts would take off a basket now."""

    basket: Basket
    discounted: Discounted


class Discounts:
    """Verbs and queries of discounts. How orders use them is in `redemptions`."""

    def __init__(
        self, *, repository: DiscountRepository, redemptions: Redemptions, products: Products, clock: Clock
    ) -> None:
        self._repository = repository
        self._redemptions = redemptions
        self._products = products
        self._clock = clock

    async def create(self, terms: Terms, *, by: str, key: str, active: bool = True) -> Created:
        """Stores what the builder made. One (by, key) is one discount.

        Raises CodeTaken, and IdempotencyKeyReused.
        """
        row = self._row(terms, by=by, key=key, active=active)
        if await self._repository.add(row):
            return Created(row, replayed=False)
        first = await self._repository.by_request(row["request"])
        if first is None:
            raise CodeTaken(code=terms.code)
        if first["said"] != row["said"]:
            raise IdempotencyKeyReused
        return Created(first, replayed=True)

    def _row(self, terms: Terms, *, by: str, key: str, active: bool) -> Doc:
        now, discount_id, said = self._clock(), new_id(), fields_of(terms)
        return {
            "_id": discount_id,
            "lookup": terms.code or f"{AUTOMATIC}{discount_id}",
            **said,
            **unused(terms.currency),
            "active": active,
            "exhausted_at": None,
            "revision": new_id(),
            "request": _digest([by, key]),
            "said": _digest([said, active]),
            "created_by": by,
            "created_at": now,
            "updated_at": now,
        }

    async def get(self, discount_id: str) -> Doc:
        """Raises DiscountNotFound."""
        row = await self._repository.by_id(discount_id)
        if row is None:
            raise DiscountNotFound(discount=discount_id)
        return row

    async def page(
        self, *, before: str | None, limit: int, code: str | None = None, active: bool | None = None
    ) -> list[Doc]:
        """Newest first, those before `before`."""
        return await self._repository.page(before=before, limit=limit, code=code, active=active)

    async def edit(
        self, discount_id: str, edit: Callable[[Discount], Discount], *, expected: frozenset[str] | None
    ) -> Doc:
        """Says some of it differently, for orders that are placed from now on.

        Raises DiscountNotFound, DiscountInvalid, and StaleRevision where its revision is none of `expected`.
        """

        def fields(row: Doc) -> Doc:
            before = terms_of(row)
            after = edit(Discount.of(before)).build()
            raised = any(getattr(before, name) != getattr(after, name) for name in _BOUNDS)
            return fields_of(after) | ({"exhausted_at": None} if raised else {})

        return await self._write(discount_id, fields, expected)

    async def switch(self, discount_id: str, *, active: bool) -> Doc:
        """Lets it apply, or not. So before, it changes nothing. Raises DiscountNotFound."""
        return await self._write(discount_id, lambda _: {"active": active}, None)

    async def _write(
        self, discount_id: str, fields: Callable[[Doc], Doc], expected: frozenset[str] | None
    ) -> Doc:
        for _ in range(TRIES):
            row = await self.get(discount_id)
            if expected is not None and row["revision"] not in expected:
                raise StaleRevision(revision=row["revision"])
            new = fields(row)
            if all(row[name] == value for name, value in new.items()):
                return row
            if await self._repository.edit(row, new, revision=new_id(), at=self._clock()):
                return await self.get(discount_id)
        raise TryAgain("others kept editing the same discount")

    async def customers(self, row: Doc, *, after: str | None, limit: int) -> list[Doc]:
        """What each customer used of it, by account."""
        return await self._repository.customers(row["lookup"], after=after, limit=limit)

    async def preview(
        self,
        items: Sequence[Mapping[str, Any]],
        *,
        codes: Sequence[str],
        account_id: str | None,
        shipping: Money | None = None,
    ) -> Preview:
        """What the codes and the automatic discounts would take off; changes nothing.

        Raises UnknownSku, NotForSale and CurrencyMismatch.
        """
        basket = await self._basket(items, account_id, shipping)
        offers = await self._redemptions.offers([Ask(account_id=account_id, codes=tuple(codes))])
        basket = replace(basket, groups=offers.groups_of(account_id))
        return Preview(basket, offers.apply(basket, codes, at=self._clock()))

    async def _basket(
        self, items: Sequence[Mapping[str, Any]], account_id: str | None, shipping: Money | None
    ) -> Basket:
        facts = await self._products.facts(item["sku"] for item in items)
        require_sellable((item["sku"] for item in items), facts)
        lines = tuple(_line(index, item, facts[item["sku"]]) for index, item in enumerate(items))
        currencies = {facts[item["sku"]]["price"]["currency"] for item in items}
        currencies |= {shipping.currency} if shipping else set()
        if len(currencies) > 1:
            raise CurrencyMismatch(currencies=sorted(currencies))
        amount = shipping.amount if shipping else 0
        return Basket(currency=currencies.pop(), lines=lines, shipping=amount, account_id=account_id)


def _line(index: int, item: Mapping[str, Any], product: Mapping[str, Any]) -> BasketLine:
    price, quantity = product["price"]["amount"], item["quantity"]
    return BasketLine(
        sku=item["sku"],
        product_id=product["product_id"],
        category=product["category"],
        type=product["type"],
        unit_price=price,
        quantity=quantity,
        amount=price * quantity,
        id=str(index),
    )


def _digest(parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
