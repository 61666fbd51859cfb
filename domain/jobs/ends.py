"""How runs of claimed jobs ended, written many at once, and told."""

from collections.abc import Sequence

from pymongo import UpdateOne

from domain.batching import Batcher
from domain.changes import Database, Doc, update_together
from domain.jobs.deaths import Death, Deaths
from domain.jobs.models import JOBS, Claimed
from domain.jobs.outcomes import held_by, recording
from domain.jobs.rules import DEAD, FINAL, QUEUED
from domain.jobs.signals import JobSignals
from domain.metrics import BATCH_SIZE
from domain.observe import logger
from domain.values import Clock

log = logger(__name__)


class Ends:
    """Group commit of outcomes. Each is guarded by the lease of its run."""

    def __init__(self, *, database: Database, signals: JobSignals, deaths: Deaths, clock: Clock) -> None:
        self._database = database
        self._signals = signals
        self._deaths = deaths
        self._clock = clock
        self._outcomes: Batcher[tuple[Claimed, Doc], bool] = Batcher(
            self._record, observe=BATCH_SIZE.labels("outcome").observe
        )
        self._dead: Batcher[tuple[Claimed, Doc], bool] = Batcher(self._record_dead)

    async def record(self, job: Claimed, outcome: Doc) -> bool:
        """Writes how the run ended. False where its lease was lost: another run decides."""
        outcomes = self._dead if outcome["state"] == DEAD else self._outcomes
        return await outcomes.submit((job, outcome))

    async def drain(self) -> None:
        """Returns when every outcome has been written."""
        await self._outcomes.drain()
        await self._dead.drain()

    async def _record(self, outcomes: list[tuple[Claimed, Doc]]) -> list[bool]:
        now = self._clock()
        jobs = f"{self._database.name}.{JOBS}"
        operations = [
            UpdateOne(held_by(job), recording(outcome, now), namespace=jobs) for job, outcome in outcomes
        ]
        matched = await update_together(self._database, operations)
        return await self._kept(outcomes, [matched[index] == 1 for index in range(len(outcomes))])

    async def _record_dead(self, outcomes: list[tuple[Claimed, Doc]]) -> list[bool]:
        now = self._clock()
        deaths = [Death.of(job, held_by(job), recording(outcome, now)) for job, outcome in outcomes]
        dead = await self._deaths.record(deaths)
        return await self._kept(outcomes, [job.id in dead for job, _ in outcomes])

    async def _kept(self, outcomes: list[tuple[Claimed, Doc]], recorded: list[bool]) -> list[bool]:
        """Which of the outcomes stand, and tells them."""
        if not all(recorded):
            known = await self._recorded(outcomes)
            recorded = [by_now or before for by_now, before in zip(recorded, known, strict=True)]
        if not all(recorded):
            log.warning("a job's lease was lost before its outcome", lost=recorded.count(False))
        kept = [each for each, stands in zip(outcomes, recorded, strict=True) if stands]
        for job, outcome in kept:
            if outcome["state"] == QUEUED:
                self._signals.retried(job.kind)
        await self.tell([job.id for job, outcome in kept if outcome["state"] != QUEUED])
        return recorded

    async def tell(self, job_ids: Sequence[str]) -> None:
        """Counts, logs, caches and tells the ends of those of the jobs that have ended."""
        if job_ids:
            query = {"_id": {"$in": list(job_ids)}, "state": {"$in": list(FINAL)}}
            self._signals.ended(await self._database[JOBS].find(query).to_list())

    async def _recorded(self, outcomes: list[tuple[Claimed, Doc]]) -> list[bool]:
        """What the ledger says: a write whose answer was lost finds the jobs ended, by itself."""
        ids = [job.id for job, _ in outcomes]
        rows = self._database[JOBS].find({"_id": {"$in": ids}, "state": {"$in": list(FINAL)}})
        stands = {(row["_id"], row.get("attempt_id"), row["state"]) async for row in rows}
        return [(job.id, job.attempt_id, outcome["state"]) in stands for job, outcome in outcomes]
