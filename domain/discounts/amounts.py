"""What each kind of discount takes off what is left of a basket. Pure; exact to the minor unit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import TypeAlias

from domain.discounts.terms import BUY_GET, FIXED, FREE_SHIPPING, PERCENT, BasketLine, Terms


@dataclass(frozen=True, slots=True)
class Left:
    """What is left to pay: of each line by its key, and of the shipping."""

    lines: Mapping[str, int]
    shipping: int

    def without(self, off: "Left") -> "Left":
        """What is left once `off` is taken."""
        lines = {key: amount - off.lines.get(key, 0) for key, amount in self.lines.items()}
        return Left(lines, self.shipping - off.shipping)

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self.lines.values()) + self.shipping


#: Takes the terms, the lines in scope and what is left; answers what to take off.
Kind: TypeAlias = Callable[[Terms, Sequence[BasketLine], Left], Left]
_KINDS: dict[str, Kind] = {}


def kind(name: str) -> Callable[[Kind], Kind]:
    """Registers how a kind of discount is worked out."""

    def register(function: Kind) -> Kind:
        _KINDS[name] = function
        return function

    return register


def taken_off(terms: Terms, lines: Sequence[BasketLine], left: Left) -> Left:
    """What the discount takes off, within its cap and never more than is left."""
    off = _KINDS[terms.kind](terms, lines, left)
    if terms.cap is None or off.total <= terms.cap:
        return off
    if off.shipping:
        return replace(off, shipping=terms.cap)
    return Left(share(terms.cap, off.lines), 0)


def share(total: int, weights: Mapping[str, int]) -> dict[str, int]:
    """Splits `total` by weight, to the minor unit.

    Each part is rounded down; what remains goes, one each, to the parts that lost most by that, and of two
    that lost the same to the earlier. No part is past its weight while `total` is not past their sum.
    """
    whole = sum(weights.values())
    if whole == 0 or total == 0:
        return {}
    parts = {key: total * weight // whole for key, weight in weights.items()}
    remainder = total - sum(parts.values())
    lost = sorted(weights, key=lambda key: -(total * weights[key] % whole))
    for key in lost[:remainder]:
        parts[key] += 1
    return {key: part for key, part in parts.items() if part}


def half_up(value: Fraction) -> int:
    """The nearest whole number; of two the greater."""
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)


@kind(PERCENT)
def _percent(terms: Terms, lines: Sequence[BasketLine], left: Left) -> Left:
    """Of each line; what is left of it is rounded half-up, as in `Money.percent_off`."""
    off = {}
    for line in lines:
        amount = left.lines[line.key]
        rest = Decimal(amount) * (100 - terms.percent) / 100
        off[line.key] = amount - int(rest.quantize(Decimal(1), ROUND_HALF_UP))
    return _lines(off)


@kind(FIXED)
def _fixed(terms: Terms, lines: Sequence[BasketLine], left: Left) -> Left:
    """Shared by the lines in scope in proportion to what is left of each."""
    weights = {line.key: left.lines[line.key] for line in lines}
    return _lines(share(min(terms.amount, sum(weights.values())), weights))


@kind(BUY_GET)
def _buy_get(terms: Terms, lines: Sequence[BasketLine], left: Left) -> Left:
    """Of every `buy + reward` units in scope, `reward` cost less by the percentage: the cheapest of all."""
    sets = sum(line.quantity for line in lines) // (terms.buy + terms.reward)
    units, off = sets * terms.reward, {}
    price = {line.key: Fraction(left.lines[line.key], line.quantity) for line in lines}
    for line in sorted(lines, key=lambda each: price[each.key]):
        few = min(units, line.quantity)
        units -= few
        # What is left to pay is rounded half-up, as everywhere.
        rest = left.lines[line.key] - price[line.key] * few * Fraction(terms.percent) / 100
        off[line.key] = left.lines[line.key] - half_up(rest)
    return _lines(off)


@kind(FREE_SHIPPING)
def _free_shipping(_: Terms, __: Sequence[BasketLine], left: Left) -> Left:
    return Left({}, left.shipping)


def _lines(off: Mapping[str, int]) -> Left:
    return Left({key: amount for key, amount in off.items() if amount}, 0)
