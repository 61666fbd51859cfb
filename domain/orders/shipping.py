"""What shipping costs: a table of rates by country and weight. Pure."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Protocol

from pydantic import Field

from domain.errors import Invalid, NoShippingTo
from domain.values import Money, Text, Value

#: In a table of rates: every country that has no entries of its own.
ELSEWHERE = "*"
#: As addresses name it; upper and lower case are one.
Country = Annotated[Text, Field(max_length=60)]
MAX_ROWS = 1000


class ShippingRate(Value):
    """What it costs to send up to so many grams to a country; without `up_to_g`, whatever the weight."""

    country: Country
    up_to_g: Annotated[int, Field(strict=True, ge=1, le=10**9)] | None = None
    price: Money


class Shipping(Protocol):
    """Knows what shipping costs."""

    def __bool__(self) -> bool:
        """False where nothing is ever charged: nobody is asked then."""

    def charge(self, *, weight_g: int, country: str, currency: str) -> int:
        """Minor units of `currency`. Raises NoShippingTo."""


class ShippingTable:
    """`Shipping` by a table: the lightest rate of the country that takes the weight. No rates: no charge."""

    def __init__(self, rates: Sequence[ShippingRate] = ()) -> None:
        self._rates: dict[tuple[str, str], list[ShippingRate]] = {}
        for rate in sorted(rates, key=_bound):
            self._rates.setdefault((normal_country(rate.country), rate.price.currency), []).append(rate)
        self._countries = {country for country, _ in self._rates}

    def __bool__(self) -> bool:
        """Whether there are any rates."""
        return bool(self._rates)

    def charge(self, *, weight_g: int, country: str, currency: str) -> int:
        """Minor units of `currency`. Raises NoShippingTo with the reason: country, currency or weight."""
        if not self._rates:
            return 0
        where = normal_country(country)
        where = where if where in self._countries else ELSEWHERE
        if where not in self._countries:
            raise NoShippingTo(country=country, reason="country")
        rates = self._rates.get((where, currency))
        if rates is None:
            raise NoShippingTo(country=country, reason="currency", currency=currency)
        for rate in rates:
            if rate.up_to_g is None or weight_g <= rate.up_to_g:
                return rate.price.amount
        raise NoShippingTo(country=country, reason="weight", weight_g=weight_g, up_to_g=rates[-1].up_to_g)


def check_shipping_rates(rates: Sequence[ShippingRate]) -> None:
    """Raises Invalid(reason="duplicate_rate") where two say the same of one country, currency and weight."""
    seen = set()
    for rate in rates:
        key = (normal_country(rate.country), rate.price.currency, rate.up_to_g)
        if key in seen:
            raise Invalid(reason="duplicate_rate", country=rate.country, up_to_g=rate.up_to_g)
        seen.add(key)


def weight_of(lines: Sequence[Mapping[str, Any]], products: Mapping[str, Mapping[str, Any]]) -> int:
    """Grams of the lines; a product without a weight weighs nothing."""
    return sum(line["quantity"] * (products[line["sku"]].get("weight_g") or 0) for line in lines)


def normal_country(country: str) -> str:
    """The form in which countries are compared."""
    return country.strip().casefold()


def _bound(rate: ShippingRate) -> float:
    return float("inf") if rate.up_to_g is None else rate.up_to_g
