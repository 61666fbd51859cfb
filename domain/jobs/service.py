"""Accepting jobs, and what their owners and ops do with them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pymongo.errors import AutoReconnect, BulkWriteError

from domain.batching import Batcher
from domain.changes import DUPLICATE_KEY, Changes, Database, Doc, GuardFailed
from domain.errors import IdempotencyKeyReused, NotFound
from domain.events.service import Events
from domain.jobs.acceptance import message_of, new_job, same_request
from domain.jobs.cancelling import CancelHook, Cancelling
from domain.jobs.commands import Command
from domain.jobs.dispatch import Dispatcher
from domain.jobs.fairness import FairShare
from domain.jobs.meter import Meter
from domain.jobs.models import JOBS, Accepted
from domain.jobs.replaying import Replaying
from domain.jobs.rules import QUEUED, fingerprint, waiting_since
from domain.jobs.signals import JobSignals
from domain.metrics import BATCH_SIZE
from domain.settings import Jobs as JobSettings
from domain.values import Clock, id_floor

#: How many of the jobs that were sent first are looked at for the oldest: an accepted one may be sent late.
OLDEST_OF = 50
#: See `Batcher`: with 32 clients 40 % more is accepted than where all of them wait for the same write.
HALVE_FROM = 16


@dataclass(frozen=True, slots=True)
class JobQuery:
    """Which of an owner's jobs; None stands for any."""

    owner: str
    state: str | None = None
    kind: str | None = None
    older_than: datetime | None = None
    before: str | None = None
    limit: int = 50


