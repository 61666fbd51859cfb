"""`stockyard audit-log`, `timeline`, `stuck`, `repair`: what ops did, orders, and what does not get on."""

from datetime import timedelta
from typing import Annotated, Any

import typer

from domain.audit_log.forms import act_form
from domain.audit_log.models import OUTCOMES
from domain.audit_log.service import AuditQuery
from domain.bootstrap import Services
from domain.changes import Doc
from domain.orders.repairs import REPAIRS
from domain.orders.stuck import Stuck
from domain.values import parse_duration
from ops.cli.jobs import Limit, Since, Until, moment
from ops.cli.shared import REFUSED, USAGE, AsJson, Reason, actor, end, show, table, with_services

Who = Annotated[
    str | None, typer.Option("--actor", help="An account's id, or cli:user@host.", show_default=False)
]
Action = Annotated[str | None, typer.Option("--action", help="Such as jobs.replay.", show_default=False)]
ThingId = Annotated[
    str | None, typer.Option("--thing", help="The id of what it was done to.", show_default=False)
]
Outcome = Annotated[
    str | None, typer.Option("--outcome", help=f"One of {', '.join(OUTCOMES)}.", show_default=False)
]
OrderId = Annotated[str, typer.Argument(help="The order's id.", show_default=False)]
After = Annotated[str, typer.Option("--after", help="Stuck for longer than this.")]
Verb = Annotated[str, typer.Argument(help=f"One of {', '.join(REPAIRS)}.", show_default=False)]
StuckId = Annotated[str, typer.Argument(help="The id that `stuck` shows.", show_default=False)]


def audit_log(
    *,
    who: Who = None,
    action: Action = None,
    thing_id: ThingId = None,
    outcome: Outcome = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """Show what ops did, newest first."""
    if outcome is not None and outcome not in OUTCOMES:
        end(f"{outcome} is no outcome: one of {', '.join(OUTCOMES)}", code=USAGE)
    query = AuditQuery(
        actor=who, action=action, thing_id=thing_id, outcome=outcome,
        since=moment(since), until=moment(until), limit=limit,
    )  # fmt: skip

    async def work(services: Services) -> list[Doc]:
        return await services.audit_log.find(query)

    entries = [act_form(row) for row in with_services(work)]
    names = ("at", "actor", "action", "thing", "thing_id", "outcome", "reason")
    rows = [[each[name] for name in names] for each in entries]
    show({"entries": entries}, table(names, rows), as_json=as_json)


def timeline(order_id: OrderId, *, as_json: AsJson = False) -> None:
    """Show an order's story across API, queue, worker, payment, hold, events, deliveries and ops."""

    async def work(services: Services) -> dict[str, Any]:
        return await services.order_desk.timeline.of(order_id)

    found = with_services(work)
    rows = [[line["at"], line["source"], line["says"]] for line in found["lines"]]
    shown = table(["at", "where", "what"], rows, title=f"order {order_id}, {found['state']}")
    show(found, shown if found["complete"] else f"{shown}\nparts of it were compacted", as_json=as_json)


def stuck(*, after: After = "5m", as_json: AsJson = False) -> None:
    """Find what should have moved by now, and why it has not; exit with 1 where there is something."""
    try:
        span = parse_duration(after)
    except ValueError as error:
        end(str(error), code=USAGE)

    async def work(services: Services) -> list[dict[str, Any]]:
        found: list[Stuck] = await services.order_desk.stuck.find(
            after=span if isinstance(span, timedelta) else timedelta()
        )
        return [_json(each.form(now=services.clock())) for each in found]

    forms = with_services(work)
    names = ("what", "id", "seconds", "repair", "says")
    rows = [[each[name] for name in names] for each in forms]
    show({"stuck": forms}, table(names, rows) if forms else "nothing is stuck", as_json=as_json)
    if forms:
        raise typer.Exit(REFUSED)


def repair(verb: Verb, thing_id: StuckId, *, reason: Reason = None, as_json: AsJson = False) -> None:
    """Do at once what should have happened by itself, as `stuck` says."""
    if verb not in REPAIRS:
        end(f"{verb} is no repair: one of {', '.join(REPAIRS)}", code=USAGE)

    async def work(services: Services) -> dict[str, Any]:
        return await services.order_desk.repairs.repair(verb, thing_id, actor=actor(), reason=reason)

    done = with_services(work)
    told = ", ".join(f"{name} {value}" for name, value in done.items() if name not in ("repair", "id"))
    show(done, f"{verb}: {told}", as_json=as_json)


def _json(form: dict[str, Any]) -> dict[str, Any]:
    return {**form, "since": form["since"].isoformat(timespec="milliseconds").replace("+00:00", "Z")}
