"""The catalogue."""

from collections.abc import Iterable

from domain.changes import Changes, Database, Doc
from domain.errors import NotFound
from domain.products.models import PRODUCTS, Product
from domain.values import Clock, Money, new_id


class Products:
    """What is sold, by SKU."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def create(self, changes: Changes, *, sku: str, name: str, price: Money, category: str) -> Product:
        """Adds a product to the transaction, which fails with DuplicateKeyError where the SKU is known."""
        now = self._clock()
        product = Product(
            id=sku,
            name=name,
            price=price,
            category=category,
            revision=new_id(),
            created_at=now,
            updated_at=now,
        )
        document = product.model_dump(mode="python", exclude={"id", "revision_id"})
        changes.insert(PRODUCTS, [{"_id": sku, **document}])
        return product

    async def get(self, sku: str) -> Product:
        """Raises NotFound."""
        found = await Product.get(sku)
        if found is None:
            raise NotFound(sku=sku)
        return found

    async def is_stored(self, product: Product) -> bool:
        """Whether the stored product is this very write of it."""
        query = {"_id": product.id, "revision": product.revision}
        return await self._database[PRODUCTS].find_one(query, {"_id": 1}) is not None

    async def page(self, *, after: str | None, category: str | None, limit: int) -> list[Product]:
        """Products by SKU, those after `after`."""
        query: Doc = {"category": category} if category else {}
        if after:
            query["_id"] = {"$gt": after}
        return await Product.find(query).sort("_id").limit(limit).to_list()

    async def facts(self, skus: Iterable[str]) -> dict[str, Doc]:
        """Name and price of each SKU that is known: what an order needs of it."""
        rows = self._database[PRODUCTS].find({"_id": {"$in": sorted(set(skus))}}, {"name": 1, "price": 1})
        return {row["_id"]: row async for row in rows}
