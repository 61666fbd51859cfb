"""Jobs of the pool `inventory`."""

from typing import Annotated

from pydantic import Field

from domain.jobs.commands import Command
from domain.values import Quantity, Sku, Value


class Item(Value):
    """Units of one SKU."""

    sku: Sku
    quantity: Quantity


class Reserve(Command):
    """Hold stock before there is an order. The job's id is the reservation's."""

    kind = "inventory.reserve"
    pool = "inventory"
    items: Annotated[tuple[Item, ...], Field(min_length=1, max_length=1000)]


class Release(Command):
    """Give a reservation's stock back."""

    kind = "inventory.release"
    pool = "inventory"
    reservation_id: str
