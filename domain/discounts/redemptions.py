"""How orders use discounts: read for a whole batch, decided one by one, taken in the batch's transaction.

`Offers` is to discounts what `Shelf` is to stock: each order of a batch sees what those before it took. What
is taken is guarded in the updates themselves: a batch that another one preceded reads and decides again.
How uses end, with a hold or with a refund, is in `uses`.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from domain.accounts.models import ACCOUNTS
from domain.changes import Changes, Database, Doc
from domain.discounts import uses
from domain.discounts.models import (
    AUTOMATIC,
    CUSTOMERS,
    DISCOUNTS,
    HELD,
    REDEMPTIONS,
    customer_id,
    terms_of,
)
from domain.discounts.rules import Basket, Discounted, Terms, Usage, discounted, normal_codes
from domain.events.models import NewEvent
from domain.values import Clock

#: How long a process remembers which automatic discounts there are; what each of them says is always read.
REMEMBERED = timedelta(seconds=3)


@dataclass(frozen=True, slots=True)
class Ask:
    """Whose order names which codes. `account_id` is None for a stranger's cart.

    `automatic` are ids of automatic discounts that the customer was told of, be they new to this process.
    """

    account_id: str | None
    codes: tuple[str, ...] = ()
    automatic: tuple[str, ...] = ()


@dataclass(slots=True)
class Offers:
    """The discounts that one batch sees, and what the batch has taken of them so far."""

    #: Active ones by lookup: those with a code, and the automatic ones.
    rows: Mapping[str, Doc] = field(default_factory=dict)
    customers: Mapping[str, Doc] = field(default_factory=dict)
    groups: Mapping[str, frozenset[str]] = field(default_factory=dict)
    taken: list[Doc] = field(default_factory=list)
    inserts: list[Doc] = field(default_factory=list)
    _terms: dict[str, Terms] = field(default_factory=dict)
    _uses: Counter[str] = field(default_factory=Counter)
    _spent: Counter[str] = field(default_factory=Counter)
    _by_customer: Counter[str] = field(default_factory=Counter)

    def groups_of(self, account_id: str | None) -> frozenset[str]:
        """The customer's groups, where an offer depends on them."""
        return self.groups.get(account_id or "", frozenset())

    def apply(self, basket: Basket, codes: Sequence[str], *, at: datetime) -> Discounted:
        """What the codes and the automatic discounts take off; takes nothing yet."""
        if not codes and not self.rows:
            return Discounted()
        known = replace(basket, groups=basket.groups | self.groups_of(basket.account_id))
        return discounted(known, self.terms(codes), codes, self.usage(basket.account_id), at)

    def terms(self, codes: Sequence[str]) -> list[Terms]:
        """What may apply for somebody who names the codes: these, and the automatic ones."""
        wanted = normal_codes(codes)
        rows = [row for lookup, row in self.rows.items() if row["code"] is None or lookup in wanted]
        return [self._terms_of(row) for row in rows]

    def usage(self, account_id: str | None) -> Usage:
        """What was used of them before, by all and by the customer; with what the batch has taken."""
        own = {row["_id"]: customer_id(row["lookup"], account_id or "") for row in self.rows.values()}
        return Usage(
            uses={row["_id"]: row["taken"] + self._uses[row["_id"]] for row in self.rows.values()},
            spent={row["_id"]: uses.spent(row) + self._spent[row["_id"]] for row in self.rows.values()},
            of_customer={
                discount: self.customers.get(key, {}).get("taken", 0) + self._by_customer[key]
                for discount, key in own.items()
            },
        )

    def take(
        self, applied: Discounted, *, order_id: str, account_id: str, currency: str, at: datetime
    ) -> list[Doc]:
        """Takes what `apply` said for an order that is placed; answers its entries.

        They go into the order and into its hold, as `redemptions`.
        """
        entries = []
        by_id = {row["_id"]: row for row in self.rows.values()}
        for each in applied.applications:
            customer = customer_id(by_id[each.discount_id]["lookup"], account_id)
            redemption = f"{order_id}:{each.discount_id}"
            entry = {
                "id": redemption,
                "discount_id": each.discount_id,
                "customer": customer,
                "amount": each.amount,
                "currency": currency,
            }
            entries.append(entry)
            self._uses[each.discount_id] += 1
            self._spent[each.discount_id] += each.amount
            self._by_customer[customer] += 1
            self.inserts.append(
                {
                    "_id": redemption,
                    "discount_id": each.discount_id,
                    "order_id": order_id,
                    "account_id": account_id,
                    "code": each.code,
                    "amount": each.amount,
                    "currency": currency,
                    "state": HELD,
                    "created_at": at,
                }
            )
        self.taken += entries
        return entries

    def add_to(self, changes: Changes, *, at: datetime) -> list[NewEvent]:
        """Adds what was taken to the batch's transaction; answers the events to record with it."""
        by_id = {row["_id"]: row for row in self.rows.values()}
        events = []
        for discount_id, total in uses.sums(self.taken, "discount_id").items():
            events += uses.take(changes, by_id[discount_id], total, at=at)
        self._add_customers(changes, {entry["customer"]: by_id[entry["discount_id"]] for entry in self.taken})
        changes.insert(REDEMPTIONS, self.inserts)
        return events

    def _add_customers(self, changes: Changes, discounts: Mapping[str, Doc]) -> None:
        """Counts per customer; `discounts` are theirs. A customer's first use is guarded by its id."""
        for key, total in uses.sums(self.taken, "customer").items():
            if key not in self.customers:
                changes.insert(CUSTOMERS, [uses.first(key, total)], guard=True)
                continue
            query: Doc = {"_id": key}
            if (most := discounts[key]["per_customer"]) is not None:
                query["taken"] = {"$lte": most - total.uses}
            change = {"$inc": total.increments(**uses.TAKEN)}
            changes.update(CUSTOMERS, query, change, expect=1, name="uses of a customer")

    def _terms_of(self, row: Doc) -> Terms:
        if row["_id"] not in self._terms:
            self._terms[row["_id"]] = terms_of(row)
        return self._terms[row["_id"]]


