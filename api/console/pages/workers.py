"""Workers and queues: who is there and what they have in hand; draining, pausing, resuming, purging."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from nicegui import ui
from starlette.requests import Request

from api.console.acting import Act, ask
from api.console.frame import Operator, frame, page
from api.console.parts import Lines, heading, note, path
from api.console.table import Button, Column, Row, Table
from api.console.words import ago, count, many, moment, size, told
from domain.audit_log.models import Actor
from domain.control.forms import process_form, queue_form
from domain.control.rules import WORKER

PROCESSES = (
    Column("who", "Process", "named"), Column("state", "State", "state"), Column("pools", "Pools", "name"),
    Column("threads", "Threads", "number"), Column("jobs", "Jobs in hand"), Column("memory", "Memory",
    "number"),
    Column("up", "Started", "when"), Column("version", "Version", "name"), Column("why", "Told to"),
)  # fmt: skip
QUEUES = (
    Column("pool", "Queue", "named"), Column("state", "State", "state"), Column("ready", "In RabbitMQ",
    "number"),
    Column("oldest", "Oldest", "when"), Column("workers", "Workers", "number"), Column("in_hand", "In hand",
    "number"),
    Column("why", "Told to"),
)  # fmt: skip
#: What the buttons do, and what will happen.
ACTS = {
    "drain": (
        "Drain",
        "It finishes the jobs in hand and takes no more, until it is undrained. Others take what waits.",
    ),
    "undrain": ("Undrain", "It takes jobs again."),
    "pause": ("Pause", "No worker takes a job of this pool. Jobs are accepted as before, and wait."),
    "resume": ("Resume", "Workers take the pool's jobs again."),
    "purge": (
        "Purge",
        "What waits and was never begun is cancelled, up to 1,000 jobs at once. A replay brings one back.",
    ),
}


@page("/workers")
async def workers(request: Request) -> None:
    """As each process told of itself last, every five seconds."""
    async with frame(request, "Workers") as operator:
        heading("Processes")
        note("As each process told of itself last, every five seconds.")
        processes = Table(
            "Processes", PROCESSES, empty="No process has told of itself.", buttons=_buttons(operator,
            "drain", "undrain"),
            on_act=lambda name, row: _drain(operator, name, row),
        )  # fmt: skip
        heading("Queues")
        queues = Table(
            "Queues", QUEUES, empty="There is none.", buttons=_buttons(operator, "pause", "resume", "purge"),
            on_act=lambda name, row: _switch(operator, name, row),
        )  # fmt: skip

        async def now() -> None:
            control = operator.services.control
            seen = await operator.reads.read("processes", control.processes.find)
            found = await operator.reads.read("queues", control.queues.find)
            forms, others = [process_form(each) for each in seen], [queue_form(each) for each in found]
            orders = [*(form["drain"] for form in forms), *(form["paused"] for form in others)]
            names = await operator.names(order["by"] for order in orders if order)
            processes.show([_process(form, operator, names) for form in forms])
            queues.show([_queue(form, operator, names) for form in others])

        await operator.live(now)


def _buttons(operator: Operator, *names: str) -> list[Button]:
    return [Button(name, ACTS[name][0], danger=name == "purge") for name in names] if operator.writes else []


def _process(process: Mapping[str, Any], operator: Operator, names: Mapping[str, str]) -> Row:
    drain = process["drain"]
    possible = ("undrain" if drain else "drain") if process["state"] != "lost" else ""
    leads = ", leads" if process["leads"] else ""
    return {
        "id": process["id"], "who": f"{process['role']} {process['pid']} on {process['host']}{leads}",
        "state": process["state"], "pools": ", ".join(process["pools"]) or "-",
        "threads": str(process["threads"] or "-"),
        "jobs": _in_hand(process["jobs"], operator),
        "memory": size(process["memory_bytes"]), "up": ago(process["started_at"], operator.now),
        "version": process["version"], "why": _order(drain, names),
        "named": f"{process['role']} {process['pid']}",
        "acts": possible if process["role"] == WORKER else "",
    }  # fmt: skip


def _in_hand(jobs: Sequence[Mapping[str, Any]], operator: Operator) -> str:
    """How many of each kind, and since when the longest runs."""
    since = defaultdict[str, list[Any]](list)
    for job in jobs:
        since[job["kind"]].append(job["since"])
    now = operator.now
    each = (f"{len(times)} x {kind}, begun {ago(min(times), now)}" for kind, times in since.items())
    return "; ".join(each) or "-"


def _queue(queue: Mapping[str, Any], operator: Operator, names: Mapping[str, str]) -> Row:
    paused = queue["paused"]
    return {
        "id": queue["pool"], "pool": queue["pool"], "state": "paused" if paused else "open",
        "pool_to": path("/jobs", {"pool": queue["pool"], "state": "queued"}),
        "ready": count(queue["ready"]), "oldest": ago(queue["oldest_at"], operator.now),
        "workers": count(queue["workers"]) + (f", {queue['draining']} drained" if queue["draining"] else ""),
        "in_hand": count(queue["in_hand"]), "why": _order(paused, names), "named": queue["pool"],
        "acts": f"{'resume' if paused else 'pause'} purge",
    }  # fmt: skip


def _order(order: Mapping[str, Any] | None, names: Mapping[str, str]) -> str:
    if order is None:
        return ""
    return f"by {names[order['by']]} at {moment(order['at'])}" + (
        f": {order['reason']}" if order["reason"] else ""
    )


async def _drain(operator: Operator, name: str, row: Row) -> None:
    label, says = ACTS[name]

    async def do(actor: Actor, reason: str | None) -> str:
        processes = operator.services.control.processes
        seen = await getattr(processes, name)(row["id"], by=actor, reason=reason)
        return f"Done: the {row['named']} is {seen.state}."

    await ask(operator, Act(f"{label}: {row['named']}", says, label, do))


async def _switch(operator: Operator, name: str, row: Row) -> None:
    if name == "purge":
        await _purge(operator, row["id"])
        return
    label, says = ACTS[name]

    async def do(actor: Actor, reason: str | None) -> str:
        await getattr(operator.services.control.queues, name)(row["id"], by=actor, reason=reason)
        return f"Done: {row['id']} is {'paused' if name == 'pause' else 'open'}."

    await ask(operator, Act(f"{label}: {row['id']}", says, label, do))


async def _purge(operator: Operator, pool: str) -> None:
    """Tried first; then the pool's name is to be typed."""
    label, says = ACTS["purge"]
    purging = operator.services.control.purging

    def details() -> None:
        lines = Lines("What would happen", empty="Nothing waits that could be cancelled.", live=True)
        lines.show(["Looking what would happen."], tone="plain")

        async def try_it() -> None:
            try:
                would = await purging.look(pool)
            except Exception as error:  # noqa: BLE001 - a look that fails is no reason not to ask
                lines.show([told(error)])
                return
            more = ["More wait than one purge cancels: repeat it."] if would.more else []
            lines.show(
                [f"{number:,} x {kind} would be cancelled." for kind, number in would.by_kind.items()] + more
            )

        ui.timer(0.0, try_it, once=True)

    async def do(actor: Actor, reason: str | None) -> str:
        done = await purging.purge(pool, by=actor, reason=reason)
        more = " More wait: repeat it." if done.more else ""
        return f"{many(done.cancelled, 'job')} cancelled, {done.refused} begun meanwhile.{more}"

    await ask(operator, Act(f"{label}: {pool}", says, label, do, danger=True, repeat=pool, details=details))
