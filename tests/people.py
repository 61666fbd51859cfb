"""Accounts as tests need them: services of their own over one store, as of several processes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from domain.accounts.models import Account
from domain.accounts.service import Accounts
from domain.accounts.sessions import Device
from domain.bootstrap import Services
from domain.settings import Auth
from domain.values import Clock, new_id, utcnow

PASSWORD = "correct horse battery"
PHONE = Device(address="192.0.2.7", user_agent="phone/1.0", name="phone")
LAPTOP = Device(address="192.0.2.8", user_agent="laptop/1.0", name="laptop")


@asynccontextmanager
async def accounts_of(
    services: Services, *, clock: Clock = utcnow, listening: bool = True, ports: Any = None, **settings: Any
) -> AsyncIterator[Accounts]:
    """The accounts as another process has them; `ports` replaces cache, pubsub or limiter."""
    known = {
        "database": services.database,
        "cache": services.signals._cache,
        "pubsub": services.pubsub,
        "limiter": services.accounts.limiter,
    }
    accounts = await Accounts.open(Auth(**settings), clock=clock, **{**known, **(ports or {})})
    try:
        if listening:
            async with accounts.listening():
                yield accounts
        else:
            yield accounts
        await accounts.drain()
    finally:
        accounts.close()


async def somebody(accounts: Accounts) -> Account:
    """A customer whom nobody else knows."""
    return await accounts.register(f"{new_id()}@example.com", PASSWORD)
