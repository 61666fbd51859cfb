"""Where orders meet discounts: uses are taken when an order is placed, and end with its hold (P5)."""

from collections.abc import Iterable, Sequence

from domain.changes import Changes, Doc
from domain.discounts import uses
from domain.discounts.redemptions import Ask, Offers
from domain.discounts.rules import USED_UP, Discounted, normal_codes
from domain.errors import DiscountRefused
from domain.events.models import NewEvent
from domain.inventory.endings import Ending
from domain.inventory.rules import PAID as HOLD_PAID
from domain.inventory.rules import USE


def asks(jobs: Iterable[Doc]) -> list[Ask]:
    """Who of the batch names which codes, and was told of which automatic discounts."""
    return [Ask(account_id=job["owner"], codes=codes_of(job), automatic=_told(job)) for job in jobs]


def codes_of(job: Doc) -> tuple[str, ...]:
    """The codes that the order names."""
    return tuple(job["payload"].get("codes") or ())


def _told(job: Doc) -> tuple[str, ...]:
    return tuple((job["payload"].get("expected") or {}).get("automatic") or ())


def code_locks(job: Doc) -> list[str]:
    """Locks that save two batches from competing for the same codes."""
    return [f"lock:code:{code}" for code in normal_codes(codes_of(job))]


def refused(discounted: Discounted) -> DiscountRefused | None:
    """Why the order cannot be placed as it was asked for: a code that does not apply is never passed over."""
    if not discounted.refusals:
        return None
    return DiscountRefused(refusals=[each.as_detail() for each in discounted.refusals])


def used_up(discounted: Discounted, offers: Offers) -> list[str]:
    """Uses that were missing, as the engine looks for them: holds may have them whose time is over."""
    codes = [each.code for each in discounted.refusals if each.reason in USED_UP]
    return [f"{USE}{offers.rows[code]['_id']}" for code in codes]


def end_redemptions(changes: Changes, holds: Sequence[Doc], ending: Ending) -> list[NewEvent]:
    """What an ended hold means for its uses of discounts: committed when paid, else given back."""
    entries = [entry for hold in holds for entry in hold.get("redemptions") or ()]
    if ending.cause == HOLD_PAID:
        uses.commit(changes, entries, at=ending.at)
    else:
        uses.release(changes, entries, at=ending.at)
    return []
