"""A cart as it is shown: at the prices of now, with what is wrong, and what it would cost."""

from collections.abc import Sequence
from dataclasses import dataclass

from domain.carts.rules import Line, problems, stock_hint
from domain.carts.service import Cart
from domain.changes import Doc
from domain.errors import DomainError
from domain.events.rules import rfc3339
from domain.inventory.allocation import Allocation
from domain.orders.prices import Item, Known, Prices, totals_view
from domain.orders.pricing import Facts


@dataclass(frozen=True, slots=True)
class CartViews:
    """Shows carts."""

    prices: Prices
    allocation: Allocation

    async def show(self, cart: Cart, *, account_id: str | None, country: str | None = None) -> Doc:
        """The cart; JSON. Reads nothing but codes where it is empty.

        `totals` are of the lines that are for sale, with shipping and tax where a country is named. Where
        they cannot be told, `problem` says why.
        """
        content = cart.content
        known = await self.prices.read(content.items(), codes=content.codes, account_id=account_id)
        shelf = await self.allocation.shelf([line.sku for line in content.lines])
        wanted = {line.sku: line.quantity for line in content.lines}
        left = wanted | {each.sku: each.available for each in shelf.short(wanted)}
        for_sale = [item for item in content.items() if known.is_for_sale(item["sku"])]
        totals, problem = _totals(known, for_sale, country)
        return {
            "version": cart.revision,
            "lines": [
                line_view(line, known.products.get(line.sku), left[line.sku]) for line in content.lines
            ],
            "codes": list(content.codes),
            "totals": totals,
            "problem": problem,
            "expires_at": rfc3339(cart.expires_at) if cart.expires_at else None,
        }


def line_view(line: Line, fact: Facts | None, available: int) -> Doc:
    """One line. `problems` has what keeps it from being ordered as it is, and hints on the stock."""
    found = problems(line, fact)
    for_sale = fact is not None and fact["sellable"]
    price = fact["price"] if fact is not None and for_sale else None
    return {
        "sku": line.sku,
        "name": fact["name"] if fact is not None else None,
        "quantity": line.quantity,
        "price": price,
        "seen_price": line.seen.model_dump(),
        "amount": price["amount"] * line.quantity if price else None,
        "problems": found + (stock_hint(available, line.quantity) if for_sale else []),
    }


def _totals(known: Known, items: Sequence[Item], country: str | None) -> tuple[Doc | None, Doc | None]:
    if not items:
        return None, None
    try:
        return totals_view(known.price(items, country=country)), None
    except DomainError as error:
        return None, {"code": error.code, "message": error.message, "detail": error.detail}
