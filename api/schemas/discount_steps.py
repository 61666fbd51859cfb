"""Discounts on the wire: each field is a step of the builder."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, ConfigDict, Field

from api.schemas.common import Wire
from domain.discounts.builder import Discount
from domain.discounts.rules import ANY, Code, Terms
from domain.values import Money, Percent, Sku, Text

EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


def _kept(at: datetime) -> datetime:
    """In UTC, to the millisecond; within bounds that every clock knows."""
    if not EARLIEST <= at <= LATEST:
        raise ValueError("a time between 2000 and 2200")
    utc = at.astimezone(UTC)
    return utc.replace(microsecond=utc.microsecond // 1000 * 1000)


Name = Annotated[Text, Field(max_length=100)]
Time = Annotated[AwareDatetime, AfterValidator(_kept)]
Uses = Annotated[int, Field(strict=True, ge=1, le=10**9)]
Units = Annotated[int, Field(strict=True, ge=1, le=1000)]
Amount = Annotated[Money, Field(examples=[{"amount": 2000, "currency": "USD"}])]


class DiscountScope(Wire):
    """Lines of which all of this is true; at least one of it."""

    sku: Sku | None = None
    product: Name | None = None
    category: Name | None = None
    type: Name | None = None


class BuyGet(Wire):
    """Of every `buy + get` units in scope the cheapest `get` cost `percent` less: 100 is free."""

    buy: Units
    get: Units
    percent: Percent = Field(default=100, validate_default=True)


class DiscountSteps(Wire):
    """What a discount says. Exactly one of `percent`, `fixed`, `buy_get` and `free_shipping` is its kind."""

    name: Name | None = None
    percent: Percent | None = None
    fixed: Amount | None = None
    buy_get: BuyGet | None = None
    free_shipping: bool | None = None
    on: Annotated[tuple[DiscountScope, ...], Field(max_length=100)] | None = None
    groups: Annotated[tuple[Name, ...], Field(max_length=20)] | None = None
    min_spend: Amount | None = None
    cap: Amount | None = None
    budget: Amount | None = None
    limit: Uses | None = None
    per_customer: Uses | None = None
    starts_at: Time | None = None
    ends_at: Time | None = None
    stackable_with: Annotated[tuple[Name, ...], Field(max_length=50)] | None = None
    priority: Annotated[int, Field(strict=True, ge=-1000, le=1000)] | None = None

    def say(self, discount: Discount) -> Discount:
        """The builder after every step that was sent; null takes back what it said before."""
        for name, step in _STEPS.items():
            if name in self.model_fields_set:
                discount = step(discount, getattr(self, name))
        return discount


class NewDiscount(DiscountSteps):
    """A discount to make: with a `code`, or automatic, which then has a name."""

    code: Code | None = None
    active: bool = True

    def built(self) -> Terms:
        """Raises DiscountInvalid."""
        begun = Discount.automatic(self.name or "") if self.code is None else Discount.code(self.code)
        return self.say(begun).build()

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "code": "SPRING",
                    "percent": 20,
                    "on": [{"category": "Beverages"}],
                    "min_spend": {"amount": 5000, "currency": "USD"},
                    "cap": {"amount": 2000, "currency": "USD"},
                    "per_customer": 1,
                    "limit": 500,
                    "stackable_with": ["LOYAL"],
                }
            ]
        }
    )


class DiscountEdit(DiscountSteps):
    """What is said differently from now on; null takes a bound back. Code, kind and currency stay."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"percent": 25, "cap": None}]})


def _clears(field: str, step: Callable[[Discount, Any], Discount]) -> Callable[[Discount, Any], Discount]:
    """First without what was said before; then the step, unless the value is null."""

    def say(discount: Discount, value: Any) -> Discount:
        cleared = discount.without(field)
        return cleared if value is None else step(cleared, value)

    return say


def _unless_null(step: Callable[[Discount, Any], Discount]) -> Callable[[Discount, Any], Discount]:
    return lambda discount, value: discount if value is None else step(discount, value)


def _on(discount: Discount, scopes: tuple[DiscountScope, ...]) -> Discount:
    for scope in scopes:
        discount = discount.on(**scope.model_dump())
    return discount


def _others(discount: Discount, names: tuple[str, ...]) -> Discount:
    named = [name for name in names if name != ANY]
    discount = discount.stackable_with(*named) if named else discount
    return discount.stackable() if ANY in names else discount


_STEPS: Mapping[str, Callable[[Discount, Any], Discount]] = {
    "name": _unless_null(Discount.named),
    "percent": _unless_null(Discount.percent),
    "fixed": _unless_null(Discount.fixed),
    "buy_get": _unless_null(lambda discount, units: discount.buy(units.buy).get(units.get, units.percent)),
    "free_shipping": lambda discount, free: discount.free_shipping() if free else discount,
    "on": _clears("on", _on),
    "groups": _clears("groups", lambda discount, groups: discount.for_group(*groups)),
    "min_spend": _clears("min_spend", Discount.min_spend),
    "cap": _clears("cap", Discount.cap),
    "budget": _clears("budget", Discount.budget),
    "limit": _clears("limit", Discount.limit),
    "per_customer": _clears("per_customer", Discount.per_customer),
    "starts_at": _clears("starts_at", Discount.starting),
    "ends_at": _clears("ends_at", Discount.ending),
    "stackable_with": _clears("combines_with", _others),
    "priority": _clears("priority", Discount.priority),
}
