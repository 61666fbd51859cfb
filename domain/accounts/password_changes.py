"""Writing another password: with the event that tells of it, in one transaction."""

from domain.accounts.models import ACCOUNTS, Account
from domain.changes import Changes, Database, GuardFailed
from domain.errors import Conflict, TryAgain
from domain.events.models import NewEvent
from domain.events.service import Events
from domain.values import Clock

#: How often it is tried again where somebody else recorded an event of the account.
TRIES = 8
_GUARD = "password as it was read"


class PasswordChanges:
    """Guarded by the hash that was read: of two changes at once, one is first."""

    def __init__(self, *, database: Database, events: Events, clock: Clock) -> None:
        self._database = database
        self._events = events
        self._clock = clock

    def tell_through(self, events: Events) -> None:
        """Whose events these are from now on: those that are routed to the ways that deliver them."""
        self._events = events

    async def write(self, account: Account, password_hash: str, *, address: str) -> None:
        """Raises Conflict where another change was faster, and TryAgain."""
        for _ in range(TRIES):
            try:
                await self._try(account, password_hash, address)
            except GuardFailed as error:
                if _GUARD not in error.guards:
                    continue
                await self._require_mine(account.id, password_hash)
            return
        raise TryAgain("others keep recording events of the account")

    async def _try(self, account: Account, password_hash: str, address: str) -> None:
        now, changes = self._clock(), Changes()
        seen = {"_id": account.id, "password_hash": account.password_hash}
        changes.update(ACCOUNTS, seen, {"$set": {"password_hash": password_hash}}, expect=1, name=_GUARD)
        event = NewEvent(account.id, "account.password_changed", account.id, {"address": address or None})
        cursors = await self._events.cursors([account.id])
        recorded = self._events.record(changes, [event], cursors=cursors, at=now)
        await changes.commit(self._database)
        self._events.publish(recorded)

    async def _require_mine(self, account_id: str, password_hash: str) -> None:
        """A commit may have been applied, and its answer lost. Raises Conflict."""
        query = {"_id": account_id, "password_hash": password_hash}
        if await self._database[ACCOUNTS].find_one(query, {"_id": 1}) is None:
            raise Conflict(reason="password_changed")
