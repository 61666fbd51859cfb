"""The events about a thing, among its account's: found by time, for they are numbered in that order."""

from collections.abc import Collection
from datetime import datetime, timedelta

from domain.changes import Doc
from domain.events.service import Events

#: Events that one look reads, and the most that it looks through.
PART, MOST = 200, 2000
#: Clocks of processes differ by less.
SKEW = timedelta(seconds=2)


async def told(
    events: Events,
    account_id: str,
    subjects: Collection[str],
    *,
    since: datetime,
    until: datetime,
    job_id: str | None = None,
) -> list[Doc]:
    """The account's events about the subjects between two times, oldest first.

    With `job_id` those that this job made; one that was stored without its job counts by subject and time.
    Looks through `MOST` events of the account at most: of one that has more in that time, the first ones.
    """
    seq = await _last_before(events, account_id, since - SKEW)
    found: list[Doc] = []
    for _ in range(MOST // PART):
        rows = await events.after(account_id, seq, limit=PART)
        found += [row for row in rows if row["time"] <= until + SKEW and _counts(row, subjects, job_id)]
        if len(rows) < PART or rows[-1]["time"] > until + SKEW:
            break
        seq = rows[-1]["seq"]
    return found


def _counts(row: Doc, subjects: Collection[str], job_id: str | None) -> bool:
    if job_id is not None and "job_id" in row:
        return bool(row["job_id"] == job_id)
    return row["subject"] in subjects


async def _last_before(events: Events, account_id: str, at: datetime) -> int:
    """The `seq` of the account's last event before the time; 0 where there is none."""
    low, high = 0, await events.last(account_id)
    while low < high:
        middle = (low + high + 1) // 2
        rows = await events.after(account_id, middle - 1, limit=1)
        if rows and rows[0]["time"] < at:
            low = middle
        else:
            high = middle - 1
    return low
