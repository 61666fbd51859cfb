"""One order's story across all that it went through: API, queue, workers, payment, hold, notices, ops."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from domain.audit_log.service import AuditLog, AuditQuery
from domain.changes import Database, Doc
from domain.errors import OrderNotFound
from domain.events.rules import rfc3339
from domain.inventory.models import HOLDS
from domain.jobs.models import JOBS
from domain.jobs.rules import CANCELLED, QUEUED, RUNNING
from domain.jobs.searching import PART, JobSearch
from domain.orders.commands import PlaceOrder
from domain.orders.models import ORDERS, PAYMENTS
from domain.orders.related import RelatedJobs

#: Jobs that take news to somebody.
_DELIVERIES = "notifications."
#: What is read of a job.
_FIELDS = {"payload": 0, "fingerprint": 0}


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that happened, and where it did."""

    at: datetime
    source: str
    says: str
    facts: Mapping[str, Any]


class OrderTimeline:
    """Reads all that was kept of an order. Nothing is written for it: it is put together when asked for."""

    def __init__(
        self, *, database: Database, search: JobSearch, related: RelatedJobs, audit_log: AuditLog
    ) -> None:
        self._database = database
        self._search = search
        self._related = related
        self._audit_log = audit_log

    async def of(self, order_id: str) -> dict[str, Any]:
        """The order's state and its lines, oldest first; JSON. Raises OrderNotFound.

        An order that is not placed yet has its job's lines. `complete` is False where the search for its jobs
        ran out of time, and where some of them were compacted, which leaves their ends and no more.
        """
        order: Doc | None = await self._database[ORDERS].find_one({"_id": order_id})
        found = await self._search.about(order_id)
        jobs = await self._jobs([job["_id"] for job in found.jobs])
        if order is None and not any(
            job["_id"] == order_id and job["kind"] == PlaceOrder.kind for job in jobs
        ):
            raise OrderNotFound(order=order_id)
        lines = [line for job in jobs for line in job_lines(job)]
        if order is not None:
            lines += await self._of_order(order)
        for thing_id in [order_id, *(job["_id"] for job in jobs if job["_id"] != order_id)][:PART]:
            lines += [_act(row) for row in await self._audit_log.find(AuditQuery(thing_id=thing_id))]
        lines.sort(key=lambda line: line.at)
        whole = found.searched_until is None and found.position is None
        return {
            "order_id": order_id,
            "account_id": order["account_id"] if order else jobs[0]["owner"],
            "state": order["state"] if order else "pending",
            "lines": [
                {"at": rfc3339(line.at), "source": line.source, "says": line.says, "facts": dict(line.facts)}
                for line in lines
            ],
            "jobs": [
                {"id": job["_id"], "kind": job["kind"], "state": job["state"]} for job in reversed(jobs)
            ],
            "complete": whole and all(job.get("history") is not None for job in jobs),
        }

    async def _jobs(self, job_ids: list[str]) -> list[Doc]:
        found: list[Doc] = []
        for start in range(0, len(job_ids), PART):
            query = {"_id": {"$in": job_ids[start : start + PART]}}
            found += await self._database[JOBS].find(query, _FIELDS).to_list()
        return sorted(found, key=lambda row: str(row["_id"]), reverse=True)

    async def _of_order(self, order: Doc) -> list[Line]:
        lines = [_moment(each) for each in order["timeline"]]
        async for payment in self._database[PAYMENTS].find({"order_id": order["_id"]}):
            lines += _payment(payment)
        hold = await self._database[HOLDS].find_one({"_id": order["hold_id"]}) if order["hold_id"] else None
        if hold is not None:
            lines += _hold(hold)
        return lines + [_told(event) for event in await self._related.events_of(order)]


def job_lines(job: Mapping[str, Any]) -> Iterator[Line]:
    """What became of a job. One that was compacted has its beginning and its end."""
    kind, facts = job["kind"], {"job_id": job["_id"], "kind": job["kind"]}
    delivers = kind.startswith(_DELIVERIES)
    accepted = {**facts, "owner": job["owner"], "request_id": job.get("request_id")}
    yield Line(job["created_at"], "delivery" if delivers else "api", f"{kind} was accepted", accepted)
    history = job.get("history")
    if history is None:
        if job.get("finished_at"):
            yield Line(job["finished_at"], "worker", f"{kind} ended: {job['state']}", facts)
        return
    if job.get("dispatched_at"):
        yield Line(job["dispatched_at"], "queue", f"{kind} was sent to the pool {job['pool']}", facts)
    for line in history[1:]:
        source = "delivery" if delivers else "queue" if line["state"] == QUEUED else "worker"
        more = {name: line[name] for name in ("worker", "batch") if line.get(name)}
        error = line.get("error")
        code = {"code": error["code"]} if error else {}
        yield Line(line["at"], source, _says(kind, line), {**facts, **more, **code})


def _says(kind: str, line: Mapping[str, Any]) -> str:
    state, note = line["state"], line.get("note")
    why = f": {note}" if note else ""
    if state == RUNNING:
        return f"{kind} began"
    if state == QUEUED:
        return f"{kind} waits again{why}"
    if state == CANCELLED:
        return f"{kind} was cancelled {note or ''}".rstrip()
    return f"{kind} {state}{why}"


def _moment(each: Mapping[str, Any]) -> Line:
    reason = f": {each['reason']}" if each.get("reason") else ""
    return Line(each["at"], "order", f"the order is {each['state']}{reason}", {"actor": each.get("actor")})


def _payment(payment: Mapping[str, Any]) -> Iterator[Line]:
    facts = {"payment_id": payment["_id"], "amount": payment["amount"], "currency": payment["currency"]}
    yield Line(payment["created_at"], "payment", "a payment began", facts)
    if payment.get("ended_at"):
        reason = f": {payment['reason']}" if payment.get("reason") else ""
        yield Line(payment["ended_at"], "payment", f"the payment was {payment['state']}{reason}", facts)


def _hold(hold: Mapping[str, Any]) -> Iterator[Line]:
    facts = {"hold_id": hold["_id"], "expires_at": rfc3339(hold["expires_at"])}
    units = sum(line["quantity"] for line in hold["lines"])
    yield Line(hold["created_at"], "hold", f"{units} units were held", facts)
    if hold.get("ended_at"):
        yield Line(hold["ended_at"], "hold", f"the hold was {hold['state']}: {hold['cause']}", facts)


def _told(event: Mapping[str, Any]) -> Line:
    facts = {"event_id": event["_id"], "type": event["type"], "seq": event["seq"]}
    return Line(event["time"], "event", f"{event['type']} was recorded", facts)


def _act(row: Mapping[str, Any]) -> Line:
    facts = {"audit_id": row["_id"], "actor": row["actor"], "outcome": row["outcome"]}
    why = f": {row['reason']}" if row["reason"] else ""
    return Line(row["at"], "ops", f"{row['action']} by {row['actor']}{why}", facts)
