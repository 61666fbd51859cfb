"""`stockyard dead`: dead jobs by what they died of, and what is done with many of them."""

import asyncio
from typing import Annotated, Any

import typer

from domain.bootstrap import Services
from domain.changes import Doc
from domain.jobs.bulk import FASTEST, SLOWEST, Plan, Preview
from domain.jobs.bulk_models import DISCARD, REPLAY, BulkAction
from domain.jobs.dead import Selection
from domain.jobs.forms import bulk_form, groups_form, preview_form
from domain.jobs.grouping import Group
from domain.values import new_id
from ops.cli.jobs import Code, Kind, jobs_table
from ops.cli.shared import REFUSED, USAGE, AsJson, DryRun, Reason, Yes, actor, confirm, end, show, table
from ops.cli.shared import with_services as run_with

app = typer.Typer(help="Dead jobs, one or many at a time.", no_args_is_help=True)

JobIds = Annotated[
    list[str] | None, typer.Argument(help="Ids of dead jobs; else say which by options.", show_default=False)
]
GroupKey = Annotated[str | None, typer.Option("--group", help="Of `dead list`.", show_default=False)]
Rate = Annotated[float, typer.Option("--rate", min=SLOWEST, max=FASTEST, help="Jobs a second.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for the end; exit with 1 where some are refused.")]
RunId = Annotated[str, typer.Argument(help="The run's id.", show_default=False)]
#: Seconds between two looks at a run that is waited for.
LOOK_EVERY = 0.5


@app.command("list")
def list_dead(*, kind: Kind = None, code: Code = None, as_json: AsJson = False) -> None:
    """Group the dead jobs by kind and error, the largest group first."""

    async def work(services: Services) -> tuple[list[Group], bool]:
        return await services.job_desk.dead.groups(Selection(kind=kind, code=code))

    groups, more = run_with(work)
    form = groups_form(groups, more=more)
    rows = [
        [each[name] for name in ("group", "count", "kind", "code", "last_at", "text")]
        for each in form["groups"]
    ]
    shown = table(["group", "jobs", "kind", "code", "last", "error"], rows)
    show(form, shown + ("\nthere are more that were not looked at" if more else ""), as_json=as_json)


def _command(action: BulkAction, does: str) -> None:
    """Adds the command of an action: both are told alike what to take, and how."""

    @app.command(action, help=does)
    def run(
        job_ids: JobIds = None,
        *,
        group: GroupKey = None,
        kind: Kind = None,
        code: Code = None,
        rate: Rate = 20.0,
        dry_run: DryRun = False,
        yes: Yes = False,
        wait: Wait = False,
        reason: Reason = None,
        as_json: AsJson = False,
    ) -> None:
        plan = Plan(action, _chosen(job_ids, group, kind, code), rate=rate, reason=reason)
        _bulk(plan, dry_run=dry_run, yes=yes, wait=wait, as_json=as_json)


_command(REPLAY, "Run dead jobs again, each under its own id: it has one effect. Asks first.")
_command(DISCARD, "Cancel dead jobs for good; they stay in the ledger. Asks first.")


@app.command("runs")
def list_runs(*, as_json: AsJson = False) -> None:
    """List the last bulk runs, and how far they are."""

    async def work(services: Services) -> list[Doc]:
        return await services.job_desk.bulk.find()

    runs = [bulk_form(row) for row in run_with(work)]
    names = ("id", "action", "state", "taken", "size", "refused", "actor", "created_at")
    show({"runs": runs}, table(names, [[each[name] for name in names] for each in runs]), as_json=as_json)


@app.command()
def stop(run_id: RunId, *, reason: Reason = None, as_json: AsJson = False) -> None:
    """Have a bulk run take no more jobs. What it has done stays done."""

    async def work(services: Services) -> Doc:
        return await services.job_desk.bulk.stop(run_id, actor=actor(), reason=reason)

    form = bulk_form(run_with(work))
    show(form, f"stopped; {form['taken']} of {form['size']} were taken", as_json=as_json)


def _chosen(job_ids: list[str] | None, group: str | None, kind: str | None, code: str | None) -> Selection:
    if not any((job_ids, group, kind, code)):
        end("say which: ids, --group, --kind or --code", code=USAGE)
    return Selection(group=group, kind=kind, code=code, job_ids=tuple(job_ids) if job_ids else None)


def _bulk(plan: Plan, *, dry_run: bool, yes: bool, wait: bool, as_json: bool) -> None:
    async def look(services: Services) -> Preview:
        return await services.job_desk.bulk.preview(plan)

    preview = run_with(look)
    form = preview_form(plan.action, preview)
    if dry_run:
        show({**form, "dry_run": True}, _would(form), as_json=as_json)
        return
    if not preview.jobs:
        end("there is no dead job to take")
    confirm(f"{_would(form)}\nGo on?", yes=yes)

    async def work(services: Services) -> Doc:
        accepted = await services.job_desk.bulk.start(plan, actor=actor(), key=new_id())
        row = await services.job_desk.bulk.get(accepted.job_id)
        while wait and row["ended_at"] is None:
            await asyncio.sleep(LOOK_EVERY)
            row = await services.job_desk.bulk.get(accepted.job_id)
        return row

    done = bulk_form(run_with(work))
    show(done, _done(done), as_json=as_json)
    if done["refused"]:
        raise typer.Exit(REFUSED)


def _would(form: dict[str, Any]) -> str:
    action: BulkAction = form["action"]
    kinds = ", ".join(f"{count} {kind}" for kind, count in form["by_kind"].items())
    lines = [f"{action} {form['jobs']} dead jobs ({kinds or 'none'}), in about {form['seconds']:g} s"]
    if form["samples"]:
        lines.append(jobs_table(form["samples"]))
    if form["refused"]:
        codes = ", ".join(f"{each['job_id']} ({each['code']})" for each in form["refusals"])
        lines.append(f"{form['refused']} are not taken: {codes}")
    if form["more"]:
        lines.append("there are more that were not looked at: run it again afterwards")
    return "\n".join(lines)


def _done(form: dict[str, Any]) -> str:
    if form["ended_at"] is None:
        return f"bulk run {form['id']} has begun: {form['size']} jobs, {form['rate']:g} a second"
    return f"{form['state']}: {form['done']} of {form['size']} done, {form['refused']} refused"
