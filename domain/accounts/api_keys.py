"""API keys: for programs that act for an account. Made, listed, rotated, revoked."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo.errors import PyMongoError

from domain.accounts.access import Access
from domain.accounts.models import API_KEYS
from domain.accounts.refresh_tokens import digest
from domain.accounts.rules import KEY_PREFIX, MAX_KEYS, Principal, own_scopes
from domain.accounts.standing import key_name
from domain.changes import Changes, Database, Doc, GuardFailed, is_duplicate
from domain.errors import Invalid, KeyNotRotatable, NotFound, TooManyKeys
from domain.settings import Auth
from domain.values import Clock, new_id

#: Characters of a key that its listing shows.
SHOWN = len(KEY_PREFIX) + 8
#: The furthest end of a key.
LONGEST = timedelta(days=3650)
#: The longest that a rotated key works on.
MAX_OVERLAP = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class MadeKey:
    """A new key. `secret` is the key itself, which nobody can ever show again."""

    row: Doc
    secret: str


class ApiKeys:
    """The API keys of all accounts."""

    def __init__(self, *, database: Database, access: Access, settings: Auth, clock: Clock) -> None:
        self._database = database
        self._access = access
        self._rate_limit = settings.key_rate_limit
        self._clock = clock

    async def create(
        self,
        by: Principal,
        *,
        name: str,
        scopes: Sequence[str],
        expires_at: datetime | None = None,
        rate_limit: int | None = None,
    ) -> MadeKey:
        """A key with scopes that its maker has; what the account loses later, the key loses, too.

        Only ops accounts make keys with a greater limit than the setting. Raises Forbidden for other scopes,
        Invalid for an end that has passed, and TooManyKeys past 50 live keys.
        """
        granted = own_scopes(scopes, of=by.scopes)
        now = self._clock()
        if rate_limit is not None and rate_limit > self._rate_limit and by.role != "ops":
            raise Invalid(reason="rate_limit", most=self._rate_limit)
        if await self._keys.count_documents(self._live(by.account_id)) >= MAX_KEYS:
            raise TooManyKeys(most=MAX_KEYS)
        made = _make(
            account_id=by.account_id,
            name=name,
            scopes=granted,
            rate_limit=rate_limit or self._rate_limit,
            created_at=now,
            expires_at=_end(expires_at, now),
        )
        await self._keys.insert_one(made.row)
        return made

    async def rotate(
        self, key_id: str, *, account_id: str, overlap: timedelta, expires_at: datetime | None = None
    ) -> MadeKey:
        """A new key with the same name, scopes and limit, and the same end unless another is given.

        The old one ends after `overlap`. Raises NotFound, Invalid for an end that has passed, and
        KeyNotRotatable where it was rotated before, is revoked or has expired: of two requests one
        makes a key.
        """
        if not timedelta() <= overlap <= MAX_OVERLAP:
            raise Invalid(reason="overlap")
        old, now = await self.get(key_id, account_id=account_id), self._clock()
        ends = min(filter(None, (old["expires_at"], now + overlap)))
        if old["replaced_by"] or old["revoked_at"] or (old["expires_at"] and old["expires_at"] <= now):
            raise KeyNotRotatable(key=key_id)
        new_end = _end(expires_at, now) or old["expires_at"]
        kept = {name: old[name] for name in ("account_id", "name", "scopes", "rate_limit")}
        made = _make(**kept, created_at=now, expires_at=new_end)
        changes = Changes()
        guard = {"_id": key_id, "replaced_by": None, "revoked_at": None}
        values = {"replaced_by": made.row["_id"], "expires_at": ends}
        changes.update(API_KEYS, guard, {"$set": values}, expect=1, name="rotated")
        changes.insert(API_KEYS, [made.row])
        try:
            await changes.commit(self._database)
        except GuardFailed:
            applied = await self._keys.find_one({"_id": made.row["_id"]})
            if applied is None:
                raise KeyNotRotatable(key=key_id) from None
        except PyMongoError as error:
            if not is_duplicate(error):
                raise
        await self._access.forget([key_name(old["hash"])])
        return made

    async def revoke(self, key_id: str, *, account_id: str) -> None:
        """Idempotent. Refused everywhere from now on. Raises NotFound."""
        row = await self.get(key_id, account_id=account_id)
        ended = {"$set": {"revoked_at": self._clock()}}
        await self._keys.update_one({"_id": key_id, "revoked_at": None}, ended)
        await self._access.forget([key_name(row["hash"])])

    async def get(self, key_id: str, *, account_id: str) -> Doc:
        """Raises NotFound where it is not the account's."""
        row: Doc | None = await self._keys.find_one({"_id": key_id, "account_id": account_id})
        if row is None:
            raise NotFound(key=key_id)
        return row

    async def page(self, account_id: str, *, after: str | None, limit: int) -> list[Doc]:
        """The account's keys, newest first, with those that have ended."""
        query = {"account_id": account_id, **({"_id": {"$lt": after}} if after else {})}
        rows: list[Doc] = await self._keys.find(query).sort("_id", -1).limit(limit).to_list()
        return rows

    async def changed(self, account_id: str) -> None:
        """What the account may do has changed: every process asks the store again."""
        found = self._keys.find(self._live(account_id), {"hash": 1})
        await self._access.forget([key_name(row["hash"]) async for row in found])

    @property
    def _keys(self) -> Any:
        return self._database[API_KEYS]

    def _live(self, account_id: str) -> Doc:
        ahead: list[Doc] = [{"expires_at": None}, {"expires_at": {"$gt": self._clock()}}]
        return {"account_id": account_id, "revoked_at": None, "$or": ahead}


def _end(expires_at: datetime | None, now: datetime) -> datetime | None:
    if expires_at is None:
        return None
    if not now < expires_at <= now + LONGEST:
        raise Invalid(reason="expires_at")
    return expires_at.astimezone(UTC)


def _make(**facts: Any) -> MadeKey:
    secret = KEY_PREFIX + secrets.token_urlsafe(32)
    row = {
        "_id": new_id(),
        **facts,
        "prefix": secret[:SHOWN],
        "hash": digest(secret),
        "last_used_at": None,
        "revoked_at": None,
        "replaced_by": None,
    }
    return MadeKey(row, secret)
