"""An order's life after it was placed, wired: refunds, fulfilment, and what payment providers tell."""

from dataclasses import dataclass

from domain.changes import Database
from domain.events.service import Events
from domain.inventory.allocation import Allocation
from domain.inventory.holds import Holds
from domain.orders.fulfilment import Fulfilment
from domain.orders.notices import Notices
from domain.orders.payment_ends import PaymentEnds
from domain.orders.payments import OrderPayments
from domain.orders.refunds import Refunds
from domain.orders.reserving import Reserving
from domain.orders.steps import Steps
from domain.orders.unpaid import Unpaid
from domain.ports import Locks, PaymentProvider
from domain.settings import Settings
from domain.values import Clock


@dataclass(frozen=True, slots=True)
class Life:
    """The verbs."""

    refunds: Refunds
    fulfilment: Fulfilment
    notices: Notices
    unpaid: Unpaid


def life(
    settings: Settings,
    *,
    database: Database,
    clock: Clock,
    events: Events,
    holds: Holds,
    locks: Locks,
    allocation: Allocation,
    provider: PaymentProvider,
    payments: OrderPayments,
    ends: PaymentEnds,
) -> Life:
    """Over the given services."""
    steps = Steps(database=database, events=events, locks=locks, clock=clock)
    complete_after = settings.orders.complete_after
    refunds = Refunds(database=database, steps=steps, provider=provider, complete_after=complete_after)
    reserving = Reserving(
        database=database,
        holds=holds,
        steps=steps,
        allocation=allocation,
        hold_time=settings.orders.hold_time,
    )
    notices = Notices(
        database=database,
        holds=holds,
        payments=payments,
        ends=ends,
        refunds=refunds,
        reserving=reserving,
        steps=steps,
        provider=provider,
        clock=clock,
        late=settings.payments.late,
    )
    fulfilment = Fulfilment(database=database, steps=steps, clock=clock, complete_after=complete_after)
    unpaid = Unpaid(database=database, steps=steps, provider=provider, ends=ends)
    return Life(refunds, fulfilment, notices, unpaid)
