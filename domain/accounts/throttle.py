"""Failed log-ins make the next ones wait: of one account, and of one address over all accounts.

Registrations of one address are limited, too, whether or not they fail.
"""

import hashlib
import ipaddress
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from domain.errors import TooManyRequests
from domain.ports import Delays, RateLimiter
from domain.settings import Auth

#: Seconds of the first wait.
FIRST = 1.0
#: Seconds without a try after which all are forgotten.
FORGET = 3600.0
#: Seconds of the window in which registrations are counted.
HOUR = 3600


class Throttle:
    """Waits grow from a second, doubled by each further failure.

    Tries count before the password is looked at, so that a thousand at once are not a thousand guesses; it
    does not matter whether there is such an account.
    """

    def __init__(self, limiter: RateLimiter, settings: Auth) -> None:
        self._limiter = limiter
        self._new_accounts = settings.new_accounts_per_hour
        account, address = settings.login_max_delay, settings.address_max_delay
        self._of_account = Delays(settings.login_attempts, FIRST, account.total_seconds(), FORGET)
        self._of_address = Delays(settings.address_attempts, FIRST, address.total_seconds(), FORGET)

    @asynccontextmanager
    async def trying(
        self,
        *,
        address: str,
        wrong: type[Exception],
        account: str | None = None,
        familiar: Callable[[], Awaitable[bool]] | None = None,
    ) -> AsyncIterator[None]:
        """One try, from the address, of the account. It stays counted where it ends with `wrong`.

        Otherwise the address's is given back, whose earlier failures stay; all of the account's are
        forgotten once one was right. Where the account has to wait, an address that is `familiar` to it has
        tries of its own, so that nobody keeps the owner out by failing. Raises TooManyRequests where there
        is still to wait.
        """
        await self._of(address)
        try:
            if account is not None:
                await self._admit(_keys(account, address), familiar)
            yield
        except wrong:
            raise
        except BaseException:
            await self._give_back(address)
            raise
        await self._give_back(address)
        for key in _keys(account, address) if account is not None else ():
            await self._limiter.forgive(key)

    async def newcomer(self, address: str) -> None:
        """Counts a registration from the address. Raises TooManyRequests past the limit of an hour."""
        if address:
            key = f"register:{network_of(address)}"
            spent = await self._limiter.spend(key, limit=self._new_accounts, seconds=HOUR)
            _refuse(0 if spent.allowed else spent.reset)

    async def _admit(self, keys: tuple[str, str], familiar: Callable[[], Awaitable[bool]] | None) -> None:
        account, here = keys
        left = await self._limiter.attempt(account, self._of_account)
        if left > 0 and familiar is not None and await familiar():
            left = await self._limiter.attempt(here, self._of_account)
        _refuse(left)

    async def _of(self, address: str) -> None:
        if address:
            _refuse(await self._limiter.attempt(_address_key(address), self._of_address))

    async def _give_back(self, address: str) -> None:
        if address:
            await self._limiter.give_back(_address_key(address))


def network_of(address: str) -> str:
    """Whom an address stands for: itself, or its /64 where it is one of IPv6.

    A server that listens for both sees IPv4 as `::ffff:192.0.2.7`, which stands for 192.0.2.7.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or ipaddress.ip_network((int(found), 64), strict=False))


def _refuse(seconds: float) -> None:
    if seconds > 0:
        raise TooManyRequests(retry_after=math.ceil(seconds))


def _keys(account: str, address: str) -> tuple[str, str]:
    """What the account's tries are counted under: those of everybody, and those of a familiar address."""
    key = f"login:account:{hashlib.sha256(account.encode('utf-8', 'replace')).hexdigest()}"
    return key, f"{key}:{network_of(address)}"


def _address_key(address: str) -> str:
    return f"login:address:{network_of(address)}"
