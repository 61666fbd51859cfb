"""The log of deliveries: every attempt, what came of it, and when the next one is due."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pymongo import UpdateOne

from domain.batching import Batcher
from domain.changes import Database, Doc, update_together
from domain.errors import NotFound
from domain.metrics import BATCH_SIZE, WEBHOOKS
from domain.notifications.webhooks.models import DELIVERIES, ENDPOINTS
from domain.notifications.webhooks.rules import DELIVERED, FAILED, PENDING
from domain.ports import WebhookAnswer
from domain.values import Clock, new_id

#: Attempts of one delivery that are kept, the latest.
MOST_ATTEMPTS = 50
#: Deliveries that one sweep deletes.
SWEEP = 10_000


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call, and what it means for its delivery."""

    delivery_id: str
    endpoint_id: str
    event: Mapping[str, Any]
    at: datetime
    #: Which one it is of its round, from 1.
    tries: int
    answer: WebhookAnswer
    state: str
    next_at: datetime | None = None
    #: Whether the endpoint's failures are counted by it: those of tests are not.
    counts: bool = True
    #: Whether the endpoint had failed before.
    had_failed: bool = True


class DeliveryLog:
    """Writes and reads the log. Attempts that end at the same time share one write."""

    def __init__(self, *, database: Database, keep: timedelta, clock: Clock) -> None:
        self._database = database
        self._keep = keep
        self._clock = clock
        self._writes: Batcher[Attempt, None] = Batcher(
            self._write, observe=BATCH_SIZE.labels("webhooks").observe
        )

    async def record(self, attempt: Attempt) -> None:
        """Adds the attempt to its delivery, and its failure to the endpoint's; a success forgets those."""
        WEBHOOKS.labels(_outcome(attempt)).inc()
        await self._writes.submit(attempt)

    async def end(self, delivery_id: str) -> None:
        """No further attempt is made of a delivery that was not taken. Idempotent."""
        query = {"_id": delivery_id, "state": PENDING}
        ended = {"$set": {"state": FAILED, "next_at": None}}
        await self._database[DELIVERIES].update_one(query, ended)

    async def tries(self, delivery_id: str) -> int:
        """Attempts of this round so far."""
        row = await self._database[DELIVERIES].find_one({"_id": delivery_id}, {"tries": 1})
        return int(row["tries"]) if row else 0

    async def get(self, delivery_id: str, *, endpoint_id: str) -> Doc:
        """Raises NotFound."""
        row = await self._database[DELIVERIES].find_one({"_id": delivery_id})
        if row is None or row["endpoint_id"] != endpoint_id:
            raise NotFound(delivery=delivery_id)
        return row

    async def page(self, endpoint_id: str, *, state: str | None, before: str | None, limit: int) -> list[Doc]:
        """The endpoint's deliveries, newest first, without their attempts."""
        query: Doc = {"endpoint_id": endpoint_id}
        if state is not None:
            query["state"] = state
        if before is not None:
            query["_id"] = {"$lt": before}
        rows = self._database[DELIVERIES].find(query, {"attempts": 0})
        return await rows.sort("_id", -1).limit(limit).to_list()

    async def sweep(self) -> int:
        """Deletes what is too old, so many at most; answers how many."""
        query = {"created_at": {"$lt": self._clock() - self._keep}}
        rows = await self._database[DELIVERIES].find(query, {"_id": 1}).limit(SWEEP).to_list()
        deleted = 0
        for start in range(0, len(rows), 50):
            ids = [row["_id"] for row in rows[start : start + 50]]
            deleted += (await self._database[DELIVERIES].delete_many({"_id": {"$in": ids}})).deleted_count
        return deleted

    async def drain(self) -> None:
        """Returns when every attempt is written."""
        await self._writes.drain()

    async def _write(self, attempts: list[Attempt]) -> list[None]:
        deliveries = f"{self._database.name}.{DELIVERIES}"
        endpoints = f"{self._database.name}.{ENDPOINTS}"
        operations: list[Any] = []
        for attempt in attempts:
            operations += _of_delivery(attempt, deliveries)
        batch = new_id()
        by_endpoint: dict[str, list[Attempt]] = defaultdict(list)
        for attempt in attempts:
            if attempt.counts:
                by_endpoint[attempt.endpoint_id].append(attempt)
        for endpoint_id, own in sorted(by_endpoint.items()):
            operations += _of_endpoint(endpoint_id, own, batch, endpoints)
        await update_together(self._database, operations)
        return [None] * len(attempts)


def _of_delivery(attempt: Attempt, namespace: str) -> list[Any]:
    """Both do nothing where this was written before."""
    event = attempt.event
    first = {
        "endpoint_id": attempt.endpoint_id, "event_id": event["_id"], "type": event["type"],
        "subject": event["subject"], "attempts": [], "created_at": attempt.at,
    }  # fmt: skip
    answer, attempt_id = attempt.answer, new_id()
    line = {
        "id": attempt_id, "at": attempt.at, "seconds": round(answer.seconds, 3), "status": answer.status,
        "error": answer.error, "body": answer.body,
    }  # fmt: skip
    update = {
        "$set": {"state": attempt.state, "tries": attempt.tries, "next_at": attempt.next_at},
        "$push": {"attempts": {"$each": [line], "$slice": -MOST_ATTEMPTS}},
    }
    known = {"_id": attempt.delivery_id}
    return [
        UpdateOne(known, {"$setOnInsert": first}, upsert=True, namespace=namespace),
        UpdateOne(known | {"attempts.id": {"$ne": attempt_id}}, update, namespace=namespace),
    ]


def _of_endpoint(endpoint_id: str, attempts: list[Attempt], batch: str, namespace: str) -> list[Any]:
    """A success among them says that the endpoint answers."""
    query: Doc = {"_id": endpoint_id, "counted": {"$ne": batch}}
    if any(attempt.state == DELIVERED for attempt in attempts):
        if not any(attempt.had_failed or attempt.state != DELIVERED for attempt in attempts):
            return []
        update: Doc = {"$set": {"counted": batch, "failures": 0}, "$unset": {"failing_since": ""}}
        return [UpdateOne(query, update, namespace=namespace)]
    update = {
        "$set": {"counted": batch},
        "$inc": {"failures": len(attempts)},
        "$min": {"failing_since": min(attempt.at for attempt in attempts)},
    }
    return [UpdateOne(query, update, namespace=namespace)]


def _outcome(attempt: Attempt) -> str:
    return {DELIVERED: "delivered", FAILED: "given_up"}.get(attempt.state, "retried")
