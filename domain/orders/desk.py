"""What ops see of orders and of what is stuck."""

from dataclasses import dataclass

from domain.audit_log.service import AuditLog
from domain.changes import Database
from domain.events.service import Events
from domain.inventory.holds import Holds
from domain.jobs.desk import JobDesk
from domain.jobs.relay import Relay
from domain.orders.related import RelatedJobs
from domain.orders.repairs import Repairs
from domain.orders.service import Orders
from domain.orders.stuck import Paused, StuckFinder
from domain.orders.timeline import OrderTimeline
from domain.settings import Jobs as JobSettings
from domain.values import Clock


@dataclass(frozen=True, slots=True)
class OrderDesk:
    """The verbs of ops, over everybody's orders."""

    timeline: OrderTimeline
    stuck: StuckFinder
    repairs: Repairs


def order_desk(
    *,
    database: Database,
    desk: JobDesk,
    relay: Relay,
    orders: Orders,
    holds: Holds,
    events: Events,
    audit_log: AuditLog,
    paused: Paused,
    settings: JobSettings,
    clock: Clock,
) -> OrderDesk:
    """The verbs; also tells the search for jobs where those about an order are."""
    related = RelatedJobs(database=database, events=events, clock=clock)
    desk.search.on_subject(related.find)
    return OrderDesk(
        timeline=OrderTimeline(
            database=database, search=desk.search, related=related, audit_log=audit_log
        ),
        stuck=StuckFinder(
            database=database, dead=desk.dead, paused=paused, settings=settings, clock=clock
        ),
        repairs=Repairs(
            desk=desk, relay=relay, orders=orders, holds=holds, events=events, audit_log=audit_log
        ),
    )  # fmt: skip
