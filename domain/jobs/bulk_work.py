"""Doing a bulk run: a few jobs at a time, at its rate, each once however often this runs."""

import asyncio
import time
from datetime import timedelta

from domain.audit_log.models import Actor, Entry
from domain.audit_log.service import AuditLog
from domain.changes import Database, Doc
from domain.errors import DomainError, TryAgain
from domain.jobs.bulk_models import BULK_RUNS, DONE, REPLAY, STOPPED, WAITING, WORKING
from domain.jobs.cancelling import Cancelling
from domain.jobs.dead import Refusal
from domain.jobs.models import Claimed
from domain.jobs.replaying import Replaying
from domain.jobs.running import JobRuns
from domain.values import Clock

#: The most jobs of one step; a stop is noticed between two of them.
STEP = 20
#: The longest that one run of its job takes; the next one goes on. Shorter than a stop of a worker may be.
LONGEST = timedelta(seconds=15)
#: How long a run may take in all.
PATIENCE = timedelta(days=7)
#: Refusals that are kept.
KEPT = 50


class BulkWork:
    """The worker's side of bulk runs."""

    def __init__(
        self,
        *,
        database: Database,
        replaying: Replaying,
        cancelling: Cancelling,
        runs: JobRuns,
        audit_log: AuditLog,
        clock: Clock,
    ) -> None:
        self._rows = database[BULK_RUNS]
        self._replaying = replaying
        self._cancelling = cancelling
        self._runs = runs
        self._audit_log = audit_log
        self._clock = clock

    async def run(self, job: Claimed) -> Doc:
        """Goes on where the run is; answers its counts. Raises TryAgain where the rest is for another run."""
        give_up = time.monotonic() + LONGEST.total_seconds()
        waiting = {"_id": job.id, "state": WAITING}
        await self._rows.update_one(waiting, {"$set": {"state": WORKING}})
        while True:
            row: Doc | None = await self._rows.find_one({"_id": job.id})
            if row is None:
                return {}
            if row["state"] != WORKING:
                return _counts(row)
            if row["stop_by"] is not None or row["taken"] >= row["size"]:
                return await self._end(row)
            if time.monotonic() > give_up:
                raise TryAgain("the rest is done by another run", seconds=0.1, patience=PATIENCE)
            await self._step(row, job)

    async def _step(self, row: Doc, job: Claimed) -> None:
        began, taken = time.monotonic(), row["taken"]
        size = max(1, min(STEP, int(row["rate"])))
        ids = row["job_ids"][taken : taken + size]
        refused = [each for each in await asyncio.gather(*(self._one(row, each) for each in ids)) if each]
        counts = {"taken": len(ids), "done": len(ids) - len(refused), "refused": len(refused)}
        new = [{"job_id": each.job_id, "code": each.code} for each in refused]
        update = {"$inc": counts, "$push": {"refusals": {"$each": new, "$slice": KEPT}}}
        # Another run of the same job, whose lease was lost, may have been here: then it has counted.
        await self._rows.update_one({"_id": row["_id"], "taken": taken, "state": WORKING}, update)
        await self._runs.progress(job, done=taken + len(ids), of=row["size"])
        await asyncio.sleep(max(0.0, len(ids) / row["rate"] - (time.monotonic() - began)))

    async def _one(self, row: Doc, job_id: str) -> Refusal | None:
        try:
            if row["action"] == REPLAY:
                await self._replaying.replay_dead(
                    job_id, by=row["actor"], bulk_id=row["_id"], died_by=row["died_by"], reason=row["reason"]
                )
            else:
                await self._cancelling.discard(
                    job_id, by=row["actor"], bulk_id=row["_id"], died_by=row["died_by"], reason=row["reason"]
                )
        except DomainError as error:
            return Refusal(job_id, error.code)
        return None

    async def _end(self, row: Doc) -> Doc:
        state = DONE if row["taken"] >= row["size"] else STOPPED
        fields = {"state": state, "ended_at": self._clock(), "job_ids": []}
        ended = await self._rows.update_one({"_id": row["_id"], "state": WORKING}, {"$set": fields})
        counts = _counts(row | fields)
        if ended.matched_count:
            actor = Actor(row["actor"], row["via"], row["request_id"])
            action = f"jobs.bulk_{row['action']}_ended"
            after = {**counts, "stop_by": row["stop_by"]}
            await self._audit_log.record(Entry(actor, action, "bulk", row["_id"], after=after))
        return counts


def _counts(row: Doc) -> Doc:
    return {name: row[name] for name in ("action", "state", "size", "taken", "done", "refused")}
