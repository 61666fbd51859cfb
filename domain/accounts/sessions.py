"""Sessions: one for each device that is logged in. Opened, refreshed, listed, ended."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pymongo.errors import PyMongoError

from domain.accounts.access import Access
from domain.accounts.models import ACCOUNTS, SESSIONS, Account, account_of
from domain.accounts.refresh_tokens import RefreshToken, new_salt, same
from domain.accounts.rules import MAX_SESSIONS
from domain.accounts.standing import session_name
from domain.accounts.tokens import Tokens
from domain.changes import Changes, Database, Doc, GuardFailed, is_duplicate
from domain.errors import NotFound, RefreshTokenReused, TryAgain, Unauthenticated
from domain.settings import Auth
from domain.values import Clock, new_id

REUSED = RefreshTokenReused.code
#: Looks at a session that others refresh at the same time.
TRIES = 5


@dataclass(frozen=True, slots=True)
class Device:
    """Where a request comes from, as far as it says."""

    address: str = ""
    user_agent: str = ""
    #: A name that its owner gave it.
    name: str | None = None


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """What a log-in and a refresh answer: a token for requests, and one to get the next two."""

    account_id: str
    session_id: str
    token: str
    expires_at: datetime
    refresh_token: str
    refresh_expires_at: datetime


class Sessions:
    """The sessions of all accounts."""

    def __init__(
        self, *, database: Database, access: Access, tokens: Tokens, settings: Auth, clock: Clock
    ) -> None:
        self._database = database
        self._access = access
        self._tokens = tokens
        self._ttl: timedelta = settings.refresh_ttl
        self._grace: timedelta = settings.refresh_grace
        self._clock = clock

    async def open(self, account: Account, device: Device, *, password_hash: str | None = None) -> LoggedIn:
        """A new session, and `password_hash` in place of the account's, where there is a better one.

        Raises Unauthenticated where the password was changed since the account was read. An account has 100
        sessions at most: the oldest ends for the next.
        """
        now, ident = self._clock(), new_id()
        token = RefreshToken.first(ident)
        kept = password_hash or account.password_hash
        changes = Changes()
        changes.update(
            ACCOUNTS,
            {"_id": account.id, "password_hash": account.password_hash},
            {"$set": {"password_hash": kept, "logged_in_at": now}},
            expect=1,
            name="password",
        )
        ends = now + self._ttl
        opened: Doc = {
            "_id": ident, "account_id": account.id, "device": device.name, "user_agent": device.user_agent,
            "address": device.address, "created_at": now, "last_used_at": now, "expires_at": ends,
            "revoked_at": None, "revoked_for": None, "family_hash": token.family_hash,
            "refresh_hash": token.hash, "replaced": [],
        }  # fmt: skip
        changes.insert(SESSIONS, [opened])
        try:
            await changes.commit(self._database)
        except GuardFailed:
            raise Unauthenticated from None
        except PyMongoError as error:
            # The id is new: it is there because all this was applied, and ran again for a lost answer.
            if not is_duplicate(error):
                raise
        await self._end_oldest(account.id)
        return self._logged_in(account, token, ends)

    async def refresh(self, text: str, device: Device) -> LoggedIn:
        """New tokens for the session; the refresh token that was shown is replaced.

        Of any number of requests that show the same token at once, one replaces it, and all are answered the
        same next one: for `refresh_grace` seconds a replaced token of the same device (the same User-Agent)
        counts as a repetition whose answer was lost. Later, or from elsewhere, it is a copy: the session ends
        and RefreshTokenReused is raised, for this token and every other of the session from then on. Raises
        Unauthenticated for whatever is no token of a live session, and TryAgain where others keep refreshing.
        """
        shown = RefreshToken.read(text)
        for _ in range(TRIES):
            row = await self._family(shown)
            if same(row["refresh_hash"], shown.hash):
                current = await self._replace(row, shown, device)
            else:
                current = await self._repetition(row, shown, device)
            if current is not None:
                found = await self._database[ACCOUNTS].find_one({"_id": row["account_id"]})
                if found is None:
                    raise Unauthenticated
                return self._logged_in(account_of(found), current, self._clock() + self._ttl)
        # Not the token's fault: whoever is told that it is no good logs in again.
        raise TryAgain("others refresh the session")

    async def page(self, account_id: str, *, after: str | None, limit: int) -> list[Doc]:
        """The account's live sessions, newest first."""
        query = {**self._live(account_id), **({"_id": {"$lt": after}} if after else {})}
        rows: list[Doc] = await self._sessions.find(query).sort("_id", -1).limit(limit).to_list()
        return rows

    async def addresses(self, account_id: str) -> set[str]:
        """Where the account's live sessions were opened or last refreshed."""
        found = self._sessions.find(self._live(account_id), {"address": 1})
        return {row["address"] async for row in found} - {""}

    async def end(self, session_id: str, *, account_id: str) -> None:
        """Refused everywhere from now on. Raises NotFound where it is no live session of the account's."""
        ended = {"$set": {"revoked_at": self._clock(), "revoked_for": "ended"}}
        query = {**self._live(account_id), "_id": session_id}
        if not (await self._sessions.update_one(query, ended)).matched_count:
            raise NotFound(session=session_id)
        await self._access.forget([session_name(session_id)])

    async def end_all(self, account_id: str, *, but: str | None = None, reason: str = "ended") -> int:
        """Ends every session of the account's but one; how many. Idempotent."""
        found = self._sessions.find({**self._live(account_id), "_id": {"$ne": but}}, {"_id": 1})
        ids = [row["_id"] async for row in found]
        if ids:
            ended = {"$set": {"revoked_at": self._clock(), "revoked_for": reason}}
            query = {"_id": {"$in": ids}, "revoked_at": None}
            await Changes.of(SESSIONS, query, ended).commit(self._database)
            await self._access.forget([session_name(each) for each in ids])
        return len(ids)

    async def changed(self, account_id: str) -> None:
        """What the account may do has changed: every process asks the store again."""
        found = self._sessions.find(self._live(account_id), {"_id": 1})
        await self._access.forget([session_name(row["_id"]) async for row in found])

    @property
    def _sessions(self) -> Any:
        return self._database[SESSIONS]

    def _live(self, account_id: str) -> Doc:
        return {"account_id": account_id, "revoked_at": None, "expires_at": {"$gt": self._clock()}}

    async def _family(self, shown: RefreshToken) -> Doc:
        row: Doc | None = await self._sessions.find_one({"_id": shown.session_id})
        if row is None or not same(row["family_hash"], shown.family_hash):
            raise Unauthenticated
        if row["revoked_at"] is not None:
            raise (
                RefreshTokenReused
                if row["revoked_for"] == REUSED
                else Unauthenticated(reason="session_ended")
            )
        if row["expires_at"] <= self._clock():
            raise Unauthenticated(reason="expired")
        return row

    async def _replace(self, row: Doc, shown: RefreshToken, device: Device) -> RefreshToken | None:
        """The next token; None where another request was first."""
        now, salt = self._clock(), new_salt()
        following = shown.next(salt)
        recent = [each for each in row["replaced"] if now - each["at"] <= self._grace]
        values = {
            "refresh_hash": following.hash,
            "replaced": [*recent, {"hash": shown.hash, "salt": salt, "at": now}],
            "last_used_at": now,
            "expires_at": now + self._ttl,
            "address": device.address,
            "user_agent": device.user_agent,
        }
        guard = {"_id": row["_id"], "refresh_hash": shown.hash, "revoked_at": None}
        done = await self._sessions.update_one(guard, {"$set": values})
        return following if done.matched_count else None

    async def _repetition(self, row: Doc, shown: RefreshToken, device: Device) -> RefreshToken | None:
        """The current token again, for a moment and the same device. Raises RefreshTokenReused."""
        now = self._clock()
        recent = [each for each in row["replaced"] if now - each["at"] <= self._grace]
        current = shown.caught_up(recent) if device.user_agent == row["user_agent"] else None
        if current is not None and same(current.hash, row["refresh_hash"]):
            return current
        guard = {"_id": row["_id"], "refresh_hash": row["refresh_hash"], "revoked_at": None}
        ended = {"$set": {"revoked_at": now, "revoked_for": REUSED}}
        if not (await self._sessions.update_one(guard, ended)).matched_count:
            return None
        await self._access.forget([session_name(row["_id"])])
        raise RefreshTokenReused

    async def _end_oldest(self, account_id: str) -> None:
        found = self._sessions.find(self._live(account_id), {"_id": 1}).sort("_id", -1).skip(MAX_SESSIONS)
        for row in await found.to_list():
            with suppress(NotFound):
                await self.end(row["_id"], account_id=account_id)

    def _logged_in(self, account: Account, token: RefreshToken, ends: datetime) -> LoggedIn:
        access = self._tokens.issue(account.id, token.session_id, account.role, frozenset(account.scopes))
        return LoggedIn(
            account_id=account.id,
            session_id=token.session_id,
            token=access.token,
            expires_at=access.expires_at,
            refresh_token=str(token),
            refresh_expires_at=ends,
        )
