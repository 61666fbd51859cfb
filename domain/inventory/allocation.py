"""What a batch sees of the stock: every location of its SKUs, in one read."""

from collections.abc import Iterable
from dataclasses import dataclass

from domain.changes import Database
from domain.inventory import stock
from domain.inventory.locations import Locations
from domain.inventory.rules import DEFAULT_LOCATION, Shelf, stock_id
from domain.inventory.strategies import Strategy


@dataclass(frozen=True, slots=True)
class Allocation:
    """Where units are taken from, by one strategy."""

    database: Database
    locations: Locations
    choose: Strategy

    async def shelf(self, skus: Iterable[str]) -> Shelf:
        """The SKUs' stock at the active locations.

        One read by ids, as the locations are known in the process; that of the default location is always
        among them, for it tells which SKUs there are.
        """
        places = await self.locations.to_sell_from()
        where = {DEFAULT_LOCATION, *places}
        seen = await stock.levels(self.database, (stock_id(sku, place) for sku in skus for place in where))
        return Shelf(seen, places, self.choose)
