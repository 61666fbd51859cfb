"""Password hashes: Argon2id; bcrypt hashes of other systems verify, too, and are to be replaced."""

import asyncio
import re
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import TypeVar

from passlib.context import CryptContext
from zxcvbn import zxcvbn

from domain.accounts.rules import check_password
from domain.errors import Invalid, Unavailable

Result = TypeVar("Result")

#: Hashes at work at once in one process: each takes a core and 19 MiB.
THREADS = 2
#: Hashes that wait for their turn in one process; past that nobody would have the patience.
MOST_WAITING = 128
#: Characters that zxcvbn looks at: its time grows with their square, and it refuses more than 72.
JUDGED = 40
#: Signs that zxcvbn reads as letters, too, in every combination: seconds for a password that has them all. It
#: is shown so many different ones, and in place of others one that stands for nothing.
LEET, MOST_LEET, NO_LEET = frozenset("@({[<!|$+%"), 3, "~"
#: Bytes that bcrypt knows of a password.
BCRYPT_BYTES = 72


class Passwords:
    """Hashes and verifies off the event loop."""

    def __init__(self, *, min_score: int = 3) -> None:
        self._min_score = min_score
        self._context = _context()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="passwords")
        self._waiting = 0
        self._decoy = _decoy()

    async def hash(self, password: str, *, email: str) -> str:
        """A new Argon2id hash. Raises Invalid: `weak_password`, `long_password` or `guessable_password`.

        Raises Unavailable, as `verify` does, where too many wait for their turn already.
        """
        check_password(password)
        return await self._run(self._hash, password, email)

    async def verify(self, password: str, known: str | None) -> tuple[bool, str | None]:
        """Whether the password is right, and the hash to keep instead of an outdated one.

        Takes as long without a known hash as with one.
        """
        return await self._run(self._verify, password, known)

    def close(self) -> None:
        """Idempotent. Lets the threads go."""
        self._threads.shutdown(wait=False)

    async def _run(self, work: Callable[..., Result], *arguments: str | None) -> Result:
        if self._waiting >= MOST_WAITING:
            raise Unavailable(service="passwords")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, partial(work, *arguments))
        finally:
            self._waiting -= 1

    def _hash(self, password: str, email: str) -> str:
        known = [email, *re.split(r"[@.]", email), *re.split(r"\W+", email), "stockyard"]
        judged = zxcvbn(_bounded(password), user_inputs=known)
        if judged["score"] < self._min_score:
            told = judged["feedback"]
            hints = [each for each in (told["warning"], *told["suggestions"]) if each]
            raise Invalid(reason="guessable_password", score=judged["score"], hints=hints)
        digest: str = self._context.hash(password)
        return digest

    def _verify(self, password: str, known: str | None) -> tuple[bool, str | None]:
        try:
            if known is not None and self._context.identify(known) == "bcrypt":
                # Other systems cut what is longer without a word.
                right = self._context.verify(password.encode()[:BCRYPT_BYTES], known)
                return bool(right), self._context.hash(password) if right else None
            right, better = self._context.verify_and_update(password, self._decoy if known is None else known)
        except ValueError:
            # A stored hash that is none, or a password that its scheme cannot take.
            return False, None
        return bool(right) and known is not None, better


@cache
def _context() -> CryptContext:
    # OWASP's first choice for Argon2id: 19 MiB, two passes, one lane.
    cost = {"argon2__memory_cost": 19_456, "argon2__time_cost": 2, "argon2__parallelism": 1}
    return CryptContext(schemes=["argon2", "bcrypt"], deprecated=["bcrypt"], **cost)


@cache
def _decoy() -> str:
    """A hash of what nobody knows, the same for the whole process."""
    decoy: str = _context().hash(secrets.token_hex())
    return decoy


def _bounded(password: str) -> str:
    """The password as zxcvbn is shown it, so that it answers in a tenth of a second."""
    shown = password[:JUDGED]
    read = frozenset(list(dict.fromkeys(each for each in shown if each in LEET))[:MOST_LEET])
    return "".join(NO_LEET if each in LEET and each not in read else each for each in shown)
