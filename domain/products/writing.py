"""How products are written: each with the rows of its SKUs, its new prices and what others keep of it."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from pymongo.errors import BulkWriteError, ClientBulkWriteException, DuplicateKeyError

from domain.changes import Changes, Database, Doc, GuardFailed, is_duplicate
from domain.errors import SkuTaken, SlugTaken
from domain.products.cache import ProductCache
from domain.products.models import PRICE_CHANGES, PRODUCTS, SKUS
from domain.products.repository import ProductRepository
from domain.products.rules import price_changes, sku_rows
from domain.products.search_index import project
from domain.values import new_id

#: Adds to a transaction what others keep of SKUs that it makes, such as an empty stock.
NewSkus: TypeAlias = Callable[[Changes, Sequence[str]], None]
#: A product as it was read, None for a new one, and as it will be, with another revision.
Write: TypeAlias = tuple[Doc | None, Doc]


class ProductWriter:
    """Products change in transactions, all of what is known of them at once."""

    def __init__(
        self, *, database: Database, repository: ProductRepository, cache: ProductCache, new_skus: NewSkus
    ) -> None:
        self._database = database
        self._repository = repository
        self._cache = cache
        self._new_skus = new_skus

    async def commit(self, writes: Sequence[Write], *, actor: str, beside: Changes | None = None) -> None:
        """Writes all, or none, with what else is to change; an answer that was lost changes nothing.

        Raises GuardFailed where another was first with one of the products, SkuTaken and SlugTaken.
        """
        changes = beside or Changes()
        new = insert(changes, [after for before, after in writes if before is None])
        for before, after in writes:
            if before is not None:
                new += _replace(changes, before, after, actor=actor)
        project(changes, [after["_id"] for _, after in writes])
        if new:
            self._new_skus(changes, new)
        await self._cache.gate(*(product for write in writes if write[0] for product in write if product))
        try:
            await changes.commit(self._database)
        except (GuardFailed, DuplicateKeyError, BulkWriteError, ClientBulkWriteException) as error:
            if writes and await self._repository.is_stored(writes[0][1]):
                return
            if isinstance(error, GuardFailed) or not is_duplicate(error):
                raise
            await self._name_what_is_taken(writes, error)
            # Whoever had it has given it up meanwhile.
            raise GuardFailed(["SKU or slug"]) from error

    async def _name_what_is_taken(self, writes: Sequence[Write], error: Exception) -> None:
        for _, after in writes:
            skus = [variant["sku"] for variant in after["variants"]]
            taken = await self._repository.taken_sku(skus, but_by=after["_id"])
            if taken is not None:
                raise SkuTaken(sku=taken) from error
            if await self._repository.slug_taken(after["slug"], but_by=after["_id"]):
                raise SlugTaken(slug=after["slug"]) from error


def insert(changes: Changes, products: Sequence[Doc]) -> list[str]:
    """Adds new products, without what others keep of them; answers their SKUs."""
    rows = [row for product in products for row in sku_rows(product)]
    changes.insert(PRODUCTS, products)
    changes.insert(SKUS, rows)
    return [row["_id"] for row in rows]


def _replace(changes: Changes, before: Doc, after: Doc, *, actor: str) -> list[str]:
    """Adds what differs; answers the SKUs that are new."""
    fields = {name: value for name, value in after.items() if before.get(name) != value}
    seen = {"_id": before["_id"], "revision": before["revision"]}
    changes.update(PRODUCTS, seen, {"$set": fields}, expect=1, name="product")
    known = {row["_id"]: row for row in sku_rows(before)}
    rows = sku_rows(after)
    for row in rows:
        if row["_id"] in known and row != known[row["_id"]]:
            facts = {name: value for name, value in row.items() if name != "_id"}
            changes.update(SKUS, {"_id": row["_id"]}, {"$set": facts}, expect=1, name="SKU")
    new = [row for row in rows if row["_id"] not in known]
    changes.insert(SKUS, new)
    common = {"product_id": after["_id"], "actor": actor, "at": after["updated_at"]}
    changes.insert(
        PRICE_CHANGES,
        [
            {"_id": new_id(), "sku": sku, "before": old, "after": price, **common}
            for sku, old, price in price_changes(before, after)
        ],
    )
    return [row["_id"] for row in new]
