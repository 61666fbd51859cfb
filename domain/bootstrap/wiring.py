"""Services over ports: who is handed what."""

import asyncio
import os
import socket
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from domain.accounts.service import Accounts
from domain.audit_log.service import AuditLog
from domain.bootstrap.notifying import notifying
from domain.bootstrap.services import Ports, Services
from domain.carts.service import Carts
from domain.control.asking import Ping
from domain.control.desk import control
from domain.control.pools import Pools
from domain.discounts.redemptions import Redemptions
from domain.discounts.repository import DiscountRepository
from domain.discounts.service import Discounts
from domain.events.service import Events
from domain.inventory import reservations, stock
from domain.inventory.allocation import Allocation
from domain.inventory.auditor import Auditor
from domain.inventory.holds import Holds
from domain.inventory.locations import Locations
from domain.inventory.placing import Placing
from domain.inventory.reservations import Reservations
from domain.inventory.service import Inventory
from domain.inventory.strategies import strategy_named
from domain.jobs.aside import SetAside
from domain.jobs.deaths import Deaths
from domain.jobs.desk import job_desk
from domain.jobs.dispatch import Dispatcher
from domain.jobs.fairness import FairShare
from domain.jobs.feeding import Feeder
from domain.jobs.meter import Meter
from domain.jobs.relay import Relay
from domain.jobs.running import JobRuns
from domain.jobs.service import Jobs
from domain.jobs.signals import JobSignals
from domain.media.desk import media_desk
from domain.notifications.routing import Routing
from domain.notifications.webhooks.service import Webhooks
from domain.observe import hot_log
from domain.orders.cart_views import CartViews
from domain.orders.checkout import Checkout
from domain.orders.desk import order_desk
from domain.orders.life import life
from domain.orders.payment_ends import PaymentEnds
from domain.orders.payments import OrderPayments
from domain.orders.placing import OrderPlacing
from domain.orders.prices import Prices
from domain.orders.quotes import Quotes
from domain.orders.redeeming import end_redemptions
from domain.orders.service import Orders
from domain.orders.tables import Tables
from domain.products.exports import Exports
from domain.products.imports import Imports
from domain.products.search import Search
from domain.products.service import Products
from domain.products.transfers import Transfers
from domain.settings import Settings
from domain.values import Clock


