"""How far each import is, what it refused, and how it ended."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast

from domain.changes import Changes, Database, Doc, GuardFailed
from domain.errors import TryAgain
from domain.events.models import NewEvent
from domain.events.service import Events
from domain.jobs.models import Claimed
from domain.products.commands import ImportProducts
from domain.products.transfer_models import (
    FAILED,
    OUTCOMES,
    REFUSED_ROWS,
    RUNNING,
    TRANSFERS,
    refused_id,
)
from domain.products.upserts import Upserts
from domain.values import Clock

#: The guard of what was counted, see `count`.
GUARD = "import"


class ImportLog:
    """One row for each import: where another run goes on."""

    def __init__(self, *, database: Database, events: Events, clock: Clock) -> None:
        self._database = database
        self._events = events
        self._clock = clock

    async def note(self, import_id: str, command: ImportProducts, *, owner: str) -> None:
        """Idempotent. Makes the row, without which nobody finds the file of an import that never begins."""
        fields = {
            "kind": "import", "owner": owner, "file": command.file, "form": command.form,
            "state": RUNNING, "rows": 0, **dict.fromkeys(OUTCOMES, 0), "reason": None,
            "started_at": self._clock(), "finished_at": None,
        }  # fmt: skip
        transfers = self._database[TRANSFERS]
        await transfers.update_one({"_id": import_id}, {"$setOnInsert": fields}, upsert=True)

    async def begin(self, command: ImportProducts, job: Claimed) -> Doc:
        """The import as it is. One that has failed goes on: it was replayed, or its job had not ended yet."""
        await self.note(job.id, command, owner=job.owner)
        transfers = self._database[TRANSFERS]
        again = {"state": RUNNING, "reason": None, "finished_at": None}
        await transfers.update_one({"_id": job.id, "state": FAILED}, {"$set": again})
        return cast(Doc, await transfers.find_one({"_id": job.id}))

    @staticmethod
    def count(changes: Changes, import_id: str, done: Doc, upserts: Upserts) -> Doc:
        """Adds to the transaction of some rows that they are done; answers the counts after it.

        The transaction fails the guard `GUARD` where another run counted them.
        """
        counts = {name: upserts.outcomes.count(name) for name in OUTCOMES}
        counts["refused"] = len(upserts.refused)
        after = {name: done[name] + count for name, count in counts.items()}
        after["rows"] = done["rows"] + sum(counts.values())
        query = {"_id": import_id, "rows": done["rows"]}
        changes.update(TRANSFERS, query, {"$set": after}, expect=1, name=GUARD)
        rows = [{"_id": refused_id(import_id, each.line), **each.model_dump()} for each in upserts.refused]
        changes.insert(REFUSED_ROWS, rows, guard=True)
        return done | after

    async def require(self, import_id: str, after: Doc) -> None:
        """Returns where the rows were counted, although the answer was lost. Else raises TryAgain."""
        found = cast(Doc, await self._database[TRANSFERS].find_one({"_id": import_id}))
        if counts_of(found) != counts_of(after):
            raise TryAgain("another run goes on with this import", seconds=0)

    async def end(self, job: Claimed, state: str, reason: Mapping[str, Any] | None) -> Doc:
        """The end and its event, in one transaction, once."""
        ending = {"state": state, "reason": reason, "finished_at": self._clock()}
        while True:
            found = cast(Doc, await self._database[TRANSFERS].find_one({"_id": job.id}))
            if found["state"] != RUNNING:
                return found
            changes = Changes()
            query = {"_id": job.id, "state": RUNNING}
            changes.update(TRANSFERS, query, {"$set": ending}, expect=1, name=GUARD)
            data = {"import_id": job.id, "state": state, **counts_of(found)}
            event = NewEvent(job.owner, "import.finished", job.id, data)
            cursors = await self._events.cursors([job.owner])
            recorded = self._events.record(changes, [event], cursors=cursors, at=self._clock())
            with suppress(GuardFailed):
                await changes.commit(self._database)
                self._events.publish(recorded)
                return found | ending


def counts_of(done: Doc) -> Doc:
    """Its rows, and how many came to what."""
    return {name: done[name] for name in ("rows", *OUTCOMES)}
