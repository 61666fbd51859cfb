"""Media whose job has ended without them, as it died or was cancelled: they fail, so that clients see it."""

from collections.abc import Sequence

from domain.changes import Database, Doc
from domain.jobs.models import JOBS
from domain.jobs.rules import QUEUED, RUNNING
from domain.media.models import MEDIA, MEDIA_MARKS
from domain.media.rendering import Rendering
from domain.media.rules import PROCESSING

#: Media that one run looks at, and jobs of one read by id.
PAGE, KEYS = 500, 25
#: What the walk is called among the marks.
WALK = "stalled"


class Stalled:
    """Walks over the media that jobs are at, by the ids of the jobs, and begins again after the last."""

    def __init__(self, *, database: Database, rendering: Rendering) -> None:
        self._media = database[MEDIA]
        self._marks = database[MEDIA_MARKS]
        self._jobs = database[JOBS]
        self._rendering = rendering

    async def fail(self) -> int:
        """Fails those of the next page whose job has ended; answers how many. May run twice at once.

        What was uploaded is kept as long as the medium: it can be completed again, and its job replayed.
        """
        mark = await self._marks.find_one({"_id": WALK})
        page = {"state": PROCESSING, "job_id": {"$gt": mark["after"] if mark else ""}}
        rows = await self._media.find(page).sort("job_id").limit(PAGE).to_list()
        after = rows[-1]["job_id"] if len(rows) == PAGE else ""
        if after != (mark["after"] if mark else ""):
            await self._marks.update_one({"_id": WALK}, {"$set": {"after": after}}, upsert=True)
        count = 0
        for start in range(0, len(rows), KEYS):
            part = rows[start : start + KEYS]
            at_work = await self._at_work([row["job_id"] for row in part])
            ended = [row for row in part if row["job_id"] not in at_work]
            count += sum([await self._rendering.stop(row) for row in ended])
        return count

    async def _at_work(self, job_ids: Sequence[str]) -> set[str]:
        query: Doc = {"_id": {"$in": list(job_ids)}, "state": {"$in": [QUEUED, RUNNING]}}
        return {row["_id"] async for row in self._jobs.find(query, {"_id": 1})}
