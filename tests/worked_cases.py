"""Reads the worked cases of `docs/discounts.md`, and works them.

A basket is `A 3x1000 drinks; shipping 500`: SKU, quantity, unit price, category. A discount is a code (with a
`~` before it the name of an automatic one) and steps of the builder: `S = percent(20).cap(usd(500))`.
"""

import re
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from domain.discounts.builder import Discount
from domain.discounts.rules import Basket, BasketLine, Discounted, Terms, Usage, discounted
from tests.discounts import eur, usd

LINE = re.compile(r"(\w+) (\d+)x(\d+) (\w+)")
#: When every case happens; `now` in the steps.
NOW = datetime.fromisoformat("2026-06-01T12:00:00+00:00")
NAMES: dict[str, Any] = {
    "usd": usd,
    "eur": eur,
    "now": NOW,
    "day": timedelta(days=1),
    "Decimal": Decimal,
}


def basket_of(text: str, *, groups: str = "") -> Basket:
    lines = []
    shipping = 0
    for part in text.split("; "):
        if match := LINE.fullmatch(part):
            sku, quantity, price, category = match[1], int(match[2]), int(match[3]), match[4]
            lines.append(BasketLine(sku, sku.lower(), category, "goods", price, quantity, price * quantity))
        elif part.startswith("shipping "):
            shipping = int(part.removeprefix("shipping "))
        else:
            groups = part.removeprefix("group ")
    return Basket("USD", tuple(lines), shipping, "ada", frozenset(groups.split()))


def terms_of(text: str) -> list[Terms]:
    found = []
    for part in text.split("; "):
        name, _, steps = part.partition(" = ")
        begun = Discount.automatic(name[1:]) if name.startswith("~") else Discount.code(name)
        terms = eval(f"begun.{steps}", {"begun": begun, **NAMES}).build()  # noqa: S307 - our own page
        found.append(Terms(**{field: getattr(terms, field) for field in Terms.__slots__} | {"id": name}))
    return found


def usage_of(text: str) -> Usage:
    """Such as `S used 3, spent 900, by her 1`."""
    uses, spent, own = {}, {}, {}
    for name, count, amount, by_her in re.findall(r"(\S+) used (\d+), spent (\d+), by her (\d+)", text):
        uses[name], spent[name], own[name] = int(count), int(amount), int(by_her)
    return Usage(uses, own, spent)


def work(basket: str, says: str, asked: str, before: str = "") -> str:
    """The outcome, as the page writes it."""
    found = basket_of(basket)
    return told(found, discounted(found, terms_of(says), asked.split(), usage_of(before), NOW))


def told(basket: Basket, found: Discounted) -> str:
    parts = []
    for each in found.applications:
        off = [f"{key} {amount}" for key, amount in each.by_line.items()]
        off += [f"shipping {each.shipping}"] if each.shipping else []
        parts.append(f"{each.code or '~' + each.name} takes {each.amount} ({', '.join(off)})")
    parts += [f"{each.code} refused: {each.reason}" for each in found.refusals]
    pays = sum(line.amount for line in basket.lines) + basket.shipping - found.amount
    return "; ".join([*parts, f"pays {pays}"])
