"""What tax is due: a table of rates by country, behind an interface for whoever needs more. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated, Protocol

from pydantic import Field, PlainSerializer

from domain.errors import Invalid
from domain.orders.shipping import ELSEWHERE, Country, normal_country
from domain.values import Text, Value

#: 0 to 100 with at most four decimals, as sales taxes have; a number on the wire.
TaxPercent = Annotated[
    Decimal,
    Field(ge=0, le=100, decimal_places=4),
    PlainSerializer(float, return_type=float, when_used="json"),
]


class TaxRate(Value):
    """A country's tax. `included` says that prices contain it; else it comes on top of them.

    `on_shipping` says whether shipping is taxed, too, and in the same way.
    """

    country: Country
    name: Annotated[Text, Field(max_length=60)] = "Tax"
    percent: TaxPercent
    included: bool = False
    on_shipping: bool = False


@dataclass(frozen=True, slots=True)
class Taxed:
    """The tax on each amount, in their order, and on shipping. `included`: the amounts contain it."""

    lines: tuple[int, ...]
    shipping: int = 0
    included: bool = False

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self.lines) + self.shipping


class Tax(Protocol):
    """Knows what tax is due."""

    def __bool__(self) -> bool:
        """False where none is ever due: nobody is asked then."""

    def on(self, amounts: Sequence[int], *, shipping: int, country: str) -> Taxed:
        """The tax on lines' amounts after discounts, and on what is charged for shipping."""


class TaxTable:
    """`Tax` by a table. A country without an entry, where there is none for elsewhere, has no tax."""

    def __init__(self, rates: Sequence[TaxRate] = ()) -> None:
        self._rates = {normal_country(rate.country): rate for rate in rates}

    def __bool__(self) -> bool:
        """Whether there are any rates."""
        return bool(self._rates)

    def on(self, amounts: Sequence[int], *, shipping: int, country: str) -> Taxed:
        """Each line and the shipping are rounded half-up by themselves."""
        rate = self._rates.get(normal_country(country)) or self._rates.get(ELSEWHERE)
        if rate is None:
            return Taxed(tuple(0 for _ in amounts))
        return Taxed(
            lines=tuple(tax_on(amount, rate) for amount in amounts),
            shipping=tax_on(shipping, rate) if rate.on_shipping else 0,
            included=rate.included,
        )


def tax_on(amount: int, rate: TaxRate) -> int:
    """The tax that is in the amount, or comes on top of it; rounded half-up to the minor unit."""
    whole = 100 + rate.percent if rate.included else Decimal(100)
    return int((Decimal(amount) * rate.percent / whole).quantize(Decimal(1), ROUND_HALF_UP))


def check_tax_rates(rates: Sequence[TaxRate]) -> None:
    """Raises Invalid(reason="duplicate_rate") where a country is named twice."""
    seen = set()
    for rate in rates:
        if normal_country(rate.country) in seen:
            raise Invalid(reason="duplicate_rate", country=rate.country)
        seen.add(normal_country(rate.country))
