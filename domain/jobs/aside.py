"""Jobs that this process cannot do, because a newer version of the platform has made them: they wait."""

import random
from collections.abc import Sequence
from datetime import timedelta

from pymongo import UpdateOne

from domain.batching import Batcher
from domain.changes import Database, Doc, update_together
from domain.jobs.commands import plain_kind
from domain.jobs.models import JOBS
from domain.jobs.rules import QUEUED, step
from domain.metrics import SET_ASIDE
from domain.observe import logger
from domain.values import Clock

log = logger(__name__)

#: The pause before a job is sent again to whoever knows it: as long as it has waited, within these bounds.
PAUSE = (timedelta(seconds=5), timedelta(minutes=5))


class SetAside:
    """Takes jobs off a queue whose worker does not know their kind, for the relay to send later.

    Nothing counts it, and however long it takes, the job stays `queued`: a worker that knows it does it.
    """

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._batches: Batcher[tuple[str, str], bool] = Batcher(self._apply)

    async def submit(self, job_id: str, kind: str) -> bool:
        """False where there is no such job. One of another kind, or that has begun, is left as it is."""
        return await self._batches.submit((job_id, plain_kind(kind)))

    async def drain(self) -> None:
        """Returns when all has been written."""
        await self._batches.drain()

    async def _apply(self, jobs: list[tuple[str, str]]) -> list[bool]:
        ids = sorted({job_id for job_id, _ in jobs})
        fields = {"kind": 1, "state": 1, "created_at": 1}
        rows = await self._database[JOBS].find({"_id": {"$in": ids}}, fields).to_list()
        known = {str(row["_id"]): row for row in rows}
        mine = {
            job_id: known[job_id]
            for job_id, kind in jobs
            if job_id in known and known[job_id]["kind"] == kind and known[job_id]["state"] == QUEUED
        }
        await self._put_off(list(mine.values()))
        return [job_id in known for job_id, _ in jobs]

    async def _put_off(self, rows: Sequence[Doc]) -> None:
        if not rows:
            return
        now, jobs = self._clock(), f"{self._database.name}.{JOBS}"
        operations = []
        for row in rows:
            waiting = {"_id": row["_id"], "state": QUEUED}
            note = f"waits for a worker that knows {row['kind']}"
            later = {"dispatched_at": None, "not_before": now + _pause(now - row["created_at"])}
            operations.append(UpdateOne(waiting, {"$set": later}, namespace=jobs))
            # Said once, however often it comes back.
            unsaid = {**waiting, "history.note": {"$ne": note}}
            line = {"$push": {"history": step(QUEUED, now, note)}}
            operations.append(UpdateOne(unsaid, line, namespace=jobs))
            SET_ASIDE.inc()
        await update_together(self._database, operations)
        log.warning(
            "jobs wait for a newer worker", jobs=len(rows), kinds=sorted({row["kind"] for row in rows})
        )


def _pause(waited: timedelta) -> timedelta:
    shortest, longest = PAUSE
    return min(max(waited, shortest), longest) * random.uniform(0.5, 1.0)
