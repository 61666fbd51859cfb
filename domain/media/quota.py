"""Room for media: what each account has of it, counted in the transaction that takes it or gives it back."""

from pymongo.errors import DuplicateKeyError

from domain.changes import Changes, Database, Doc
from domain.media.errors import MediaQuotaExceeded
from domain.media.models import MEDIA_USAGE
from domain.settings import Media as MediaSettings

#: The guard's name.
GUARD = "media quota"


class Quota:
    """Originals count as long as they are: from the promise to take them until the sweep has taken them away.

    The counter is its own guard: of two uploads that the account has room for one of, one is refused.
    """

    def __init__(self, *, database: Database, settings: MediaSettings) -> None:
        self._usage = database[MEDIA_USAGE]
        self._settings = settings

    def take(self, changes: Changes, account_id: str, size: int) -> None:
        """Adds one medium of so many bytes. Without room the guard `GUARD` fails: see `refused`."""
        room = {
            "_id": account_id,
            "bytes": {"$lte": self._settings.quota_bytes - size},
            "number": {"$lt": self._settings.quota_count},
        }
        grown = {"$inc": {"bytes": size, "number": 1}}
        changes.update(MEDIA_USAGE, room, grown, expect=1, name=GUARD)

    @staticmethod
    def give_back(changes: Changes, account_id: str, size: int) -> None:
        """Takes one medium off."""
        changes.update(
            MEDIA_USAGE, {"_id": account_id}, {"$inc": {"bytes": -size, "number": -1}}, expect=1, name=GUARD
        )

    async def refused(self, account_id: str, size: int) -> None:
        """Called where the guard failed: returns where it may be tried again.

        Raises MediaQuotaExceeded.
        """
        usage = await self._usage.find_one({"_id": account_id})
        if usage is None:
            await self._begin(account_id)
            return
        left = self._left(usage)
        if left["count"] < 1 or left["bytes"] < size:
            raise MediaQuotaExceeded(size=size, left=left)

    async def usage(self, account_id: str) -> Doc:
        """What the account has, and what there is room for: bytes, and a count of media."""
        usage = await self._usage.find_one({"_id": account_id}) or {"bytes": 0, "number": 0}
        return {"bytes": usage["bytes"], "count": usage["number"], "left": self._left(usage)}

    def _left(self, usage: Doc) -> Doc:
        return {
            "bytes": max(0, self._settings.quota_bytes - usage["bytes"]),
            "count": max(0, self._settings.quota_count - usage["number"]),
        }

    async def _begin(self, account_id: str) -> None:
        try:
            await self._usage.insert_one({"_id": account_id, "bytes": 0, "number": 0})
        except DuplicateKeyError:
            return
