"""A sandbox payment provider: behaves like an outside company, whose books survive our crashes.

The payment's source decides what happens:

- `sandbox:approve`: the charge is authorised.
- `sandbox:decline`: declined.
- `sandbox:timeout`: the first authorisation goes through, and its answer is lost.
- `sandbox:timeout-unseen`: the first authorisation is lost on its way; a second one goes through.
- `sandbox:twice`: the authorisation arrives twice at the same time, and makes one charge.

Any other source is declined.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Literal, TypeAlias

import pymongo
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, DuplicateKeyError, PyMongoError

from domain.batching import Batcher
from domain.changes import DUPLICATE_KEY, Changes, GuardFailed
from domain.ports import Charge, ProviderTimeout, Repaid
from domain.values import Money, utcnow

COLLECTION = "sandbox_charges"
#: A charge that the provider never saw: kept only so that the next request of its key goes through.
UNSEEN = "unseen"
#: How often an end is tried again where another process was first.
TRIES = 8

Status: TypeAlias = Literal["authorised", "captured", "voided", "declined"]
_Doc: TypeAlias = dict[str, Any]


class SandboxProvider:
    """`ports.PaymentProvider`, with a collection of its own in `database` as the company's books."""

    def __init__(self, database: AsyncDatabase[_Doc], *, timeout: timedelta) -> None:
        self._database = database
        self._books = database[COLLECTION]
        self._timeout = timeout.total_seconds()
        # Requests that come at the same time are booked together.
        self._records: Batcher[_Doc, tuple[Charge | None, bool]] = Batcher(self._record_all)
        self._ends: Batcher[tuple[str, str], Charge | None] = Batcher(self._end_all)

    async def authorise(self, *, key: str, amount: Money, source: str) -> Charge:
        """One charge per key: a repeated request answers the first's outcome. Raises ProviderTimeout."""
        async with self._deadline(key):
            if source == "sandbox:timeout-unseen" and await self._first_is_lost(key):
                raise ProviderTimeout(key)
            entry = _entry(key, amount, source)
            if source == "sandbox:twice":
                charge, _ = await asyncio.gather(self._record(entry), self._record(entry))
                return charge
            return await self._record(entry, lose_answer=source == "sandbox:timeout")

    async def find(self, key: str) -> Charge | None:
        """What the books say of the key. Raises ProviderTimeout."""
        async with self._deadline(key):
            return _charge((await self._known([key])).get(key))

    async def capture(self, *, key: str) -> Charge:
        """Takes the authorised money, once. Answers the charge as it is where it is not authorised.

        Raises ProviderTimeout.
        """
        return await self._end(key, "captured")

    async def void(self, *, key: str) -> Charge:
        """Lets the authorised money go. A captured charge stays, and is answered as such.

        A key that was never seen is voided, too: an authorisation that is still on its way finds it so.
        Raises ProviderTimeout.
        """
        return await self._end(key, "voided")

    async def refund(self, *, key: str, amount: Money, refund_key: str) -> Repaid:
        """Pays back captured money. A second call with the refund's key answers as the first.

        Refused where it would be more than is left of what was captured. Raises ProviderTimeout.
        """
        async with self._deadline(key):
            for _ in range(TRIES):
                known = (await self._known([key])).get(key)
                paid: _Doc = (known or {}).get("refunds") or {}
                if refund_key in paid:
                    return Repaid(refund_key, "refunded")
                refusal = _refund_refusal(known, paid, amount)
                if known is None or refusal:
                    return Repaid(refund_key, "refused", refusal)
                query = {"_id": key, "status": "captured", "refunds": known.get("refunds")}
                booked = {"$set": {"refunds": paid | {refund_key: amount.amount}}}
                if (await self._books.update_one(query, booked)).matched_count:
                    return Repaid(refund_key, "refunded")
        raise ProviderTimeout(key)

    async def _end(self, key: str, status: Literal["captured", "voided"]) -> Charge:
        async with self._deadline(key):
            known = await self._ends.submit((key, status))
            if known is not None:
                return known
            if status == "captured":
                return Charge(key, _reference(key), "declined", reason="unknown_charge")
            return await self._record({"_id": key, "status": "voided", "voided_at": utcnow(), "reason": None})

    async def _end_all(self, wanted: list[tuple[str, str]]) -> list[Charge | None]:
        """Captures and voids those that are authorised; the charges as they are then."""
        for _ in range(TRIES):
            known = await self._known(key for key, _ in wanted)
            changes, done = Changes(), _by_status(wanted, known)
            for status, keys in done.items():
                query = {"_id": {"$in": keys}, "status": "authorised"}
                change = {"$set": {"status": status, f"{status}_at": utcnow()}}
                changes.update(COLLECTION, query, change, expect=len(keys), name=status)
            try:
                await changes.commit(self._database, seconds=self._timeout)
            except GuardFailed:
                continue
            known |= {key: known[key] | {"status": status} for status, keys in done.items() for key in keys}
            return [_charge(known.get(key)) for key, _ in wanted]
        msg = "others kept ending the same charges"
        raise PyMongoError(msg)

    async def _known(self, keys: Iterable[str]) -> dict[str, _Doc]:
        with pymongo.timeout(self._timeout):
            rows = self._books.find({"_id": {"$in": sorted(set(keys))}})
            return {row["_id"]: row async for row in rows}

    async def _record(self, entry: _Doc, *, lose_answer: bool = False) -> Charge:
        """Writes the entry unless there is one; answers the one that stands."""
        charge, fresh = await self._records.submit(entry)
        if charge is None or (fresh and lose_answer):
            raise ProviderTimeout(entry["_id"])
        return charge

    async def _record_all(self, entries: list[_Doc]) -> list[tuple[Charge | None, bool]]:
        """Each charge, and whether it was made now."""
        with pymongo.timeout(self._timeout):
            try:
                await self._books.insert_many([dict(entry) for entry in entries], ordered=False)
                there = set[int]()
            except BulkWriteError as error:
                refused = error.details["writeErrors"]
                if any(each["code"] != DUPLICATE_KEY for each in refused):
                    raise
                there = {each["index"] for each in refused}
            for index in there:
                await self._see(entries[index])
        known = await self._known(entries[index]["_id"] for index in there) if there else {}
        return [
            (_charge(known.get(entry["_id"])) if index in there else _charge(entry), index not in there)
            for index, entry in enumerate(entries)
        ]

    async def _see(self, entry: _Doc) -> None:
        """A request that comes again is seen, where the first was lost."""
        change = {name: value for name, value in entry.items() if name != "_id"}
        await self._books.update_one({"_id": entry["_id"], "status": UNSEEN}, {"$set": change})

    async def _first_is_lost(self, key: str) -> bool:
        try:
            await self._books.insert_one({"_id": key, "status": UNSEEN})
        except DuplicateKeyError:
            return False
        return True

    @asynccontextmanager
    async def _deadline(self, key: str) -> AsyncIterator[None]:
        """Whatever keeps the books from answering looks to the caller like a slow company."""
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except (PyMongoError, TimeoutError) as error:
            raise ProviderTimeout(f"{key}: {error!r}") from error


