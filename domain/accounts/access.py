"""Who holds a credential: known in a moment, and refused at once when it has ended.

What a process knows of a session or key it believes for `recheck`; then it looks again, in Redis, and where
that knows nothing, in the store. Whoever ends or changes one calls `forget`: all processes are told by
pub/sub, and Redis keeps a mark in its place, so that no older reading is put there.
"""

import asyncio
import hashlib
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from domain.accounts.keyring import KeyRing
from domain.accounts.last_used import LastUsed
from domain.accounts.models import API_KEYS, SESSIONS
from domain.accounts.rules import KEY_PREFIX, Principal
from domain.accounts.standing import Standing, Standings, key_name, session_name
from domain.accounts.tokens import Tokens
from domain.changes import Database
from domain.errors import Unauthenticated
from domain.ports import Cache, PubSub
from domain.values import Clock

#: Where processes tell each other what to forget: names, or KEYS.
CHANNEL = "stockyard:access"
#: The name that says that the signing keys have changed.
KEYS = "keys"
#: Credentials, and sessions and keys, that one process knows.
REMEMBERED = 16_384
#: The longest API key that is looked for.
MAX_KEY = 100

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """A standing that is believed for a while."""

    standing: Standing
    until: float


@dataclass(frozen=True, slots=True)
class _Shown:
    """What a credential says by itself: it is genuine, and of this session or key."""

    name: str
    expires: float = math.inf
    account_id: str | None = None
    scopes: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class _Known:
    shown: _Shown
    held: _Held
    until: float
    principal: Principal


class Access:
    """Says who holds a credential; forgets what has changed."""

    def __init__(
        self,
        *,
        database: Database,
        cache: Cache,
        pubsub: PubSub,
        tokens: Tokens,
        recheck: float,
        clock: Clock,
    ) -> None:
        self._standings = Standings(database, cache)
        self._pubsub = pubsub
        self._tokens = tokens
        self._recheck = recheck
        self._clock = clock
        self._known: dict[bytes, _Known] = {}
        self._held: dict[str, _Held] = {}
        #: Those who ask at the same time look once.
        self._looking: dict[str, asyncio.Task[_Held]] = {}
        #: Raised by everything that is forgotten: what was read before may be old.
        self._epoch = 0
        self._last_used = LastUsed(database, clock)

    async def principal(self, credential: str) -> Principal:
        """Who holds the access token or API key.

        Raises Unauthenticated, and what a store raises that is away. Waits for nothing where the same
        credential came within `recheck`.
        """
        digest = hashlib.sha256(credential.encode("utf-8", "replace")).digest()
        known = self._known.get(digest)
        now = self._clock().timestamp()
        if known is not None and now < known.until and self._held.get(known.shown.name) is known.held:
            return known.principal
        shown = known.shown if known is not None else self._genuine(credential, digest)
        if now >= shown.expires:
            self._known.pop(digest, None)
            raise Unauthenticated(reason="expired")
        held = await self._hold(shown.name, now)
        if now >= held.standing.expires:
            raise Unauthenticated(reason="expired")
        if shown.account_id not in {None, held.standing.account_id}:
            raise Unauthenticated
        until = min(shown.expires, held.standing.expires, held.until)
        found = _Known(shown, held, until, _principal(shown, held.standing))
        _keep(self._known, digest, found)
        return found.principal

    async def of_session(self, session_id: str) -> Principal:
        """What the account of a session may do now, whatever its tokens say.

        Raises Unauthenticated once the session has ended, and what a store raises that is away.
        """
        now = self._clock().timestamp()
        held = await self._hold(session_name(session_id), now)
        if now >= held.standing.expires:
            raise Unauthenticated(reason="expired")
        return _principal(_Shown(session_name(session_id), scopes=held.standing.scopes), held.standing)

    async def forget(self, names: Sequence[str]) -> None:
        """Call it after the write that ended or changed these sessions and keys.

        When it returns, this process asks the store again, and so do all others that Redis reaches.
        """
        if not names:
            return
        self._drop(names)
        await self._standings.mark(names)
        await self._pubsub.publish([(CHANNEL, " ".join(names))])

    async def tell_of_new_keys(self) -> None:
        """Has every process read the signing keys again."""
        await self._pubsub.publish([(CHANNEL, KEYS)])

    def replace_ring(self, ring: KeyRing) -> None:
        """Signs and verifies with these keys from now on; tokens of keys that are gone are refused."""
        gone = self._tokens.ring.kids - ring.kids
        self._tokens.ring = ring
        if gone:
            self._known.clear()

    @asynccontextmanager
    async def listening(self, keys_changed: asyncio.Event) -> AsyncIterator[None]:
        """Forgets what other processes say has changed; sets `keys_changed` for the signing keys."""
        async with self._pubsub.subscribe(CHANNEL) as told:
            task = asyncio.create_task(self._listen(told, keys_changed))
            try:
                yield
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def drain(self) -> None:
        """Returns when it is written what was used when."""
        await self._last_used.drain()

    async def _listen(self, told: AsyncIterator[str], keys_changed: asyncio.Event) -> None:
        async for payload in told:
            names = payload.split()
            if not names or KEYS in names:
                keys_changed.set()
            # Nothing at all says that messages may have been missed.
            self._drop(names or [*self._held, *self._looking])

    def _drop(self, names: Sequence[str]) -> None:
        self._epoch += 1
        for name in names:
            self._held.pop(name, None)
            # Who asks from now on is not given what is being read already.
            self._looking.pop(name, None)

    def _genuine(self, credential: str, digest: bytes) -> _Shown:
        if credential.startswith(KEY_PREFIX):
            if len(credential) > MAX_KEY:
                raise Unauthenticated
            return _Shown(key_name(digest.hex()))
        claims = self._tokens.read(credential)
        return _Shown(session_name(claims.sid), claims.exp, claims.sub, frozenset(claims.scope.split()))

    async def _hold(self, name: str, now: float) -> _Held:
        held = self._held.get(name)
        if held is not None and now < held.until:
            return held
        looking = self._looking.get(name)
        if looking is None:
            looking = self._looking[name] = asyncio.create_task(self._look(name, now), context=Context())
            looking.add_done_callback(partial(self._looked, name))
        return await asyncio.shield(looking)

    def _looked(self, name: str, task: "asyncio.Task[_Held]") -> None:
        if self._looking.get(name) is task:
            del self._looking[name]
        if not task.cancelled():
            # Whoever asked has it; it is nobody's where they have all left.
            task.exception()

    async def _look(self, name: str, now: float) -> _Held:
        epoch = self._epoch
        standing = await self._standings.find(name)
        if standing is None:
            raise Unauthenticated(**({"reason": "session_ended"} if name.startswith("session:") else {}))
        held = _Held(standing, now + self._recheck)
        if epoch == self._epoch:
            _keep(self._held, name, held)
        self._last_used.note(SESSIONS if name.startswith("session:") else API_KEYS, standing.id)
        return held


def _principal(shown: _Shown, standing: Standing) -> Principal:
    is_key = shown.scopes is None
    scopes = standing.scopes if shown.scopes is None else shown.scopes & standing.scopes
    return Principal(
        account_id=standing.account_id,
        role=standing.role,
        scopes=scopes,
        session_id=None if is_key else standing.id,
        key_id=standing.id if is_key else None,
        rate_limit=standing.rate_limit,
    )


def _keep(kept: dict[Any, Value], key: Any, value: Value) -> None:
    if len(kept) >= REMEMBERED and key not in kept:
        del kept[next(iter(kept))]
    kept[key] = value
