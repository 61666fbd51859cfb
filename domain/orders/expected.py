"""What a customer was told that an order costs, and how that differs from what it costs now. Pure."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field

from domain.errors import CartChanged, DomainError, QuoteChanged
from domain.orders.pricing import Priced
from domain.values import Currency, Id, Value

Amount = Annotated[int, Field(ge=0, le=10**18)]
#: The amounts that a quote promises beside the prices.
PROMISED = ("discount", "shipping", "tax", "total")


class Expected(Value):
    """Unit prices, one per item, in their order; from a quote its totals, too.

    An order that would cost anything else is rejected, with the difference.
    """

    currency: Currency
    prices: tuple[Amount, ...]
    quote_id: Id | None = None
    discount: Amount | None = None
    shipping: Amount | None = None
    tax: Amount | None = None
    total: Amount | None = None
    #: Ids of the automatic discounts that applied: the process that places the order may not know them yet.
    automatic: tuple[Id, ...] = ()

    @classmethod
    def of_prices(cls, priced: Priced) -> "Expected":
        """What a cart shows: its prices."""
        applied = priced.discounted.applications
        automatic = tuple(each.discount_id for each in applied if each.code is None)
        return cls(currency=priced.currency, prices=_prices(priced), automatic=automatic)

    @classmethod
    def of_quote(cls, quote_id: str, totals: Mapping[str, Any]) -> "Expected":
        """What a quote, as it is stored, says."""
        return cls(
            currency=totals["currency"],
            prices=tuple(line["unit_price"] for line in totals["lines"]),
            quote_id=quote_id,
            automatic=tuple(each["discount_id"] for each in totals["discounts"] if each["code"] is None),
            **{name: totals[name] for name in PROMISED},
        )


def difference(expected: Expected, priced: Priced) -> list[dict[str, Any]]:
    """Each thing that is not as expected: `what`, as it was told `before`, and `now`."""
    return list(_differences(expected, priced))


def _differences(expected: Expected, priced: Priced) -> Iterator[dict[str, Any]]:
    if expected.currency != priced.currency:
        yield {"what": "currency", "before": expected.currency, "now": priced.currency}
    for index, (before, line) in enumerate(zip(expected.prices, priced.lines, strict=True)):
        if before != line["unit_price"]:
            yield {
                "what": "unit_price",
                "line": index,
                "sku": line["sku"],
                "before": before,
                "now": line["unit_price"],
            }
    if expected.quote_id is not None:
        yield from ({"what": "code", **each.as_detail()} for each in priced.discounted.refusals)
    for name in PROMISED:
        before, now = getattr(expected, name), getattr(priced, name)
        if before is not None and before != now:
            yield {"what": name, "before": before, "now": now}


def surprise(payload: Mapping[str, Any], priced: Priced) -> DomainError | None:
    """Why an order is not what its customer was told; None where it is, or nothing was told."""
    if payload.get("expected") is None:
        return None
    expected = Expected.model_validate(payload["expected"])
    changes = difference(expected, priced)
    if not changes:
        return None
    if expected.quote_id is None:
        return CartChanged(changes=changes)
    return QuoteChanged(quote=expected.quote_id, changes=changes)


def _prices(priced: Priced) -> tuple[int, ...]:
    return tuple(line["unit_price"] for line in priced.lines)
