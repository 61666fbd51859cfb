"""Finding products: by words, filters and order, page by page, with counts.

Questions are answered from an index in the process, for the store's work grows with every product that has a
word, whatever the limit (`docs/search.md` has the figures). The index follows the store before each answer,
see `search_index`. Products on the page, and whether there are units of them, are read from the store.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from pymongo.errors import PyMongoError

from domain.changes import Database, Doc
from domain.errors import InvalidQuery
from domain.observe import logger
from domain.products import registry
from domain.products.builder import ProductQuery
from domain.products.models import PRODUCTS
from domain.products.rules import PUBLISHED
from domain.products.search_catalogue import Catalogue, Entry
from domain.products.search_facets import IN_STOCK, Facets, Stocked, Tally
from domain.products.search_filters import Key, Ranked, missed, ranked
from domain.products.search_index import KEYS, SearchIndex, parts
from domain.products.search_rules import words

log = logger(__name__)

#: Those of the SKUs of which a unit could be sold now.
InStock: TypeAlias = Callable[[Sequence[str]], Awaitable[Collection[str]]]

#: Products whose stock one question looks at: to fill a page, and to count.
MOST_STOCK_CHECKED, MOST_STOCK_COUNTED = 500, 200
#: Statuses that everybody sees.
PUBLIC = frozenset({PUBLISHED})


@dataclass(frozen=True, slots=True)
class Found:
    """One page."""

    products: list[Doc]
    #: Where the next page begins; None on the last.
    following: Key | None
    #: Of all pages; None where only the stock of every product would tell.
    total: int | None
    facets: Facets | None


class Search:
    """Questions to the catalogue."""

    def __init__(self, *, database: Database, in_stock: InStock) -> None:
        self._products = database[PRODUCTS]
        self._in_stock = in_stock
        self._index = SearchIndex(database)

    async def prepare(self) -> None:
        """Idempotent. What the store needs before products are written."""
        await self._index.prepare()

    async def warm(self) -> None:
        """Reads the catalogue ahead of the first question. Never raises: that question will try again."""
        try:
            await self._index.current()
        except PyMongoError as error:
            log.warning("the catalogue could not be read ahead", reason=type(error).__name__)

    async def rebuild(self) -> None:
        """Makes every process read all products again: after they were written past the catalogue's verbs."""
        await self._index.rebuild()

    async def find(
        self, query: ProductQuery, *, limit: int, after: Key | None = None, facets: Collection[str] = ()
    ) -> Found:
        """One page of the products that the query wants, those after the key `after`, with these `FACETS`.

        With `in_stock` every product of the page had a unit to sell when it was read. A page may then be
        short although another follows: one question looks at the stock of `MOST_STOCK_CHECKED` products.

        Raises InvalidQuery for an attribute that no type and no product has.
        """
        catalogue = await self._index.current()
        _require_known(query, catalogue)
        tally, found = Tally(facets), []
        for entry, score in _visible(query, catalogue):
            misses = missed(query, entry)
            if facets:
                tally.add(entry, misses)
            if not misses:
                found.append((entry, score))
        shown, following = await self._page(query, found, after=after, limit=limit)
        stocked = await self._count_stocked(found) if IN_STOCK in facets else None
        return Found(
            products=await self._read(shown, query.statuses or PUBLIC),
            following=following,
            total=None if query.in_stock else len(found),
            facets=tally.facets(catalogue.label, stocked) if facets else None,
        )

    async def plan(self, text: str) -> list[tuple[str, int, int]]:
        """The words in the order of look-up: each with its completions, and products that have one."""
        return (await self._index.current()).plan(list(dict.fromkeys(words(text))))

    async def drain(self) -> None:
        """Returns when what is being read has been."""
        await self._index.drain()

    async def _page(
        self, query: ProductQuery, found: Iterable[tuple[Entry, int]], *, after: Key | None, limit: int
    ) -> tuple[list[Entry], Key | None]:
        most = MOST_STOCK_CHECKED if query.in_stock else limit
        line = ranked(query.sort, found, after=after, most=most + 1)
        if not query.in_stock:
            return _cut(line, limit)
        shown: list[Ranked] = []
        for start in range(0, min(len(line), most), KEYS):
            part = line[start : min(start + KEYS, most)]
            sold = await self._sold([entry for _, entry in part])
            shown += [each for each in part if not sold.isdisjoint(each[1].skus)]
            if len(shown) > limit:
                return _cut(shown, limit)
        return [entry for _, entry in shown], line[most - 1][0] if len(line) > most else None

    async def _count_stocked(self, found: Sequence[tuple[Entry, int]]) -> Stocked:
        entries = [entry for entry, _ in found[:MOST_STOCK_COUNTED]]
        sold = await self._sold(entries)
        count = sum(not sold.isdisjoint(entry.skus) for entry in entries)
        return Stocked(count=count, checked=len(entries), exact=len(entries) == len(found))

    async def _sold(self, entries: Iterable[Entry]) -> set[str]:
        skus = [sku for entry in entries for sku in entry.skus]
        answers = await asyncio.gather(*(self._in_stock(part) for part in parts(skus)))
        return {sku for answer in answers for sku in answer}

    async def _read(self, entries: Iterable[Entry], statuses: Collection[str]) -> list[Doc]:
        """The products as they are now; those that have just gone are left out."""
        ids = [entry.product_id for entry in entries]
        reads = (self._products.find({"_id": {"$in": part}}).to_list() for part in parts(ids))
        known = {product["_id"]: product for answer in await asyncio.gather(*reads) for product in answer}
        products = (known[product_id] for product_id in ids if product_id in known)
        return [each for each in products if each["deleted_at"] is None and each["status"] in statuses]


def _visible(query: ProductQuery, catalogue: Catalogue) -> Iterator[tuple[Entry, int]]:
    statuses = query.statuses or PUBLIC
    found = catalogue.matches(query.words) if query.has_text else catalogue.entries()
    return (each for each in found if each[0].status in statuses)


def _require_known(query: ProductQuery, catalogue: Catalogue) -> None:
    public = not query.statuses
    unknown = [name for name, _ in query.attributes if not catalogue.knows(name, public=public)]
    if unknown and (unknown := [name for name in unknown if not _in_a_type(name)]):
        broken = {"step": "where", "rule": "unknown_attribute", "message": "no product has this attribute"}
        raise InvalidQuery(errors=[{**broken, "attribute": name} for name in unknown])


def _in_a_type(attribute: str) -> bool:
    return attribute.partition(".")[0] in registry.attribute_names()


def _cut(line: Sequence[Ranked], limit: int) -> tuple[list[Entry], Key | None]:
    shown = line[:limit]
    return [entry for _, entry in shown], shown[-1][0] if len(line) > limit else None
