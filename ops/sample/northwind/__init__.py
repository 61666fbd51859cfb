"""The Northwind database as products, stock and orders. Its source and licence: the README beside this file.

Amounts are integers of US cents. A line's price and percentage off are what was agreed at the time: 658 lines
differ from the catalogue.
"""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
CURRENCY = "USD"
#: Columns of `orders.csv` before the ship name, and after the ship address.
BEFORE_ADDRESS, AFTER_ADDRESS = 8, 4

_NO_VALUE = "NULL"


@dataclass(frozen=True, slots=True)
class Product:
    """Something that is sold, and the units of it that the data records."""

    sku: str
    name: str
    category: str
    price: int
    stock: int


@dataclass(frozen=True, slots=True)
class Line:
    """Units of one SKU at agreed prices."""

    sku: str
    quantity: int
    unit_price: int
    percent_off: Decimal

    @property
    def gross(self) -> int:
        """Before the percentage off."""
        return self.quantity * self.unit_price

    @property
    def net(self) -> int:
        """After it, rounded half-up to the cent."""
        left = self.gross * (100 - self.percent_off) / 100
        return int(left.quantize(Decimal(1), ROUND_HALF_UP))

    def as_item(self) -> dict[str, Any]:
        """The form in which `POST /v1/orders` takes it."""
        percent = self.percent_off
        return {
            "sku": self.sku,
            "quantity": self.quantity,
            "unit_price": {"amount": self.unit_price, "currency": CURRENCY},
            "percent_off": int(percent) if percent == percent.to_integral_value() else float(percent),
        }


@dataclass(frozen=True, slots=True)
class Order:
    """What a customer asked for, and where it goes."""

    number: str
    customer: str
    address: dict[str, str]
    lines: tuple[Line, ...]

    def as_body(self) -> dict[str, Any]:
        """The body of `POST /v1/orders`."""
        return {"items": [line.as_item() for line in self.lines], "address": self.address}


@dataclass(frozen=True)
class Northwind:
    """The data, read when it is first asked for."""

    folder: Path = FOLDER

    @cached_property
    def products(self) -> tuple[Product, ...]:
        """By SKU."""
        categories = {row["categoryID"]: row["categoryName"] for row in self._rows("categories.csv")}
        return tuple(
            Product(
                sku=_sku(row["productID"]),
                name=row["productName"],
                category=categories[row["categoryID"]],
                price=_cents(row["unitPrice"]),
                stock=int(row["unitsInStock"]),
            )
            for row in self._rows("products.csv")
        )

    @cached_property
    def orders(self) -> tuple[Order, ...]:
        """By date."""
        lines: dict[str, list[Line]] = {}
        for row in self._rows("order-details.csv"):
            line = Line(
                sku=_sku(row["productID"]),
                quantity=int(row["quantity"]),
                unit_price=_cents(row["unitPrice"]),
                percent_off=(Decimal(row["discount"]) * 100).normalize(),
            )
            lines.setdefault(row["orderID"], []).append(line)
        return tuple(
            Order(number=number, customer=customer, address=address, lines=tuple(lines[number]))
            for number, customer, address in self._shipments()
        )

    def _shipments(self) -> Iterator[tuple[str, str, dict[str, str]]]:
        with (self.folder / "orders.csv").open(encoding="utf-8", newline="") as file:
            _, *rows = csv.reader(file)
        for row in rows:
            # Addresses hold commas that the file does not quote ("Rua do Paço, 67"), so count from both ends.
            name, *street = row[BEFORE_ADDRESS:-AFTER_ADDRESS]
            city, region, postal_code, country = row[-AFTER_ADDRESS:]
            address = {
                "name": name,
                "line1": ",".join(street),
                "city": city,
                "region": region,
                "postal_code": postal_code,
                "country": country,
            }
            given = {field: text for field, text in address.items() if text != _NO_VALUE}
            yield row[0], row[1], given

    def _rows(self, name: str) -> Iterator[dict[str, str]]:
        with (self.folder / name).open(encoding="utf-8", newline="") as file:
            yield from csv.DictReader(file)


def gross(orders: Iterable[Order]) -> int:
    """Cents of all lines before percentages off."""
    return sum(line.gross for order in orders for line in order.lines)


def net(orders: Iterable[Order]) -> int:
    """Cents of all lines after percentages off, each rounded by itself."""
    return sum(line.net for order in orders for line in order.lines)


def _sku(product_id: str) -> str:
    return f"NW-{int(product_id):03d}"


def _cents(amount: str) -> int:
    return int(Decimal(amount) * 100)
