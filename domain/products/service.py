"""The catalogue: products are made, edited, shown and taken away.

A product, the rows of its SKUs, its new prices and what others keep of it change in one transaction, so that
what an order reads never disagrees with what is shown.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from weakref import WeakValueDictionary

from domain.changes import Changes, Database, Doc, GuardFailed
from domain.errors import NotFound, SkuTaken, SlugTaken, StaleRevision, TryAgain
from domain.ports import Cache
from domain.products.cache import ProductCache, Shown
from domain.products.editing import edited, new_product
from domain.products.forms import NewProduct, ProductEdit
from domain.products.repository import ProductRepository
from domain.products.rules import SkuFacts, is_shown, slugs
from domain.products.search_index import project
from domain.products.writing import NewSkus, ProductWriter, Write, insert
from domain.values import Clock, Money, new_id

#: How often an edit of whatever is there is tried again where another was first.
TRIES = 8
#: Seconds that an edit waits for its turn; then it goes on without: the revision decides.
PATIENCE = 2.0
#: Nobody, as new products have no prices that changed.
NOBODY = ""


class Products:
    """What is sold. A `ref` is a product's id, its slug, or the SKU of one of its variants."""

    def __init__(self, *, database: Database, clock: Clock, cache: Cache, new_skus: NewSkus) -> None:
        self._clock = clock
        #: By `ref`. Edits of one product in this process take turns, for at the same time they conflict.
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._repository = ProductRepository(database)
        self._cache = ProductCache(cache, space=database.name)
        self._writer = ProductWriter(
            database=database, repository=self._repository, cache=self._cache, new_skus=new_skus
        )

    async def add(self, form: NewProduct) -> Doc:
        """A new product with an empty stock of each of its SKUs.

        Raises SkuTaken; SlugTaken where the form asks for a slug; and what `new_product` raises.
        """
        product_id = new_id()
        for slug in [form.slug] if form.slug else slugs(form.name, product_id):
            product = new_product(
                form, product_id=product_id, slug=slug, revision=new_id(), now=self._clock()
            )
            try:
                await self._writer.commit([(None, product)], actor=NOBODY)
            except SlugTaken:
                if form.slug:
                    raise
            except GuardFailed:
                continue
            else:
                return product
        raise TryAgain("others kept taking the same names")

    def create(self, changes: Changes, *, sku: str, name: str, price: Money, category: str) -> Doc:
        """Adds a published product of one variant to a transaction, without stock, for loads of many.

        The transaction fails with DuplicateKeyError where the SKU is known. The slug always has a suffix.
        """
        form = NewProduct(sku=sku, name=name, price=price, category=category)
        product_id, now = new_id(), self._clock()
        _, slug, _ = slugs(name, product_id)
        product = new_product(form, product_id=product_id, slug=slug, revision=new_id(), now=now)
        insert(changes, [product])
        project(changes, [product_id])
        return product

    async def get(self, ref: str) -> Doc:
        """The product in any status, be it deleted. Raises NotFound."""
        found = await self._repository.find(ref)
        if found is None:
            raise NotFound(product=ref)
        return found

    async def shown(self, ref: str) -> Shown:
        """The product as everybody sees it, from the cache where it can. Raises NotFound."""
        kept = await self._cache.get(ref)
        if kept is not None:
            return kept
        found = await self._repository.find(ref)
        if found is None or not is_shown(found):
            raise NotFound(product=ref)
        return await self._cache.fill(found)

    async def is_empty(self) -> bool:
        """Whether there never was a product."""
        return await self._repository.is_empty()

    async def facts(self, skus: Iterable[str]) -> dict[str, SkuFacts]:
        """What an order needs of each SKU that is, or was, for sale. One read by key."""
        return await self._repository.facts(skus)

    async def edit(self, ref: str, form: ProductEdit, *, expected: Collection[str] | None, actor: str) -> Doc:
        """The product as it is after the edit. `expected` are revisions that the editor knows; None for any.

        Raises NotFound, StaleRevision, SkuTaken, SlugTaken, and what `edited` raises.
        """

        def change(product: Doc) -> Doc:
            return edited(product, form, revision=new_id(), now=self._clock())

        return await self._change(ref, change, expected=expected, actor=actor)

    async def delete(self, ref: str, *, expected: Collection[str] | None, actor: str) -> None:
        """Takes the product away for good: it is neither shown nor sold, and its SKUs and slug stay its own.

        Orders keep their lines, and the history of its prices can be read. Idempotent. Raises NotFound and
        StaleRevision.
        """

        def change(product: Doc) -> Doc:
            now = self._clock()
            return product | {"deleted_at": now, "updated_at": now, "revision": new_id()}

        if (await self.get(ref))["deleted_at"] is None:
            await self._change(ref, change, expected=expected, actor=actor)

    async def write(self, writes: Sequence[Write], *, actor: str, beside: Changes | None = None) -> None:
        """Many products as their rules left them, new ones and edited ones, in one transaction with `beside`.

        Raises GuardFailed where one of them, a SKU or a slug is another by now: read again, decide again.
        """
        try:
            await self._writer.commit(writes, actor=actor, beside=beside)
        except (SkuTaken, SlugTaken) as error:
            raise GuardFailed([error.code]) from error

    async def prices(self, ref: str, sku: str, *, before: str | None, limit: int) -> list[Doc]:
        """The changes of a variant's price, newest first, those before `before`. Raises NotFound."""
        product = await self.get(ref)
        if all(variant["sku"] != sku for variant in product["variants"]):
            raise NotFound(sku=sku)
        return await self._repository.prices(sku, before=before, limit=limit)

    async def _change(
        self, ref: str, change: Callable[[Doc], Doc], *, expected: Collection[str] | None, actor: str
    ) -> Doc:
        turn = self._turns.setdefault(ref, asyncio.Lock())
        async with _held(turn, seconds=PATIENCE):
            return await self._change_now(ref, change, expected=expected, actor=actor)

    async def _change_now(
        self, ref: str, change: Callable[[Doc], Doc], *, expected: Collection[str] | None, actor: str
    ) -> Doc:
        for _ in range(TRIES):
            before = await self.get(ref)
            if before["deleted_at"] is not None:
                raise NotFound(product=ref)
            if expected is not None and before["revision"] not in expected:
                raise StaleRevision(product=before["_id"])
            after = change(before)
            try:
                await self._writer.commit([(before, after)], actor=actor)
            except GuardFailed:
                continue
            return after
        raise TryAgain("others kept editing the same product")


@asynccontextmanager
async def _held(turn: asyncio.Lock, *, seconds: float) -> AsyncIterator[None]:
    """Holds the lock, unless that takes too long."""
    held = False
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            held = await turn.acquire()
    try:
        yield
    finally:
        if held:
            turn.release()
