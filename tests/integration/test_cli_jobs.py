"""`stockyard jobs`, `dead`, `audit-log`, `timeline`, `stuck` and `repair`, in this process."""

import asyncio
import getpass
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from domain.bootstrap import open_services
from domain.jobs.models import JOBS
from domain.settings import Settings
from domain.values import new_id
from ops.cli.main import app
from tests.factories import Shop
from tests.integration.test_ops_jobs import dead_job

Work = Callable[[Shop], Awaitable[Any]]


@pytest.fixture
def shop_does(settings: Settings) -> Callable[[Work], Any]:
    """Runs something over the shop's services, in a loop of its own: as the commands do."""

    def run(work: Work) -> Any:
        async def inside() -> Any:
            async with open_services(settings) as services:
                return await work(Shop(services))

        return asyncio.run(inside())

    return run


def stockyard(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def told(*arguments: str) -> Any:
    """What the command printed as JSON."""
    done = stockyard(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


async def three_dead(shop: Shop) -> list[str]:
    return [await dead_job(shop, fault=f"KeyError: {n}\x1b[31m") for n in range(3)]


async def states(shop: Shop) -> dict[str, str]:
    rows = shop.services.database[JOBS].find({}, {"state": 1})
    return {row["_id"]: row["state"] async for row in rows}


def test_dead_jobs_are_looked_at_and_replayed_from_the_command_line(shop_does: Callable[[Work], Any]):
    jobs = shop_does(three_dead)
    listed = told("jobs", "list", "--state", "dead", "--kind", "orders.cancel", "--since", "1h")
    assert [job["id"] for job in listed["jobs"]] == jobs[::-1]
    assert (listed["more"], listed["searched_until"]) == (False, None)
    assert told("jobs", "list", "--text", "keyerror: 2")["jobs"][0]["id"] == jobs[2]
    (group,) = told("dead", "list")["groups"]
    assert group["count"] == 3
    shown = stockyard("jobs", "show", jobs[0])
    assert (shown.exit_code, jobs[0] in shown.stdout, "\x1b" in shown.stdout) == (0, True, False)
    assert "\x1b" not in stockyard("dead", "list").stdout
    would = told("dead", "replay", "--group", group["group"], "--dry-run")
    assert (would["jobs"], would["dry_run"]) == (3, True)
    asked = stockyard("dead", "replay", "--group", group["group"])
    assert (asked.exit_code, asked.stderr) == (2, "stockyard: there is no terminal to ask: use --yes\n")
    assert set(shop_does(states).values()) == {"dead"}
    run = told("dead", "replay", "--group", group["group"], "--rate", "200", "--yes", "--reason", "cured")
    assert (run["state"], run["size"]) == ("queued", 3)
    shop_does(lambda shop: shop.work(run["id"]))
    ended = stockyard("dead", "stop", run["id"], "--json")
    assert (ended.exit_code, json.loads(ended.stdout)["error"]["code"]) == (1, "conflict")
    (done,) = told("dead", "runs")["runs"]
    assert (done["state"], done["done"], done["reason"]) == ("done", 3, "cured")
    assert shop_does(states)[jobs[0]] == "queued"
    entries = told("audit-log", "--action", "jobs.bulk_replay")["entries"]
    me = f"cli:{getpass.getuser()}@{socket.gethostname()}"
    assert [(each["actor"], each["via"], each["reason"]) for each in entries] == [(me, "cli", "cured")]
    nothing = stockyard("dead", "discard", "--kind", "orders.cancel", "--yes")
    assert (nothing.exit_code, nothing.stderr) == (1, "stockyard: there is no dead job to take\n")


def test_one_job_is_replayed_sent_ahead_and_cancelled(shop_does: Callable[[Work], Any]):
    job_id = shop_does(dead_job)
    assert told("jobs", "replay", job_id, "--reason", "cured")["state"] == "queued"
    refused = stockyard("jobs", "replay", job_id)
    assert (refused.exit_code, refused.stdout, refused.stderr.count("\n")) == (1, "", 1)
    assert stockyard("jobs", "expedite", job_id).stdout == f"orders.cancel {job_id} was sent ahead\n"
    assert told("jobs", "cancel", job_id)["state"] == "cancelled"
    assert stockyard("jobs", "show", new_id()).exit_code == 1
    actions = [each["action"] for each in told("audit-log", "--thing", job_id)["entries"]]
    assert actions == ["jobs.cancel", "jobs.expedite", "jobs.replay", "jobs.replay"]


async def order_with_an_overdue_hold(shop: Shop) -> str:
    await shop.stock(CHAI=1)
    order_id: str = (await shop.place(CHAI=1))["id"]
    past = shop.services.clock().replace(year=2025)
    await shop.services.database["holds"].update_one(
        {"_id": order_id}, {"$set": {"expires_at": past, "due_at": past}}
    )
    return order_id


def test_what_is_stuck_is_found_and_repaired(shop_does: Callable[[Work], Any]):
    assert stockyard("stuck").stdout == "nothing is stuck\n"
    order_id = shop_does(order_with_an_overdue_hold)
    found = stockyard("stuck", "--json")
    assert found.exit_code == 1
    (finding,) = json.loads(found.stdout)["stuck"]
    assert (finding["what"], finding["id"], finding["repair"]) == ("hold_overdue", order_id, "end_hold")
    assert told("repair", "end_hold", order_id)["expired"] == 1
    assert stockyard("stuck").exit_code == 0
    assert told("timeline", order_id)["state"] == "expired"
    assert "the order is expired" in stockyard("timeline", order_id).stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("jobs", "list", "--state", "lost"),
        ("jobs", "list", "--since", "yesterday"),
        ("jobs", "list", "--limit", "0"),
        ("dead", "replay"),
        ("dead", "replay", "--kind", "x", "--rate", "0"),
        ("audit-log", "--outcome", "lost"),
        ("stuck", "--after", "soon"),
        ("repair", "pray", "x"),
    ],
)
def test_wrong_usage_ends_with_2_before_anything_is_opened(arguments: tuple[str, ...]):
    done = stockyard(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