def wire(
    ports: Ports, *, settings: Settings, clock: Clock, accounts: Accounts, pings: Mapping[str, Ping]
) -> Services:
    """Services over the given ports."""
    database = ports.database
    shared: dict[str, Any] = {"database": database, "clock": clock}
    meter = Meter(**shared)
    signals = JobSignals(
        database=database,
        cache=ports.cache,
        pubsub=ports.pubsub,
        meter=meter,
        log_job=hot_log(settings.log, "domain.jobs"),
    )
    dispatcher = Dispatcher(queue=ports.queue, settings=settings.jobs, **shared)
    events = Events(pubsub=ports.pubsub, **shared)
    fair = FairShare(database=database, settings=settings.pools)
    signals.on_end(fair.ended)
    jobs = Jobs(
        dispatcher=dispatcher, signals=signals, events=events, settings=settings.jobs, fair=fair, meter=meter,
        **shared,
    )  # fmt: skip
    deaths = Deaths(events=events, locks=ports.locks, **shared)
    runs = JobRuns(
        signals=signals,
        deaths=deaths,
        settings=settings.jobs,
        worker=f"{socket.gethostname()}:{os.getpid()}",
        **shared,
    )
    desk = control(
        queue=ports.queue, pubsub=ports.pubsub, jobs=jobs, audit_log=AuditLog(**shared), pings=pings,
        heartbeat=settings.deployment.heartbeat, **shared,
    )  # fmt: skip
    ops_jobs = job_desk(
        jobs=jobs, runs=runs, dispatcher=dispatcher, events=events, audit_log=AuditLog(**shared),
        settings=settings.jobs, **shared,
    )  # fmt: skip
    relay = Relay(
        queue=ports.queue, dispatcher=dispatcher, signals=signals, deaths=deaths, settings=settings.jobs,
        paused=desk.queues.lately_paused, **shared,
    )  # fmt: skip
    products = Products(
        cache=ports.cache, new_skus=partial(stock.shelve, low_at=settings.inventory.low_at), **shared
    )
    told = notifying(
        ports, settings, accounts=accounts, events=events, jobs=jobs, products=products, clock=clock
    )
    webhooks = Webhooks(
        pubsub=ports.pubsub, events=events, jobs=jobs, runs=runs, sender=ports.webhooks,
        settings=settings.webhooks, **shared,
    )  # fmt: skip
    events.route_to(Routing(jobs, (*told.ways, webhooks.way)).route)
    holds = Holds(locks=ports.locks, events=events, **shared)
    stocked = settings.inventory
    locations = Locations(known_for=stocked.locations_for, **shared)
    allocation = Allocation(database, locations, strategy_named(stocked.allocation))
    # What takes stock and what sells it compete for the same documents.
    gate = asyncio.Lock()
    placing: dict[str, Any] = {
        **shared, "runs": runs, "events": events, "holds": holds, "locks": ports.locks,
        "allocation": allocation, "meter": meter,
        "max_batch": settings.workers.max_batch, "gate": gate,
    }  # fmt: skip
    redemptions = Redemptions(**shared)
    discounts = Discounts(
        repository=DiscountRepository(database), redemptions=redemptions, products=products, clock=clock
    )
    holds.on_end(end_redemptions)
    tables = Tables(fresh_for=settings.checkout.rates_fresh_for, **shared)
    prices = Prices(products=products, redemptions=redemptions, tables=tables, clock=clock)
    carts = Carts(products=products, settings=settings.carts, **shared)
    quotes = Quotes(prices=prices, ttl=settings.checkout.quote_ttl, **shared)
    order_placing = OrderPlacing(
        database=database,
        products=products,
        redemptions=redemptions,
        tables=tables,
        hold_time=settings.orders.hold_time,
        currency=settings.orders.currency,
    )
    files: dict[str, Any] = {**shared, "objects": ports.objects, "jobs": jobs, "settings": settings.catalog}
    ends = PaymentEnds(events=events, locks=ports.locks, gate=gate, **shared)
    payments = OrderPayments(
        holds=holds, provider=ports.provider, ends=ends, timeout=settings.payments.timeout, gate=gate,
        **shared,
    )  # fmt: skip
    after = life(
        settings, events=events, holds=holds, locks=ports.locks, allocation=allocation, payments=payments,
        provider=ports.provider, ends=ends, **shared,
    )  # fmt: skip
    orders = Orders(holds=holds, jobs=jobs, unpaid=after.unpaid, **shared)
    ops_orders = order_desk(
        desk=ops_jobs, relay=relay, orders=orders, holds=holds, events=events,
        audit_log=AuditLog(**shared), paused=desk.queues.paused, settings=settings.jobs, **shared,
    )  # fmt: skip
    return Services(
        settings=settings,
        clock=clock,
        database=database,
        accounts=accounts,
        audit_log=AuditLog(**shared),
        aside=SetAside(**shared),
        auditor=Auditor(events=events, locks=ports.locks, **shared),
        control=desk,
        discounts=discounts,
        redemptions=redemptions,
        events=events,
        exports=Exports(objects=ports.objects, **shared),
        fan_outs=told.fan_outs,
        holds=holds,
        inbox=told.inbox,
        imports=Imports(products=products, events=events, **files),
        inventory=Inventory(
            products=products,
            events=events,
            locks=ports.locks,
            locations=locations,
            **shared,
        ),
        jobs=jobs,
        job_desk=ops_jobs,
        feeder=Feeder(queue=ports.queue, dispatcher=dispatcher, settings=settings.jobs, **shared),
        leadership=ports.leadership,
        meter=meter,
        pools=Pools(
            queues=desk.queues, settings=settings.pools, largest_batch=settings.workers.max_batch, **shared
        ),
        locations=locations,
        media=media_desk(
            objects=ports.objects,
            uploads=ports.uploads,
            signer=ports.signer,
            jobs=jobs,
            events=events,
            products=products,
            settings=settings.media,
            cdn=settings.cdn,
            **shared,
        ),
        objects=ports.objects,
        order_payments=payments,
        fulfilment=after.fulfilment,
        notices=after.notices,
        refunds=after.refunds,
        order_placing=Placing(order_placing.placement(), **placing),
        orders=orders,
        order_desk=ops_orders,
        post=told.post,
        preferences=told.preferences,
        products=products,
        pubsub=ports.pubsub,
        queue=ports.queue,
        relay=relay,
        reservation_placing=Placing(reservations.placement(settings.orders.hold_time, products), **placing),
        reservations=Reservations(holds=holds, jobs=jobs),
        runs=runs,
        search=Search(database=database, in_stock=partial(_sellable, allocation)),
        signals=signals,
        subscriptions=told.subscriptions,
        transfers=Transfers(**files),
        tables=tables,
        carts=carts,
        cart_views=CartViews(prices, allocation),
        quotes=quotes,
        checkout=Checkout(
            carts=carts, quotes=quotes, prices=prices, jobs=jobs, max_lines=settings.orders.max_lines
        ),
        webhooks=webhooks,
        pings=pings,
    )


async def _sellable(allocation: Allocation, skus: Sequence[str]) -> set[str]:
    """Those of the SKUs of which one location that is sold from has a unit."""
    shelf = await allocation.shelf(skus)
    return set(skus) - {shortage.sku for shortage in shelf.short(dict.fromkeys(skus, 1))}
