"""Locations: where stock is."""

import time
from collections.abc import Collection
from datetime import timedelta

from pymongo.errors import DuplicateKeyError

from domain.changes import Changes, Database, Doc, GuardFailed
from domain.errors import (
    Invalid,
    LocationInUse,
    LocationTaken,
    NotFound,
    StaleRevision,
    UnknownLocation,
)
from domain.inventory.models import LOCATIONS, STOCK
from domain.inventory.rules import DEFAULT_LOCATION
from domain.values import Clock, new_id

#: The most locations that there are at once: a batch reads its SKUs at all of them.
MOST_LOCATIONS = 100
#: Of the location that exists from the start: others may come before it and after it.
DEFAULT_PRIORITY = 100


class Locations:
    """Locations by code. The default one is there from the start, and for good."""

    def __init__(self, *, database: Database, clock: Clock, known_for: timedelta) -> None:
        self._database = database
        self._clock = clock
        self._known_for = known_for.total_seconds()
        self._places: tuple[str, ...] = ()
        self._read_at: float | None = None

    async def to_sell_from(self) -> tuple[str, ...]:
        """Codes of the active locations, in the order of their priority.

        Known in the process for `known_for`: so long may a change of another process take to be seen.
        """
        if self._read_at is None or time.monotonic() - self._read_at > self._known_for:
            began = time.monotonic()
            self._places = tuple(row["_id"] for row in await self.all() if row["active"])
            self._read_at = began
        return self._places

    async def all(self) -> list[Doc]:
        """All locations, in the order of their priority; those of one priority by code."""
        query = {"deleted_at": None}
        rows = await self._database[LOCATIONS].find(query).sort([("priority", 1), ("_id", 1)]).to_list()
        if any(row["_id"] == DEFAULT_LOCATION for row in rows):
            return rows
        await self._create_default()
        return await self.all()

    async def ever(self) -> list[str]:
        """Codes of all locations: those that there are, by priority, then those that were."""
        gone = self._database[LOCATIONS].find({"deleted_at": {"$ne": None}}, {"_id": 1}).sort("_id")
        return [row["_id"] for row in await self.all()] + [row["_id"] async for row in gone]

    async def get(self, code: str) -> Doc:
        """Raises NotFound."""
        found = next((row for row in await self.all() if row["_id"] == code), None)
        if found is None:
            raise NotFound(location=code)
        return found

    async def require(self, code: str) -> None:
        """Raises UnknownLocation."""
        if code == DEFAULT_LOCATION:
            return
        query = {"_id": code, "deleted_at": None}
        if await self._database[LOCATIONS].find_one(query, {"_id": 1}) is None:
            raise UnknownLocation(location=code)

    async def create(self, *, code: str, name: str, priority: int, active: bool) -> tuple[Doc, bool]:
        """A new location, and True; or the one that is there, and False, where it is just as wanted.

        Raises LocationTaken where the code is, or was, that of another: movements name it for good; and
        Invalid(reason="too_many_locations").
        """
        known = await self.all()
        if len(known) >= MOST_LOCATIONS and code not in {row["_id"] for row in known}:
            raise Invalid(reason="too_many_locations", most=MOST_LOCATIONS)
        location = self._location(code, name=name, priority=priority, active=active)
        try:
            await self._database[LOCATIONS].insert_one(location)
        except DuplicateKeyError as error:
            there = await self._database[LOCATIONS].find_one({"_id": code}) or {}
            same = all(there.get(field) == location[field] for field in ("name", "priority", "active"))
            if not same or there["deleted_at"] is not None:
                raise LocationTaken(location=code) from error
            return there, False
        self._read_at = None
        return location, True

    async def change(self, code: str, fields: Doc, *, expected: Collection[str] | None = None) -> Doc:
        """Sets `name`, `priority` or `active`; with `expected` only where the revision is one of these.

        Raises NotFound, and StaleRevision.
        """
        location = await self.get(code)
        query: Doc = {"_id": code, "deleted_at": None}
        if expected is not None:
            query["revision"] = {"$in": sorted(expected)}
        changed = location | fields | {"revision": new_id(), "updated_at": self._clock()}
        update = {name: changed[name] for name in ("name", "priority", "active", "revision", "updated_at")}
        written = await self._database[LOCATIONS].update_one(query, {"$set": update})
        self._read_at = None
        # A write whose answer was lost, and which the driver repeated, finds its own revision.
        if not written.matched_count and (await self.get(code))["revision"] != changed["revision"]:
            raise StaleRevision(location=code)
        return changed

    async def delete(self, code: str) -> None:
        """Deletes a location without units. Its code is not given again: movements name it.

        Raises NotFound, and LocationInUse while it has units, and always for the default location.
        """
        location = await self.get(code)
        if code == DEFAULT_LOCATION:
            raise LocationInUse(location=code)
        rows = await self._database[STOCK].find({"location": code}, {"_id": 1}).to_list()
        changes, now = Changes(), self._clock()
        # The number of its stocks tells whether one was opened since.
        query = {"_id": code, "deleted_at": None, "stocks": location["stocks"]}
        changes.update(LOCATIONS, query, {"$set": {"deleted_at": now}}, expect=1, name="location to delete")
        if rows:
            empty = {"_id": {"$in": [row["_id"] for row in rows]}, "available": 0, "reserved": 0}
            changes.update(STOCK, empty, {"$set": {"closed": True}}, expect=len(rows), name="stock to close")
        try:
            await changes.commit(self._database)
        except GuardFailed as error:
            # Deleted by a commit whose answer was lost?
            if await self._database[LOCATIONS].find_one({"_id": code, "deleted_at": now}, {"_id": 1}):
                return
            await self.get(code)
            raise LocationInUse(location=code) from error
        finally:
            self._read_at = None

    async def _create_default(self) -> None:
        location = self._location(DEFAULT_LOCATION, name="Main", priority=DEFAULT_PRIORITY, active=True)
        fields = {name: value for name, value in location.items() if name != "_id"}
        try:
            await self._database[LOCATIONS].update_one(
                {"_id": DEFAULT_LOCATION}, {"$setOnInsert": fields}, upsert=True
            )
        except DuplicateKeyError:
            return  # Somebody else did, at the same moment.

    def _location(self, code: str, *, name: str, priority: int, active: bool) -> Doc:
        now = self._clock()
        return {
            "_id": code,
            "name": name,
            "priority": priority,
            "active": active,
            "stocks": 0,
            "deleted_at": None,
            "revision": new_id(),
            "created_at": now,
            "updated_at": now,
        }
