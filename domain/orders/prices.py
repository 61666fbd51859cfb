"""What items cost just now: everything that pricing has to know, read together."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from domain.changes import Doc
from domain.discounts.redemptions import Ask, Offers, Redemptions
from domain.orders.pricing import Facts, Priced, Rates, price_order
from domain.orders.tables import Tables
from domain.products.service import Products
from domain.values import Clock

Item = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Known:
    """What was read for one customer's items."""

    products: Mapping[str, Facts]
    offers: Offers
    rates: Rates
    codes: tuple[str, ...]
    account_id: str | None
    at: datetime

    def is_for_sale(self, sku: str) -> bool:
        """Whether the SKU can be ordered."""
        return sku in self.products and bool(self.products[sku]["sellable"])

    def price(self, items: Sequence[Item], *, country: str | None) -> Priced:
        """Raises what `price_order` does."""
        wanted = bool(self.codes or self.offers.rows)
        return price_order(
            items,
            self.products,
            rates=self.rates,
            country=country,
            discounts=partial(self.offers.apply, codes=self.codes, at=self.at) if wanted else None,
            account_id=self.account_id,
        )


@dataclass(frozen=True, slots=True)
class Prices:
    """Reads products, discounts and rates."""

    products: Products
    redemptions: Redemptions
    tables: Tables
    clock: Clock

    async def read(
        self,
        items: Sequence[Item],
        *,
        codes: Sequence[str] = (),
        account_id: str | None = None,
        automatic: Sequence[str] = (),
    ) -> Known:
        """What there is to know of the items, and of what the customer may have off.

        `automatic` are ids of automatic discounts that the customer was told of.
        """
        ask = Ask(account_id=account_id, codes=tuple(codes), automatic=tuple(automatic))
        products, offers, rates = await asyncio.gather(
            self.products.facts(item["sku"] for item in items),
            self.redemptions.offers([ask]),
            self.tables.rates(),
        )
        return Known(products, offers, rates, tuple(codes), account_id, self.clock())


def totals_view(priced: Priced) -> Doc:
    """Lines, totals and refused codes as they are shown; JSON."""
    return {
        "currency": priced.currency,
        "lines": [line | {"percent_off": float(line["percent_off"])} for line in priced.lines],
        **priced.totals(),
        "refusals": [refusal.as_detail() for refusal in priced.discounted.refusals],
    }
