"""The job queue: the fake and the real one run the same cases; then what only RabbitMQ can show."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

import pika
import pytest
from dramatiq import Message

from domain.adapters.rabbitmq import RabbitmqJobQueue
from domain.adapters.rabbitmq_queues import queue_name
from domain.ports import JobMessage, JobQueue, QueueDepth
from domain.settings import Rabbitmq
from domain.values import new_id
from ops.servers.rabbitmq import RabbitMQ
from tests.fakes import FakeJobQueue
from tests.tcp_proxy import TcpProxy


@pytest.fixture
def pool() -> str:
    """A pool that no other test uses."""
    return f"pool-{new_id()[-12:]}"


def behind(proxy: TcpProxy, rabbitmq: RabbitMQ, **settings: object) -> Rabbitmq:
    address = urlsplit(rabbitmq.url)
    url = address._replace(netloc=f"{address.username}:{address.password}@127.0.0.1:{proxy.port}").geturl()
    return Rabbitmq.model_validate({"url": url, **settings})


@asynccontextmanager
async def opened(settings: Rabbitmq) -> AsyncIterator[RabbitmqJobQueue]:
    queue = RabbitmqJobQueue(settings)
    await queue.open()
    try:
        yield queue
    finally:
        await queue.close()


def messages(pool: str, number: int) -> list[JobMessage]:
    return [
        JobMessage(job_id=new_id(), kind="orders.place", pool=pool, request_id="r-1") for _ in range(number)
    ]


async def eventually(condition: Callable[[], Awaitable[bool]], *, seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - it is another process that changes
            await asyncio.sleep(0.02)


async def answers(queue: JobQueue) -> bool:
    try:
        await queue.ping()
    except (OSError, TimeoutError, pika.exceptions.AMQPError):
        return False
    return True


async def is_away(queue: JobQueue) -> bool:
    return not await answers(queue)


@dataclass
class Party:
    """A queue, and how its broker goes and comes back."""

    queue: JobQueue
    leave: Callable[[], None]
    come_back: Callable[[], None]


@pytest.fixture(params=["fake", "rabbitmq"])
async def party(request: pytest.FixtureRequest) -> AsyncIterator[Party]:
    if request.param == "fake":
        fake = FakeJobQueue()
        yield Party(fake, lambda: setattr(fake, "away", True), lambda: setattr(fake, "away", False))
        return
    between: TcpProxy = request.getfixturevalue("proxy")
    async with opened(behind(between, request.getfixturevalue("rabbitmq"))) as queue:
        yield Party(queue, between.cut, between.mend)


async def test_every_message_is_confirmed_and_waits_in_its_queue(party: Party, pool: str) -> None:
    assert await party.queue.publish(messages(pool, 40)) == [True] * 40
    assert await party.queue.depth(pool) == QueueDepth(ready=40, consumers=0)


async def test_nothing_to_publish_is_nothing_to_wait_for(party: Party) -> None:
    assert await party.queue.publish([]) == []


async def test_one_call_reaches_several_pools(party: Party, pool: str) -> None:
    mixed = [
        message for both in zip(messages(pool, 3), messages(f"{pool}b", 3), strict=True) for message in both
    ]
    assert await party.queue.publish(mixed) == [True] * 6
    assert await party.queue.depth(pool) == await party.queue.depth(f"{pool}b") == QueueDepth(3, 0)


async def test_what_was_sent_ahead_is_counted_and_purged_with_the_rest(party: Party, pool: str) -> None:
    ahead = JobMessage(job_id=new_id(), kind="orders.place", pool=pool, express=True)
    assert await party.queue.publish([*messages(pool, 2), ahead]) == [True] * 3
    assert await party.queue.depth(pool) == QueueDepth(ready=3, consumers=0)
    assert await party.queue.purge(pool) == 3
    assert await party.queue.depth(pool) == QueueDepth(ready=0, consumers=0)


async def test_a_queue_that_does_not_exist_has_no_depth(party: Party, pool: str) -> None:
    assert await party.queue.depth(pool) is None
    await party.queue.ping()


async def test_a_broker_that_is_away_refuses_at_once_and_works_again_later(party: Party, pool: str) -> None:
    assert await party.queue.publish(messages(pool, 2)) == [True, True]
    party.leave()
    await eventually(lambda: is_away(party.queue))
    began = time.monotonic()
    assert await party.queue.publish(messages(pool, 3)) == [False] * 3
    assert await party.queue.depth(pool) is None
    assert time.monotonic() - began < 1
    party.come_back()
    await eventually(lambda: answers(party.queue))
    assert await party.queue.publish(messages(pool, 1)) == [True]
    assert await party.queue.depth(pool) == QueueDepth(ready=3, consumers=0)


async def test_thousands_of_single_publishes_share_the_wait_for_confirms(
    rabbitmq: RabbitMQ, pool: str
) -> None:
    async with opened(Rabbitmq(url=rabbitmq.url)) as queue:
        waiting = iter(messages(pool, 5000))

        async def client() -> list[bool]:
            return [(await queue.publish([message]))[0] for message in waiting]

        outcomes = await asyncio.gather(*(client() for _ in range(256)))
        assert sum(map(sum, outcomes)) == 5000
        assert await queue.depth(pool) == QueueDepth(ready=5000, consumers=0)


async def test_the_body_is_what_a_dramatiq_worker_reads(rabbitmq: RabbitMQ, pool: str) -> None:
    settings = Rabbitmq(url=rabbitmq.url)
    async with opened(settings) as queue:
        [message] = messages(pool, 1)
        await queue.publish([message])
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        _, properties, body = connection.channel().basic_get(queue_name(pool, settings), auto_ack=True)
    read = Message.decode(body)
    assert (read.queue_name, read.actor_name) == (queue_name(pool, settings), "orders.place")
    assert (read.args, read.kwargs, read.options) == ((message.job_id,), {}, {"request_id": "r-1"})
    assert properties.delivery_mode == 2


@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
async def test_a_deleted_queue_is_declared_again_and_loses_no_publish(
    rabbitmq: RabbitMQ, pool: str, queue_type: str
) -> None:
    settings = Rabbitmq.model_validate({"url": rabbitmq.url, "queue_type": queue_type})
    async with opened(settings) as queue:
        assert await queue.publish(messages(pool, 2)) == [True, True]
        with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
            connection.channel().queue_delete(queue_name(pool, settings))
        assert await queue.publish(messages(pool, 50)) == [True] * 50

        async def all_ready() -> bool:  # a quorum queue counts with a delay
            return await queue.depth(pool) == QueueDepth(ready=50, consumers=0)

        await eventually(all_ready)


async def test_a_queue_with_other_arguments_still_takes_messages(rabbitmq: RabbitMQ, pool: str) -> None:
    settings = Rabbitmq(url=rabbitmq.url)
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        connection.channel().queue_declare(queue_name(pool, settings), durable=True)
    async with opened(settings) as queue:
        assert await queue.publish(messages(pool, 5)) == [True] * 5
        assert await queue.depth(pool) == QueueDepth(ready=5, consumers=0)


async def test_a_silent_broker_costs_no_more_than_the_deadline(
    proxy: TcpProxy, rabbitmq: RabbitMQ, pool: str
) -> None:
    async with opened(behind(proxy, rabbitmq, publish_timeout=timedelta(milliseconds=300))) as queue:
        assert await queue.publish(messages(pool, 1)) == [True]
        proxy.freeze()
        began = time.monotonic()
        assert await queue.publish(messages(pool, 3)) == [False] * 3
        assert 0.25 < time.monotonic() - began < 2
        proxy.mend()
        assert await queue.publish(messages(pool, 1)) == [True]


async def test_a_connection_that_confirms_nothing_is_given_up_and_its_late_confirms_count_for_nothing(
    proxy: TcpProxy, rabbitmq: RabbitMQ, pool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("domain.adapters.rabbitmq_publisher.STALL", 0.2)
    async with opened(behind(proxy, rabbitmq, publish_timeout=timedelta(milliseconds=300))) as queue:
        assert await queue.publish(messages(pool, 1)) == [True]
        proxy.freeze()
        assert await queue.publish(messages(pool, 3)) == [False] * 3
        assert queue._publisher is not None
        link = queue._publisher.link

        async def given_up() -> bool:
            return not link.connected

        await eventually(given_up)
        assert await queue.publish(messages(pool, 1)) == [False]
        proxy.mend()
        await eventually(lambda: answers(queue))
        assert all(await queue.publish(messages(pool, 100)))


async def test_closing_leaves_what_is_outstanding_its_chance(rabbitmq: RabbitMQ, pool: str) -> None:
    queue = RabbitmqJobQueue(Rabbitmq(url=rabbitmq.url))
    await queue.open()
    publishes = [asyncio.create_task(queue.publish(messages(pool, 10))) for _ in range(50)]
    await asyncio.sleep(0)
    await queue.close()
    await queue.close()
    assert [await publish for publish in publishes] == [[True] * 10] * 50
    assert await queue.publish(messages(pool, 1)) == [False]


async def test_opening_does_not_need_a_broker_and_any_address_will_do(
    proxy: TcpProxy, rabbitmq: RabbitMQ
) -> None:
    proxy.cut()
    settings = behind(proxy, rabbitmq)
    async with opened(settings) as queue:
        assert await is_away(queue)
        proxy.mend()
        await eventually(lambda: answers(queue))
        proxy.cut()
        async with opened(Rabbitmq(url=f"{settings.url}; {rabbitmq.url}")) as other:
            await eventually(lambda: answers(other))


async def test_a_lost_connection_is_replaced_by_one_and_no_more(
    proxy: TcpProxy, rabbitmq: RabbitMQ, pool: str
) -> None:
    async with opened(behind(proxy, rabbitmq)) as queue:
        proxy.cut()
        await eventually(lambda: is_away(queue))
        proxy.mend()
        await eventually(lambda: answers(queue))
        # Long enough for a second attempt, had there been one.
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            assert await queue.publish(messages(pool, 1)) == [True]
        assert proxy.accepted == 2


async def test_an_idle_publisher_outlives_the_heartbeat_on_one_connection(
    proxy: TcpProxy, rabbitmq: RabbitMQ, pool: str
) -> None:
    async with opened(behind(proxy, rabbitmq, heartbeat="1s")) as queue:
        # RabbitMQ closes a connection that was silent for two heartbeats, and checks twice in each.
        await asyncio.sleep(3.5)
        assert await queue.publish(messages(pool, 1)) == [True]
        assert proxy.accepted == 1


async def test_a_peer_that_sends_no_heartbeat_is_given_up(
    proxy: TcpProxy, rabbitmq: RabbitMQ, pool: str
) -> None:
    async with opened(behind(proxy, rabbitmq, heartbeat="1s")) as queue:
        proxy.freeze()
        await eventually(lambda: is_away(queue))
        proxy.mend()
        await eventually(lambda: answers(queue))
        assert await queue.publish(messages(pool, 1)) == [True]


async def test_confirmed_messages_survive_a_kill_of_the_broker(rabbitmq: RabbitMQ, pool: str) -> None:
    async with opened(Rabbitmq(url=rabbitmq.url)) as queue:
        assert all(await queue.publish(messages(pool, 200)))
        rabbitmq.kill()
        await eventually(lambda: is_away(queue))
        assert await queue.publish(messages(pool, 2)) == [False, False]
        await asyncio.to_thread(rabbitmq.start)
        await eventually(lambda: answers(queue), seconds=15)
        assert all(await queue.publish(messages(pool, 100)))
        depth = await queue.depth(pool)
        assert depth is not None
        assert depth.ready == 300
