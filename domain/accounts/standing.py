"""What the store says of a session or key, by way of Redis."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from domain.accounts.models import ACCOUNTS, API_KEYS, SESSIONS
from domain.accounts.rules import Role
from domain.batching import Batcher
from domain.changes import Database, Doc
from domain.ports import Cache

#: Seconds for which Redis keeps what the store said.
CACHED = 10
#: Seconds of a mark in Redis: longer than any reading of the store takes.
MARKED = 30
MARK = ""
#: Sessions and keys of one reading.
MAX_READ = 256


@dataclass(frozen=True, slots=True)
class Standing:
    """What the store says of a session or key: of whom, and what its account may do now."""

    id: str
    account_id: str
    role: Role
    scopes: frozenset[str]
    #: Seconds since 1970.
    expires: float
    #: Of a key: requests a minute.
    rate_limit: int | None = None

    def as_text(self) -> str:
        """For Redis."""
        facts = [self.id, self.account_id, self.role, sorted(self.scopes), self.expires, self.rate_limit]
        return json.dumps([None if fact == math.inf else fact for fact in facts])

    @classmethod
    def from_text(cls, text: str) -> Self:
        """What `as_text` made."""
        ident, account_id, role, scopes, expires, limit = json.loads(text)
        ends = math.inf if expires is None else expires
        return cls(ident, account_id, role, frozenset(scopes), ends, limit)


def session_name(session_id: str) -> str:
    """What processes call the session among each other."""
    return f"session:{session_id}"


def key_name(digest: str) -> str:
    """The same of an API key, by its SHA-256."""
    return f"key:{digest}"


class Standings:
    """Reads standings: from Redis where it knows, else from the store, many at once."""

    def __init__(self, database: Database, cache: Cache) -> None:
        self._database = database
        self._cache = cache
        self._reads: Batcher[str, Standing | None] = Batcher(self._read, max_size=MAX_READ)

    async def mark(self, names: Sequence[str]) -> None:
        """Has everybody ask the store for a while: what was read before is not put into Redis any more."""
        await self._cache.put({_cached(name): MARK for name in names}, seconds=MARKED)

    async def find(self, name: str) -> Standing | None:
        """The standing; None where there is no such session or key, or it has been ended."""
        cached = await self._cache.get(_cached(name))
        if cached:
            return Standing.from_text(cached)
        standing = await self._reads.submit(name)
        if cached is None and standing is not None:
            await self._cache.add({_cached(name): standing.as_text()}, seconds=CACHED)
        return standing

    async def _read(self, names: list[str]) -> list[Standing | None]:
        wanted: dict[str, list[str]] = {"session": [], "key": []}
        for name in set(names):
            kind, _, ident = name.partition(":")
            wanted[kind].append(ident)
        rows: dict[str, Doc] = {}
        if wanted["session"]:
            found = self._database[SESSIONS].find({"_id": {"$in": wanted["session"]}}, _SESSION)
            rows |= {session_name(row["_id"]): row async for row in found}
        if wanted["key"]:
            found = self._database[API_KEYS].find({"hash": {"$in": wanted["key"]}}, _KEY)
            rows |= {key_name(row["hash"]): row async for row in found}
        ids = sorted({row["account_id"] for row in rows.values() if row["revoked_at"] is None})
        people = (
            self._database[ACCOUNTS].find({"_id": {"$in": ids}}, {"role": 1, "scopes": 1}) if ids else None
        )
        accounts = {row["_id"]: row async for row in people} if people is not None else {}
        return [_standing(rows.get(name), accounts) for name in names]


_SESSION = {"account_id": 1, "revoked_at": 1, "expires_at": 1}
_KEY = {**_SESSION, "hash": 1, "scopes": 1, "rate_limit": 1}


def _standing(row: Doc | None, accounts: Mapping[str, Doc]) -> Standing | None:
    account = accounts.get(row["account_id"]) if row is not None else None
    if row is None or account is None or row["revoked_at"] is not None:
        return None
    allowed = frozenset(account["scopes"])
    ends = row["expires_at"]
    return Standing(
        id=row["_id"],
        account_id=account["_id"],
        role=account["role"],
        scopes=allowed & frozenset(row["scopes"]) if "scopes" in row else allowed,
        expires=math.inf if ends is None else ends.timestamp(),
        rate_limit=row.get("rate_limit"),
    )


def _cached(name: str) -> str:
    return f"access:{name}"
