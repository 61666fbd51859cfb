"""Workers of two versions side by side: what the older one does not know waits, and the newer one does it."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from domain.bootstrap import Services
from domain.values import new_id, utcnow
from ops.fleet import Fleet, Member, free_port
from tests.e2e.town import said
from tests.factories import Shop, eventually

ROOT = Path(__file__).parents[2]
#: What the newer version has: a kind of its own, whose payload has changed once, and another form of a kind
#: that the older one has.
COMMANDS = '''

class Teleport(Command):
    """Move without a way between."""

    kind = "inventory.teleport"
    pool = "inventory"
    version = 2
    upgrades = {1: lambda payload: {"place": payload["to"]}}
    place: str


Release.version = 2
Release.upgrades = {1: dict}
'''
HANDLERS = '''

from domain.inventory.commands import Teleport


@handles(Teleport, pool="inventory")
async def teleport(services: Services, command: Teleport, job: Claimed) -> Result:
    """There."""
    return {"place": command.place}
'''


@pytest.fixture
def newer(environment: dict[str, str], tmp_path: Path) -> Iterator[Member]:
    """A worker of the newer version, which has not been started."""
    for package in ("domain", "workers"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    for path, code in (("domain/inventory/commands.py", COMMANDS), ("workers/inventory.py", HANDLERS)):
        with (tmp_path / path).open("a", encoding="utf-8") as file:
            file.write(code)
    port = free_port()
    own = {
        "PYTHONPATH": str(tmp_path),
        "PYTHONSAFEPATH": "1",
        "STOCKYARD_WORKERS_PROBE_PORT": str(port),
    }
    member = Member(
        name="newer",
        arguments=("workers.main", "inventory"),
        environment={**environment, **own},
        log=tmp_path / "newer.log",
        ready_url=f"http://127.0.0.1:{port}/readyz",
    )
    yield member
    member.stop()


async def test_jobs_of_a_newer_version_wait_for_its_worker_beside_the_older_one(
    services: Services, shop: Shop, fleet_of: Callable[..., Fleet], newer: Member
):
    fleet = fleet_of(apis=0, pools={"inventory": 1}, schedulers=0)
    await shop.stock(A=5)
    held = await shop.reserve(A=2)
    jobs = [
        await waiting(services, "inventory.teleport", 1, {"to": "Leith"}),
        await waiting(services, "inventory.teleport", 2, {"place": "Oban"}),
        await waiting(services, "inventory.release", 2, {"reservation_id": held}),
    ]
    assert await services.relay.send_due() == 3

    async def all_left() -> bool:
        query = {"_id": {"$in": jobs}, "history.note": {"$regex": "^waits for a worker"}}
        return await services.database["jobs"].count_documents(query) == 3

    await eventually(all_left)
    rows = await services.database["jobs"].find({"_id": {"$in": jobs}}).to_list()
    assert {(row["state"], row["attempts"], row["dispatched_at"]) for row in rows} == {("queued", 0, None)}
    depth = await services.queue.depth("inventory")
    assert depth is not None
    assert depth.ready == 0

    newer.start()

    async def all_done() -> bool:
        # The time that they are given would come by itself; either worker may get them then.
        query = {"_id": {"$in": jobs}, "dispatched_at": None}
        await services.database["jobs"].update_many(query, {"$set": {"not_before": utcnow()}})
        await services.relay.send_due()
        done = {"_id": {"$in": jobs}, "state": "succeeded"}
        return await services.database["jobs"].count_documents(done) == 3

    await eventually(all_done, within=30)
    ended = {row["_id"]: row async for row in services.database["jobs"].find({"_id": {"$in": jobs}})}
    assert [ended[job]["result"] for job in jobs[:2]] == [{"place": "Leith"}, {"place": "Oban"}]
    assert {row["attempts"] for row in ended.values()} == {1}
    for row in ended.values():
        assert [line["note"] for line in row["history"]].count(
            f"waits for a worker that knows {row['kind']}"
        ) == 1
    assert await shop.levels("A") == (5, 0)
    for member in [*fleet.workers, newer]:
        assert "Traceback" not in said(member.log)


async def waiting(services: Services, kind: str, version: int, payload: dict[str, Any]) -> str:
    """A job as an API of the newer version stores it."""
    job_id, now = new_id(), utcnow()
    job = {
        "_id": job_id, "kind": kind, "pool": "inventory", "owner": "ada", "key": job_id, "fingerprint": "",
        "payload": payload, "version": version, "state": "queued", "attempts": 0, "created_at": now,
        "not_before": now, "dispatched_at": None, "history": [], "request_id": None, "subject": job_id,
    }  # fmt: skip
    await services.database["jobs"].insert_one(job)
    return job_id