class Redemptions:
    """Reads what batches of orders, quotes and carts need to know of discounts."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._automatic: tuple[str, ...] = ()
        self._until: datetime | None = None

    async def offers(self, asks: Sequence[Ask]) -> Offers:
        """What there is for those who ask. Reads nothing where nobody has a code and nothing is automatic."""
        told = {f"{AUTOMATIC}{discount_id}" for ask in asks for discount_id in ask.automatic}
        automatic = sorted(told.union(await self._automatic_ones()))
        codes = {code for ask in asks for code in normal_codes(ask.codes)}
        lookups = sorted(codes | set(automatic))
        if not lookups:
            return Offers()
        wanted = {
            customer_id(lookup, ask.account_id)
            for ask in asks
            if ask.account_id
            for lookup in (*normal_codes(ask.codes), *automatic)
        }
        rows, customers = await asyncio.gather(
            self._find(DISCOUNTS, "lookup", lookups, active=True),
            self._find(CUSTOMERS, "_id", sorted(wanted)),
        )
        return Offers(
            rows={row["lookup"]: row for row in rows},
            customers={row["_id"]: row for row in customers},
            groups=await self._groups(rows, (ask.account_id for ask in asks if ask.account_id)),
        )

    async def _find(self, collection: str, name: str, keys: Sequence[str], **query: Any) -> list[Doc]:
        """Those whose `name` is one of the keys."""
        queries = ({name: {"$in": part}, **query} for part in uses.few(keys))
        found = await asyncio.gather(*(self._database[collection].find(each).to_list() for each in queries))
        return [row for rows in found for row in rows]

    async def _automatic_ones(self) -> tuple[str, ...]:
        now = self._clock()
        if self._until is None or now >= self._until:
            query: Doc = {"lookup": {"$gte": AUTOMATIC, "$lt": AUTOMATIC[:-1] + ";"}, "active": True}
            rows = await self._database[DISCOUNTS].find(query, {"lookup": 1, "ends_at": 1}).to_list()
            # Those that are over would be read for every batch, with what each of its customers used of them.
            rows = [row for row in rows if row["ends_at"] is None or row["ends_at"] > now]
            self._automatic, self._until = tuple(row["lookup"] for row in rows), now + REMEMBERED
        return self._automatic

    async def _groups(self, rows: Sequence[Doc], account_ids: Iterable[str]) -> dict[str, frozenset[str]]:
        if not any(row["groups"] for row in rows):
            return {}
        query = {"_id": {"$in": sorted(set(account_ids))}}
        found = self._database[ACCOUNTS].find(query, {"groups": 1})
        return {row["_id"]: frozenset(row.get("groups", ())) async for row in found}
