"""What ops see of dead jobs and bulk runs, as JSON: for the API, the command and the console alike."""

from collections.abc import Mapping, Sequence
from typing import Any

from domain.events.rules import rfc3339
from domain.jobs.bulk import SAMPLES, Preview
from domain.jobs.bulk_models import BulkAction
from domain.jobs.dead import Refusal
from domain.jobs.grouping import Group
from domain.jobs.rules import view
from domain.jobs.searching import Found


def brief(job: Mapping[str, Any]) -> dict[str, Any]:
    """A job of a list: without history."""
    return {**view(job, ops=True), "owner": job["owner"], "history": None}


def found_form(found: Found) -> dict[str, Any]:
    """One page of a search; without the cursor."""
    until = found.searched_until
    return {"jobs": [brief(job) for job in found.jobs], "searched_until": rfc3339(until) if until else None}


def groups_form(groups: Sequence[Group], *, more: bool) -> dict[str, Any]:
    """The groups of the dead."""
    shown = [
        {
            "group": group.key, "kind": group.kind, "code": group.code, "text": group.text,
            "count": group.count, "first_at": rfc3339(group.first_at), "last_at": rfc3339(group.last_at),
            "sample": brief(group.sample),
        }
        for group in groups
    ]  # fmt: skip
    return {"groups": shown, "jobs": sum(group.count for group in groups), "more": more}


def preview_form(action: BulkAction, preview: Preview) -> dict[str, Any]:
    """What a bulk run would do."""
    return {
        "action": action,
        "jobs": len(preview.jobs),
        "by_kind": preview.by_kind(),
        "samples": [brief(job) for job in preview.jobs[:SAMPLES]],
        "refused": len(preview.refused),
        "refusals": [refusal_form(each) for each in preview.refused[:SAMPLES]],
        "seconds": preview.seconds,
        "more": preview.more,
    }


def refusal_form(refusal: Refusal) -> dict[str, str]:
    """A job that is not taken."""
    return {"job_id": refusal.job_id, "code": refusal.code}


def bulk_form(row: Mapping[str, Any]) -> dict[str, Any]:
    """A bulk run, and how far it is."""
    selection = {
        name: value if isinstance(value, int | str) else rfc3339(value)
        for name, value in row["selection"].items()
    }
    ended = row["ended_at"]
    names = ("action", "rate", "state", "size", "taken", "done", "refused", "refusals", "actor", "reason")
    return {
        "id": row["_id"], "selection": selection, **{name: row[name] for name in names},
        "stop_by": row["stop_by"], "created_at": rfc3339(row["created_at"]),
        "ended_at": rfc3339(ended) if ended else None,
    }  # fmt: skip
