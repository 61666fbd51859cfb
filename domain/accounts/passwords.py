"""Password hashes: Argon2id; bcrypt hashes of other systems verify, too, and are to be replaced."""

import asyncio
import secrets
from concurrent.futures import ThreadPoolExecutor

from passlib.context import CryptContext

#: Hashes at work at once in one process: each takes a core and 19 MiB.
THREADS = 2


class Passwords:
    """Hashes and verifies off the event loop."""

    def __init__(self) -> None:
        # OWASP's first choice for Argon2id: 19 MiB, two passes, one lane.
        cost = {"argon2__memory_cost": 19_456, "argon2__time_cost": 2, "argon2__parallelism": 1}
        self._context = CryptContext(schemes=["argon2", "bcrypt"], deprecated=["bcrypt"], **cost)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="passwords")
        self._decoy: str = self._context.hash(secrets.token_hex())

    async def hash(self, password: str) -> str:
        """A new Argon2id hash."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._context.hash, password)

    async def verify(self, password: str, known: str | None) -> tuple[bool, str | None]:
        """Whether the password is right, and the hash to keep instead of an outdated one.

        Takes as long without a known hash as with one.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._verify, password, known)

    def close(self) -> None:
        """Idempotent. Lets the threads go."""
        self._threads.shutdown(wait=False)

    def _verify(self, password: str, known: str | None) -> tuple[bool, str | None]:
        try:
            right, better = self._context.verify_and_update(password, self._decoy if known is None else known)
        except ValueError:
            # A stored hash that is none, or a password that its scheme cannot take.
            return False, None
        return bool(right) and known is not None, better
