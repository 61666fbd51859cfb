"""Queues of another form, as docs/scaling.md moves to them: nothing is lost, and the old ones go."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pika
import pytest
from typer.testing import CliRunner

from domain.adapters.rabbitmq import RabbitmqJobQueue
from domain.bootstrap import Services
from ops.cli.main import app
from ops.environment import settings_of
from ops.fleet import Fleet, Member
from tests.conftest import MovableClock
from tests.e2e.town import said
from tests.factories import Shop, eventually

VERSION = "STOCKYARD_RABBITMQ_QUEUE_VERSION"
TYPE = "STOCKYARD_RABBITMQ_QUEUE_TYPE"
#: Seconds between two orders.
PAUSE = 0.05


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    """The old form."""
    # Without a scheduler nobody would send what waits for its turn.
    return {**environment, TYPE: "quorum", "STOCKYARD_POOLS_FAIR_SHARE": "0"}


@pytest.fixture
def newer(environment: dict[str, str]) -> dict[str, str]:
    """The new form."""
    return {TYPE: "classic", VERSION: f"{environment[VERSION]}0"}


@pytest.fixture
async def moved(
    environment: dict[str, str], newer: dict[str, str], rewire: Callable[..., Services]
) -> AsyncIterator[Services]:
    """What publishes to the new form."""
    settings = settings_of({**environment, **newer})
    queue = RabbitmqJobQueue(settings.rabbitmq)
    await queue.open()
    yield rewire(queue=queue, settings=settings)
    await queue.close()


@pytest.fixture
def workers(environment: dict[str, str], newer: dict[str, str], tmp_path: Path) -> Iterator[list[Member]]:
    """One for the old form and one for the new, which have not been started."""
    fleet = Fleet(environment, folder=tmp_path, apis=0, pools={"orders": 2}, schedulers=0)
    fleet.workers[1].environment = {**fleet.workers[1].environment, **newer}
    yield fleet.workers
    fleet.stop()


class Publishers:
    """The APIs: they accept orders all the time, and go over to the new form one day."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.ids: list[str] = []

    async def accept(self) -> str:
        self.ids.append((await Shop(self.services).submit(A=1)).job_id)
        return self.ids[-1]

    async def keep_accepting(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self.accept()
            await asyncio.sleep(PAUSE)

    async def all_done(self) -> bool:
        done = {"_id": {"$in": self.ids}, "state": "succeeded", "attempts": 1}
        return await self.services.database["jobs"].count_documents(done) == len(self.ids)


async def deletes(version: str, *options: str, code: int) -> dict[str, Any]:
    """What the documented command says of the old form."""
    command = ["queues", "delete", "--version", version, "--type", "quorum", "--json", *options]
    done = await asyncio.to_thread(CliRunner().invoke, app, command)
    assert done.exit_code == code, done.output
    return dict(json.loads(done.stdout))


def ready(found: dict[str, Any]) -> dict[str, int]:
    return {each["name"]: each["ready"] for each in found["queues"]}


async def test_the_documented_move_to_queues_of_another_form_loses_nothing(
    services: Services,
    moved: Services,
    workers: list[Member],
    environment: dict[str, str],
    clock: MovableClock,
):
    old, new = workers
    version, old_queue = environment[VERSION], f"orders.quorum.v{environment[VERSION]}"
    await Shop(services).stock(A=10_000)
    apis, stop = Publishers(services), asyncio.Event()
    accepting = asyncio.create_task(apis.keep_accepting(stop))

    # 1. Workers on the new form beside those on the old one.
    await asyncio.gather(*(asyncio.to_thread(each.start) for each in (old, new)))
    # 2. What publishes goes over.
    before = len(apis.ids)
    apis.services = moved
    await eventually(lambda: len(apis.ids) > before + 20)
    stop.set()
    await accepting
    # 3. The old queues run empty.
    await eventually(apis.all_done)
    found = await deletes(version, "--dry-run", code=0)
    assert ready(found)[old_queue] == 0
    # 4. As long as workers consume them, and while anything is in them, they stay.
    consumed = {each["name"] for each in found["queues"] if each["consumers"]}
    kept = await deletes(version, "--yes", code=1)
    assert not consumed & set(kept["deleted"])
    await asyncio.to_thread(old.stop)
    apis.services = services
    late = await apis.accept()
    kept = await deletes(version, "--yes", code=1)
    assert ready(kept)[old_queue] == 1
    assert old_queue not in kept["deleted"]

    # A queue that is deleted too early had nothing that the ledger has not.
    with pika.BlockingConnection(pika.URLParameters(environment["STOCKYARD_RABBITMQ_URL"])) as connection:
        connection.channel().queue_delete(old_queue)
    clock.move(seconds=5)
    assert await moved.relay.send_lost() == 1
    await eventually(apis.all_done)
    assert (await Shop(services).job(late))["state"] == "succeeded"
    assert await Shop(services).levels("A") == (10_000 - len(apis.ids), len(apis.ids))
    await deletes(version, "--yes", code=0)
    assert (await deletes(version, "--yes", code=0))["queues"] == []
    for worker in workers:
        assert "Traceback" not in said(worker.log)
