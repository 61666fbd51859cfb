"""Times, amounts and errors in words. Pure."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pymongo.errors import PyMongoError

from domain.errors import DomainError, TryAgain
from domain.jobs.pool_reports import in_words
from domain.notifications.money import shown
from domain.values import Money

#: What a refusal means to whoever asked for it, by its code; filled with the error's detail.
REFUSALS = {
    "job_finished": "The job has ended already: it is {state}.",
    "job_running": "A worker has begun the job. It has to end first.",
    "job_not_replayable": "Only a dead, failed or cancelled job can be replayed. This one is {state}.",
    "not_a_worker": "Only a worker that lives can be drained.",
    "nobody_leads": "No scheduler leads the timetable, so nothing was run. Is one up?",
    "reservation_not_found": "There is no such hold.",
    "order_not_found": "There is no such order.",
    "not_found": "There is no such thing any more.",
    "idempotency_key_reused": "This was asked for already, in another way. Open the page again.",
}
#: What turns the direction of letters or is not seen at all: it could make a text look like another.
_UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
AWAY = "The store does not answer. Nothing is known of what became of it: look again in a moment."


def moment(at: datetime | str | None, *, fine: bool = False) -> str:
    """A time to the second, or if `fine` to the millisecond, in UTC; a dash where there is none."""
    found = _time(at)
    if found is None:
        return "-"
    rest = f".{found.microsecond // 1000:03d}" if fine else ""
    return f"{found:%Y-%m-%d %H:%M:%S}{rest}"


def ago(at: datetime | str | None, now: datetime) -> str:
    """How long ago, as people say it; what has yet to come is `in 3 min`."""
    found = _time(at)
    if found is None:
        return "-"
    seconds = (now - found).total_seconds()
    if abs(seconds) < 1:
        return "now"
    return f"{in_words(seconds)} ago" if seconds > 0 else f"in {in_words(-seconds)}"


def span(seconds: float | None) -> str:
    """A length of time: `40 ms`, `3 s`, `14 min`; a dash where nobody can tell."""
    if seconds is None:
        return "-"
    if seconds == 0:
        return "0 s"
    return f"{max(1, round(seconds * 1000))} ms" if seconds < 1 else in_words(seconds)


def count(number: float | None) -> str:
    """A number as people read it; a dash where nobody knows."""
    return "-" if number is None else f"{number:,.3g}" if number % 1 else f"{number:,.0f}"


def share(ratio: float | None) -> str:
    """A ratio in percent."""
    return "-" if ratio is None else f"{ratio:.0%}"


def size(count_of_bytes: int | None) -> str:
    """Memory, in megabytes."""
    return "-" if count_of_bytes is None else f"{count_of_bytes / 1_000_000:,.0f} MB"


def many(number: int, one: str, more: str | None = None) -> str:
    """`1 job`, `2 jobs`."""
    return f"{number:,} {one if number == 1 else more or one + 's'}"


def money(amount: int | None, currency: Any) -> str:
    """An amount of minor units."""
    return "-" if amount is None else shown(Money(amount=amount, currency=currency))


def told(error: Exception) -> str:
    """What went wrong, for whoever asked for it."""
    if isinstance(error, DomainError):
        known = REFUSALS.get(error.code)
        if known is not None:
            return known.format_map(_Blanks(error.detail))
        reason = error.detail.get("reason")
        return f"{error.message} {str(reason).capitalize()}." if reason else error.message
    if isinstance(error, PyMongoError):
        return AWAY
    if isinstance(error, TryAgain):
        return "Others did the same just now. Try it again."
    return "Something broke: the console's log has it."


def visible(says: str) -> str:
    """The text, with what is not seen in it written out by its number."""
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", says)


def plain(value: Any) -> str:
    """A value of whatever form, in one line: `{'id': 'b', 'size': 3}` is `b (size 3)`."""
    if not isinstance(value, Mapping):
        return str(value)
    rest = [f"{name} {each}" for name, each in value.items() if name != "id"]
    first = str(value.get("id", ""))
    return f"{first} ({', '.join(rest)})" if first and rest else first or ", ".join(rest)


def error_line(error: Mapping[str, Any] | None) -> str:
    """A job's error, in one line."""
    if not error:
        return ""
    text = error.get("fault") or error.get("message") or ""
    return f"{error.get('code')}: {str(text).strip().splitlines()[-1] if str(text).strip() else ''}"


class _Blanks(dict[str, Any]):
    """Says `?` for what an error does not tell."""

    def __missing__(self, _: str) -> str:
        return "?"


def _time(at: datetime | str | None) -> datetime | None:
    return datetime.fromisoformat(at) if isinstance(at, str) else at
