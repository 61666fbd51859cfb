"""Whatever lies on a queue: a worker says what is wrong with it, puts it aside, and goes on."""

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import dramatiq
import pika
import pytest

from domain.settings import Rabbitmq
from domain.values import new_id, utcnow
from ops.fleet import Fleet, Member
from ops.stack import Stack
from tests.conftest import environment_on
from tests.e2e.town import Person, Town, open_town, said
from tests.factories import check_books, eventually

UNKNOWN = "orders.teleport"


@pytest.fixture(scope="module")
async def town(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    environment = environment_on(stack)
    with Fleet(environment, folder=tmp_path_factory.mktemp("messages"), apis=1) as fleet:
        async with open_town(environment, fleet) as town:
            yield town
            for worker in fleet.workers:
                assert worker.running(), f"{worker.name} ended"
                assert "Traceback" not in said(worker.log)


@pytest.fixture
async def ada(town: Town) -> Person:
    return await town.customer()


class Queue:
    """The pool's queue, as somebody sees it who may write to RabbitMQ."""

    def __init__(self, settings: Rabbitmq, pool: str, worker: Member) -> None:
        self.name = f"{pool}.v{settings.queue_version}"
        self._connection = pika.BlockingConnection(pika.URLParameters(settings.url))
        self._channel = self._connection.channel()
        self._worker = worker
        self._heard = len(said(worker.log))

    def put(self, body: bytes) -> None:
        self._channel.basic_publish("", self.name, body, pika.BasicProperties(delivery_mode=2))

    def put_job(self, kind: str, *arguments: Any, **more: Any) -> None:
        options = more.pop("options", {})
        message: dramatiq.Message[None] = dramatiq.Message(
            queue_name=self.name, actor_name=kind, args=arguments, kwargs=more, options=options
        )
        self.put(message.encode())

    def ready(self) -> int:
        return int(self._channel.queue_declare(self.name, passive=True).method.message_count)

    def put_aside(self) -> bytes | None:
        """The oldest message that was put aside, which is taken."""
        _, _, body = self._channel.basic_get(f"{self.name}.XQ", auto_ack=True)
        return bytes(body) if body is not None else None

    def news(self) -> str:
        """What the worker has said since."""
        return said(self._worker.log)[self._heard :]

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def queue(town: Town) -> Iterator[Queue]:
    (worker,) = (each for each in town.fleet.workers if each.name.startswith("orders"))
    queue = Queue(town.services.settings.rabbitmq, "orders", worker)
    yield queue
    queue.close()


async def aside(queue: Queue) -> bytes:
    found: list[bytes] = []

    def there() -> bool:
        body = queue.put_aside()
        if body is not None:
            found.append(body)
        return bool(found)

    await eventually(there)
    return found[0]


async def the_next_order_works(town: Town, ada: Person) -> None:
    sku = await town.product(1)
    assert (await ada.order({sku: 1}))["state"] == "reserved"


@pytest.mark.parametrize(
    "body",
    [
        b"no json",
        b"",
        b"\x00\xff\xfe",
        b"[]",
        b"null",
        b'{"job": 1}',
        b'{"queue_name": "orders"}',
        b"[" * 100_000,
        b'"' + b"x" * 8_000_000 + b'"',
    ],
    ids=["text", "empty", "binary", "list", "null", "other json", "half a message", "deep", "huge"],
)
async def test_what_is_no_job_message_is_put_aside(town: Town, ada: Person, queue: Queue, body: bytes):
    queue.put(body)
    assert await aside(queue) == body
    await eventually(lambda: "a message cannot be used" in queue.news())
    assert "not a job message" in queue.news()
    assert len(queue.news()) < 2000
    await the_next_order_works(town, ada)


@pytest.mark.parametrize(
    ("arguments", "more"),
    [
        ((), {}),
        (("a", "b"), {}),
        ((7,), {}),
        (({"$ne": None},), {}),
        (("a",), {"b": 1}),
        (("a",), {"options": {"eta": 1}}),
    ],
    ids=["none", "two", "a number", "an operator", "named", "delayed"],
)
async def test_a_job_message_with_strange_arguments_is_put_aside(
    town: Town, ada: Person, queue: Queue, arguments: tuple[Any, ...], more: dict[str, Any]
):
    queue.put_job("orders.place", *arguments, **more)
    await aside(queue)
    await eventually(lambda: "a message cannot be used" in queue.news())
    await the_next_order_works(town, ada)


async def test_a_job_of_an_unknown_kind_waits_for_a_newer_worker(town: Town, ada: Person, queue: Queue):
    job_id, now = new_id(), utcnow()
    job = {
        "_id": job_id, "kind": UNKNOWN, "pool": "orders", "owner": ada.id, "key": job_id, "fingerprint": "",
        "payload": {}, "state": "queued", "attempts": 0, "created_at": now, "not_before": now, "history": [],
        "request_id": None, "subject": job_id,
    }  # fmt: skip
    await town.collection("jobs").insert_one(job)
    queue.put_job(UNKNOWN, job_id)
    await eventually(lambda: "jobs wait for a newer worker" in queue.news())
    queue.put_job(f"{UNKNOWN}@2", "00000000-0000-7000-8000-000000000000")
    await the_next_order_works(town, ada)
    await eventually(lambda: queue.ready() == 0)
    assert queue.put_aside() is None
    shown = await ada.get(f"/v1/jobs/{job_id}")
    assert (shown["state"], shown["attempts"]) == ("queued", 0)
    assert [line["note"] for line in shown["history"]] == [f"waits for a worker that knows {UNKNOWN}"]
    assert (await ada.post(f"/v1/jobs/{job_id}/cancel"))["state"] == "cancelled"


@pytest.mark.parametrize("kind", ["orders.place", "orders.pay", "orders.cancel"])
@pytest.mark.parametrize("job_id", ["00000000-0000-7000-8000-000000000000", "", "$where", "x" * 10_000])
async def test_a_job_that_nobody_knows_is_done(town: Town, ada: Person, queue: Queue, kind: str, job_id: str):
    queue.put_job(kind, job_id)
    await the_next_order_works(town, ada)
    await eventually(lambda: queue.ready() == 0)
    assert queue.put_aside() is None


async def test_a_message_of_another_kind_than_its_job_changes_nothing(town: Town, ada: Person, queue: Queue):
    sku = await town.product(10)
    placed = await ada.order({sku: 1})
    held = await ada.post("/v1/reservations", {"items": [{"sku": sku, "quantity": 2}]})
    await ada.done(held["id"])
    jobs = [
        await _waiting(town, ada, kind, payload) for kind, payload in _payloads(sku, placed["id"], held["id"])
    ]
    for job_id, kind in jobs:
        for other in {"orders.place", "orders.pay", "orders.cancel"} - {kind}:
            queue.put_job(other, job_id)
    await the_next_order_works(town, ada)
    await eventually(lambda: queue.ready() == 0)
    for job_id, _ in jobs:
        job = await town.job(job_id)
        assert (job["state"], job["attempts"], len(job["history"])) == ("queued", 0, 0)
    assert await town.levels(sku) == (7, 3)
    await check_books(town.services)


async def test_a_message_that_comes_twice_places_one_order(town: Town, ada: Person, queue: Queue):
    sku = await town.product(10)
    order_id = await ada.submit({sku: 1})
    for _ in range(20):
        queue.put_job("orders.place", order_id)
    order = await ada.settled(order_id)
    queue.put_job("orders.place", order_id)
    await the_next_order_works(town, ada)
    await eventually(lambda: queue.ready() == 0)
    assert await ada.look(order_id) == order
    assert await town.levels(sku) == (9, 1)


def _payloads(sku: str, order_id: str, reservation_id: str) -> list[tuple[str, dict[str, Any]]]:
    items = [{"sku": sku, "quantity": 1}]
    return [
        ("inventory.reserve", {"items": items}),
        ("inventory.release", {"reservation_id": reservation_id}),
        ("orders.cancel", {"order_id": order_id}),
        ("orders.place", {"items": items, "address": {}}),
    ]


async def _waiting(town: Town, owner: Person, kind: str, payload: dict[str, Any]) -> tuple[str, str]:
    """A job of which no message is sent by itself for a while."""
    job_id, now = new_id(), utcnow()
    job = {
        "_id": job_id, "kind": kind, "pool": kind.partition(".")[0], "owner": owner.id, "key": job_id,
        "fingerprint": "", "payload": payload, "state": "queued", "attempts": 0, "created_at": now,
        "not_before": now + timedelta(days=1), "history": [], "request_id": None, "subject": job_id,
    }  # fmt: skip
    await town.collection("jobs").insert_one(job)
    return job_id, kind
