"""What an order costs: lines, then discounts, then shipping, then tax. Pure, and the same for all who ask.

A quote, a cart's view and the worker that places an order go through `price_order`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, TypeAlias

from domain.discounts.rules import Application, Basket, BasketLine, Discounted
from domain.errors import CurrencyMismatch, OrderTooLarge
from domain.orders.shipping import Shipping, ShippingTable, weight_of
from domain.orders.taxes import Tax, TaxTable
from domain.products.rules import require_sellable
from domain.values import Money

Doc = dict[str, Any]
#: What is known of a SKU, see `domain.products.rules.SkuFacts`.
Facts: TypeAlias = Mapping[str, Any]
#: Says what codes and automatic discounts take off a basket, such as `Offers.apply` does.
Discounts: TypeAlias = Callable[[Basket], Discounted]

#: Minor units. Sums stay exact in JSON and in every client's numbers.
LARGEST_ORDER = 10**15


@dataclass(frozen=True, slots=True)
class Rates:
    """What shipping and tax cost, as of one moment."""

    shipping: Shipping = field(default_factory=ShippingTable)
    tax: Tax = field(default_factory=TaxTable)


@dataclass(frozen=True, slots=True)
class Priced:
    """An order's lines with their prices, and the totals. All amounts are minor units of `currency`.

    `gross` and `net` are sums over the lines, before and after agreed prices. `discount` is all that
    discounts take off, of the lines and of `shipping`, which is what the rate says. `tax` is on what is left.
    """

    lines: tuple[Doc, ...]
    currency: str
    gross: int
    net: int
    discounted: Discounted = field(default_factory=Discounted)
    shipping: int = 0
    tax: int = 0
    tax_included: bool = False

    @property
    def discount(self) -> int:
        """What all discounts together take off."""
        return self.discounted.amount

    @property
    def total(self) -> int:
        """What the customer pays."""
        return self.net - self.discount + self.shipping + (0 if self.tax_included else self.tax)

    def totals(self) -> Doc:
        """The amounts as an order stores them."""
        return {
            "gross": self.gross,
            "net": self.net,
            "discounts": [self._explained(each) for each in self.discounted.applications],
            "discount": self.discount,
            "shipping": self.shipping,
            "tax": self.tax,
            "tax_included": self.tax_included,
            "total": self.total,
        }

    def _explained(self, application: Application) -> Doc:
        """One discount with what it takes off each line, by the line's place from 0."""
        by_line = sorted((int(key), amount) for key, amount in application.by_line.items())
        return {
            "discount_id": application.discount_id,
            "code": application.code,
            "name": application.name,
            "kind": application.kind,
            "by_line": [
                {"line": index, "sku": self.lines[index]["sku"], "amount": amount}
                for index, amount in by_line
            ],
            "shipping": application.shipping,
            "amount": application.amount,
        }


def price_order(
    items: Sequence[Mapping[str, Any]],
    products: Mapping[str, Facts],
    *,
    rates: Rates,
    country: str | None,
    discounts: Discounts | None = None,
    account_id: str | None = None,
) -> Priced:
    """All of it. Without a country there is no shipping yet, and no tax.

    Codes that do not apply are in `discounted.refusals`; what that means is the caller's to say. Raises
    UnknownSku, NotForSale, CurrencyMismatch, OrderTooLarge and NoShippingTo.
    """
    priced = price(items, products)
    if country is not None and rates.shipping:
        weight = weight_of(priced.lines, products)
        charge = rates.shipping.charge(weight_g=weight, country=country, currency=priced.currency)
        priced = replace(priced, shipping=charge)
    if discounts is not None:
        priced = _with_discounts(priced, _basket(priced, products, account_id), discounts)
    return _with_tax(priced, rates.tax, country) if country is not None and rates.tax else priced


def price(items: Sequence[Mapping[str, Any]], products: Mapping[str, Facts]) -> Priced:
    """Prices items by agreement where they carry a price, else by the catalogue; each line rounds half-up.

    Raises UnknownSku, NotForSale, CurrencyMismatch, and OrderTooLarge.
    """
    require_sellable((item["sku"] for item in items), products)
    lines = [_line(item, products[item["sku"]]) for item in items]
    currencies = sorted({currency for _, currency in lines})
    if len(currencies) > 1:
        raise CurrencyMismatch(currencies=currencies)
    priced = tuple(line for line, _ in lines)
    gross = sum(line["gross"] for line in priced)
    if gross > LARGEST_ORDER:
        raise OrderTooLarge(gross=gross, largest=LARGEST_ORDER)
    return Priced(lines=priced, currency=currencies[0], gross=gross, net=sum(line["net"] for line in priced))


def _line(item: Mapping[str, Any], product: Facts) -> tuple[Doc, str]:
    unit = Money.model_validate(item.get("unit_price") or product["price"])
    percent = Decimal(str(item.get("percent_off") or 0))
    gross = unit.times(item["quantity"])
    line = {
        "sku": item["sku"],
        "name": product["name"],
        "quantity": item["quantity"],
        "unit_price": unit.amount,
        "percent_off": format(percent.normalize(), "f"),
        "gross": gross.amount,
        "net": gross.percent_off(percent).amount,
        "discount": 0,
        "tax": 0,
    }
    return line, unit.currency


def _with_discounts(priced: Priced, basket: Basket, discounts: Discounts) -> Priced:
    found = discounts(basket)
    if not found.applications:
        return replace(priced, discounted=found)
    off = [found.off(line) for line in basket.lines]
    lines = tuple(line | {"discount": amount} for line, amount in zip(priced.lines, off, strict=True))
    return replace(priced, lines=lines, discounted=found)


def _basket(priced: Priced, products: Mapping[str, Facts], account_id: str | None) -> Basket:
    return Basket(
        currency=priced.currency,
        lines=tuple(
            _basket_line(index, line, products[line["sku"]]) for index, line in enumerate(priced.lines)
        ),
        shipping=priced.shipping,
        account_id=account_id,
    )


def _basket_line(index: int, line: Doc, product: Facts) -> BasketLine:
    return BasketLine(
        sku=line["sku"],
        product_id=product["product_id"],
        category=product["category"],
        type=product["type"],
        unit_price=line["unit_price"],
        quantity=line["quantity"],
        amount=line["net"],
        id=str(index),
    )


def _with_tax(priced: Priced, tax: Tax, country: str) -> Priced:
    left = [line["net"] - line["discount"] for line in priced.lines]
    due = tax.on(left, shipping=priced.shipping - priced.discounted.shipping, country=country)
    if not due.total:
        return priced
    lines = tuple(line | {"tax": amount} for line, amount in zip(priced.lines, due.lines, strict=True))
    return replace(priced, lines=lines, tax=due.total, tax_included=due.included)
