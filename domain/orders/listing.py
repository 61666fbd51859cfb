"""What somebody looks for among orders, as a query that is bounded."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from domain.values import id_floor

#: How far back a listing over all accounts looks where nobody says from when.
LOOKS_BACK = timedelta(days=31)


@dataclass(frozen=True, slots=True)
class OrderQuery:
    """None stands for any. Times are inclusive; totals are minor units, inclusive."""

    limit: int
    owner: str | None = None
    state: str | None = None
    sku: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
    total_from: int | None = None
    total_to: int | None = None
    #: Only those before this id.
    before: str | None = None


def wanted(query: OrderQuery, *, now: datetime) -> dict[str, Any]:
    """The query for the store.

    An account's orders have an index. Over all accounts the ids bound what is looked at, as they begin with
    the time: without `created_from` to the last 31 days before the page.
    """
    found: dict[str, Any] = {
        name: value
        for name, value in (
            ("account_id", query.owner),
            ("state", query.state),
            ("lines.sku", query.sku),
            ("total", _between(query.total_from, query.total_to)),
            ("_id", _ids(query, now)),
        )
        if value
    }
    return found


def _between(least: int | None, most: int | None) -> dict[str, int]:
    bounds = (("$gte", least), ("$lte", most))
    return {name: bound for name, bound in bounds if bound is not None}


def _ids(query: OrderQuery, now: datetime) -> dict[str, str]:
    begins, bounds = query.created_from, dict[str, str]()
    if begins is None and query.owner is None:
        begins = (query.created_to or now) - LOOKS_BACK
    if begins is not None:
        bounds["$gte"] = id_floor(begins)
    # The millisecond itself is in.
    ends = [id_floor(query.created_to + timedelta(milliseconds=1))] if query.created_to else []
    if query.before:
        ends.append(query.before)
    if ends:
        bounds["$lt"] = min(ends)
    return bounds
