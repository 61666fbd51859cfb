"""The timetable as data: how often, which verb. Every verb may run twice at once and do no harm."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from domain.bootstrap import Services
from domain.control.rules import slug
from scheduler.expiry import HoldExpiry


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the timetable."""

    name: str
    every: timedelta
    verb: Callable[[], Awaitable[int]]

    @property
    def slug(self) -> str:
        """Its name in addresses."""
        return slug(self.name)


def timetable(services: Services) -> tuple[Entry, ...]:
    """What the leader runs."""
    settings, relay = services.settings, services.relay
    relay_every = settings.scheduler.relay_every
    return (
        Entry("expire holds", settings.scheduler.expire_every, HoldExpiry(services).run),
        Entry("send due jobs", relay_every, relay.send_due),
        Entry("send jobs in turns", settings.pools.feed_every, services.feeder.feed),
        Entry("find jobs of passed turns", timedelta(seconds=1), services.feeder.search),
        Entry("send lost jobs", 5 * relay_every, relay.send_lost),
        Entry("take back jobs of silent workers", 2 * relay_every, relay.take_back),
        Entry("republish events", 2 * relay_every, services.events.republish),
        Entry("delete old times of events", timedelta(minutes=10), services.events.times.sweep),
        Entry("complete fulfilled orders", timedelta(minutes=1), services.fulfilment.complete_due),
        Entry("delete expired carts", timedelta(minutes=1), services.carts.sweep),
        Entry("delete old quotes", timedelta(minutes=1), services.quotes.sweep),
        Entry("compact ended jobs", timedelta(minutes=1), relay.compact),
        Entry("forget counts of pools", timedelta(minutes=5), services.pools.sweep),
        Entry("audit the stock", settings.inventory.audit_every, services.auditor.report),
        Entry("fail media of ended jobs", timedelta(minutes=1), services.media.stalled.fail),
        Entry("delete old media", timedelta(minutes=1), services.media.sweeps.due),
        Entry("delete objects of no media", timedelta(minutes=10), services.media.sweeps.orphans),
        Entry("delete old files of products", timedelta(minutes=10), services.transfers.sweep),
        Entry("delete old deliveries of webhooks", timedelta(minutes=1), services.webhooks.log.sweep),
        Entry("forget lost processes", timedelta(minutes=1), services.control.processes.sweep),
        Entry("forget asked runs", timedelta(hours=1), services.control.timetables.sweep),
    )
