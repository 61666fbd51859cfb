"""What discounts are decided on, as plain values. Amounts are integers of minor units."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, Field

PERCENT, FIXED, BUY_GET, FREE_SHIPPING = "percent", "fixed", "buy_get", "free_shipping"
#: In the order in which they apply where priorities are equal.
KINDS = (BUY_GET, PERCENT, FIXED, FREE_SHIPPING)
#: In `combines_with`: everything else that says so too.
ANY = "*"
#: The most codes of one order.
MOST_CODES = 10

#: A code as a client writes it; kept, compared and shown in upper case.
Code = Annotated[
    str, Field(min_length=1, max_length=32, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$"), AfterValidator(str.upper)
]
#: The codes of an order, a cart or a quote. Their order means nothing.
Codes = Annotated[tuple[Code, ...], Field(max_length=MOST_CODES)]


@dataclass(frozen=True, slots=True)
class BasketLine:
    """One line. `amount` is what it costs after agreed prices, before discounts.

    `id` names the line among those of its basket; without one its SKU does, which then has one line only.
    """

    sku: str
    product_id: str
    category: str
    type: str
    unit_price: int
    quantity: int
    amount: int
    id: str = ""

    @property
    def key(self) -> str:
        """What the line is called in `Application.by_line`."""
        return self.id or self.sku


@dataclass(frozen=True, slots=True)
class Basket:
    """What discounts are asked for: an order, a quote or a cart. `account_id` is None for a stranger."""

    currency: str
    lines: tuple[BasketLine, ...]
    shipping: int = 0
    account_id: str | None = None
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Clause:
    """Lines of which everything that it names is true; a clause that names nothing means every line."""

    sku: str | None = None
    product: str | None = None
    category: str | None = None
    type: str | None = None

    def covers(self, line: BasketLine) -> bool:
        """Whether the line is meant."""
        wanted = (self.sku, self.product, self.category, self.type)
        found = (line.sku, line.product_id, line.category, line.type)
        return all(want is None or want == have for want, have in zip(wanted, found, strict=True))


@dataclass(frozen=True, slots=True)
class Terms:
    """What a discount says. `code` is in upper case; None where the discount is automatic.

    `amount`, `min_spend`, `cap` and `budget` are in `currency`. `on` are alternatives: none is every line.
    `combines_with` has codes and names of automatic discounts in upper case, or ANY.
    """

    id: str
    name: str
    kind: str
    code: str | None = None
    percent: Decimal = Decimal(100)
    amount: int = 0
    buy: int = 0
    reward: int = 0
    currency: str | None = None
    on: tuple[Clause, ...] = ()
    groups: frozenset[str] = frozenset()
    min_spend: int = 0
    cap: int | None = None
    limit: int | None = None
    per_customer: int | None = None
    budget: int | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    combines_with: frozenset[str] = frozenset()
    priority: int = 0

    @property
    def key(self) -> str:
        """What others call it in `combines_with`."""
        return (self.code or self.name).upper()

    def covers(self, line: BasketLine) -> bool:
        """Whether the line is in the scope."""
        return not self.on or any(clause.covers(line) for clause in self.on)

    def combines(self, other: "Terms") -> bool:
        """One names the other, or both combine with everything."""
        named = other.key in self.combines_with or self.key in other.combines_with
        return named or (ANY in self.combines_with and ANY in other.combines_with)


@dataclass(frozen=True, slots=True)
class Usage:
    """What was taken of each discount before, by its id: held and committed, not what was released."""

    uses: Mapping[str, int] = field(default_factory=dict)
    of_customer: Mapping[str, int] = field(default_factory=dict)
    spent: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Application:
    """What one discount takes off: `amount` is the sum of `by_line` (by the lines' keys) and `shipping`."""

    discount_id: str
    code: str | None
    name: str
    kind: str
    by_line: Mapping[str, int]
    shipping: int
    amount: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a code does not apply. `reason` is stable and part of the API; `detail` is JSON."""

    code: str
    reason: str
    detail: Mapping[str, Any] = field(default_factory=dict)

    def as_detail(self) -> dict[str, Any]:
        """For an error's detail."""
        return {"code": self.code, "reason": self.reason, **self.detail}


@dataclass(frozen=True, slots=True)
class Discounted:
    """What all discounts together take off, in the order in which they applied."""

    applications: tuple[Application, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    amount: int = 0

    @property
    def shipping(self) -> int:
        """What is taken off the shipping."""
        return sum(each.shipping for each in self.applications)

    def off(self, line: BasketLine) -> int:
        """What is taken off the line."""
        return sum(each.by_line.get(line.key, 0) for each in self.applications)


def normal_codes(codes: Sequence[str]) -> list[str]:
    """Each once, in upper case, in an order of our own."""
    return sorted({code.upper() for code in codes})
