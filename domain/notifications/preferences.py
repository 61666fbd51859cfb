"""What reaches an account by which channel."""

from collections.abc import Collection
from dataclasses import dataclass

from pymongo.errors import DuplicateKeyError

from domain.changes import Database, Doc
from domain.errors import Invalid, StaleRevision
from domain.notifications.models import PREFERENCES
from domain.notifications.rules import Choices, refusals
from domain.values import Clock, new_id

#: The revision of preferences that nobody has written yet.
UNWRITTEN = "unwritten"
#: Accounts that are asked for at once.
PART = 50


@dataclass(frozen=True, slots=True)
class Chosen:
    """What an account has chosen, and the revision of it."""

    choices: Choices
    revision: str


class Preferences:
    """One document per account; none for those who have never chosen."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._rows = database[PREFERENCES]
        self._clock = clock

    async def of(self, account_id: str) -> Chosen:
        """What the account has chosen."""
        row = await self._rows.find_one({"_id": account_id})
        return _chosen(row) if row else Chosen({}, UNWRITTEN)

    async def of_all(self, account_ids: Collection[str]) -> dict[str, Choices]:
        """What those of the accounts have chosen that ever chose."""
        ids, found = sorted(set(account_ids)), dict[str, Choices]()
        for start in range(0, len(ids), PART):
            rows = self._rows.find({"_id": {"$in": ids[start : start + PART]}})
            found |= {row["_id"]: _chosen(row).choices async for row in rows}
        return found

    async def replace(self, account_id: str, choices: Choices, *, expected: Collection[str] | None) -> Chosen:
        """Puts these choices in the place of those of a revision that is `expected`; None for any.

        Raises Invalid(reason="preferences") with `errors`, for a pattern that stands for no type, a channel
        that none of its types has, and security mail switched off; and StaleRevision.
        """
        wrong = [
            {"pattern": pattern[:100], "channel": channel[:100], "reason": reason}
            for pattern, channel, reason in refusals(choices)
        ]
        if wrong:
            raise Invalid(reason="preferences", errors=wrong[:20])
        fields: Doc = {
            "choices": [{"pattern": pattern, **chosen} for pattern, chosen in sorted(choices.items())],
            "revision": new_id(),
            "updated_at": self._clock(),
        }
        if not await self._put(account_id, fields, expected):
            raise StaleRevision(preferences=account_id)
        return _chosen(fields)

    async def _put(self, account_id: str, fields: Doc, expected: Collection[str] | None) -> bool:
        if expected is None:
            await self._rows.update_one({"_id": account_id}, {"$set": fields}, upsert=True)
            return True
        query = {"_id": account_id, "revision": {"$in": sorted(expected)}}
        if (await self._rows.update_one(query, {"$set": fields})).matched_count:
            return True
        if UNWRITTEN in expected:
            try:
                await self._rows.insert_one({"_id": account_id, **fields})
            except DuplicateKeyError:
                pass
            else:
                return True
        # A write whose answer was lost, and which the driver repeated, finds its own revision.
        mine = {"_id": account_id, "revision": fields["revision"]}
        return await self._rows.find_one(mine, {"_id": 1}) is not None


def _chosen(row: Doc) -> Chosen:
    choices = {
        each["pattern"]: {name: on for name, on in each.items() if name != "pattern"}
        for each in row["choices"]
    }
    return Chosen(choices, row["revision"])
