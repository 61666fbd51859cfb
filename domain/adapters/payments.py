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
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Literal, TypeAlias

import pymongo
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError, PyMongoError

from domain.ports import Charge, ProviderTimeout
from domain.values import Money, utcnow

COLLECTION = "sandbox_charges"
#: A charge that the provider never saw: kept only so that the next request of its key goes through.
UNSEEN = "unseen"

Status: TypeAlias = Literal["authorised", "captured", "voided", "declined"]
_Doc: TypeAlias = dict[str, Any]


class SandboxProvider:
    """`ports.PaymentProvider`, with a collection of its own in `database` as the company's books."""

    def __init__(self, database: AsyncDatabase[_Doc], *, timeout: timedelta) -> None:
        self._books = database[COLLECTION]
        self._timeout = timeout.total_seconds()

    async def authorise(self, *, key: str, amount: Money, source: str) -> Charge:
        """One charge per key: a repeated request answers the first's outcome. Raises ProviderTimeout."""
        with self._deadline():
            if source == "sandbox:timeout-unseen" and await self._first_is_lost(key):
                raise ProviderTimeout(key)
            entry = _entry(key, amount, source)
            if source == "sandbox:twice":
                charge, _ = await asyncio.gather(self._record(entry), self._record(entry))
                return charge
            return await self._record(entry, lose_answer=source == "sandbox:timeout")

    async def find(self, key: str) -> Charge | None:
        """What the books say of the key. Raises ProviderTimeout."""
        with self._deadline():
            return _charge(await self._books.find_one({"_id": key}))

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

    async def _end(self, key: str, status: Literal["captured", "voided"]) -> Charge:
        change = {"$set": {"status": status, f"{status}_at": utcnow()}}
        with self._deadline():
            done = await self._books.update_one({"_id": key, "status": "authorised"}, change)
            if done.matched_count:
                return Charge(key, _reference(key), status)
            known = _charge(await self._books.find_one({"_id": key}))
            if known is not None:
                return known
            if status == "captured":
                return Charge(key, _reference(key), "declined", reason="unknown_charge")
            return await self._record({"_id": key, "status": "voided", "voided_at": utcnow(), "reason": None})

    async def _record(self, entry: _Doc, *, lose_answer: bool = False) -> Charge:
        """Writes the entry unless there is one; answers the one that stands."""
        try:
            await self._books.insert_one(dict(entry))
        except DuplicateKeyError:
            return await self._recorded_before(entry)
        if lose_answer:
            raise ProviderTimeout(entry["_id"])
        return Charge(entry["_id"], _reference(entry["_id"]), entry["status"], entry["reason"])

    async def _recorded_before(self, entry: _Doc) -> Charge:
        change = {name: value for name, value in entry.items() if name != "_id"}
        await self._books.update_one({"_id": entry["_id"], "status": UNSEEN}, {"$set": change})
        known = _charge(await self._books.find_one({"_id": entry["_id"]}))
        if known is None:
            raise ProviderTimeout(entry["_id"])
        return known

    async def _first_is_lost(self, key: str) -> bool:
        try:
            await self._books.insert_one({"_id": key, "status": UNSEEN})
        except DuplicateKeyError:
            return False
        return True

    @contextmanager
    def _deadline(self) -> Iterator[None]:
        """Whatever keeps the books from answering looks to the caller like a slow company."""
        try:
            with pymongo.timeout(self._timeout):
                yield
        except PyMongoError as error:
            raise ProviderTimeout(str(error)) from error


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


def _charge(entry: _Doc | None) -> Charge | None:
    if entry is None or entry["status"] == UNSEEN:
        return None
    status: Status = entry["status"]
    return Charge(entry["_id"], _reference(entry["_id"]), status, entry.get("reason"))


def _reference(key: str) -> str:
    return f"sandbox_{key}"
