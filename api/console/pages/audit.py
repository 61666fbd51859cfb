"""The audit log: who did what to which thing, when and why."""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from starlette.requests import Request

from api.console.frame import frame, page
from api.console.pages.jobs import asked_of, is_id
from api.console.parts import Search, link, path
from api.console.table import Column, Row, Table
from api.console.words import moment
from domain.audit_log.forms import act_form
from domain.audit_log.models import OUTCOMES
from domain.audit_log.service import AuditQuery, Position

#: Entries of one page, and seconds between two reads of it.
PAGE, EVERY = 50, 5.0
FIELDS = ("actor", "action", "thing_id", "outcome", "before")
COLUMNS = (
    Column("at", "At", "when"), Column("actor", "Who", "name"), Column("action", "What", "named"),
    Column("thing", "To", "code"), Column("outcome", "Outcome", "state"), Column("reason", "Why"),
    Column("facts", "Before and after", "code"),
)  # fmt: skip
_POSITION = re.compile(r"(.{10,40})~(.{36})")


@page("/audit")
async def audit(request: Request) -> None:
    """Newest first. Nothing edits or deletes an entry."""
    asked = asked_of(request, FIELDS)
    async with frame(request, "Audit log") as operator:
        search = Search("/audit", asked).field("actor", "Id of who acted")
        search.field("action", "What", hint="jobs.replay").field("thing_id", "Id of the thing")
        search.choice("outcome", "Outcome", [("", "any"), *((each, each) for each in OUTCOMES)]).ready()
        table = Table("Audit log", COLUMNS, empty="No entry is found.")
        older = link("Older entries", "")

        async def now() -> None:
            query = AuditQuery(
                actor=asked.get("actor"), action=asked.get("action"), thing_id=asked.get("thing_id"),
                outcome=asked.get("outcome"), before=_position(asked.get("before", "")), limit=PAGE + 1,
            )  # fmt: skip
            rows = await operator.reads.read(query, lambda: operator.services.audit_log.find(query))
            names = await operator.names(row["actor"] for row in rows)
            table.show([_row(act_form(row), names) for row in rows[:PAGE]])
            older.set_visibility(len(rows) > PAGE)
            if rows[PAGE:]:
                last = rows[PAGE - 1]
                older.props["href"] = path(
                    "/audit", {**asked, "before": f"{last['at'].isoformat()}~{last['_id']}"}
                )

        await operator.live(now, every=EVERY)


def _position(before: str) -> Position | None:
    """Where the page begins; the first one where the address says nothing that makes sense."""
    found = _POSITION.fullmatch(before)
    try:
        at = datetime.fromisoformat(found[1]) if found else None
    except ValueError:
        return None
    return (at, found[2]) if found and at and at.tzinfo and is_id(found[2]) else None


def _row(entry: Mapping[str, Any], names: Mapping[str, str]) -> Row:
    facts = {name: entry[name] for name in ("before", "after", "error") if entry[name]}
    told = [f"{name}: {json.dumps(value, ensure_ascii=False, default=str)}" for name, value in facts.items()]
    row = {
        "id": entry["id"], "at": moment(entry["at"]), "actor": names[entry["actor"]],
        "actor_to": path("/audit", {"actor": entry["actor"]}), "action": entry["action"],
        "thing": f"{entry['thing']} {entry['thing_id']}", "outcome": entry["outcome"],
        "reason": entry["reason"] or "",
        "facts": "; ".join(told),
    }  # fmt: skip
    return row | ({"thing_to": path(f"/jobs/{entry['thing_id']}")} if entry["thing"] == "job" else {})