def _by_status(wanted: Iterable[tuple[str, str]], known: Mapping[str, _Doc]) -> dict[str, list[str]]:
    """The authorised keys by what they are to become: the first that asks for a key decides."""
    first: dict[str, str] = {}
    for key, status in wanted:
        if key in known and known[key]["status"] == "authorised":
            first.setdefault(key, status)
    return {status: [key for key in first if first[key] == status] for status in sorted(set(first.values()))}


def _entry(key: str, amount: Money, source: str) -> _Doc:
    known = {"sandbox:approve", "sandbox:timeout", "sandbox:timeout-unseen", "sandbox:twice"}
    reason = {"sandbox:decline": "declined_by_issuer"}.get(source, "unknown_source")
    approved = source in known
    return {
        "_id": key,
        "status": "authorised" if approved else "declined",
        "reason": None if approved else reason,
        "amount": amount.amount,
        "currency": amount.currency,
        "source": source,
        "created_at": utcnow(),
    }


def _refund_refusal(entry: _Doc | None, paid: Mapping[str, int], amount: Money) -> str | None:
    if entry is None:
        return "unknown_charge"
    if entry["status"] != "captured":
        return "not_captured"
    if amount.currency != entry["currency"]:
        return "other_currency"
    return "more_than_captured" if sum(paid.values()) + amount.amount > entry["amount"] else None


def _charge(entry: _Doc | None) -> Charge | None:
    if entry is None or entry["status"] == UNSEEN:
        return None
    status: Status = entry["status"]
    return Charge(entry["_id"], _reference(entry["_id"]), status, entry.get("reason"))


def _reference(key: str) -> str:
    return f"sandbox_{key}"
