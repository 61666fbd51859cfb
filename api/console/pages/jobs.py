"""Jobs: everybody's, found by what is known of them."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from starlette.requests import Request

from api.console.frame import Operator, frame, page
from api.console.parts import Search, link, note, path
from api.console.table import Column, Row, Table
from api.console.words import error_line, moment
from domain.jobs.commands import kinds, pools
from domain.jobs.forms import brief
from domain.jobs.rules import STATES
from domain.jobs.searching import Found, Wanted

#: Jobs of one page, and seconds between two reads of it.
PAGE, EVERY = 50, 3.0
#: How far back a search goes, by what is asked.
SINCE = {
    "1h": timedelta(hours=1),
    "24h": timedelta(days=1),
    "7d": timedelta(days=7),
    "90d": timedelta(days=90),
}
FIELDS = ("find", "state", "kind", "pool", "owner", "text", "since", "before")
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
COLUMNS = (
    Column("id", "Job", "id"), Column("kind", "Kind", "name"), Column("state", "State", "state"),
    Column("owner", "Owner", "who"), Column("subject", "About", "id"), Column("attempts", "Runs", "number"),
    Column("at", "Accepted", "when"), Column("error", "Error"),
)  # fmt: skip


@page("/jobs")
async def jobs(request: Request) -> None:
    """The search, and what it finds, newest first."""
    asked = asked_of(request, FIELDS)
    async with frame(request, "Jobs") as operator:
        _form(asked)
        table = Table("Jobs", COLUMNS, empty="No job is found.")
        under = note()
        further = link("Older jobs", "")
        further.set_visibility(False)

        async def now() -> None:
            wanted = wanted_of(asked, operator.now)
            found = await operator.reads.read(
                ("jobs", *asked.items()), lambda: _find(operator, wanted), fresh=EVERY
            )
            names = await operator.names(job["owner"] for job in found.jobs)
            table.show([row_of(job, names) for job in found.jobs])
            under.text = _under(found, asked)
            further.set_visibility(found.position is not None)
            further.props["href"] = path("/jobs", {**asked, "before": found.position})

        await operator.live(now, every=EVERY)


def asked_of(request: Request, names: tuple[str, ...]) -> dict[str, str]:
    """What the page's address asks for, of what it may: short, and without what no store takes."""
    found = {name: request.query_params.get(name, "").replace("\x00", "").strip()[:200] for name in names}
    return {name: value for name, value in found.items() if value}


def wanted_of(asked: Mapping[str, str], now: datetime) -> Wanted:
    """The search that is asked for. An id may be a job's, or of what it is about, as an order."""
    back = SINCE.get(asked.get("since", ""))
    before = asked.get("before", "")
    return Wanted(
        kind=asked.get("kind"), state=asked.get("state"), pool=asked.get("pool"), owner=asked.get("owner"),
        subject=asked.get("find"), text=asked.get("text"), since=now - back if back else None,
        before=before if is_id(before) else None, limit=PAGE,
    )  # fmt: skip


def is_id(text: str) -> bool:
    """Whether it has the form of an id."""
    return _ID.fullmatch(text) is not None


async def _find(operator: Operator, wanted: Wanted) -> Found:
    return await operator.services.job_desk.find(wanted)


def row_of(job: Mapping[str, Any], names: Mapping[str, str]) -> Row:
    """A job in a list."""
    shown = brief(job)
    return {
        "id": shown["id"],
        "id_to": path(f"/jobs/{shown['id']}"),
        "kind": shown["kind"],
        "state": shown["state"],
        "owner": names[shown["owner"]],
        "owner_to": path("/jobs", {"owner": shown["owner"]}),
        "subject": shown["subject"] if shown["subject"] != shown["id"] else "",
        "attempts": str(shown["attempts"]),
        "at": moment(shown["created_at"]),
        "error": error_line(shown["error"])[:200],
        "named": f"{shown['kind']} {shown['id']}",
    }


def _form(asked: Mapping[str, str]) -> None:
    any_one = ("", "any")
    search = Search("/jobs", asked)
    search.field("find", "Id of a job or an order").field("text", "Error text")
    search.choice("state", "State", [any_one, *((state, state) for state in STATES)])
    search.choice("kind", "Kind", [any_one, *((kind, kind) for kind in sorted(kinds()))])
    search.choice("pool", "Pool", [any_one, *((pool, pool) for pool in pools())])
    search.field("owner", "Owner's id")
    search.choice("since", "Accepted", [("", "any time"), *((name, f"in the last {name}") for name in SINCE)])
    search.ready()


def _under(found: Found, asked: Mapping[str, str]) -> str:
    if found.searched_until is not None:
        return f"Time was up: what was accepted before {moment(found.searched_until)} was not looked at."
    narrow = asked.keys() & {"find", "owner", "since"} or asked.get("state") in {"dead", "running", "queued"}
    return "" if narrow else "Of the last 24 h: without an id, an owner, a time or an open state."