class Jobs:
    """The ledger as the API sees it. A job is accepted once it is stored."""

    def __init__(
        self,
        *,
        database: Database,
        dispatcher: Dispatcher,
        signals: JobSignals,
        events: Events,
        settings: JobSettings,
        fair: FairShare,
        meter: Meter,
        clock: Clock,
    ) -> None:
        self._database = database
        self._fair = fair
        self._meter = meter
        self._dispatcher = dispatcher
        self._signals = signals
        self._settings = settings
        self._clock = clock
        #: What bulk runs use, too.
        self.replaying = Replaying(
            database=database, dispatcher=dispatcher, signals=signals, settings=settings, clock=clock
        )
        self.cancelling = Cancelling(database=database, signals=signals, events=events, clock=clock)
        observe, most = BATCH_SIZE.labels("ledger").observe, settings.max_batch
        self._inserts: Batcher[Doc, Doc] = Batcher(
            self._insert, max_size=most, halve_from=HALVE_FROM, observe=observe
        )

    async def submit(
        self,
        command: Command,
        *,
        owner: str,
        key: str,
        request_id: str | None = None,
        subject: str | None = None,
        job_id: str | None = None,
    ) -> Accepted:
        """Stores the job, hands it to the broker, and answers. One (owner, kind, key) is one job.

        Returns once the job is stored and the broker has confirmed it, or could not in time: the relay
        sends it then. Raises IdempotencyKeyReused where the key was used with another payload, and
        PyMongoError where the store is away (nothing was accepted).
        """
        job = self._new(command, owner=owner, key=key, request_id=request_id, subject=subject, job_id=job_id)
        at_once = self._fair.admits(job) or not await self._fair.hold(job)
        try:
            stored = await self._inserts.submit(job)
        except BaseException:
            self._fair.ended([job["_id"]])
            raise
        repeated = stored["_id"] != job["_id"]
        if repeated:
            self._fair.ended([job["_id"]])
            if not same_request(stored, job, command):
                raise IdempotencyKeyReused(key=key)
            await self._dispatcher.send_once_more(stored)
        else:
            await self._begin(job, at_once=at_once)
        return Accepted(job_id=stored["_id"], state=stored["state"], replayed=repeated)

    async def _begin(self, job: Doc, *, at_once: bool) -> None:
        """After the job was stored. One that waits for its account's turn is sent by the feeder."""
        self._meter.arrived(job["kind"], job["pool"])
        if at_once:
            await self._dispatcher.send(message_of(job))

    async def submit_with(
        self,
        changes: Changes,
        command: Command,
        *,
        owner: str,
        key: str,
        request: Mapping[str, Any],
        request_id: str | None = None,
        job_id: str | None = None,
    ) -> Accepted:
        """As `submit`, in one transaction with `changes`: the job is accepted and they are made, or neither.

        `request` is what a repetition has to repeat, as the payload may hold what was read meanwhile. Ask
        `accepted` first. Raises GuardFailed where one of `changes` failed, or the key was used by now.
        """
        job = self._new(command, owner=owner, key=key, request_id=request_id, request=request, job_id=job_id)
        at_once = self._fair.admits(job) or not await self._fair.hold(job)
        changes.insert(JOBS, [job], guard=True)
        try:
            await self._commit(changes, job["_id"])
        except BaseException:
            self._fair.ended([job["_id"]])
            raise
        await self._begin(job, at_once=at_once)
        return Accepted(job_id=job["_id"], state=QUEUED, replayed=False)

    async def _commit(self, changes: Changes, job_id: str) -> None:
        try:
            await changes.commit(self._database)
        except GuardFailed:
            # Its own commit may have been applied, and its answer lost.
            if await self._database[JOBS].find_one({"_id": job_id}, {"_id": 1}) is None:
                raise

    async def accepted(
        self, kind: type[Command], *, owner: str, key: str, request: Mapping[str, Any]
    ) -> Accepted | None:
        """The job that has the key. Raises IdempotencyKeyReused where it was for another request."""
        query = {"owner": owner, "kind": kind.kind, "key": key}
        job = await self._database[JOBS].find_one(query, {"payload": 0, "history": 0})
        if job is None:
            return None
        if job["fingerprint"] != fingerprint(request):
            raise IdempotencyKeyReused(key=key)
        await self._dispatcher.send_once_more(job)
        return Accepted(job_id=job["_id"], state=job["state"], replayed=True)

    def _new(self, command: Command, **more: Any) -> Doc:
        return new_job(command, now=self._clock(), resend_after=self._settings.resend_after, **more)

    async def _insert(self, jobs: list[Doc]) -> list[Doc]:
        try:
            await self._database[JOBS].insert_many(jobs, ordered=False)
        except BulkWriteError as error:
            if error.details.get("writeConcernErrors"):
                # Written, and not by a majority: it may be rolled back.
                raise AutoReconnect(str(error.details["writeConcernErrors"][0])) from error
            refused = {
                each["index"] for each in error.details["writeErrors"] if each["code"] == DUPLICATE_KEY
            }
            if len(refused) != len(error.details["writeErrors"]):
                raise
            return [await self._first(job) if index in refused else job for index, job in enumerate(jobs)]
        return jobs

    async def _first(self, job: Doc) -> Doc:
        found = await self._database[JOBS].find_one({name: job[name] for name in ("owner", "kind", "key")})
        if found is None:
            raise AutoReconnect("the job that has this key cannot be read")
        return found

    async def get(self, job_id: str, *, owner: str | None) -> Doc:
        """The stored job. Raises NotFound, also for another owner's job; `owner` None is ops."""
        job = await self._database[JOBS].find_one({"_id": job_id})
        if job is None or (owner is not None and job["owner"] != owner):
            raise NotFound(job=job_id)
        return job

    async def find(self, query: JobQuery) -> list[Doc]:
        """Jobs, newest first, without payload and history."""
        wanted: dict[str, Any] = {
            name: value
            for name, value in (("owner", query.owner), ("state", query.state), ("kind", query.kind))
            if value is not None
        }
        bounds = [query.before] if query.before else []
        if query.older_than:
            bounds.append(id_floor(query.older_than))
        if bounds:
            wanted["_id"] = {"$lt": min(bounds)}
        rows = self._database[JOBS].find(wanted, {"payload": 0, "history": 0, "fingerprint": 0})
        return await rows.sort("_id", -1).limit(query.limit).to_list()

    async def cancel(self, job_id: str, *, owner: str | None, by: str, reason: str | None = None) -> Doc:
        """Cancels a job that has had no effect yet. A second cancel answers as the first.

        One that was begun and waits for another run may have charged somebody: it has to end by itself. Ops
        (`owner` None) may cancel it once it is dead, when nothing else helps.

        Raises NotFound, JobRunning, and JobFinished.
        """
        return await self.cancelling.cancel(job_id, owner=owner, by=by, reason=reason)

    def on_cancel(self, kind: str, hook: CancelHook) -> None:
        """Registers what is told of a cancelled job of the kind, in the transaction that cancels it."""
        self.cancelling.on_cancel(kind, hook)

    async def replay(self, job_id: str, *, by: str, reason: str | None = None) -> Doc:
        """Runs a dead, failed or cancelled job again, under its own id: it stays one job with one effect.

        Raises NotFound, JobNotReplayable, and Conflict where the payload was compacted away.
        """
        return await self.replaying.replay(job_id, by=by, reason=reason)

    async def oldest(self, pool: str) -> datetime | None:
        """Since when the pool's oldest job waits; None where none does. What is put off does not wait yet."""
        if not await self.anybody(pool):
            return None
        # What waits for its account's turn has come later than what was sent, but for a flood: see `Pools`.
        query: Doc = {"pool": pool, "state": QUEUED, "not_before": {"$gt": datetime.fromtimestamp(0, UTC)}}
        query["$or"] = [{"waits_since": None}, {"waits_since": {"$lte": self._clock()}}]
        fields = {"created_at": 1, "waits_since": 1}
        rows = self._database[JOBS].find(query, fields).sort("not_before").limit(OLDEST_OF)
        return min([waiting_since(row) async for row in rows], default=None)

    async def anybody(self, pool: str) -> bool:
        """Whether any job of the pool is queued. Unlike a range, cheap on the local store where none is."""
        return await self._database[JOBS].find_one({"pool": pool, "state": QUEUED}, {"_id": 1}) is not None

    async def drain(self) -> None:
        """Returns when nothing is on its way into the ledger or to the broker."""
        await self._inserts.drain()
        await self._dispatcher.drain()
