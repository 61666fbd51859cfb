"""Ops look for jobs: over the whole ledger, in bounded time.

Each filter is served by an index that the ledger has anyway, or by none:

| filter | served by |
|---|---|
| `job_id` | the id |
| `subject` | the ids and owners that the thing itself names, see `Related` |
| `owner` | `by_owner` |
| state `dead`, `running` | `dead`, `leased` |
| state `queued` | `waiting`, pool by pool |
| anything else | the time alone: the newest first, back to `since` |

A search goes back in time, window by window, and stops when the page is full or its time is up. It says how
far it came. MongoDB reads a window by the id; the local store reads the whole ledger for one that no index
serves.
"""

import re
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from pymongo.errors import ExecutionTimeout

from domain.changes import Database, Doc
from domain.jobs.commands import pools
from domain.jobs.models import JOBS
from domain.jobs.rules import DEAD, QUEUED, RUNNING
from domain.values import Clock, id_floor

#: Seconds that one search may take.
BUDGET = 3.0
#: How far a search goes back that no index serves, where nobody says.
DAY = timedelta(days=1)
#: The first window, and how much longer each next one is.
FIRST, GROWTH = timedelta(hours=1), 32
#: Before the first job.
EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
#: What a list does not show.
BRIEF = dict.fromkeys(("payload", "history", "fingerprint"), 0)
#: Ids that one query names.
PART = 50


@dataclass(frozen=True, slots=True)
class Related:
    """Where the jobs about a thing are found: by their ids, and among the jobs of owners since then."""

    job_ids: frozenset[str] = frozenset()
    owners: frozenset[str] = frozenset()
    since: datetime | None = None


#: Tells where the jobs about a subject are; None where the subject is nothing that it knows.
Finder: TypeAlias = Callable[[str], Awaitable[Related | None]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What ops look for; None stands for any. `since` and `until` are about when a job was accepted."""

    job_id: str | None = None
    kind: str | None = None
    state: str | None = None
    pool: str | None = None
    owner: str | None = None
    subject: str | None = None
    code: str | None = None
    #: In the error's code, message or fault; upper and lower case are the same.
    text: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    #: The last id of the page before.
    before: str | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Found:
    """Jobs, newest first, without payload and history.

    `searched_until` is set where time was up: what was accepted before it was not looked at. `position` is
    where the next page begins; None where there is none.
    """

    jobs: list[Doc] = field(default_factory=list)
    searched_until: datetime | None = None
    position: str | None = None


class JobSearch:
    """Reads of the ledger for ops."""

    def __init__(self, *, database: Database, clock: Clock, budget: float = BUDGET) -> None:
        self._jobs = database[JOBS]
        self._clock = clock
        self._budget = budget
        self._finders: list[Finder] = []

    def on_subject(self, finder: Finder) -> None:
        """Registers who tells where the jobs about some kind of thing are."""
        self._finders.append(finder)

    async def find(self, wanted: Wanted) -> Found:
        """One page. Raises PyMongoError where the store is away."""
        paths = await self._paths(wanted)
        indexed = any(name in path for path in paths for name in ("_id", "owner", "lease_until", "state"))
        until = min(wanted.until or self._clock() + FIRST, self._clock() + FIRST)
        since = wanted.since or (EPOCH if indexed else until - DAY)
        upper = min(id_floor(until), wanted.before or "~")
        deadline, rows = time.monotonic() + self._budget, list[Doc]()
        for lower in _lower_bounds(upper, since):
            missing = wanted.limit + 1 - len(rows)
            try:
                rows += await self._window(paths, wanted, lower, upper, limit=missing, deadline=deadline)
            except ExecutionTimeout:
                return Found(rows, searched_until=id_time(upper), position=upper)
            upper = lower
            if len(rows) > wanted.limit:
                shown = rows[: wanted.limit]
                return Found(shown, position=str(shown[-1]["_id"]))
        return Found(rows)

    async def about(self, subject: str, *, since: datetime | None = None) -> Found:
        """The first jobs about a thing, such as an order, newest first."""
        return await self.find(Wanted(subject=subject, since=since, limit=200))

    async def _window(
        self, paths: Sequence[Doc], wanted: Wanted, lower: str, upper: str, *, limit: int, deadline: float
    ) -> list[Doc]:
        found: dict[str, Doc] = {}
        bounds: Doc = {"_id": {"$gte": lower, "$lt": upper}}
        for path in paths:
            also = [*_filters(wanted), *([bounds] if "_id" in path else [])]
            query = bounds | path | ({"$and": also} if also else {})
            left = max(1, int((deadline - time.monotonic()) * 1000))
            rows = self._jobs.find(query, BRIEF).sort("_id", -1).limit(limit).max_time_ms(left)
            found |= {row["_id"]: row async for row in rows}
        return [found[job_id] for job_id in sorted(found, reverse=True)[:limit]]

    async def _paths(self, wanted: Wanted) -> list[Doc]:
        """The queries that together find all that can match, each by an index where one serves."""
        if wanted.job_id:
            return [{"_id": wanted.job_id}]
        if wanted.subject:
            return await self._related(wanted.subject)
        if wanted.owner:
            return [{"owner": wanted.owner}]
        waiting = [wanted.pool] if wanted.pool else pools()
        by_state: dict[str | None, list[Doc]] = {
            DEAD: [{"state": DEAD}],
            RUNNING: [{"state": RUNNING, "lease_until": {"$gt": EPOCH}}],
            QUEUED: [{"pool": pool, "state": QUEUED} for pool in waiting],
        }
        return by_state.get(wanted.state, [{}])

    async def _related(self, subject: str) -> list[Doc]:
        paths: list[Doc] = [{"_id": subject}]
        for finder in self._finders:
            related = await finder(subject)
            if related is None:
                continue
            ids = sorted(related.job_ids - {subject})
            paths += [{"_id": {"$in": ids[n : n + PART]}} for n in range(0, len(ids), PART)]
            paths += [{"owner": owner, "subject": subject} for owner in sorted(related.owners)]
        return paths


def id_time(job_id: str) -> datetime:
    """When the id was made."""
    return datetime.fromtimestamp(int(job_id[:8] + job_id[9:13], 16) / 1000, UTC)


def _lower_bounds(upper: str, since: datetime) -> Iterator[str]:
    """The lower ends of the windows, from `upper` back to `since`."""
    at, span = id_time(upper), FIRST
    while at > since:
        at = max(at - span, since) if at - since > span else since
        span *= GROWTH
        yield id_floor(at)


def _filters(wanted: Wanted) -> list[Doc]:
    plain = {
        "kind": wanted.kind, "state": wanted.state, "pool": wanted.pool, "owner": wanted.owner,
        "error.code": wanted.code,
    }  # fmt: skip
    filters: list[Doc] = [{name: value} for name, value in plain.items() if value is not None]
    if wanted.text:
        like: dict[str, Any] = {"$regex": re.escape(wanted.text), "$options": "i"}
        filters.append({"$or": [{f"error.{name}": like} for name in ("code", "message", "fault")]})
    return filters
