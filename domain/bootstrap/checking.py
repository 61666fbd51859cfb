"""Tries each service that the settings name, each by itself: one that is away hides no other."""

from functools import partial

from domain.adapters import mongo, redis
from domain.adapters.rabbitmq import RabbitmqJobQueue
from domain.adapters.s3 import S3ObjectStore
from domain.adapters.smtp import SmtpMailer
from domain.control.asking import Answer, Ping, ask_all
from domain.settings import Settings

#: Seconds that a service has to answer, and those that it has to take leave.
PATIENCE, FAREWELL = 3.0, 0.5


async def check_services(settings: Settings) -> list[Answer]:
    """What each answers, side by side. Goes further than a sign of life, and leaves nothing behind.

    The store takes a write, S3 an upload that is given up at once, and the mail server TLS and password.
    """
    checks: dict[str, Ping] = {
        "mongodb": partial(_mongodb, settings),
        "rabbitmq": partial(_rabbitmq, settings),
        "redis": partial(_redis, settings),
        "s3": partial(_s3, settings),
    }
    if settings.mail.host:
        checks["smtp"] = partial(SmtpMailer(settings.mail).ping, log_in=True)
    return await ask_all(checks, seconds=PATIENCE)


async def _mongodb(settings: Settings) -> None:
    client = mongo.connect(settings.mongo)
    try:
        await mongo.SignOfLife(client[settings.mongo.database])()
    finally:
        await mongo.close(client)


async def _rabbitmq(settings: Settings) -> None:
    queue = RabbitmqJobQueue(settings.rabbitmq)
    try:
        await queue.open()
        await queue.ping()
    finally:
        await queue.close(seconds=FAREWELL)


async def _redis(settings: Settings) -> None:
    link = redis.connect(settings.redis)
    try:
        await link.ping()
    finally:
        await redis.close(link)


async def _s3(settings: Settings) -> str | None:
    store = S3ObjectStore(settings.s3)
    try:
        return await store.check()
    finally:
        store.close(wait=False)
