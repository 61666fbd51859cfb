"""The composition root: everything that a process needs, wired in one place."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from domain.accounts.models import Account, SigningKey
from domain.accounts.service import Accounts
from domain.adapters import mongo
from domain.adapters.payments import SandboxProvider
from domain.adapters.rabbitmq import RabbitmqJobQueue
from domain.adapters.redis import RedisCache
from domain.adapters.redis import close as close_redis
from domain.adapters.redis import connect as connect_redis
from domain.adapters.redis_leadership import RedisLeadership
from domain.adapters.redis_locks import RedisLocks
from domain.adapters.redis_pubsub import RedisPubSub
from domain.changes import Database
from domain.events.models import Event, EventCursor, EventOutbox
from domain.events.service import Events
from domain.inventory import reservations
from domain.inventory.holds import Holds
from domain.inventory.models import Hold, Movement, Stock
from domain.inventory.placing import Placing
from domain.inventory.reservations import Reservations
from domain.inventory.service import Inventory
from domain.jobs.dispatch import Dispatcher
from domain.jobs.models import Job, LedgerMark
from domain.jobs.relay import Relay
from domain.jobs.running import JobRuns
from domain.jobs.service import Jobs
from domain.jobs.signals import JobSignals
from domain.observe import hot_log
from domain.orders.models import Order, Payment
from domain.orders.payments import OrderPayments
from domain.orders.placing import OrderFacts, OrderPlacing
from domain.orders.service import Orders
from domain.ports import Cache, JobQueue, Leadership, Locks, PaymentProvider, PubSub
from domain.products.models import Product
from domain.products.service import Products
from domain.settings import Settings
from domain.values import Clock, utcnow

MODELS = (
    Account, SigningKey, Event, EventCursor, EventOutbox, Hold, Job, LedgerMark, Movement, Order, Payment,
    Product, Stock,
)  # fmt: skip

#: Asks one service for a sign of life; raises where there is none.
Ping = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Ports:
    """The outside world of one process."""

    database: Database
    queue: JobQueue
    locks: Locks
    pubsub: PubSub
    cache: Cache
    leadership: Leadership
    provider: PaymentProvider


@dataclass(frozen=True, slots=True)
class Services:
    """Every verb of the domain, ready to be called."""

    settings: Settings
    clock: Clock
    database: Database
    accounts: Accounts
    events: Events
    holds: Holds
    inventory: Inventory
    jobs: Jobs
    leadership: Leadership
    order_payments: OrderPayments
    order_placing: Placing[OrderFacts]
    orders: Orders
    products: Products
    pubsub: PubSub
    queue: JobQueue
    relay: Relay
    reservation_placing: Placing[None]
    reservations: Reservations
    runs: JobRuns
    signals: JobSignals
    #: What `/readyz` asks, by the service's name.
    pings: Mapping[str, Ping] = field(default_factory=dict)

    async def drain(self) -> None:
        """Returns when every batch in hand is done."""
        await self.order_placing.drain()
        await self.reservation_placing.drain()
        await self.order_payments.drain()
        await self.runs.drain()
        await self.jobs.drain()
        await self.signals.drain()
        await self.events.drain()


@asynccontextmanager
async def open_services(settings: Settings, *, clock: Clock = utcnow) -> AsyncIterator[Services]:
    """Opens and wires everything; closes it in reverse, after draining what is in hand.

    Raises ServiceAway when the store is away. RabbitMQ and Redis may be: jobs then wait in the ledger, and
    locks, cache and channels are gone without.
    """
    async with AsyncExitStack() as stack:
        client = mongo.connect(settings.mongo)
        stack.push_async_callback(client.close)
        database = await mongo.prepare(client, settings.mongo, MODELS)
        queue = RabbitmqJobQueue(settings.rabbitmq)
        await queue.open()
        stack.push_async_callback(queue.close)
        redis = connect_redis(settings.redis)
        stack.push_async_callback(close_redis, redis)
        cache = RedisCache(redis)
        ports = Ports(
            database=database,
            queue=queue,
            locks=RedisLocks(redis, ttl=settings.workers.lock_ttl, wait=settings.workers.lock_wait),
            pubsub=RedisPubSub(redis),
            cache=cache,
            leadership=RedisLeadership(redis, name="scheduler", ttl=settings.scheduler.leader_ttl),
            provider=SandboxProvider(database, timeout=settings.payments.timeout),
        )
        accounts = await Accounts.open(settings.auth, clock=clock)
        stack.callback(accounts.close)
        pings: dict[str, Ping] = {
            "mongodb": lambda: mongo.ping(database),
            "rabbitmq": queue.ping,
            "redis": cache.ping,
        }
        services = wire(ports, settings=settings, clock=clock, accounts=accounts, pings=pings)
        try:
            yield services
        finally:
            await services.drain()


def wire(
    ports: Ports, *, settings: Settings, clock: Clock, accounts: Accounts, pings: Mapping[str, Ping]
) -> Services:
    """Services over the given ports."""
    database = ports.database
    shared: dict[str, Any] = {"database": database, "clock": clock}
    signals = JobSignals(
        database=database,
        cache=ports.cache,
        pubsub=ports.pubsub,
        log_job=hot_log(settings.log, "domain.jobs"),
    )
    dispatcher = Dispatcher(queue=ports.queue, settings=settings.jobs, **shared)
    jobs = Jobs(dispatcher=dispatcher, signals=signals, settings=settings.jobs, **shared)
    runs = JobRuns(signals=signals, settings=settings.jobs, **shared)
    relay = Relay(queue=ports.queue, dispatcher=dispatcher, signals=signals, settings=settings.jobs, **shared)
    events = Events(pubsub=ports.pubsub, **shared)
    products = Products(**shared)
    holds = Holds(locks=ports.locks, events=events, **shared)
    placing: dict[str, Any] = {
        **shared, "runs": runs, "events": events, "holds": holds, "locks": ports.locks,
        "max_batch": settings.workers.max_batch,
    }  # fmt: skip
    order_placing = OrderPlacing(
        database=database,
        products=products,
        hold_time=settings.orders.hold_time,
        currency=settings.orders.currency,
    )
    return Services(
        settings=settings,
        clock=clock,
        database=database,
        accounts=accounts,
        events=events,
        holds=holds,
        inventory=Inventory(products=products, **shared),
        jobs=jobs,
        leadership=ports.leadership,
        order_payments=OrderPayments(
            holds=holds, provider=ports.provider, timeout=settings.payments.timeout, **shared
        ),
        order_placing=Placing(order_placing.placement(), **placing),
        orders=Orders(database=database, holds=holds, jobs=jobs),
        products=products,
        pubsub=ports.pubsub,
        queue=ports.queue,
        relay=relay,
        reservation_placing=Placing(reservations.placement(settings.orders.hold_time), **placing),
        reservations=Reservations(holds=holds, jobs=jobs),
        runs=runs,
        signals=signals,
        pings=pings,
    )
