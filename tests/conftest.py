"""The real stack, started once; services over it have a database, queues and a Redis index of their own."""

import itertools
import os
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from domain import garbage
from domain.accounts.service import Accounts
from domain.adapters.redis import RedisLink, close, connect
from domain.bootstrap import Services, open_services
from domain.settings import Redis, Settings
from domain.values import utcnow
from ops.environment import settings_of
from ops.fleet import Fleet
from ops.servers.rabbitmq import RabbitMQ
from ops.servers.valkey import Valkey
from ops.stack import Stack
from tests.api import Api, open_api
from tests.factories import Shop, rewired
from tests.people import accounts_of
from tests.tcp_proxy import TcpProxy

#: Settings that make waiting short.
QUICK = {
    "STOCKYARD_LOG_FORMAT": "console",
    "STOCKYARD_JOBS_BACKOFF": "100ms",
    "STOCKYARD_JOBS_LEASE": "3s",
    "STOCKYARD_JOBS_RESEND_EMPTY_AFTER": "3s",
    "STOCKYARD_PAYMENTS_TIMEOUT": "1s",
}
# What fails on purpose here is logged, too: as plain text. The default draws each local of each frame,
# which takes half a second.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)
#: Makes every environment's names its own, within a run and between runs.
_serial = itertools.count(os.getpid() * 100)


def pytest_collection_finish() -> None:
    """What was collected stays to the end: no full collection looks through it."""
    garbage.freeze()


class MovableClock:
    """The time, moved by as much as a test wants."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return utcnow() + self.ahead

    def move(self, **by: float) -> None:
        """Moves the clock ahead: `move(minutes=15)`."""
        self.ahead += timedelta(**by)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """RabbitMQ, Valkey, the store and S3; a test that stops one starts it again."""
    # Each of the processes that share the tests has a stack to itself.
    parts = (os.environ.get("STOCKYARD_TEST_STACK", "test"), os.environ.get("PYTEST_XDIST_WORKER"))
    stack = Stack("-".join(filter(None, parts)))
    stack.up(fresh=True)
    yield stack
    stack.down()


def environment_on(stack: Stack) -> dict[str, str]:
    """What a process reads to be alone on the shared stack: names that nobody else has."""
    serial = next(_serial)
    # To ask each server whether it answers takes as long as many a test: only where one was left stopped.
    urls = (stack.urls if all(server.running() for server in stack.servers) else stack.up()).as_env()
    redis = urls["STOCKYARD_REDIS_URL"].rsplit("/", 1)[0]
    return {
        **urls,
        **QUICK,
        "STOCKYARD_REDIS_URL": f"{redis}/{serial % 16}",
        "STOCKYARD_MONGO_DATABASE": f"test{serial}",
        "STOCKYARD_RABBITMQ_QUEUE_VERSION": str(serial),
    }


@pytest.fixture(scope="module")
async def shared(stack: Stack) -> AsyncIterator[Services]:
    """Services for all tests of a module, each of which keeps to accounts of its own."""
    async with open_services(settings_of(environment_on(stack))) as services:
        yield services


@pytest.fixture
async def accounts(shared: Services, clock: MovableClock) -> AsyncIterator[Accounts]:
    """The accounts of `shared` by the movable clock. They hear nothing from other processes."""
    async with accounts_of(shared, clock=clock, listening=False) as accounts:
        yield accounts


def _lone(name: str, factory: pytest.TempPathFactory) -> Stack:
    own = {name: value for name, value in os.environ.items() if not name.startswith("STOCKYARD_")}
    return Stack(name, factory.mktemp("stack"), environ=own)


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A Valkey of the module's own, to be killed."""
    stack = _lone("rd", tmp_path_factory)
    stack.valkey.start()
    yield stack.valkey
    stack.wipe()


@pytest.fixture
async def redis(valkey: Valkey) -> AsyncIterator[RedisLink]:
    """A link to `valkey`, which runs and is empty."""
    valkey.start()
    link = connect(Redis(url=valkey.url, timeout=timedelta(milliseconds=250)))
    await link.client.flushall()
    yield link
    await close(link)


@pytest.fixture(scope="module")
def rabbitmq(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """A node of the module's own, to be killed."""
    stack = _lone(f"mq-{request.path.stem.rpartition('_')[2]}", tmp_path_factory)
    stack.rabbitmq.start()
    yield stack.rabbitmq
    stack.wipe()


@pytest.fixture
def proxy(rabbitmq: RabbitMQ) -> Iterator[TcpProxy]:
    """Between a client and `rabbitmq`: what breaks."""
    between = TcpProxy(rabbitmq.port("amqp"))
    yield between
    between.cut()


@pytest.fixture
def environment(stack: Stack) -> dict[str, str]:
    """What a process reads to be alone on the shared stack."""
    return environment_on(stack)


@pytest.fixture
def settings(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The environment, read."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Settings()


@pytest.fixture
def clock() -> MovableClock:
    """The clock of `services`."""
    return MovableClock()


@pytest.fixture
async def services(settings: Settings, clock: MovableClock) -> AsyncIterator[Services]:
    """All services in this process, listening for ends of jobs; no worker runs."""
    async with open_services(settings, clock=clock) as services, services.signals.listening():
        # Its database stays until the stack goes: the local store takes seconds to drop one.
        yield services


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    """The API in this process, over services of its own."""
    async with open_api(settings) as api:
        yield api


@pytest.fixture
def shop(services: Services) -> Shop:
    """Products, stock and orders, made in one line each."""
    return Shop(services)


@pytest.fixture
async def rewire(services: Services) -> AsyncIterator[Callable[..., Services]]:
    """Makes services as of another process over the same store: `rewire(provider=FakeProvider())`."""
    made: list[Services] = []

    def make(**changed: Any) -> Services:
        made.append(rewired(services, **changed))
        return made[-1]

    yield make
    for each in made:
        await each.drain()


@pytest.fixture
def fleet_of(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Fleet]]:
    """Makes fleets of real processes over the test's environment; stops them at the end.

    `fleet_of(apis=1, pools={"orders": 2}, settings={"STOCKYARD_ORDERS_HOLD_TIME": "3s"})`
    """
    fleets: list[Fleet] = []

    def make(*, settings: dict[str, str] | None = None, **counts: object) -> Fleet:
        fleet = Fleet({**environment, **(settings or {})}, folder=tmp_path / "logs", **counts)  # type: ignore[arg-type]
        fleets.append(fleet)
        return fleet.start()

    yield make
    for fleet in fleets:
        fleet.stop()
