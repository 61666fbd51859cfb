"""`stockyard queues`: what waits in them, and to pause, resume, purge and delete them."""

from dataclasses import asdict
from typing import Annotated, Any, Literal

import typer

from domain.bootstrap import Services
from domain.control.forms import queue_form
from domain.control.purging import Purged
from domain.control.queues import PoolQueue
from domain.control.retiring import Retired
from domain.ports import QueueForm
from ops.cli.shared import (
    REFUSED,
    AsJson,
    DryRun,
    Reason,
    Yes,
    actor,
    confirm,
    read_settings,
    show,
    table,
    with_services,
)

app = typer.Typer(help="The pools' queues.", no_args_is_help=True)

Pool = Annotated[str, typer.Argument(help="Such as orders.", show_default=False)]
Version = Annotated[
    int, typer.Option("--version", min=1, help="The version that is in their names.", show_default=False)
]
Type = Annotated[
    Literal["classic", "quorum"] | None,
    typer.Option("--type", help="As the settings have it where not given.", show_default=False),
]
Kind = Annotated[str | None, typer.Option("--kind", help="Only jobs of this kind.", show_default=False)]


@app.command("list")
def list_queues(*, as_json: AsJson = False) -> None:
    """List every pool's queue."""

    async def work(services: Services) -> list[PoolQueue]:
        return await services.control.queues.find()

    found = [queue_form(each) for each in with_services(work)]
    show({"queues": found}, text(found), as_json=as_json)


@app.command()
def pause(pool: Pool, *, reason: Reason = None, as_json: AsJson = False) -> None:
    """Have no worker take jobs of the pool. They are accepted as before, and wait."""

    async def work(services: Services) -> PoolQueue:
        return await services.control.queues.pause(pool, by=actor(), reason=reason)

    show(queue_form(with_services(work)), f"{pool} is paused", as_json=as_json)


@app.command()
def resume(pool: Pool, *, reason: Reason = None, as_json: AsJson = False) -> None:
    """Have the workers take the pool's jobs again."""

    async def work(services: Services) -> PoolQueue:
        return await services.control.queues.resume(pool, by=actor(), reason=reason)

    show(queue_form(with_services(work)), f"{pool} is not paused", as_json=as_json)


@app.command()
def purge(
    pool: Pool,
    *,
    kind: Kind = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """Cancel the jobs of the pool that wait and were never begun. Asks first."""

    async def look(services: Services) -> Purged:
        return await services.control.purging.look(pool, kind=kind)

    async def work(services: Services) -> Purged:
        done = await services.control.purging.purge(pool, kind=kind, by=actor(), reason=reason)
        while done.more and done.cancelled:
            more = await services.control.purging.purge(pool, kind=kind, by=actor(), reason=reason)
            done = done.then(more)
        return done

    found = with_services(look)
    if not dry_run:
        some = f"{found.cancelled}{' or more' if found.more else ''}"
        confirm(f"Cancel {some} jobs of {pool} ({_kinds(found)})?", yes=yes)
        found = with_services(work)
    verb = "would be cancelled" if dry_run else "cancelled"
    shown = f"{found.cancelled}{' or more' if found.more else ''} jobs {verb} ({_kinds(found)})"
    show({**asdict(found), "dry_run": dry_run}, shown, as_json=as_json)


@app.command()
def delete(
    *,
    version: Version,
    type_: Type = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """Delete the queues of another form that are empty and without consumers. Asks first."""
    form = QueueForm(type_ or read_settings().rabbitmq.queue_type, version)

    async def look(services: Services) -> Retired:
        return await services.control.retiring.look(form)

    async def work(services: Services) -> Retired:
        return await services.control.retiring.delete(form, by=actor(), reason=reason)

    if not dry_run:
        confirm(f"Delete the {form} that are empty and without consumers?", yes=yes)
    found = with_services(look if dry_run else work)
    gone, verb = (found.idle, "would be deleted") if dry_run else (found.deleted, "deleted")
    rows = [
        [each.name, each.ready, each.consumers, verb if each.name in gone else "kept"] for each in found.found
    ]
    shown = {"queues": [asdict(each) for each in found.found], "deleted": list(found.deleted)}
    columns = ("queue", "ready", "consumers", "now")
    text = table(columns, rows) if rows else f"there are no {form}"
    show({**shown, "dry_run": dry_run}, text, as_json=as_json)
    if found.kept and not dry_run:
        raise typer.Exit(REFUSED)


def text(found: list[dict[str, Any]]) -> str:
    """The queues as a table."""
    rows = [
        [
            each["pool"], "paused" if each["paused"] else "open", each["ready"], each["consumers"],
            each["workers"], each["draining"], each["in_hand"], each["oldest_at"],
        ]
        for each in found
    ]  # fmt: skip
    columns = ("pool", "state", "ready", "consumers", "workers", "draining", "in hand", "oldest")
    return table(columns, rows)


def _kinds(found: Purged) -> str:
    return ", ".join(f"{kind}: {count}" for kind, count in sorted(found.by_kind.items())) or "none"
