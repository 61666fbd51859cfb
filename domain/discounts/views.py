"""Discounts as they are shown; JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

from domain.changes import Doc
from domain.discounts.models import COMMITTED, HELD, RELEASED
from domain.discounts.terms import BUY_GET, FIXED, FREE_SHIPPING, PERCENT
from domain.discounts.uses import spent
from domain.events.rules import rfc3339

_TIMES = ("starts_at", "ends_at", "exhausted_at", "created_at", "updated_at")
_PLAIN = ("code", "name", "kind", "on", "groups", "limit", "per_customer", "priority", "active", "created_by")


def shown(row: Doc) -> Doc:
    """A stored discount: what it says, as it was said."""
    kind, percent = row["kind"], float(row["percent"])
    units = {"buy": row["buy"], "get": row["reward"], "percent": percent}
    return {
        "id": row["_id"],
        **{name: row[name] for name in _PLAIN},
        "percent": percent if kind == PERCENT else None,
        "fixed": _money(row, "amount") if kind == FIXED else None,
        "buy_get": units if kind == BUY_GET else None,
        "free_shipping": kind == FREE_SHIPPING,
        **{name: _money(row, name) for name in ("min_spend", "cap", "budget")},
        "stackable_with": row["combines_with"],
        **{name: rfc3339(row[name]) if row[name] else None for name in _TIMES},
    }


def usage_shown(row: Doc, customers: Sequence[Doc]) -> Doc:
    """What was used of it in all, and by these customers."""
    left, budget = None, _money(row, "budget")
    if row["limit"] is not None:
        left = max(row["limit"] - row["taken"], 0)
    return {
        "discount_id": row["_id"],
        "code": row["code"],
        **_counts(row),
        "limit": row["limit"],
        "uses_left": left,
        "budget": budget,
        "budget_left": budget and budget | {"amount": max(budget["amount"] - spent(row), 0)},
        "exhausted_at": rfc3339(row["exhausted_at"]) if row["exhausted_at"] else None,
        "customers": [{"account_id": each["account_id"], **_counts(each)} for each in customers],
    }


def _money(row: Doc, name: str) -> Doc | None:
    return {"amount": row[name], "currency": row["currency"]} if row[name] else None


def _counts(row: Doc) -> Doc:
    amounts: Mapping[str, Mapping[str, int]] = row["amounts"]

    def count(uses: int, of: Mapping[str, int]) -> dict[str, Any]:
        return {"uses": uses, "amounts": dict(of)}

    held = {currency: each["taken"] - each["committed"] for currency, each in amounts.items()}
    return {
        HELD: count(row["taken"] - row["committed"], held),
        COMMITTED: count(row["committed"], {key: each["committed"] for key, each in amounts.items()}),
        RELEASED: count(row["released"], {key: each["released"] for key, each in amounts.items()}),
    }
