"""Carts: looked at, changed, merged, swept. Every change is decided on one revision and guarded by it."""

import asyncio
import re
import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TypeAlias
from weakref import WeakValueDictionary

from domain.carts import rules
from domain.carts.models import CARTS, account_cart, anonymous_cart
from domain.carts.rules import Addition, Content, Limits
from domain.changes import Changes, Database, Doc, GuardFailed
from domain.discounts.rules import MOST_CODES
from domain.errors import CartNotFound, NotFound, StaleRevision, TryAgain
from domain.inventory.holds import OTHERS_FIRST, pause_before
from domain.products.rules import require_sellable
from domain.products.service import Products
from domain.settings import Carts as CartSettings
from domain.values import Clock, Money, new_id

#: Revisions that a caller has seen; None where any will do.
Expected: TypeAlias = Collection[str] | None

#: How long a cart without lines is kept.
EMPTY_FOR = timedelta(days=1)
#: How often a change looks again when somebody else was first.
TRIES = 30
#: The revision of an account's cart that was never filled, or has expired.
NEVER_FILLED = "empty"
#: Expired carts that one run deletes, at most.
SWEEP = 500
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Cart:
    """A cart as it is just now. An account that has none has an empty one, which is not stored."""

    id: str
    revision: str
    content: Content
    expires_at: datetime | None = None
    #: The revision that is stored; None where nothing is.
    stored: str | None = None


@dataclass(frozen=True, slots=True)
class Merged:
    """An account's cart after a merge, and what it had no room for."""

    cart: Cart
    left_out: Sequence[Doc]


