"""Opens everything that a process needs, and closes it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial

from domain.accounts.service import Accounts
from domain.adapters import mongo
from domain.adapters.cloudfront import CloudFrontUrls
from domain.adapters.mongo_pool import PoolWatch
from domain.adapters.payments import SandboxProvider
from domain.adapters.rabbitmq import RabbitmqJobQueue
from domain.adapters.redis import RedisCache
from domain.adapters.redis import close as close_redis
from domain.adapters.redis import connect as connect_redis
from domain.adapters.redis import connections as redis_connections
from domain.adapters.redis_leadership import RedisLeadership
from domain.adapters.redis_limits import RedisLimits
from domain.adapters.redis_locks import RedisLocks
from domain.adapters.redis_pubsub import RedisPubSub
from domain.adapters.s3 import S3ObjectStore
from domain.adapters.s3_direct import S3Direct
from domain.adapters.smtp import SmtpMailer
from domain.adapters.webhooks import HttpWebhookSender
from domain.bootstrap.models import MODELS
from domain.bootstrap.services import Ports, Services
from domain.bootstrap.wiring import wire
from domain.control.asking import Ping, Seldom
from domain.observe import logger
from domain.settings import Settings
from domain.values import Clock, utcnow

log = logger(__name__)

#: Seconds that a stop gives the batches in hand: one alone may try for 10 s while the store is away. What is
#: cut short is done again, as nobody was told that it was done.
DRAIN = 5.0


async def _drain(services: Services) -> None:
    try:
        async with asyncio.timeout(DRAIN):
            await services.drain()
    except TimeoutError:
        log.warning("batches in hand were cut short", seconds=DRAIN)


@asynccontextmanager
async def open_services(settings: Settings, *, clock: Clock = utcnow) -> AsyncIterator[Services]:
    """Opens and wires everything; closes it in reverse, after draining what is in hand.

    Raises ServiceAway when the store is away. RabbitMQ and Redis may be: jobs then wait in the ledger, and
    locks, cache and channels are gone without.
    """
    async with AsyncExitStack() as stack:
        watch = PoolWatch()
        client = mongo.connect(settings.mongo, watch)
        stack.push_async_callback(mongo.close, client)
        database = await mongo.prepare(client, settings.mongo, MODELS)
        queue = RabbitmqJobQueue(settings.rabbitmq)
        await queue.open()
        stack.push_async_callback(queue.close)
        redis = connect_redis(settings.redis)
        stack.push_async_callback(close_redis, redis)
        cache = RedisCache(redis)
        objects = S3ObjectStore(settings.s3)
        stack.callback(objects.close)
        direct = S3Direct(settings.s3, objects, clock=clock)
        mailer = SmtpMailer(settings.mail) if settings.mail.host else None
        webhooks = HttpWebhookSender(settings.webhooks, only_https=settings.deployment.env == "production")
        stack.push_async_callback(webhooks.close)
        ports = Ports(
            database=database,
            queue=queue,
            locks=RedisLocks(redis, ttl=settings.workers.lock_ttl, wait=settings.workers.lock_wait),
            pubsub=RedisPubSub(redis),
            cache=cache,
            leadership=RedisLeadership(redis, name="scheduler", ttl=settings.scheduler.leader_ttl),
            provider=SandboxProvider(database, timeout=settings.payments.timeout),
            objects=objects,
            uploads=direct,
            signer=CloudFrontUrls.of(settings.cdn) or direct,
            webhooks=webhooks,
            mailer=mailer,
        )
        accounts = await Accounts.open(
            settings.auth,
            database=database,
            cache=cache,
            pubsub=ports.pubsub,
            limiter=RedisLimits(redis, prefix=database.name),
            clock=clock,
        )
        stack.callback(accounts.close)
        pings: dict[str, Ping] = {
            "mongodb": mongo.SignOfLife(database),
            "rabbitmq": queue.ping,
            "redis": cache.ping,
        }
        # Orders go on without them: nobody is unready for it.
        beside: dict[str, Ping] = {"s3": Seldom(objects.ping)}
        if mailer is not None:
            beside["smtp"] = Seldom(mailer.ping)
        services = replace(
            wire(ports, settings=settings, clock=clock, accounts=accounts, pings=pings | beside),
            pings=pings,
            connections={
                "mongodb": watch.counts,
                "rabbitmq": queue.connections,
                "redis": partial(redis_connections, redis),
            },
            store_wait=watch.wait,
        )
        stack.push_async_callback(services.media.renderers.close)
        await services.search.prepare()
        await stack.enter_async_context(services.webhooks.listening())
        try:
            yield services
        finally:
            await _drain(services)
