"""The dead jobs: what they died of, and which of them something is to be done with."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from domain.changes import Database, Doc
from domain.jobs.commands import kinds
from domain.jobs.grouping import Group, group_key, grouped
from domain.jobs.models import JOBS
from domain.jobs.rules import DEAD

#: The most dead jobs that one look reads, and that one bulk run has.
MOST = 5000
#: What is not read of each.
FIELDS = dict.fromkeys(("payload", "history", "fingerprint"), 0)
#: Ids that one query names.
PART = 50


@dataclass(frozen=True, slots=True)
class Selection:
    """Which dead jobs; None stands for any. `since` and `until` are about when they died."""

    group: str | None = None
    kind: str | None = None
    code: str | None = None
    job_ids: tuple[str, ...] | None = None
    since: datetime | None = None
    until: datetime | None = None

    def takes(self, job: Doc) -> bool:
        """Whether a dead job is among them."""
        at = job["finished_at"]
        return (
            (self.kind is None or job["kind"] == self.kind)
            and (self.code is None or (job.get("error") or {}).get("code") == self.code)
            and (self.since is None or at >= self.since)
            and (self.until is None or at < self.until)
            and (self.group is None or group_key(job) == self.group)
        )

    def form(self) -> dict[str, Any]:
        """What is stored of it."""
        named = {"group": self.group, "kind": self.kind, "code": self.code}
        named |= {"since": self.since, "until": self.until}  # type: ignore[dict-item]
        found: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
        return found | ({"jobs": len(self.job_ids)} if self.job_ids is not None else {})


@dataclass(frozen=True, slots=True)
class Looked:
    """Dead jobs, newest first. `more` says that there are others that were not looked at."""

    jobs: list[Doc]
    more: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """A job of a selection that nothing can be done with."""

    job_id: str
    code: str


class DeadJobs:
    """Reads of the dead, by their own index."""

    def __init__(self, *, database: Database) -> None:
        self._jobs = database[JOBS]

    async def groups(self, selection: Selection | None = None) -> tuple[list[Group], bool]:
        """The groups, the largest first; and whether there are dead jobs that were not looked at."""
        looked = await self.select(selection or Selection())
        return grouped(looked.jobs), looked.more

    async def select(self, selection: Selection) -> Looked:
        """The dead jobs of a selection. Of more than `MOST` those accepted last."""
        if selection.job_ids is not None:
            rows = await self._named(selection.job_ids)
            return Looked([row for row in rows if selection.takes(row)], more=False)
        query: Doc = {"state": DEAD}
        if selection.kind is not None:
            query["kind"] = selection.kind
        rows = await self._jobs.find(query, FIELDS).sort("_id", -1).limit(MOST + 1).to_list()
        taken = [row for row in rows[:MOST] if selection.takes(row)]
        return Looked(taken, more=len(rows) > MOST)

    async def _named(self, job_ids: Sequence[str]) -> list[Doc]:
        found: list[Doc] = []
        wanted = sorted(set(job_ids), reverse=True)
        for start in range(0, len(wanted), PART):
            part = {"_id": {"$in": wanted[start : start + PART]}, "state": DEAD}
            found += await self._jobs.find(part, FIELDS).to_list()
        return sorted(found, key=lambda row: str(row["_id"]), reverse=True)


def refusals(selection: Selection, found: Sequence[Doc], *, replay: bool) -> list[Refusal]:
    """What nothing will be done with: named jobs that are not dead, and such as nobody can run."""
    dead = {row["_id"] for row in found}
    refused = [Refusal(job_id, "job_not_dead") for job_id in selection.job_ids or () if job_id not in dead]
    if replay:
        known = kinds()
        refused += [Refusal(row["_id"], "unknown_kind") for row in found if row["kind"] not in known]
    return refused
