"""`stockyard jobs`: everybody's jobs: found, looked at, replayed, cancelled, sent ahead."""

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from pydantic import AwareDatetime, TypeAdapter, ValidationError

from domain.bootstrap import Services
from domain.jobs.desk import JobDesk
from domain.jobs.forms import found_form
from domain.jobs.rules import STATES
from domain.jobs.searching import Found, Wanted
from domain.values import parse_duration
from ops.cli.shared import USAGE, AsJson, Reason, actor, end, plain, show, table, with_services

app = typer.Typer(help="Everybody's jobs.", no_args_is_help=True)

JobId = Annotated[str, typer.Argument(help="The job's id.", show_default=False)]
State = Annotated[
    str | None, typer.Option("--state", help=f"One of {', '.join(STATES)}.", show_default=False)
]
Kind = Annotated[str | None, typer.Option("--kind", help="Such as orders.pay.", show_default=False)]
Pool = Annotated[str | None, typer.Option("--pool", help="Such as orders.", show_default=False)]
Owner = Annotated[str | None, typer.Option("--owner", help="An account's id, or system.", show_default=False)]
Subject = Annotated[
    str | None,
    typer.Option("--subject", help="What it is about: an order's id finds its jobs.", show_default=False),
]
Code = Annotated[str | None, typer.Option("--code", help="The error's code.", show_default=False)]
ErrorText = Annotated[str | None, typer.Option("--text", help="In the error's text.", show_default=False)]
Since = Annotated[
    str | None,
    typer.Option("--since", help="Accepted since: a time, or how long ago, such as 2h.", show_default=False),
]
Until = Annotated[str | None, typer.Option("--until", help="Accepted before.", show_default=False)]
#: How a time begins.
_DATE = re.compile(r"\d{4}-")
Limit = Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many.")]


@app.command("list")
def list_jobs(
    *,
    state: State = None,
    kind: Kind = None,
    pool: Pool = None,
    owner: Owner = None,
    subject: Subject = None,
    code: Code = None,
    text: ErrorText = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """Find jobs, newest first. Without owner, subject or open state: of the last 24 h."""
    if state is not None and state not in STATES:
        end(f"{state} is no state: one of {', '.join(STATES)}", code=USAGE)
    wanted = Wanted(
        state=state, kind=kind, pool=pool, owner=owner, subject=subject, code=code, text=text,
        since=moment(since), until=moment(until), limit=limit,
    )  # fmt: skip

    async def work(services: Services) -> Found:
        return await services.job_desk.find(wanted)

    found = with_services(work)
    form = {**found_form(found), "more": found.position is not None}
    show(form, _listed(form), as_json=as_json)


@app.command("show")
def show_job(job_id: JobId, *, as_json: AsJson = False) -> None:
    """Show a job's whole story. Secrets of its payload are masked."""

    async def work(services: Services) -> dict[str, Any]:
        return await services.job_desk.show(job_id)

    job = with_services(work)
    show(job, story(job), as_json=as_json)


@app.command()
def replay(job_id: JobId, *, reason: Reason = None, as_json: AsJson = False) -> None:
    """Run a dead, failed or cancelled job again, under its own id."""
    _act(lambda desk: desk.replay(job_id, actor=actor(), reason=reason), "is queued again", as_json=as_json)


@app.command()
def cancel(job_id: JobId, *, reason: Reason = None, as_json: AsJson = False) -> None:
    """Cancel a job that no worker has begun, or a dead one."""
    _act(lambda desk: desk.cancel(job_id, actor=actor(), reason=reason), "is cancelled", as_json=as_json)


@app.command()
def expedite(job_id: JobId, *, reason: Reason = None, as_json: AsJson = False) -> None:
    """Have a queued job run before the others of its pool."""
    _act(lambda desk: desk.expedite(job_id, actor=actor(), reason=reason), "was sent ahead", as_json=as_json)


def _act(verb: Callable[[JobDesk], Awaitable[dict[str, Any]]], says: str, *, as_json: bool) -> None:
    async def work(services: Services) -> dict[str, Any]:
        return await verb(services.job_desk)

    job = with_services(work)
    show(job, f"{job['kind']} {job['id']} {says}", as_json=as_json)


def moment(text: str | None) -> datetime | None:
    """A time, or how long ago; ends the command where it is neither."""
    if text is None:
        return None
    try:
        ago = parse_duration(text)
    except ValueError:
        ago = None
    if isinstance(ago, timedelta):
        return datetime.now(UTC) - ago
    try:
        # A number alone would be read as seconds since 1970.
        found: datetime = TypeAdapter(AwareDatetime).validate_python(text if _DATE.match(text) else None)
    except ValidationError:
        end(f"{text} is no time such as 2026-11-22T10:00:00Z, and no duration such as 2h", code=USAGE)
    return found


def _listed(form: dict[str, Any]) -> str:
    lines = [jobs_table(form["jobs"])]
    if form["searched_until"]:
        lines.append(f"time was up: nothing before {form['searched_until']} was looked at")
    elif form["more"]:
        lines.append("there are more: raise --limit, or narrow the search")
    return "\n".join(lines)


def jobs_table(jobs: list[dict[str, Any]]) -> str:
    """Jobs in columns."""
    rows = [
        [job["id"], job["kind"], job["state"], job["attempts"], job["owner"], job["created_at"], _why(job)]
        for job in jobs
    ]
    return table(["id", "kind", "state", "runs", "owner", "accepted", "error"], rows)


def _why(job: dict[str, Any]) -> str | None:
    error = job["error"]
    return f"{error['code']}: {error.get('fault') or error['message']}"[:80] if error else None


def story(job: dict[str, Any]) -> str:
    """A job as text."""
    timings = ", ".join(
        f"{name.removesuffix('_ms')} {value} ms"
        for name, value in job["timings"].items()
        if value is not None
    )
    lines = [
        f"{job['kind']} {job['id']}",
        f"state    {job['state']}, {job['attempts']} runs, pool {job['pool']}",
        f"owner    {job['owner']}, key {job['key']}, request {job['request_id']}",
        f"subject  {job['subject']}",
        f"timings  {timings}",
        f"payload  {job['payload'] if job['payload'] is not None else 'compacted away'}",
        f"error    {_why(job) or '-'}",
        *(f"  {each['at']}  {each['state']}  {each['note'] or ''}" for each in job["history"] or ()),
    ]
    for number, run in enumerate(job["runs"], start=1):
        batch = f", in a batch of {run['batch']['size']}" if run["batch"] else ""
        lines.append(f"run {number}    {run['outcome'] or 'goes on'}, by {run['worker']}{batch}")
        lines += [f"    {line}" for line in ((run["error"] or {}).get("trace") or "").splitlines()]
    lines += [f"event    {each['time']}  {each['type']}  {each['subject']}" for each in job["events"]]
    return "\n".join(plain(line).rstrip() for line in lines)
