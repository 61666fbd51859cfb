"""Webhooks over the real store and a real receiver; jobs run here, as a worker would run them."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from domain.bootstrap import Services, open_services
from domain.events.rules import SHOP
from ops.environment import settings_of
from ops.stack import Stack
from tests.conftest import MovableClock, environment_on
from tests.receiver import Receiver, receiving
from tests.webhooks import LOCAL, Post


@pytest.fixture(scope="package")
def clock() -> MovableClock:
    """Moved ahead by the tests of a module, one after the other."""
    return MovableClock()


@pytest.fixture(scope="module", autouse=True)
def today(clock: MovableClock) -> None:
    """Each module begins now, as receivers go by the real time."""
    clock.ahead = timedelta()


@pytest.fixture(scope="package")
async def services(stack: Stack, clock: MovableClock) -> AsyncIterator[Services]:
    async with open_services(settings_of(environment_on(stack) | LOCAL), clock=clock) as services:
        yield services


@pytest.fixture(scope="package")
async def everybody() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
def receiver(everybody: Receiver) -> Receiver:
    everybody.calls.clear()
    everybody.answers.clear()
    return everybody


@pytest.fixture
async def post(services: Services, receiver: Receiver) -> AsyncIterator[Post]:
    yield Post(services, receiver)
    for endpoint in await services.webhooks.endpoints.page(SHOP, after=None, limit=100):
        await services.webhooks.endpoints.delete(endpoint["_id"], owner=SHOP)
