"""What keeps a `202` kept: sends again what never arrived, takes back what a dead worker held, tidies up."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

from domain.changes import Changes, Database, Doc
from domain.errors import Conflict, NotFound
from domain.jobs.acceptance import message_of
from domain.jobs.commands import pools
from domain.jobs.deaths import Death, Deaths
from domain.jobs.dispatch import Dispatcher
from domain.jobs.fair_rules import HELD_FROM
from domain.jobs.models import JOBS, PROGRESS_MARKS
from domain.jobs.rules import COMPACTED, DEAD, QUEUED, RUNNING, step
from domain.jobs.signals import JobSignals
from domain.metrics import RELAYED
from domain.observe import logger
from domain.ports import JobQueue
from domain.settings import Jobs as JobSettings
from domain.values import Clock, id_floor

log = logger(__name__)

#: Jobs of one question by id: what it costs the store grows with their square.
ASKED = 50
#: How a job ended.
_END = {"state": 1, "finished_at": 1}


class Relay:
    """The ledger's upkeep. Every verb may run in several processes at once and do no harm."""

    def __init__(
        self,
        *,
        database: Database,
        queue: JobQueue,
        dispatcher: Dispatcher,
        signals: JobSignals,
        deaths: Deaths,
        settings: JobSettings,
        clock: Clock,
        paused: Callable[[], Awaitable[frozenset[str]]],
    ) -> None:
        self._database = database
        self._queue = queue
        self._dispatcher = dispatcher
        self._signals = signals
        self._deaths = deaths
        self._settings = settings
        self._clock = clock
        #: The pools that no worker takes jobs of.
        self._paused = paused

    async def send_due(self, *, limit: int = 500) -> int:
        """Sends the queued jobs whose time has come; answers how many the broker confirmed.

        Those are jobs that were accepted while the broker was away, that wait for another run, or that
        were sent long ago; of a paused pool those alone that were not sent yet.
        """
        now, paused = self._clock(), await self._paused()
        due: Doc = {"state": QUEUED, "not_before": {"$lte": now}}
        count = 0
        for pool in sorted(paused):
            await self._put_off(due | {"pool": pool}, limit)
            unsent = due | {"pool": pool, "dispatched_at": None}
            count += await self._send(unsent, await self._found(unsent, limit))
        awake = [pool for pool in pools() if pool not in paused]
        return count + await self._send(due, await self._found_of(awake, due, limit))

    async def _found_of(self, names: Sequence[str], query: Doc, limit: int) -> list[Doc]:
        """Jobs of these pools by one look, as the local store reads all that is queued for each look.

        Where there is more than the limit each pool is looked at, so that none waits for another's.
        """
        found = await self._found(query | {"pool": {"$in": list(names)}}, limit) if names else []
        if len(found) < limit or len(names) == 1:
            return found
        return [job for name in names for job in await self._found(query | {"pool": name}, limit)]

    async def _put_off(self, due: Doc, limit: int) -> None:
        """What was sent to a paused pool waits there: sent again, it would be there twice when it resumes."""
        sent = {**due, "dispatched_at": {"$ne": None}}
        rows = await self._database[JOBS].find(sent, {"_id": 1}).sort("not_before").limit(limit).to_list()
        if rows:
            await self._dispatcher.put_off([row["_id"] for row in rows], found_by=sent)

    async def send_lost(self, *, limit: int = 500) -> int:
        """Sends again what was confirmed a while ago while its queue is empty: the message was lost."""
        empty = []
        for pool in pools():
            depth = await self._queue.depth(pool)
            if depth is not None and depth.ready == 0 and depth.consumers > 0:
                empty.append(pool)
        lost = self._lost()
        return await self._send(lost, await self._found_of(empty, lost, limit))

    def _lost(self) -> Doc:
        now = self._clock()
        return {
            "state": QUEUED,
            # What waits for its account's turn was never sent.
            "not_before": {"$gt": now, "$lt": HELD_FROM},
            "dispatched_at": {"$lte": now - self._settings.resend_empty_after},
        }

    async def _found(self, query: Doc, limit: int) -> list[Doc]:
        return await self._database[JOBS].find(query).sort("not_before").limit(limit).to_list()

    async def _send(self, query: Doc, jobs: list[Doc]) -> int:
        """Sends jobs that the query found."""
        if not jobs:
            return 0
        confirmed = await self._dispatcher.send_again([message_of(job) for job in jobs], found_by=query)
        RELAYED.inc(confirmed)
        log.info("jobs sent again", found=len(jobs), confirmed=confirmed)
        return confirmed

    async def take_back(self, *, limit: int = 500) -> int:
        """Queues the running jobs whose lease has ended; declares dead those that are out of attempts."""
        now = self._clock()
        query = {"state": RUNNING, "lease_until": {"$lt": now}}
        count = 0
        for job in await self._database[JOBS].find(query).limit(limit).to_list():
            count += await self._take_back(job, now)
        return count

    async def take_back_one(self, job_id: str) -> None:
        """As `take_back`, for one job. Raises NotFound, and Conflict where its lease has not ended."""
        job: Doc | None = await self._database[JOBS].find_one({"_id": job_id})
        if job is None:
            raise NotFound(job=job_id)
        now = self._clock()
        overdue = job["state"] == RUNNING and job["lease_until"] < now
        if not overdue or not await self._take_back(job, now):
            raise Conflict(job=job_id, state=job["state"], reason="no worker has fallen silent with it")

    async def _take_back(self, job: Doc, now: datetime) -> int:
        dead = job["attempts"] >= self._settings.max_attempts
        state, note = (DEAD if dead else QUEUED), "the worker fell silent"
        fields: dict[str, Any] = {
            "state": state, "not_before": now, "dispatched_at": None, "waits_since": now
        }  # fmt: skip
        if dead:
            error = {"code": "worker_lost", "message": note, "detail": {}}
            fields |= {"finished_at": now, "error": error, "attempts": job["attempts"]}
        query = {
            "_id": job["_id"],
            "state": RUNNING,
            "attempt_id": job["attempt_id"],
            "lease_until": {"$lt": now},
        }
        update = {"$set": fields, "$push": {"history": step(state, now, note)}}
        if not dead:
            return (await self._database[JOBS].update_one(query, update)).matched_count
        gone = await self._deaths.record([Death.of_row(job, query, update)])
        if gone:
            self._signals.ended([job | fields])
        return len(gone)

    async def compact(self, *, limit: int = 1000) -> int:
        """Takes payload and history from jobs that ended long ago; key and outcome stay.

        Dead ones keep all, also where a replay brings them to another end after the walk has passed them.
        Walks the ledger by id from where the last sweep came to, so it needs no index of its own.
        """
        before = self._clock() - self._settings.compact_after
        mark = await self._database[PROGRESS_MARKS].find_one({"_id": "compact"}) or {"upto": "", "open": []}
        walked = {"_id": {"$gt": mark["upto"], "$lt": id_floor(before)}}
        rows = self._database[JOBS].find(walked, _END)
        found = await rows.sort("_id").limit(limit).to_list()
        for some in _parts(mark["open"]):
            found += await self._database[JOBS].find({"_id": {"$in": some}}, _END).to_list()
        if not found and not mark["open"]:
            return 0
        ended = {row["_id"] for row in found if row["state"] in COMPACTED and row["finished_at"] < before}
        for some in _parts(sorted(ended)):
            query = {"_id": {"$in": some}, "state": {"$in": list(COMPACTED)}}
            unset = {"$unset": {"payload": "", "history": "", "progress": ""}}
            await Changes.of(JOBS, query, unset).commit(self._database)
        reached = {
            "upto": max([mark["upto"], *(row["_id"] for row in found)]),
            "open": sorted(row["_id"] for row in found if row["_id"] not in ended and row["state"] != DEAD),
        }
        await self._database[PROGRESS_MARKS].update_one({"_id": "compact"}, {"$set": reached}, upsert=True)
        return len(ended)


def _parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + ASKED] for start in range(0, len(ids), ASKED))
