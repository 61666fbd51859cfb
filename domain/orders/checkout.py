"""From a cart or a quote to an order: what is accepted is taken out of the cart in the same transaction."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from domain.carts.models import account_cart
from domain.carts.rules import Content, Ordered, ordered, price_change, problems
from domain.carts.service import Cart, Carts
from domain.changes import Changes, Doc, GuardFailed
from domain.errors import (
    CartChanged,
    CartEmpty,
    CartLimit,
    DomainError,
    Invalid,
    QuoteChanged,
    QuoteExpired,
    QuoteUsed,
    TryAgain,
)
from domain.events.rules import rfc3339
from domain.inventory.holds import OTHERS_FIRST, pause_before
from domain.jobs.models import Accepted
from domain.jobs.service import Jobs
from domain.orders.commands import Address, OrderItem, PlaceOrder
from domain.orders.expected import Expected, difference
from domain.orders.prices import Prices
from domain.orders.quotes import EXPIRED, Quotes
from domain.orders.redeeming import refused
from domain.orders.shipping import normal_country
from domain.values import Money, new_id

#: How often an order looks again when its cart or its quote has changed.
TRIES = 30


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """Who orders what, where to. `body` is what a repetition of the key has to repeat."""

    account_id: str
    address: Address
    key: str
    body: Mapping[str, Any]
    request_id: str | None = None


class Checkout:
    """Quotes carts, and accepts orders of carts and quotes."""

    def __init__(
        self,
        *,
        carts: Carts,
        quotes: Quotes,
        prices: Prices,
        jobs: Jobs,
        max_lines: int,
    ) -> None:
        self._carts = carts
        self._quotes = quotes
        self._prices = prices
        self._jobs = jobs
        self._max_lines = max_lines

    async def quote_cart(self, account_id: str, *, country: str, version: str | None = None) -> Doc:
        """A quote of all that is in the account's cart, at the prices of now, which its customer is told.

        Raises CartEmpty, CartChanged, CartLimit, and as `Quotes.make`.
        """
        cart = await self._carts.look(account_cart(account_id))
        _require(cart, version, self._max_lines)
        return await self._quotes.make(
            cart.content.items(),
            codes=cart.content.codes,
            country=country,
            account_id=account_id,
            cart=_all(cart.content),
        )

    async def order_cart(self, request: OrderRequest, *, version: str | None) -> Accepted:
        """Accepts an order of all that is in the cart, and takes it out: both, or neither; once per key.

        `version` is the cart that the customer saw; without it whatever is there is ordered. Raises
        CartEmpty, CartChanged (also for a price that is not the one that was seen), DiscountRefused, and as
        `price_order` does.
        """

        async def attempt() -> Accepted | None:
            cart = await self._carts.look(account_cart(request.account_id))
            _require(cart, version, self._max_lines)
            command = await self._of_cart(cart, request)
            changes = Changes()
            self._carts.put(changes, cart, ordered(cart.content, _all(cart.content), cart.content.codes))
            return await self._submit(changes, command, request, new_id())

        return await self._once(request, attempt)

    async def order_quote(self, request: OrderRequest, quote_id: str) -> Accepted:
        """Accepts an order of what was quoted; of a cart's quote, takes it out of the cart. Once per key.

        Raises QuoteNotFound, QuoteUsed, QuoteExpired and QuoteChanged with the difference, CartChanged where
        the cart has not all of it any more, and Invalid for an address in another country.
        """

        async def attempt() -> Accepted | None:
            quote = await self._quotes.get(quote_id, account_id=request.account_id)
            await self._require_good(quote, request)
            order_id, changes = new_id(), Changes()
            self._quotes.use(changes, quote, order_id=order_id)
            if quote["cart"] is not None:
                await self._take_out(changes, quote)
            return await self._submit(changes, _of_quote(quote, request), request, order_id)

        return await self._once(request, attempt)

    async def _once(
        self, request: OrderRequest, attempt: Callable[[], Awaitable[Accepted | None]]
    ) -> Accepted:
        """Tries until nobody else was faster. What the key has had accepted is answered, whatever is now."""
        for tried in range(TRIES):
            await pause_before(tried)
            if (before := await self._before(request)) is not None:
                return before
            try:
                accepted = await attempt()
            except DomainError:
                # It may be the same request that has emptied the cart, a moment ago.
                if (before := await self._before(request)) is not None:
                    return before
                raise
            if accepted is not None:
                return accepted
        raise TryAgain(OTHERS_FIRST)

    async def _before(self, request: OrderRequest) -> Accepted | None:
        return await self._jobs.accepted(
            PlaceOrder, owner=request.account_id, key=request.key, request=request.body
        )

    async def _submit(
        self, changes: Changes, command: PlaceOrder, request: OrderRequest, order_id: str
    ) -> Accepted | None:
        """None where somebody else was first."""
        try:
            return await self._jobs.submit_with(
                changes,
                command,
                owner=request.account_id,
                key=request.key,
                request=request.body,
                request_id=request.request_id,
                job_id=order_id,
            )
        except GuardFailed:
            return None

    async def _of_cart(self, cart: Cart, request: OrderRequest) -> PlaceOrder:
        items, codes = cart.content.items(), cart.content.codes
        known = await self._prices.read(items, codes=codes, account_id=request.account_id)
        priced = known.price(items, country=request.address.country)
        changed = [
            price_change(line, Money.model_validate(known.products[line.sku]["price"]))
            for line in cart.content.lines
            if problems(line, known.products[line.sku])
        ]
        if changed:
            raise CartChanged(lines=changed)
        if (unwanted := refused(priced.discounted)) is not None:
            raise unwanted
        return PlaceOrder(
            items=tuple(OrderItem(**item) for item in items),
            address=request.address,
            codes=codes or None,
            expected=Expected.of_prices(priced),
        )

    async def _require_good(self, quote: Doc, request: OrderRequest) -> None:
        if quote["order_id"] is not None:
            raise QuoteUsed(quote=quote["_id"], order=quote["order_id"])
        changes = await self._changes_since(quote)
        if self._quotes.state(quote) == EXPIRED:
            expired_at = rfc3339(quote["expires_at"])
            raise QuoteExpired(quote=quote["_id"], expired_at=expired_at, changes=changes)
        if changes:
            raise QuoteChanged(quote=quote["_id"], changes=changes)
        if normal_country(quote["country"]) != normal_country(request.address.country):
            raise Invalid(reason="quote_country", country=quote["country"])

    async def _changes_since(self, quote: Doc) -> list[Doc]:
        """What is not as it was quoted; what cannot be had at all is told as its error is."""
        told = Expected.of_quote(quote["_id"], quote)
        known = await self._prices.read(
            quote["items"], codes=quote["codes"], account_id=quote["account_id"], automatic=told.automatic
        )
        try:
            priced = known.price(quote["items"], country=quote["country"])
        except DomainError as error:
            return [{"what": error.code, **error.detail}]
        return difference(told, priced)

    async def _take_out(self, changes: Changes, quote: Doc) -> None:
        cart = await self._carts.look(account_cart(quote["account_id"]))
        taken = [Ordered(**each) for each in quote["cart"]]
        self._carts.put(changes, cart, ordered(cart.content, taken, quote["codes"]))


def _of_quote(quote: Doc, request: OrderRequest) -> PlaceOrder:
    return PlaceOrder(
        items=tuple(OrderItem.model_validate(item) for item in quote["items"]),
        address=request.address,
        codes=tuple(quote["codes"]) or None,
        expected=Expected.of_quote(quote["_id"], quote),
    )


def _require(cart: Cart, version: str | None, max_lines: int) -> None:
    if not cart.content.lines:
        raise CartEmpty
    if version is not None and version != cart.revision:
        raise CartChanged(version=cart.revision)
    if len(cart.content.lines) > max_lines:
        raise CartLimit(limit="lines", most=max_lines)


def _all(content: Content) -> list[Ordered]:
    return [Ordered(id=line.id, sku=line.sku, quantity=line.quantity) for line in content.lines]
