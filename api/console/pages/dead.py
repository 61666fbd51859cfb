"""Dead jobs by what they died of: looked at, replayed and discarded, many at once."""

from collections.abc import Mapping
from typing import Any

from nicegui import ui
from starlette.requests import Request

from api.console.acting import Act, ask
from api.console.frame import Operator, frame, page
from api.console.pages.job import act_on
from api.console.parts import Lines, heading, note, path
from api.console.table import Button, Column, Row, Table
from api.console.words import ago, many, span, told
from domain.audit_log.models import Actor
from domain.jobs.bulk import FASTEST, SLOWEST, Plan
from domain.jobs.bulk_models import DISCARD, REPLAY, BulkAction
from domain.jobs.dead import Selection
from domain.jobs.forms import bulk_form, groups_form, preview_form
from domain.values import new_id

#: Seconds between two looks at the dead.
EVERY = 3.0
RATES = {1.0: "1 a second", 5.0: "5 a second", 20.0: "20 a second", 100.0: "100 a second"}
ACTIONS: dict[str, tuple[BulkAction, str, str]] = {
    "replay": (
        REPLAY,
        "Replay",
        "Each job runs again, under its own id. What it has done already is not done twice.",
    ),
    "discard": (
        DISCARD,
        "Discard",
        "Each job ends as cancelled, for good. A discarded job can be replayed one by one.",
    ),
}
#: Why a job is not taken.
REFUSED = {"unknown_kind": "no process knows their kind", "job_not_dead": "they are dead no more"}
GROUPS = (
    Column("kind", "Kind", "named"), Column("code", "Code", "name"), Column("text", "Error"),
    Column("count", "Jobs", "number"),
    Column("first", "First died", "when"), Column("last", "Last died", "when"),
    Column("sample", "The last", "id"),
)  # fmt: skip
RUNS = (
    Column("action", "Bulk run", "named"), Column("state", "State", "state"), Column("done", "Done",
    "number"),
    Column("refused", "Refused", "number"), Column("rate", "Rate", "number"), Column("at", "Begun", "when"),
    Column("by", "By", "name"), Column("reason", "Why"),
)  # fmt: skip


@page("/dead")
async def dead(request: Request) -> None:
    """The groups, the largest first, and the bulk runs."""
    async with frame(request, "Dead jobs") as operator:
        under = note()
        offered = [Button("replay", "Replay all"), Button("discard", "Discard all", danger=True),
                   Button("replay_one", "Replay the last")]  # fmt: skip
        stops = [Button("stop", "Stop", danger=True)]
        groups = Table(
            "Dead jobs, grouped", GROUPS, empty="No job is dead.", buttons=offered if operator.writes else (),
            on_act=lambda name, row: _act(operator, name, row),
        )  # fmt: skip
        heading("Bulk runs")
        runs = Table(
            "Bulk runs", RUNS, empty="There was none yet.", buttons=stops if operator.writes else (),
            on_act=lambda _, row: _stop(operator, row),
        )  # fmt: skip

        async def now() -> None:
            desk = operator.services.job_desk
            found, more = await operator.reads.read("dead", desk.dead.groups, fresh=EVERY)
            form = groups_form(found, more=more)
            under.text = _under(form)
            groups.show([_group(each, operator) for each in form["groups"]])
            rows = await operator.reads.read("bulk", desk.bulk.find)
            names = await operator.names(row["actor"] for row in rows)
            runs.show([_run(bulk_form(row), operator, names) for row in rows])

        await operator.live(now)


def _under(form: Mapping[str, Any]) -> str:
    if not form["jobs"]:
        return ""
    most = " Only those accepted last were looked at." if form["more"] else ""
    return f"{many(form['jobs'], 'dead job')} in {many(len(form['groups']), 'group')}.{most}"


