"""Uses of discounts as parts of a transaction: taken, committed, released. Sums per discount and customer.

A use is described by an entry, which the order and its hold carry: `id` of the redemption, `discount_id`,
`customer` (the id of its count), `amount` and `currency`. So whoever ends a hold knows its uses without
another read.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from domain.changes import Changes, Doc
from domain.discounts.models import (
    AUTOMATIC,
    COMMITTED,
    COUNTS,
    CUSTOMERS,
    DISCOUNTS,
    HELD,
    REDEMPTIONS,
    RELEASED,
)
from domain.events.models import NewEvent
from domain.events.rules import SHOP

#: An entry; see above.
Entry = Mapping[str, Any]

#: Keys of one query: SecantusDB's work for more grows with their square.
KEYS = 50
#: A use that is taken, with zeros so that no count is missing in a currency that is new.
TAKEN = {"taken": 1, "committed": 0, "released": 0}


def commit(changes: Changes, entries: Sequence[Entry], *, at: datetime) -> None:
    """Held uses become committed, as their orders are paid."""
    _count(changes, entries, committed=1)
    _move(changes, entries, HELD, COMMITTED, at)


def release(changes: Changes, entries: Sequence[Entry], *, at: datetime) -> None:
    """Held uses are given back, to the discount and to the customer."""
    _count(changes, entries, taken=-1, released=1)
    _move(changes, entries, HELD, RELEASED, at)


def release_refunded(changes: Changes, entries: Sequence[Entry], *, at: datetime) -> None:
    """Committed uses are given back, as their orders are refunded whole.

    Give it the `redemptions` of the orders. The transaction fails its guard where one was given back before.
    """
    _count(changes, entries, taken=-1, committed=-1, released=1)
    _move(changes, entries, COMMITTED, RELEASED, at)


@dataclass(slots=True)
class Sum:
    """Uses, and what they take off by currency."""

    uses: int = 0
    amounts: Counter[str] = field(default_factory=Counter)

    def increments(self, **signs: int) -> Doc:
        """`$inc` of the named counts, each with its amounts."""
        counts = {name: sign * self.uses for name, sign in signs.items()}
        return counts | {
            f"amounts.{currency}.{name}": sign * amount
            for currency, amount in sorted(self.amounts.items())
            for name, sign in signs.items()
        }


def sums(entries: Iterable[Entry], name: str) -> dict[str, Sum]:
    """The sum of each of what the entries have under `name`, sorted by it."""
    found: dict[str, Sum] = {}
    for entry in sorted(entries, key=lambda entry: str(entry[name])):
        total = found.setdefault(entry[name], Sum())
        total.uses += 1
        total.amounts[entry["currency"]] += entry["amount"]
    return found


def few(keys: Sequence[str]) -> list[Sequence[str]]:
    """The keys in parts, each for a query of its own."""
    return [keys[start : start + KEYS] for start in range(0, len(keys), KEYS)]


def _count(changes: Changes, entries: Sequence[Entry], **signs: int) -> None:
    for collection, name in ((DISCOUNTS, "discount_id"), (CUSTOMERS, "customer")):
        for key, total in sums(entries, name).items():
            change = {"$inc": total.increments(**signs)}
            changes.update(collection, {"_id": key}, change, expect=1, name=f"uses in {collection}")


def _move(changes: Changes, entries: Sequence[Entry], before: str, after: str, at: datetime) -> None:
    update = {"$set": {"state": after, "ended_at": at}}
    for part in few([entry["id"] for entry in entries]):
        query = {"_id": {"$in": list(part)}, "state": before}
        changes.update(REDEMPTIONS, query, update, expect=len(part), name=f"redemptions {after}")


def spent(row: Doc) -> int:
    """What was taken of the budget."""
    amounts: Mapping[str, int] = row["amounts"].get(row["currency"] or "", {})
    return amounts.get("taken", 0)


def take(changes: Changes, row: Doc, total: Sum, *, at: datetime) -> list[NewEvent]:
    """Takes uses of one discount, on the terms that were read, within limit and budget.

    Until it is exhausted, one that this transaction should exhaust is guarded by exactly what was read, and
    one that it should not by more being left than it takes: so that the one that does exhaust it, knows.
    """
    query: Doc = {"_id": row["_id"], "revision": row["revision"]}
    update: Doc = {"$inc": total.increments(**TAKEN)}
    bounds = list(_bounds(row, total))
    told = row["exhausted_at"] is not None
    exhausts = not told and any(seen + more >= bound for _, seen, more, bound in bounds)
    for name, seen, more, bound in bounds:
        query[name] = seen if exhausts else {"$lte" if told else "$lt": bound - more}
    if exhausts:
        update["$set"] = {"exhausted_at": at}
    changes.update(DISCOUNTS, query, update, expect=1, name="uses of a discount")
    return [_exhausted(row, total)] if exhausts else []


def _bounds(row: Doc, total: Sum) -> Iterator[tuple[str, int, int, int]]:
    """For each bound of the discount: what counts, how much there was, how much comes, and the bound."""
    if row["limit"] is not None:
        yield "taken", row["taken"], total.uses, row["limit"]
    if row["budget"] is not None:
        currency = row["currency"]
        yield f"amounts.{currency}.taken", spent(row), total.amounts[currency], row["budget"]


def _exhausted(row: Doc, total: Sum) -> NewEvent:
    """Told to the shop."""
    data = {
        "discount_id": row["_id"],
        "code": row["code"],
        "name": row["name"],
        "uses": row["taken"] + total.uses,
        "amount": spent(row) + total.amounts[row["currency"]],
        "currency": row["currency"],
    }
    return NewEvent(SHOP, "discount.exhausted", row["_id"], data)


def first(key: str, total: Sum) -> Doc:
    """The count of a customer's first uses. The account is the last part of its id."""
    counts = dict.fromkeys(COUNTS, 0) | {"taken": total.uses}
    amounts = {
        currency: dict.fromkeys(COUNTS, 0) | {"taken": amount} for currency, amount in total.amounts.items()
    }
    account_id = key.removeprefix(AUTOMATIC).partition(":")[2]
    return {"_id": key, "account_id": account_id, **counts, "amounts": amounts}