class Carts:
    """One cart per account, anonymous ones by token. `expected` are revisions that the caller has seen."""

    def __init__(
        self, *, database: Database, products: Products, settings: CartSettings, clock: Clock
    ) -> None:
        self._database = database
        self._products = products
        self._settings = settings
        self._clock = clock
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.limits = Limits(lines=settings.max_lines, quantity=settings.max_quantity, codes=MOST_CODES)

    async def create_anonymous(self) -> tuple[str, Cart]:
        """A new empty cart and its token, which is told once."""
        token, changes = secrets.token_urlsafe(32), Changes()
        empty = Cart(anonymous_cart(token), NEVER_FILLED, Content())
        cart = self.put(changes, empty, empty.content)
        await changes.commit(self._database)
        return token, cart

    @staticmethod
    def of_token(token: str) -> str:
        """The id of the anonymous cart, if there is one. Raises CartNotFound for what never was a token."""
        if not _TOKEN.fullmatch(token):
            raise CartNotFound
        return anonymous_cart(token)

    async def look(self, cart_id: str) -> Cart:
        """The cart; an account that has none has an empty one. Raises CartNotFound for an anonymous one."""
        row = await self._database[CARTS].find_one({"_id": cart_id})
        if row is not None and row["expires_at"] > self._clock() and row.get("merged_into") is None:
            return Cart(cart_id, row["revision"], _content(row), row["expires_at"], stored=row["revision"])
        if not cart_id.startswith(account_cart("")):
            raise CartNotFound
        return Cart(cart_id, NEVER_FILLED, Content(), stored=row["revision"] if row else None)

    # -- changes --

    async def add(
        self, cart_id: str, *, sku: str, quantity: int, key: str, expected: Expected = None
    ) -> Cart:
        """Adds units; once per key. Raises UnknownSku, NotForSale, CartLimit and IdempotencyKeyReused."""
        price, addition = await self._price(sku), Addition(key=key, sku=sku, quantity=quantity)
        change = partial(rules.added, addition=addition, price=price, limits=self.limits)
        return await self._change(cart_id, change, expected)

    async def set_quantity(
        self, cart_id: str, *, sku: str, quantity: int, seen: Money | None = None, expected: Expected = None
    ) -> Cart:
        """So many units of a line. `seen` takes note of the price as it is now; CartChanged if it is another.

        Raises NotFound where the cart has no such line, UnknownSku, NotForSale and CartLimit.
        """
        if (await self.look(cart_id)).content.line(sku) is None:
            raise NotFound(sku=sku)
        price = await self._price(sku)
        change = partial(
            rules.with_quantity, sku=sku, quantity=quantity, seen=seen, price=price, limits=self.limits
        )
        return await self._change(cart_id, change, expected)

    async def remove(self, cart_id: str, sku: str, *, expected: Expected = None) -> Cart:
        """Without the SKU's line. Idempotent."""
        return await self._change(cart_id, partial(rules.without, sku=sku), expected)

    async def clear(self, cart_id: str, *, expected: Expected = None) -> Cart:
        """Without lines and codes. Idempotent."""
        return await self._change(cart_id, rules.emptied, expected)

    async def set_codes(self, cart_id: str, codes: Sequence[str], *, expected: Expected = None) -> Cart:
        """With these codes and no others. Whether they apply is shown with the cart, and may change."""
        return await self._change(cart_id, partial(rules.with_codes, codes=codes), expected)

    async def _price(self, sku: str) -> Money:
        facts = await self._products.facts([sku])
        require_sellable([sku], facts)
        return Money.model_validate(facts[sku]["price"])

    async def _change(self, cart_id: str, change: Callable[[Content], Content], expected: Expected) -> Cart:
        """Decides on the latest revision until nobody else was faster. Raises StaleRevision and TryAgain."""
        turn, mine = self._turns.setdefault(cart_id, asyncio.Lock()), None
        for tried in range(TRIES):
            await pause_before(tried)
            async with turn:
                cart = await self.look(cart_id)
                if cart.revision == mine:
                    # Its commit was applied, and the answer lost.
                    return cart
                if expected is not None and cart.revision not in expected:
                    raise StaleRevision(cart=cart.revision)
                content = change(cart.content)
                if content == cart.content:
                    return cart
                changes = Changes()
                changed = self.put(changes, cart, content)
                mine = changed.revision
                if await self._commit(changes):
                    return changed
        raise TryAgain(OTHERS_FIRST)

    def put(self, changes: Changes, cart: Cart, content: Content) -> Cart:
        """Adds the new content to a transaction, which fails its guard where the cart has changed."""
        now = self._clock()
        expires_at = now + (self._settings.ttl if content.lines else min(self._settings.ttl, EMPTY_FOR))
        fields: Doc = {
            "revision": new_id(),
            **content.model_dump(),
            "updated_at": now,
            "expires_at": expires_at,
        }
        if cart.stored is None:
            changes.insert(CARTS, [{"_id": cart.id, **fields, "created_at": now}], guard=True)
        else:
            query = {"_id": cart.id, "revision": cart.stored}
            changes.update(CARTS, query, {"$set": fields}, expect=1, name="cart")
        revision = fields["revision"]
        return Cart(cart.id, revision, content, expires_at, stored=revision)

    async def _commit(self, changes: Changes) -> bool:
        try:
            await changes.commit(self._database)
        except GuardFailed:
            return False
        return True

    # -- from one to another, and away --

    async def merge(self, token: str, *, account_id: str) -> Merged:
        """What the anonymous cart holds goes to the account's, once, however often it is called.

        Quantities add up, within the limits. Raises CartNotFound, also where another account was first.
        """
        cart_id = self.of_token(token)
        for tried in range(TRIES):
            await pause_before(tried)
            row = await self._database[CARTS].find_one({"_id": cart_id})
            own = await self.look(account_cart(account_id))
            if row is None or row["expires_at"] <= self._clock():
                raise CartNotFound
            if row.get("merged_into") is not None:
                if row["merged_into"] != account_id:
                    raise CartNotFound
                return Merged(own, row["left_out"])
            changes = Changes()
            content, left_out = rules.merged(own.content, _content(row), self.limits)
            self._hand_over(changes, row, account_id, left_out)
            changed = own if content == own.content else self.put(changes, own, content)
            if await self._commit(changes):
                return Merged(changed, left_out)
        raise TryAgain(OTHERS_FIRST)

    def _hand_over(self, changes: Changes, row: Doc, account_id: str, left_out: Sequence[Doc]) -> None:
        """The anonymous cart stays a while, to tell a repetition what became of it."""
        fields = {
            "revision": new_id(),
            "merged_into": account_id,
            "left_out": list(left_out),
            "lines": [],
            "codes": [],
            "added": [],
            "expires_at": self._clock() + EMPTY_FOR,
        }
        query = {"_id": row["_id"], "revision": row["revision"]}
        changes.update(CARTS, query, {"$set": fields}, expect=1, name="anonymous cart")

    async def sweep(self) -> int:
        """Deletes carts that have expired; answers how many. One that is filled meanwhile stays."""
        now, deleted = self._clock(), 0
        rows = self._database[CARTS].find({"expires_at": {"$lte": now}}, {"revision": 1}).limit(SWEEP)
        for row in await rows.to_list():
            query = {"_id": row["_id"], "revision": row["revision"]}
            deleted += (await self._database[CARTS].delete_one(query)).deleted_count
        return deleted


def _content(row: Doc) -> Content:
    return Content(lines=row["lines"], codes=row["codes"], added=row["added"])
