"""Accounts: who may come in, and as whom."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Self

from pymongo.errors import DuplicateKeyError, PyMongoError

from domain.accounts.access import Access
from domain.accounts.api_keys import ApiKeys
from domain.accounts.console import ConsolePasses
from domain.accounts.directory import Directory
from domain.accounts.keyring import KeyRing, open_ring, rotate
from domain.accounts.models import ACCOUNTS, Account, account_of
from domain.accounts.password_changes import PasswordChanges
from domain.accounts.passwords import Passwords
from domain.accounts.rules import MAX_PASSWORD, ROLE_SCOPES, Principal, Role, normal_email
from domain.accounts.sessions import Device, LoggedIn, Sessions
from domain.accounts.throttle import Throttle, network_of
from domain.accounts.tokens import Tokens
from domain.changes import Database
from domain.errors import EmailTaken, Forbidden, Invalid, Unauthenticated
from domain.events.service import Events
from domain.observe import logger
from domain.ports import Cache, PubSub, RateLimiter
from domain.settings import Auth
from domain.values import Clock, new_id, utcnow

log = logger(__name__)

#: Seconds after which a process reads the signing keys again, told or not.
RING_READ = 30.0
#: A server's own log-ins, which come from nowhere.
HERE = Device()


class Accounts:
    """Registers, logs in and authenticates. Made by `open`, once the models are bound to a database.

    `sessions` and `keys` are what accounts have, `console` lets those in who operate the platform;
    `directory` is what staff sees of them.
    """

    def __init__(
        self,
        ring: KeyRing,
        settings: Auth,
        *,
        database: Database,
        cache: Cache,
        pubsub: PubSub,
        limiter: RateLimiter,
        clock: Clock = utcnow,
    ) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self._passwords = Passwords(min_score=settings.min_password_score)
        self._throttle = Throttle(limiter, settings)
        self._tokens = Tokens(ring, settings, clock)
        shared: dict[str, Any] = {"database": database, "clock": clock}
        recheck = settings.recheck.total_seconds()
        events = Events(pubsub=pubsub, database=database, clock=clock)
        self._password_changes = PasswordChanges(events=events, database=database, clock=clock)
        self._access = Access(cache=cache, pubsub=pubsub, tokens=self._tokens, recheck=recheck, **shared)
        shared |= {"access": self._access, "settings": settings}
        self.sessions = Sessions(tokens=self._tokens, **shared)
        self.keys = ApiKeys(**shared)
        self.console = ConsolePasses(access=self._access, tokens=self._tokens, clock=clock)
        self.directory = Directory(database)
        self.limiter = limiter

    @classmethod
    async def open(cls, settings: Auth, *, clock: Clock = utcnow, **ports: Any) -> Self:
        """Reads the signing keys. Raises ValueError or TypeError where the settings' key is none."""
        return cls(await open_ring(ports["database"], settings, now=clock()), settings, clock=clock, **ports)

    def close(self) -> None:
        """Idempotent. Lets the threads go that hash passwords."""
        self._passwords.close()

    def tell_through(self, events: Events) -> None:
        """Whose events tell of accounts from now on: those that are routed to the ways that deliver them."""
        self._password_changes.tell_through(events)

    async def drain(self) -> None:
        """Returns when it is written what was used when."""
        await self._access.drain()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """While it is open, other processes' revocations and new signing keys are heard of at once."""
        changed = asyncio.Event()
        async with self._access.listening(changed):
            task = asyncio.create_task(self._follow_keys(changed))
            try:
                yield
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def register(self, email: str, password: str, *, device: Device = HERE) -> Account:
        """A new customer, who may write and read own orders. Raises EmailTaken, Invalid and TooManyRequests.

        That an address is taken has to be said, so whoever asks for many is made to wait. It takes as long
        as a registration.
        """
        await self._throttle.newcomer(device.address)
        async with self._throttle.trying(address=device.address, wrong=EmailTaken):
            return await self._create(email, password, role="customer")

    async def create_ops(self, email: str, password: str) -> Account:
        """A new account that may do everything; for the server's command line only, never over HTTP.

        Raises EmailTaken and Invalid.
        """
        return await self._create(email, password, role="ops")

    async def log_in(self, email: str, password: str, *, device: Device = HERE) -> LoggedIn:
        """A session with the account's role and scopes as they are now. Replaces an outdated password hash.

        Raises Unauthenticated, after the same work, whether or not there is such an account; and
        TooManyRequests, whether or not the password is right.
        """
        address = email.strip().lower()
        async with self._throttle.trying(
            address=device.address,
            account=address,
            wrong=Unauthenticated,
            familiar=partial(self._familiar, address, device),
        ):
            account = await self._by_email(address)
            known = account.password_hash if account is not None else None
            right, better = await self._passwords.verify(password[:MAX_PASSWORD], known)
            if account is None or not right or len(password) > MAX_PASSWORD:
                raise Unauthenticated
        return await self.sessions.open(account, device, password_hash=better)

    async def change_password(self, by: Principal, current: str, new: str, *, device: Device = HERE) -> None:
        """Ends every other session of the account; API keys stay.

        Raises Invalid(reason="wrong_password"), Invalid as for a registration, Conflict where another
        change was faster, and TooManyRequests as `log_in` does.
        """
        account = await self.get(by.account_id)
        async with self._throttle.trying(
            address=device.address,
            account=account.email,
            wrong=Invalid,
            familiar=partial(self._familiar, account.email, device),
        ):
            right, _ = await self._passwords.verify(current[:MAX_PASSWORD], account.password_hash)
            if not right or len(current) > MAX_PASSWORD:
                raise Invalid(reason="wrong_password")
        better = await self._passwords.hash(new, email=account.email)
        # Before and after: whoever is logged in elsewhere is out, also where this process dies in between.
        await self.sessions.end_all(account.id, but=by.session_id, reason="password_changed")
        await self._password_changes.write(account, better, address=device.address)
        await self.sessions.end_all(account.id, but=by.session_id, reason="password_changed")

    async def authenticate(self, credential: str) -> Principal:
        """Who holds the access token or API key; from memory where it came a moment ago.

        Raises Unauthenticated.
        """
        return await self._access.principal(credential)

    def jwks(self) -> dict[str, Any]:
        """The public keys that verify our tokens, as a JWK set."""
        return self._tokens.ring.jwks()

    async def rotate_signing_key(self, *, lead: timedelta, at_once: bool = False) -> datetime:
        """When the new key begins to sign; processes are told. See `keyring.rotate`."""
        signs_from = await rotate(
            self._database, self._settings, now=self._clock(), lead=lead, at_once=at_once
        )
        await self._access.tell_of_new_keys()
        return signs_from

    async def get(self, account_id: str) -> Account:
        """Raises NotFound."""
        return await self.directory.get(account_id)

    async def groups_of(self, account_ids: Iterable[str]) -> dict[str, frozenset[str]]:
        """The customer groups of each account, by one read."""
        return await self.directory.groups_of(account_ids)

    async def change(self, account_id: str, by: Principal, **changes: Any) -> Account:
        """As `Directory.change`. What is taken is gone at once; what is given comes with the next token."""
        account = await self.directory.change(account_id, by, **changes)
        await self._tell_of_change(account_id)
        return account

    async def end_sessions(self, account_id: str, by: Principal) -> int:
        """Ends all sessions of the account; how many. Raises NotFound, and Forbidden for an ops account."""
        account = await self.get(account_id)
        if account.role == "ops" and by.role != "ops":
            raise Forbidden(role="ops")
        return await self.sessions.end_all(account_id)

    async def grant(self, account_id: str, scopes: Iterable[str]) -> Account:
        """Idempotent. Adds scopes, which tokens have from the next refresh on. Raises Invalid, NotFound."""
        account = await self.directory.grant(account_id, scopes)
        await self._tell_of_change(account_id)
        return account

    async def _tell_of_change(self, account_id: str) -> None:
        await self.sessions.changed(account_id)
        await self.keys.changed(account_id)

    async def _create(self, email: str, password: str, *, role: Role) -> Account:
        address = normal_email(email)
        row = {
            "_id": new_id(),
            "email": address,
            "password_hash": await self._passwords.hash(password, email=address),
            "role": role,
            "scopes": sorted(ROLE_SCOPES[role]),
            "groups": [],
            "created_at": self._clock(),
            "logged_in_at": None,
            "revision": new_id(),
        }
        try:
            await self._database[ACCOUNTS].insert_one(row)
        except DuplicateKeyError:
            raise EmailTaken(email=address) from None
        return account_of(row)

    async def _by_email(self, email: str) -> Account | None:
        try:
            return await self.directory.by_email(normal_email(email))
        except Invalid:
            return None

    async def _familiar(self, email: str, device: Device) -> bool:
        """Whether the account has a live session of the address. Reads as much where there is no account."""
        account = await self._by_email(email)
        known = await self.sessions.addresses(account.id if account is not None else "")
        return network_of(device.address) in {network_of(address) for address in known}

    async def _follow_keys(self, changed: asyncio.Event) -> None:
        while True:
            try:
                async with asyncio.timeout(RING_READ):
                    await changed.wait()
            except TimeoutError:
                pass
            changed.clear()
            try:
                ring = await open_ring(self._database, self._settings, now=self._clock())
                self._access.replace_ring(ring)
            except PyMongoError as error:
                log.warning("the signing keys could not be read", error=type(error).__name__)
