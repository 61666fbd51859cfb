"""`stockyard status`, `workers`, `queues` and `schedule`, in this process."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from pymongo.database import Database
from typer.testing import CliRunner, Result

from domain.settings import Settings
from domain.values import new_id, utcnow
from ops.books import store
from ops.cli.main import app

Store = Database[dict[str, Any]]


@pytest.fixture
def books(settings: Settings) -> Iterator[Store]:
    with store(settings.mongo.url, settings.mongo.database) as database:
        yield database


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def shown(*arguments: str, code: int = 0) -> Any:
    """What the command prints with --json."""
    result = run(*arguments, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def worker(books: Store, **changed: Any) -> str:
    now = utcnow()
    row = {
        "_id": new_id(), "role": "worker", "host": "shop-1", "pid": 7, "version": "0.1.0", "started_at": now,
        "seen_at": now + timedelta(minutes=1), "pools": ["orders"], "threads": 4, "memory_bytes": 52_428_800,
        "jobs": [], "consuming": ["orders"], "leads": None, "drain": None,
    }  # fmt: skip
    books["processes"].insert_one(row | changed)
    return str(row["_id"])


def job(books: Store, **changed: Any) -> str:
    now = utcnow()
    row = {
        "_id": new_id(), "kind": "orders.pay", "pool": "orders", "owner": "ada", "key": new_id(),
        "fingerprint": "", "payload": {}, "state": "queued", "attempts": 0, "created_at": now,
        "not_before": now + timedelta(minutes=9), "dispatched_at": now, "history": [], "attempt_id": None,
    }  # fmt: skip
    books["jobs"].insert_one(row | changed)
    return str(row["_id"])


def test_a_worker_is_listed_drained_and_undrained(books: Store):
    process = worker(books)
    (listed,) = shown("workers", "list")["processes"]
    assert (listed["id"], listed["state"], listed["threads"]) == (process, "working", 4)
    assert "50 MB" in run("workers", "list").stdout
    drained = shown("workers", "drain", process, "--reason", "ticket 1")
    assert drained["drain"]["reason"] == "ticket 1"
    assert drained["drain"]["by"].startswith("cli:")
    assert "takes jobs" in run("workers", "undrain", process).stdout
    actions = [row["action"] for row in books["audit_log"].find({"thing_id": process}).sort("_id")]
    assert actions == ["workers.drain", "workers.undrain"]
    unknown = run("workers", "drain", new_id())
    assert (unknown.exit_code, unknown.stdout) == (1, "")
    assert unknown.stderr.startswith("stockyard: ")


def test_a_queue_is_paused_resumed_and_purged_when_that_is_confirmed(books: Store):
    waiting, begun = job(books), job(books, attempt_id="x", attempts=1)
    assert shown("queues", "pause", "orders", "--reason", "ticket 2")["paused"]["reason"] == "ticket 2"
    assert "paused" in run("queues", "list").stdout
    assert shown("queues", "resume", "orders")["paused"] is None
    assert run("queues", "pause", "ordres").exit_code == 1
    look = shown("queues", "purge", "orders", "--dry-run")
    assert (look["cancelled"], look["by_kind"], look["sample"]) == (1, {"orders.pay": 1}, [waiting])
    unasked = run("queues", "purge", "orders")
    assert (unasked.exit_code, books["jobs"].count_documents({"state": "queued"})) == (2, 2)
    assert shown("queues", "purge", "orders", "--yes", "--reason", "ticket 3")["cancelled"] == 1
    states = {row["_id"]: row["state"] for row in books["jobs"].find({})}
    assert states == {waiting: "cancelled", begun: "queued"}


def test_the_timetable_is_listed_and_nobody_runs_it_without_a_leader(books: Store):
    assert shown("schedule", "list") == {"entries": []}
    last = {"at": utcnow(), "ms": 3, "result": 1, "error": None}
    entry = {
        "name": "expire holds", "every_ms": 500, "by": "x", "last": last, "did": None, "failed": None,
        "failing": 0,
    }  # fmt: skip
    books["timetable"].insert_one({"_id": "timetable", "entries": {"expire-holds": entry}})
    (listed,) = shown("schedule", "list")["entries"]
    assert (listed["name"], listed["last"]["ms"]) == ("expire-holds", 3)
    printed = run("schedule", "list").stdout
    assert "expire-holds" in printed
    assert "next run" in printed
    nobody = run("schedule", "run", "expire-holds", "--wait", "0.2")
    assert nobody.exit_code == 1
    assert "No scheduler leads" in nobody.stderr
    assert run("schedule", "run", "nothing").exit_code == 1
    assert run("schedule", "run", "expire-holds", "--wait", "0").exit_code == 2


def test_the_status_ends_with_1_while_something_needs_attention(books: Store):
    job(books)
    found = shown("status", code=1)
    assert found["attention"] == [
        "`orders` has jobs and no worker that takes them",
        "no scheduler leads the timetable",
    ]
    told = run("status")
    assert told.exit_code == 1
    assert "attention  no scheduler leads the timetable" in told.stdout
    books["jobs"].delete_many({})
    worker(books)
    worker(books, role="scheduler", pools=[], consuming=[], leads=True, _id=new_id())
    fine = run("status")
    assert (fine.exit_code, fine.stdout.rstrip().endswith("all is well")) == (0, True), fine.output
