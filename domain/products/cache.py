"""Published products as everybody sees them, kept in Redis by id and by slug.

No stale product is kept past a write. Before a write commits it puts a gate in place of what is kept; readers
that find a gate go to the store, and a reader that is late with what it read before cannot put that over a
gate, as filling only adds. A gate outlives every write and every read that began before it. Where the write
could not reach Redis at all, an entry that a reader still finds there is gone after `KEPT` seconds.
"""

import json
import re
from dataclasses import dataclass

from domain.changes import Doc
from domain.ports import Cache
from domain.products.rules import view

#: Seconds that an entry lasts.
KEPT = 60
#: Seconds that a gate lasts: longer than a commit and a read, which are bounded by 10 s each.
GATED = 30
_GATE = ""
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Shown:
    """A product as it is shown, and its revision."""

    view: Doc
    revision: str


class ProductCache:
    """What spares the store the reads of single products."""

    def __init__(self, cache: Cache, *, space: str) -> None:
        self._cache = cache
        self._space = space

    async def get(self, ref: str) -> Shown | None:
        """The product with this id or slug; None where the store has to be asked."""
        kept = await self._cache.get(self._key(ref))
        if not kept:
            return None
        revision, _, body = kept.partition("\n")
        return Shown(json.loads(body), revision)

    async def fill(self, product: Doc) -> Shown:
        """Keeps what was read from the store, unless there is an entry or a gate; answers it as shown."""
        shown = Shown(view(product), product["revision"])
        entry = f"{shown.revision}\n{json.dumps(shown.view, separators=(',', ':'))}"
        await self._cache.add(dict.fromkeys(self._keys(product), entry), seconds=KEPT)
        return shown

    async def gate(self, *products: Doc) -> None:
        """Called before a write of the products commits, with each as it was and as it will be."""
        keys = {key for product in products for key in self._keys(product)}
        await self._cache.put(dict.fromkeys(sorted(keys), _GATE), seconds=GATED)

    def _keys(self, product: Doc) -> list[str]:
        keys = [self._key(product["_id"])]
        # A slug that looks like an id could be that of another product.
        return keys if _ID.fullmatch(product["slug"]) else [*keys, self._key(product["slug"])]

    def _key(self, ref: str) -> str:
        return f"product:{self._space}:{ref}"
