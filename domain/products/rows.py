"""Rows of product files: one SKU each, as CSV or NDJSON, written so that they read back as the same. Pure.

`domain.products.row_reader` reads them.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field, StrictBool

from domain.products.forms import (
    Category,
    Choices,
    Description,
    GivenAttributes,
    Name,
    Slug,
    Status,
    TypeName,
    Weight,
)
from domain.products.units import Barcode
from domain.values import Money, Sku, Value

Doc = dict[str, Any]

#: The columns of a CSV file, in the order in which they are written. Only `sku` has to be there.
COLUMNS = (
    "sku", "product", "name", "category", "type", "status", "price", "currency", "compare_at_price",
    "weight_g", "barcode", "active", "options", "attributes", "description",
)  # fmt: skip


class Row(Value):
    """What a file says of one SKU. What it leaves out stays as it is, or begins as in the API.

    `product` is the slug of the product that the SKU belongs to; rows with the same one are its variants.
    """

    sku: Sku
    product: Slug | None = None
    name: Name | None = None
    category: Category | None = None
    type: TypeName | None = None
    status: Status | None = None
    price: Money | None = None
    compare_at_price: Money | None = None
    weight_g: Weight | None = None
    barcode: Barcode | None = None
    active: StrictBool | None = None
    options: Choices | None = None
    attributes: GivenAttributes | None = None
    description: Description | None = None


class Refused(Value):
    """Why a row of a file was not taken. `field` is where in the row."""

    line: int = Field(ge=1, examples=[17])
    sku: str | None = None
    code: str = Field(examples=["out_of_range"])
    field: str | None = None
    message: str


@dataclass(frozen=True, slots=True)
class Line:
    """One row with the line that it begins on, counted from 1, a CSV file's header included."""

    number: int
    row: Row | Refused


def rows(product: Mapping[str, Any]) -> Iterator[Doc]:
    """The product's variants as rows that read back as what they are."""
    for variant in product["variants"]:
        row = {
            "product": product["slug"],
            **{name: product[name] for name in ("name", "category", "type", "status", "attributes")},
            "description": product["description"],
            **variant,
        }
        yield {name: value for name, value in row.items() if value not in (None, {})}


def written(products: Iterable[Mapping[str, Any]], form: str) -> bytes:
    """The rows of these products; a CSV file begins with `header()`."""
    if form == "ndjson":
        lines = (json.dumps(row, ensure_ascii=False) for each in products for row in rows(each))
        return "".join(f"{line}\n" for line in lines).encode()
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    for product in products:
        writer.writerows(_cells(row) for row in rows(product))
    return text.getvalue().encode()


def header(form: str) -> bytes:
    """What a file of this form begins with."""
    return (",".join(COLUMNS) + "\r\n").encode() if form == "csv" else b""


def _cells(row: Doc) -> list[str]:
    price, compare = row["price"], row.get("compare_at_price")
    cells = row | {
        "price": price["amount"],
        "currency": price["currency"],
        "compare_at_price": compare["amount"] if compare else None,
        "active": str(row["active"]).lower(),
    }
    for name in ("options", "attributes"):
        cells[name] = json.dumps(row[name], ensure_ascii=False) if row.get(name) else None
    return ["" if cells.get(name) is None else str(cells[name]) for name in COLUMNS]
