"""The audit log as JSON."""

from collections.abc import Mapping
from typing import Any

_SAME = (
    "actor", "via", "request_id", "action", "thing", "thing_id", "reason", "outcome", "error", "before",
    "after",
)  # fmt: skip


def act_form(row: Mapping[str, Any]) -> dict[str, Any]:
    """One entry as it is shown."""
    at = row["at"].isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"id": row["_id"], "at": at, **{name: row.get(name) for name in _SAME}}
