"""One order's story: API, queue, workers, payment, hold, notices and acts of ops, in the order of time."""

import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from api.console.frame import frame, page
from api.console.parts import Facts, back, heading, known, note, path
from api.console.table import Column, Row, Table
from api.console.words import moment, money, plain

TIMELINE = (
    Column("at", "At", "when"), Column("source", "Where", "name"), Column("says", "What happened"),
    Column("facts", "Facts", "code"),
)  # fmt: skip
LINES = (
    Column("sku", "SKU", "code"), Column("name", "Product"), Column("quantity", "Units", "number"),
    Column("price", "Price", "number"),
)  # fmt: skip
NOT_WHOLE = (
    "It may lack something: the search for its jobs ran out of time, or old jobs kept their end alone."
)
JOBS = (Column("id", "Job", "code"), Column("kind", "Kind", "name"), Column("state", "State", "state"))


@page("/orders/{order_id}")
async def order(request: Request, order_id: str) -> None:
    """All that was kept of it."""
    async with frame(request, "Order") as operator:
        back("All orders", path("/orders"))
        with known() as body:
            facts = Facts("The order")
            heading("Timeline")
            under = note()
            timeline = Table("Timeline", TIMELINE, empty="Nothing was kept.")
            heading("Lines")
            lines = Table("Lines", LINES, empty="None yet.")
            heading("Jobs")
            jobs = Table("Jobs", JOBS, empty="None.")
        desk, orders = operator.services.order_desk, operator.services.orders

        async def now() -> None:
            story = await operator.reads.read(("story", order_id), lambda: desk.timeline.of(order_id))
            shown = await operator.reads.read(("order", order_id), lambda: orders.get(order_id, owner=None))
            names = await operator.names([story["account_id"]])
            body.set_visibility(True)
            facts.show(*_facts(story, shown, names))
            under.text = "" if story["complete"] else NOT_WHOLE
            timeline.show([_moment(number, line) for number, line in enumerate(story["lines"])])
            lines.show([_line(number, line, shown) for number, line in enumerate(shown.get("lines") or ())])
            jobs.show([{**job, "id_to": path(f"/jobs/{job['id']}")} for job in story["jobs"]])

        await operator.live(now, every=3.0)


def _facts(
    story: Mapping[str, Any], shown: Mapping[str, Any], names: Mapping[str, str]
) -> list[tuple[str, str, str | None]]:
    owner = story["account_id"]
    address = shown.get("address") or {}
    plain = [
        ("State", story["state"]), ("Total", money(shown.get("total"), shown.get("currency") or "")),
        ("Ships to", ", ".join(str(value) for value in address.values() if value)),
        ("Held until", moment(shown.get("expires_at"))),
        ("Rejected", _compact(shown.get("rejection"))),
        ("Payments", ", ".join(f"{each['state']}" for each in shown.get("payments") or ())),
    ]  # fmt: skip
    first: list[tuple[str, str, str | None]] = [
        ("Id", story["order_id"], None), ("Customer", names[owner], path("/orders", {"owner": owner}))
    ]  # fmt: skip
    return first + [(name, value, None) for name, value in plain if value not in {"", "-"}]


def _moment(number: int, line: Mapping[str, Any]) -> Row:
    facts = {name: value for name, value in line["facts"].items() if value is not None and name != "kind"}
    job = line["facts"].get("job_id")
    row = {"id": number, "at": moment(line["at"], fine=True), "source": line["source"], "says": line["says"],
           "facts": ", ".join(f"{name} {plain(value)}" for name, value in facts.items())}  # fmt: skip
    return row | ({"says_to": path(f"/jobs/{job}")} if job else {})


def _line(number: int, line: Mapping[str, Any], order: Mapping[str, Any]) -> Row:
    return {
        "id": number, "sku": str(line.get("sku")), "name": str(line.get("name") or ""),
        "quantity": str(line.get("quantity")),
        "price": money(line.get("net"), order.get("currency") or "") if "net" in line else "-",
    }  # fmt: skip


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str) if value else ""