def _group(group: Mapping[str, Any], operator: Operator) -> Row:
    sample = group["sample"]["id"]
    return {
        "id": group["group"], "kind": group["kind"],
        "kind_to": path("/jobs", {"state": "dead", "kind": group["kind"]}), "code": group["code"],
        "text": group["text"], "count": f"{group['count']:,}", "first": ago(group["first_at"], operator.now),
        "last": ago(group["last_at"], operator.now), "sample": sample, "sample_to": path(f"/jobs/{sample}"),
        "acts": "replay discard replay_one", "named": f"{group['kind']}, {group['code']}",
    }  # fmt: skip


def _run(run: Mapping[str, Any], operator: Operator, names: Mapping[str, str]) -> Row:
    at_work = run["state"] in {"queued", "running"}
    return {
        "id": run["id"], "action": f"{run['action']} {run['size']:,}",
        "action_to": path(f"/jobs/{run['id']}"),
        "state": run["state"], "done": f"{run['done']:,} of {run['size']:,}",
        "refused": f"{run['refused']:,}",
        "rate": f"{run['rate']:g}/s", "at": ago(run["created_at"], operator.now), "by": names[run["actor"]],
        "reason": run["reason"] or "", "acts": "stop" if at_work and not run["stop_by"] else "",
        "named": f"{run['action']} of {run['size']} jobs",
    }  # fmt: skip


async def _act(operator: Operator, name: str, row: Row) -> None:
    if name == "replay_one":
        await ask(operator, act_on(operator, "replay", row["sample"]))
        return
    await ask(operator, _Bulk(operator, name, row).act())


class _Bulk:
    """A bulk run over one group: tried first, as often as its rate is changed; then begun, once."""

    def __init__(self, operator: Operator, name: str, row: Row) -> None:
        self._operator = operator
        self._action, self._label, self._says = ACTIONS[name]
        self._group, self._named = row["id"], row["named"]
        self._rate = 20.0
        # Whoever confirms twice begins one run.
        self._key = new_id()

    def act(self) -> Act:
        """What is asked."""
        return Act(
            title=f"{self._label} all: {self._named}", says=self._says, label=self._label, do=self._do,
            danger=self._action == DISCARD, details=self._details,
        )  # fmt: skip

    def _plan(self, reason: str | None = None) -> Plan:
        rate = min(FASTEST, max(SLOWEST, self._rate))
        return Plan(self._action, Selection(group=self._group), rate=rate, reason=reason)

    def _details(self) -> None:
        lines = Lines("What would happen", empty="Looking what would happen.", live=True)
        lines.show([])

        async def try_it() -> None:
            try:
                preview = await self._operator.services.job_desk.bulk.preview(self._plan())
            except Exception as error:  # noqa: BLE001 - a preview that fails is no reason not to ask
                lines.show([told(error)])
                return
            lines.show(_would(preview_form(self._action, preview)))

        async def choose(event: Any) -> None:
            self._rate = float(event.value)
            await try_it()

        ui.select(RATES, value=self._rate, label="Rate", on_change=choose).props("outlined dense")
        ui.timer(0.0, try_it, once=True)

    async def _do(self, actor: Actor, reason: str | None) -> str:
        job = await self._operator.services.job_desk.bulk.start(
            self._plan(reason), actor=actor, key=self._key
        )
        return f"Begun, as the job {job.job_id}. Its progress is below."


def _would(form: Mapping[str, Any]) -> list[str]:
    """A dry run in words."""
    lines = [f"{many(form['jobs'], 'job')} would be taken, in {span(form['seconds'])}. Nothing was changed."]
    lines += [f"{number:,} x {kind}" for kind, number in form["by_kind"].items()]
    if form["refused"]:
        lines.append(f"{many(form['refused'], 'job')} would be left: {REFUSED[form['refusals'][0]['code']]}.")
    if form["more"]:
        lines.append("There are more dead jobs than one run takes: begin another after it.")
    return lines


async def _stop(operator: Operator, row: Row) -> None:
    async def do(actor: Actor, reason: str | None) -> str:
        await operator.services.job_desk.bulk.stop(row["id"], actor=actor, reason=reason)
        return "It stops within a second or two."

    says = "It takes no more jobs. What it has done stays done."
    await ask(operator, Act(f"Stop: {row['named']}", says, "Stop", do, danger=True))
