"""Accounts: who may come in, and as whom."""

from collections.abc import Iterable
from typing import Any, Self

from pymongo.errors import DuplicateKeyError

from domain.accounts.models import Account
from domain.accounts.passwords import Passwords
from domain.accounts.rules import (
    CUSTOMER_SCOPES,
    MAX_PASSWORD,
    SCOPES,
    Principal,
    Role,
    check_password,
    known_scopes,
    normal_email,
)
from domain.accounts.tokens import AccessToken, Tokens, open_ring
from domain.errors import EmailTaken, Invalid, NotFound, Unauthenticated
from domain.settings import Auth
from domain.values import Clock, utcnow


class Accounts:
    """Registers, logs in and authenticates. Made by `open`, once the models are bound to a database."""

    def __init__(self, tokens: Tokens, passwords: Passwords, clock: Clock = utcnow) -> None:
        self._tokens = tokens
        self._passwords = passwords
        self._clock = clock

    @classmethod
    async def open(cls, settings: Auth, *, clock: Clock = utcnow) -> Self:
        """Reads the signing keys. Raises ValueError or TypeError where the settings' key is none."""
        return cls(Tokens(await open_ring(settings), settings, clock), Passwords(), clock)

    def close(self) -> None:
        """Idempotent. Lets the threads go that hash passwords."""
        self._passwords.close()

    async def register(self, email: str, password: str) -> Account:
        """A new customer, who may write and read own orders. Raises EmailTaken and Invalid."""
        return await self._create(email, password, role="customer", scopes=CUSTOMER_SCOPES)

    async def create_ops(self, email: str, password: str) -> Account:
        """A new account that may do everything; for the server's command line only, never over HTTP.

        Raises EmailTaken and Invalid.
        """
        return await self._create(email, password, role="ops", scopes=SCOPES)

    async def log_in(self, email: str, password: str) -> AccessToken:
        """A token with the account's role and scopes as they are now. Replaces an outdated password hash.

        Raises Unauthenticated, after the same work, whether or not there is such an account.
        """
        account = await self._by_email(email)
        known = account.password_hash if account is not None else None
        right, better = await self._passwords.verify(password[:MAX_PASSWORD], known)
        if account is None or not right or len(password) > MAX_PASSWORD:
            raise Unauthenticated
        if better is not None:
            await self._replace_hash(account, better)
        return self._tokens.issue(Principal(account.id, account.role, frozenset(account.scopes)))

    def authenticate(self, token: str) -> Principal:
        """Who holds the access token. Reads no store. Raises Unauthenticated."""
        return self._tokens.authenticate(token)

    def jwks(self) -> dict[str, Any]:
        """The public keys that verify our tokens, as a JWK set."""
        return self._tokens.ring.jwks()

    async def get(self, account_id: str) -> Account:
        """Raises NotFound."""
        account = await Account.get(account_id)
        if account is None:
            raise NotFound(account=account_id)
        return account

    async def grant(self, account_id: str, scopes: Iterable[str]) -> Account:
        """Idempotent. Adds scopes, which tokens have from the next log-in on. Raises Invalid and NotFound."""
        added = {"$addToSet": {"scopes": {"$each": known_scopes(scopes)}}}
        await Account.get_pymongo_collection().update_one({"_id": account_id}, added)
        return await self.get(account_id)

    async def _create(self, email: str, password: str, *, role: Role, scopes: Iterable[str]) -> Account:
        address = normal_email(email)
        check_password(password)
        account = Account(
            email=address,
            password_hash=await self._passwords.hash(password),
            role=role,
            scopes=known_scopes(scopes),
            created_at=self._clock(),
        )
        try:
            return await account.insert()
        except DuplicateKeyError:
            raise EmailTaken(email=address) from None

    async def _by_email(self, email: str) -> Account | None:
        try:
            return await Account.find_one({"email": normal_email(email)})
        except Invalid:
            return None

    async def _replace_hash(self, account: Account, better: str) -> None:
        unchanged = {"_id": account.id, "password_hash": account.password_hash}
        await Account.get_pymongo_collection().update_one(unchanged, {"$set": {"password_hash": better}})
