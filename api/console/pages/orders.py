"""Orders: the last ones as they come, what is stuck and its repair, and whether the stock is what made it."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from api.console.acting import Act, ask
from api.console.frame import Operator, frame, page
from api.console.pages.jobs import asked_of, is_id
from api.console.parts import Lines, Search, button, heading, link, note, path
from api.console.table import Button, Column, Row, Table
from api.console.words import many, moment, money, span
from domain.audit_log.models import Actor, Entry
from domain.inventory.auditor import Audit
from domain.inventory.rules import whose_stock
from domain.orders.listing import OrderQuery
from domain.orders.rules import (
    CANCELLED,
    COMPLETED,
    EXPIRED,
    FULFILLED,
    PAID,
    REFUNDED,
    REJECTED,
    RESERVED,
)
from domain.orders.stuck import Stuck

#: Orders of one page; seconds between two reads of them, and between two looks for what is stuck.
PAGE, EVERY, STUCK_EVERY = 25, 3.0, 10.0
COLUMNS = (
    Column("id", "Order", "id"), Column("state", "State", "state"), Column("owner", "Customer", "who"),
    Column("items", "Items"), Column("total", "Total", "number"), Column("at", "Placed", "when"),
)  # fmt: skip
STUCK = (
    Column("what", "What", "name"), Column("thing", "Which", "id"), Column("says", "Why"),
    Column("for", "For", "number"),
)  # fmt: skip
#: What an order can be that was placed.
STATES = (RESERVED, PAID, FULFILLED, COMPLETED, REJECTED, EXPIRED, CANCELLED, REFUNDED)
#: By the verb: what the button says, and what will happen.
REPAIRS = {
    "expedite": ("Send ahead", "The job is sent once more, before all that waits in its pool."),
    "replay": ("Replay", "The job runs again, under its own id. What it has done already is not done twice."),
    "take_back": ("Take back", "The job, whose worker has fallen silent, waits to run again."),
    "end_hold": ("End the hold", "The hold ends as it should have by itself: its units are for sale again."),
    "republish": ("Tell now", "Events that are stored and were not told are told now."),
}


@page("/orders")
async def orders(request: Request) -> Response | None:
    """What is stuck comes first. An id leads to its order."""
    asked = asked_of(request, ("find", "state", "owner", "sku", "before"))
    if is_id(asked.get("find", "")):
        return RedirectResponse(path(f"/orders/{asked['find']}"), 303)
    async with frame(request, "Orders") as operator:
        _form(asked)
        heading("Stuck")
        stuck = Table(
            "What is stuck", STUCK, empty="Nothing is stuck.",
            buttons=[Button(verb, label) for verb, (label, _) in REPAIRS.items()] if operator.writes else (),
            on_act=lambda verb, row: _repair(operator, verb, row),
        )  # fmt: skip
        heading("Orders")
        table = Table("Orders", COLUMNS, empty="No order is found.")
        if "find" in asked:
            note("An order is found by its whole id.")
        older = link("Older orders", "")
        _stock(operator)

        async def now() -> None:
            query = OrderQuery(
                limit=PAGE + 1, owner=asked.get("owner"), state=asked.get("state"), sku=asked.get("sku"),
                before=asked["before"] if is_id(asked.get("before", "")) else None,
            )  # fmt: skip
            found = await operator.reads.read(
                query, lambda: operator.services.orders.page(query), fresh=EVERY
            )
            names = await operator.names(order["account_id"] for order in found)
            table.show([_row(order, names) for order in found[:PAGE]])
            older.set_visibility(len(found) > PAGE)
            older.props["href"] = (
                path("/orders", {**asked, "before": found[PAGE - 1]["id"]}) if found[PAGE:] else ""
            )

        async def look() -> None:
            found = await operator.reads.read(
                "stuck", operator.services.order_desk.stuck.find, fresh=STUCK_EVERY
            )
            stuck.show([_finding(each, operator) for each in found])

        await operator.live(now, every=EVERY)
        await operator.live(look, every=STUCK_EVERY)
    return None


def _form(asked: Mapping[str, str]) -> None:
    search = Search("/orders", asked).field("find", "Order's id").field("owner", "Customer's id")
    states = [("", "any"), *((state, state) for state in STATES)]
    search.choice("state", "State", states).field("sku", "SKU").ready()


def _row(order: Mapping[str, Any], names: Mapping[str, str]) -> Row:
    lines = ", ".join(f"{line['quantity']} x {line['sku']}" for line in order["lines"][:3])
    more = len(order["lines"]) - 3
    return {
        "id": order["id"], "id_to": path(f"/orders/{order['id']}"), "state": order["state"],
        "owner": names[order["account_id"]], "owner_to": path("/orders", {"owner": order["account_id"]}),
        "items": f"{lines} and {more} more" if more > 0 else lines,
        "total": money(order["total"], order["currency"]), "at": moment(order["created_at"]),
    }  # fmt: skip


def _finding(found: Stuck, operator: Operator) -> Row:
    order = found.thing == "order" or (
        found.subject and (found.kind or "").startswith(("orders.", "payments."))
    )
    target = {"job": path(f"/jobs/{found.id}"), "order": path(f"/orders/{found.id}")}.get(found.thing)
    if found.thing == "hold" and found.subject:
        target = path(f"/orders/{found.subject}")
    row = {
        "id": f"{found.what}:{found.id}", "what": f"{found.kind or found.thing}", "thing": found.id,
        "thing_to": target,
        "says": found.says, "for": span((operator.now - found.since).total_seconds()),
        "acts": found.repair or "", "named": f"{found.thing} {found.id}",
    }  # fmt: skip
    return row | ({"what_to": path(f"/orders/{found.subject or found.id}")} if order else {})


async def _repair(operator: Operator, verb: str, row: Row) -> None:
    label, says = REPAIRS[verb]

    async def do(actor: Actor, reason: str | None) -> str:
        await operator.services.order_desk.repairs.repair(verb, row["thing"], actor=actor, reason=reason)
        return "Done. What it was about is looked at again in a moment."

    await ask(operator, Act(f"{label}: {row['named']}", f"{row['says']} {says}", label, do))


def _stock(operator: Operator) -> None:
    """An audit is dear on a large stock: it is done when somebody asks."""
    heading("Stock")
    note("Whether the stock is what its movements and holds make it. The timetable looks, too.")
    lines = Lines("Audit of the stock", empty="Every stock is what made it.", live=True)
    lines.show(["Not looked at yet."], tone="plain")

    async def look() -> None:
        found = await operator.reads.read("audit", operator.services.auditor.audit, fresh=STUCK_EVERY)
        lines.show(_differs(found))
        repair.set_visibility(operator.writes and bool(found.findings))

    async def do(actor: Actor, reason: str | None) -> str:
        services = operator.services
        async with services.audit_log.acting(
            Entry(actor, "stock.repair", "stock", "all", reason=reason)
        ) as act:
            done = await services.auditor.repair(actor=actor.id, reason=reason or "")
            act.after = {"repaired": sorted(done.repaired)}
        lines.show([f"{many(len(done.repaired), 'stock')} repaired."], tone="fine")
        return f"{many(len(done.repaired), 'stock')} repaired."

    async def ask_repair() -> None:
        says = "What differs is set to what movements and holds make it, each with a movement that says so."
        await ask(operator, Act("Repair the stock", says, "Repair", do, danger=True))

    button("Audit the stock now", lambda: operator.tried(look))
    repair = button("Repair", ask_repair, danger=True)
    repair.set_visibility(False)


def _differs(audit: Audit) -> list[str]:
    found = []
    for each in audit.findings:
        sku, location = whose_stock(each.stock_id)
        found.append(f"{sku} at {location}: {' '.join(each.because)}")
    return found
