"""What ops do to processes, pools and the timetable, over HTTP and real services; no other process runs."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest

from domain.audit_log.models import Actor
from domain.audit_log.service import AuditQuery
from domain.bootstrap import Services
from domain.control.attendance import Attendance, Wanted
from domain.control.errors import NotAWorker
from domain.control.processes import Facts, JobInHand
from domain.control.rules import REMEMBERED, WORKER
from domain.errors import NotFound
from domain.settings import Settings
from domain.values import new_id, utcnow
from scheduler.leader import Leader
from scheduler.reports import Reports
from scheduler.runs import Runs
from scheduler.schedule import Entry
from tests.api import Api, User, open_api
from tests.conftest import MovableClock
from tests.factories import Shop, eventually
from tests.fakes import FakeJobQueue, FakeLeadership, FakePubSub

OPS = Actor("ops-1", "session:s")


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    async with open_api(settings) as api:
        yield api


@pytest.fixture
def ops(api: Api) -> User:
    return api.user("ops:read", "ops:write", role="ops")


class Hand:
    """A worker as far as ops can tell: what it was told, and what it has in hand."""

    def __init__(self, services: Services, *, pools: tuple[str, ...] = ("orders",)) -> None:
        self.wanted: list[Wanted] = []
        self.jobs: list[JobInHand] = []
        self.attendance: Attendance = services.control.attendance(
            WORKER, self.facts, pools=pools, threads=4, obey=self.wanted.append
        )

    @property
    def id(self) -> str:
        return self.attendance.who.id

    @property
    def held(self) -> bool:
        return self.wanted[-1].drained

    def facts(self) -> Facts:
        consuming = () if self.wanted and self.held else ("orders",)
        return Facts(memory_bytes=50 * 2**20, jobs=tuple(self.jobs), consuming=consuming)


# -- processes ---------------------------------------------------------------------------------------------


async def test_an_api_is_among_the_processes_while_it_runs(settings: Settings, services: Services):
    async with open_api(settings) as api:
        answer = await api.user("ops:read").get("/v1/ops/workers")
        (process,) = answer.json()["processes"]
        assert (process["role"], process["state"], process["pid"]) == ("api", "working", os.getpid())
        assert process["memory_bytes"] > 2**20
        assert (process["version"], process["jobs"], process["drain"]) == ("0.1.0", [], None)
    assert await services.control.processes.find() == []


async def test_a_worker_is_drained_and_undrained_and_each_is_in_the_audit_log(api: Api, ops: User):
    hand = Hand(api.services)
    hand.jobs = [JobInHand(new_id(), "orders.pay", utcnow())]
    where = f"/v1/ops/workers/{hand.id}"
    async with hand.attendance.attending():
        assert hand.wanted == [Wanted()]
        drained = (await ops.post(f"{where}/drain", {"reason": "ticket 7"})).json()
        assert (drained["drain"]["by"], drained["drain"]["reason"]) == (ops.id, "ticket 7")
        await eventually(lambda: hand.held)
        assert await state_of(ops, hand) == "draining"
        assert (await ops.post(f"{where}/drain", {"reason": "again"})).json()["drain"] == drained["drain"]
        hand.jobs = []
        await ops.post(f"{where}/undrain")
        await eventually(lambda: not hand.held)
        assert await state_of(ops, hand) == "working"
    assert (await ops.post(f"{where}/drain")).status_code == 404
    log = await api.services.audit_log.find(AuditQuery(thing_id=hand.id))
    assert [(row["action"], row["actor"], row["reason"], row["outcome"]) for row in log] == [
        ("workers.undrain", ops.id, None, "done"),
        ("workers.drain", ops.id, "ticket 7", "done"),
    ]


async def state_of(ops: User, hand: Hand) -> str:
    processes = (await ops.get("/v1/ops/workers")).json()["processes"]
    return str(next(each["state"] for each in processes if each["id"] == hand.id))


async def test_without_redis_a_drain_is_heard_with_the_next_beat(
    services: Services, rewire: Callable[..., Services], settings: Settings
):
    pubsub = FakePubSub()
    pubsub.away = True
    quick = settings.deployment.model_copy(update={"heartbeat": timedelta(milliseconds=100)})
    alone = rewire(pubsub=pubsub, settings=settings.model_copy(update={"deployment": quick}))
    hand = Hand(alone)
    async with hand.attendance.attending():
        await services.control.processes.drain(hand.id, by=OPS)
        await eventually(lambda: hand.held)
        # Forgotten meanwhile, as one that was frozen for long: it comes back as it was.
        await services.database["processes"].delete_one({"_id": hand.id})
        await eventually(lambda: _is_drained(services, hand.id))


async def _is_drained(services: Services, process_id: str) -> bool:
    return await services.control.processes.drain_of(process_id) is not None


async def test_a_silent_process_is_lost_and_later_forgotten(services: Services, clock: MovableClock):
    hand, processes = Hand(services), services.control.processes
    await processes.beat(hand.attendance.who, hand.facts(), drain=None)
    clock.move(seconds=19)
    assert (await processes.get(hand.id)).state == "working"
    clock.move(seconds=2)
    assert [each.state for each in await processes.find()] == ["lost"]
    with pytest.raises(NotAWorker):
        await processes.drain(hand.id, by=OPS)
    assert await processes.sweep() == 0
    clock.move(seconds=REMEMBERED.total_seconds())
    assert await processes.find() == []
    assert await processes.sweep() == 1
    with pytest.raises(NotFound):
        await processes.undrain(hand.id, by=OPS)


async def test_only_workers_are_drained(api: Api, ops: User):
    (process,) = (await ops.get("/v1/ops/workers")).json()["processes"]
    answer = await ops.post(f"/v1/ops/workers/{process['id']}/drain")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_a_worker")


# -- queues ------------------------------------------------------------------------------------------------


async def test_a_pause_is_heard_by_workers_of_today_and_tomorrow_until_it_ends(api: Api, ops: User):
    hand, where = Hand(api.services), "/v1/ops/queues/orders"
    async with hand.attendance.attending():
        paused = (await ops.post(f"{where}/pause", {"reason": "ticket 8"})).json()
        assert (paused["pool"], paused["paused"]["reason"], paused["workers"]) == ("orders", "ticket 8", 1)
        await eventually(lambda: hand.wanted[-1].paused == {"orders"})
        again = (await ops.post(f"{where}/pause", {"reason": "later"})).json()
        assert again["paused"] == paused["paused"]
        late = Hand(api.services)
        async with late.attendance.attending():
            assert late.wanted == [Wanted(paused=frozenset({"orders"}))]
        queues = {each["pool"]: each for each in (await ops.get("/v1/ops/queues")).json()["queues"]}
        assert queues["orders"]["paused"]
        assert not queues["inventory"]["paused"]
        assert (await ops.post(f"{where}/resume")).json()["paused"] is None
        await eventually(lambda: hand.wanted[-1].paused == frozenset())
    assert (await ops.post("/v1/ops/queues/ordres/pause")).status_code == 404
    log = await api.services.audit_log.find(AuditQuery(thing_id="orders"))
    assert [row["action"] for row in log] == ["queues.resume", "queues.pause"]


async def test_what_waits_in_a_paused_pool_is_sent_once(
    services: Services, rewire: Callable[..., Services], clock: MovableClock
):
    queue = FakeJobQueue()
    office = rewire(queue=queue)
    shop = Shop(office)
    await shop.stock(A=9)
    await office.control.queues.pause("orders", by=OPS)
    sent = (await shop.submit(A=1)).job_id
    queue.away = True
    unsent = (await shop.submit(A=1)).job_id
    await office.drain()
    queue.away = False
    for _ in range(3):
        clock.move(minutes=11)
        await office.relay.send_due()
    assert [message.job_id for message in queue.waiting["orders"]] == [sent, unsent]
    await office.control.queues.resume("orders", by=OPS)
    await office.control.queues.paused()
    assert await office.relay.send_due() == 0
    clock.move(minutes=11)
    assert await office.relay.send_due() == 2


async def test_a_purge_cancels_what_waits_and_asks_first(api: Api, ops: User, settings: Settings):
    customer = api.user()
    await api.shop.stock(A=9)
    ids = [(await api.shop.submit(A=1, owner=customer.id)).job_id for _ in range(3)]
    kept = (await api.shop.submit(A=1, owner=customer.id)).job_id
    begun = {"$set": {"attempt_id": "x", "attempts": 1}}
    api.store["jobs"].update_one({"_id": kept}, begun)
    where = "/v1/ops/queues/orders/purge"
    unconfirmed = await ops.post(where, {"reason": "x"})
    assert (unconfirmed.status_code, unconfirmed.json()["errors"][0]["field"]) == (422, "body.confirm")
    look = (await ops.post(where, {"dry_run": True})).json()
    assert (look["cancelled"], look["by_kind"], look["dry_run"]) == (3, {"orders.place": 3}, True)
    assert look["sample"] == ids
    other = (await ops.post(where, {"confirm": "orders", "kind": "orders.pay"})).json()
    assert (other["cancelled"], other["dropped"]) == (0, None)
    done = (await ops.post(where, {"confirm": "orders", "reason": "ticket 9"})).json()
    assert (done["cancelled"], done["refused"], done["more"], done["dropped"]) == (3, 0, False, 4)
    for job_id in ids:
        job = (await customer.get(f"/v1/jobs/{job_id}")).json()
        assert job["state"] == "cancelled"
        assert "ticket 9" in job["history"][-1]["note"]
        assert (await customer.get(f"/v1/orders/{job_id}")).json()["state"] == "cancelled"
    # What was left has lost its message: the relay sends it at once.
    (left,) = api.store["jobs"].find({"state": "queued", "pool": "orders"})
    assert (left["_id"], left["dispatched_at"]) == (kept, None)
    again = (await ops.post(where, {"confirm": "orders"})).json()
    assert (again["cancelled"], again["dropped"]) == (0, 0)
    log = await api.services.audit_log.find(AuditQuery(action="queues.purge"))
    assert [row["after"]["cancelled"] for row in log] == [0, 3, 0]


# -- the timetable -----------------------------------------------------------------------------------------


class Verb:
    """What an entry does, which can be told to fail."""

    def __init__(self) -> None:
        self.result: int | Exception = 0
        self.at_once = 0
        self.most = 0

    async def __call__(self) -> int:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(0.01)
        self.at_once -= 1
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


class Desk:
    """A scheduler that leads, with one entry that nothing runs by itself."""

    def __init__(self, services: Services) -> None:
        self.verb = Verb()
        self.entry = Entry("count things", timedelta(seconds=30), self.verb)
        self.leader = Leader(FakeLeadership([]), every=timedelta(seconds=1))
        self.runs = Runs(self.leader)
        self.reports = Reports(services, self.runs, self.leader, [self.entry])


@pytest.fixture
def desk(api: Api) -> Desk:
    return Desk(api.services)


WHERE = "/v1/ops/schedule/count-things/run"


async def test_ops_see_how_entries_ran_and_run_one_now(api: Api, ops: User, desk: Desk):
    empty = (await ops.get("/v1/ops/schedule")).json()
    assert empty == {"leader": None, "entries": []}
    async with desk.leader.standing(), desk.reports.open():
        await eventually(lambda: _listed(ops))
        desk.verb.result = 7
        done = await ops.post(WHERE, {"reason": "ticket 1"})
        assert done.status_code == 200, done.text
        assert (done.json()["state"], done.json()["result"], done.json()["error"]) == ("done", 7, None)
        desk.verb.result = ConnectionError("the shelf is away")
        failed = (await ops.post(WHERE)).json()
        assert (failed["state"], failed["error"]) == ("failed", "ConnectionError: the shelf is away")
        await eventually(lambda: _failing(ops))
        shown = (await ops.get("/v1/ops/schedule")).json()
    (entry,) = shown["entries"]
    assert shown["leader"] == entry["by"] == desk.reports._attendance.who.id
    assert (entry["name"], entry["title"], entry["every_ms"]) == ("count-things", "count things", 30_000)
    assert (entry["did"]["result"], entry["last"]["error"]) == (7, failed["error"])
    assert entry["next_at"] > entry["last"]["at"]
    log = await api.services.audit_log.find(AuditQuery(action="schedule.run"))
    assert [(row["thing_id"], row["after"]["state"]) for row in log] == [
        ("count-things", "failed"),
        ("count-things", "done"),
    ]


async def _listed(ops: User) -> bool:
    return bool((await ops.get("/v1/ops/schedule")).json()["entries"])


async def _failing(ops: User) -> bool:
    (entry,) = (await ops.get("/v1/ops/schedule")).json()["entries"]
    return bool(entry["failing"])


async def test_an_entry_never_runs_twice_at_once(api: Api, ops: User, desk: Desk):
    async with desk.leader.standing(), desk.reports.open():
        await eventually(lambda: _listed(ops))
        asked = asyncio.gather(ops.post(WHERE), ops.post(WHERE))
        await asyncio.gather(*(desk.runs.run(desk.entry) for _ in range(5)))
        answers = await asked
    assert {answer.json()["state"] for answer in answers} == {"done"}
    assert desk.verb.most == 1


async def test_without_a_leader_nothing_is_run_and_ops_are_told(
    api: Api, ops: User, desk: Desk, monkeypatch: pytest.MonkeyPatch
):
    await api.services.control.timetables.note({"count-things": desk.reports._form("count-things")})
    monkeypatch.setattr("api.routes.ops_control.PATIENCE", 0.3)
    answer = await ops.post(WHERE)
    assert (answer.status_code, answer.json()["code"]) == (503, "nobody_leads")
    assert await api.services.control.timetables.take_asked() == []
    assert (await ops.post("/v1/ops/schedule/nothing/run")).status_code == 404


async def test_an_asked_run_is_taken_up_by_one_leader_of_two(services: Services, desk: Desk):
    timetables = services.control.timetables
    await timetables.note({"count-things": desk.reports._form("count-things")})
    asked = asyncio.create_task(timetables.run("count-things", by=OPS, seconds=5))
    await eventually(lambda: services.database["timetable_runs"].count_documents({}))
    taken = await asyncio.gather(timetables.take_asked(), timetables.take_asked())
    (row,) = [row for rows in taken for row in rows]
    await timetables.ended(row["_id"], result=3, error=None)
    assert (await asked)["result"] == 3


async def test_an_entry_that_is_no_more_is_dropped_by_the_next_leader(services: Services, desk: Desk):
    timetables = services.control.timetables
    form = desk.reports._form("count-things")
    await timetables.note({"count-things": form, "gone": form})
    await timetables.forget_others(frozenset({"count-things"}))
    assert [each.slug for each in await timetables.find()] == ["count-things"]


# -- status, and who may -----------------------------------------------------------------------------------


async def test_the_status_says_in_words_what_needs_attention(api: Api, ops: User, desk: Desk):
    await api.shop.stock(A=1)
    await api.shop.submit(A=1)
    await ops.post("/v1/ops/queues/inventory/pause", {"reason": "stocktaking"})
    status = (await ops.get("/v1/ops/status")).json()
    assert not status["ok"]
    assert status["attention"] == [
        f"`inventory` is paused by {ops.id}: stocktaking",
        "`orders` has jobs and no worker that takes them",
        "no scheduler leads the timetable",
    ]
    assert {each["name"] for each in status["services"] if each["ok"]} == {
        "mongodb",
        "rabbitmq",
        "redis",
        "s3",
    }
    await ops.post("/v1/ops/queues/inventory/resume")
    hand = Hand(api.services)
    async with hand.attendance.attending(), desk.leader.standing(), desk.reports.open():
        await eventually(lambda: _all_well(ops))
        status = (await ops.get("/v1/ops/status")).json()
        assert status["processes"] == {
            "api": {"working": 1},
            "scheduler": {"working": 1},
            "worker": {"working": 1},
        }
        desk.verb.result = KeyError("x")
        await ops.post(WHERE)
        await eventually(lambda: _says(ops, "`count things` has failed (1 in a row): KeyError: 'x'"))


async def _all_well(ops: User) -> bool:
    return bool((await ops.get("/v1/ops/status")).json()["ok"])


async def _says(ops: User, words: str) -> bool:
    return words in (await ops.get("/v1/ops/status")).json()["attention"]


READS = ("/v1/ops/status", "/v1/ops/workers", "/v1/ops/queues", "/v1/ops/schedule")
WRITES = (
    "/v1/ops/workers/x/drain", "/v1/ops/workers/x/undrain", "/v1/ops/queues/orders/pause",
    "/v1/ops/queues/orders/resume", "/v1/ops/queues/orders/purge", WHERE,
)  # fmt: skip


async def test_customers_see_nothing_and_readers_change_nothing(api: Api, subtests: pytest.Subtests):
    customer, reader = api.user(), api.user("ops:read")
    for path in READS:
        with subtests.test(path):
            assert (await customer.get(path)).status_code == 403
            assert (await api.client.get(path)).status_code == 401
            assert (await reader.get(path)).status_code == 200
    for path in WRITES:
        with subtests.test(path):
            assert (await customer.post(path)).status_code == 403
            assert (await reader.post(path)).status_code == 403
    assert await api.services.control.queues.paused() == frozenset()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("workers/x/drain", {"reason": ""}),
        ("workers/x/drain", {"reason": "a\x00b"}),
        ("queues/orders/pause", {"why": "x"}),
        ("queues/orders/pause", {"reason": "x" * 501}),
        ("queues/orders/purge", {"confirm": "orders", "kind": "$where"}),
        ("queues/orders/purge", {"confirm": "orders", "dry_run": "yes"}),
        ("queues/orders/purge", {"confirm": "inventory"}),
        ("queues/orders/purge", {}),
        ("schedule/count-things/run", {"reason": 7}),
    ],
)
async def test_what_makes_no_sense_is_refused(api: Api, ops: User, path: str, body: dict[str, Any]):
    answer = await ops.post(f"/v1/ops/{path}", body)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_error")
