"""The tables of shipping and tax rates: stored, edited by staff, and remembered for a few seconds."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from beanie import Document
from pymongo.errors import DuplicateKeyError

from domain.changes import Database, Doc
from domain.errors import StaleRevision
from domain.orders.pricing import Rates
from domain.orders.shipping import ShippingRate, ShippingTable, check_shipping_rates
from domain.orders.taxes import TaxRate, TaxTable, check_tax_rates
from domain.values import Clock, new_id

CHECKOUT_TABLES = "checkout_tables"
SHIPPING, TAX = "shipping", "tax"
#: The revision of a table that nobody has written yet.
UNWRITTEN = "unwritten"

Rate = TypeVar("Rate", ShippingRate, TaxRate)


class CheckoutTable(Document):
    """One table of rates; its id is its name."""

    id: str  # type: ignore[assignment]  # SHIPPING or TAX
    rates: list[dict[str, Any]]
    revision: str
    updated_at: datetime
    updated_by: str

    class Settings:
        """Where."""

        name = CHECKOUT_TABLES


@dataclass(frozen=True, slots=True)
class Table(Generic[Rate]):
    """A table as it is stored."""

    rates: tuple[Rate, ...]
    revision: str


class Tables:
    """Reads and replaces the tables. `rates` is what every process calculates with."""

    def __init__(self, *, database: Database, clock: Clock, fresh_for: timedelta) -> None:
        self._database = database
        self._clock = clock
        self._fresh_for = fresh_for
        self._rates = Rates()
        self._read_at: datetime | None = None

    async def rates(self) -> Rates:
        """What shipping and tax cost, as of `fresh_for` ago at the earliest. Seldom reads the store."""
        now = self._clock()
        if self._read_at is None or not timedelta() <= now - self._read_at < self._fresh_for:
            rows = {row["_id"]: row async for row in self._database[CHECKOUT_TABLES].find({})}
            self._rates = Rates(
                shipping=ShippingTable(_table(rows.get(SHIPPING), ShippingRate).rates),
                tax=TaxTable(_table(rows.get(TAX), TaxRate).rates),
            )
            self._read_at = now
        return self._rates

    async def shipping(self) -> Table[ShippingRate]:
        """The table of shipping rates as it is stored now."""
        return _table(await self._database[CHECKOUT_TABLES].find_one({"_id": SHIPPING}), ShippingRate)

    async def tax(self) -> Table[TaxRate]:
        """The table of tax rates as it is stored now."""
        return _table(await self._database[CHECKOUT_TABLES].find_one({"_id": TAX}), TaxRate)

    async def replace_shipping(
        self, rates: Sequence[ShippingRate], *, expected: Collection[str] | None, by: str
    ) -> Table[ShippingRate]:
        """Puts these rates in the place of those of revision `expected`. Raises Invalid and StaleRevision."""
        check_shipping_rates(rates)
        return Table(tuple(rates), await self._replace(SHIPPING, rates, expected, by))

    async def replace_tax(
        self, rates: Sequence[TaxRate], *, expected: Collection[str] | None, by: str
    ) -> Table[TaxRate]:
        """As `replace_shipping`."""
        check_tax_rates(rates)
        return Table(tuple(rates), await self._replace(TAX, rates, expected, by))

    async def _replace(
        self,
        name: str,
        rates: Sequence[ShippingRate] | Sequence[TaxRate],
        expected: Collection[str] | None,
        by: str,
    ) -> str:
        fields: Doc = {
            "rates": [_storable(rate.model_dump()) for rate in rates],
            "revision": new_id(),
            "updated_at": self._clock(),
            "updated_by": by,
        }
        if not await self._put(name, fields, expected):
            raise StaleRevision(table=name)
        self._read_at = None
        return str(fields["revision"])

    async def _put(self, name: str, fields: Doc, expected: Collection[str] | None) -> bool:
        table = self._database[CHECKOUT_TABLES]
        if expected is None:
            await table.update_one({"_id": name}, {"$set": fields}, upsert=True)
            return True
        query = {"_id": name, "revision": {"$in": sorted(expected)}}
        if (await table.update_one(query, {"$set": fields})).matched_count:
            return True
        if UNWRITTEN not in expected:
            # A write whose answer was lost, and which the driver repeated, finds its own revision.
            return await self._is_stored(name, fields)
        try:
            await table.insert_one({"_id": name, **fields})
        except DuplicateKeyError:
            return await self._is_stored(name, fields)
        return True

    async def _is_stored(self, name: str, fields: Doc) -> bool:
        query = {"_id": name, "revision": fields["revision"]}
        return await self._database[CHECKOUT_TABLES].find_one(query, {"_id": 1}) is not None


def _table(row: Mapping[str, Any] | None, kind: type[Rate]) -> Table[Rate]:
    if row is None:
        return Table((), UNWRITTEN)
    return Table(tuple(kind.model_validate(rate) for rate in row["rates"]), row["revision"])


def _storable(rate: Doc) -> Doc:
    """Decimals are kept as text: exact in every store."""
    return {name: format(value, "f") if name == "percent" else value for name, value in rate.items()}
