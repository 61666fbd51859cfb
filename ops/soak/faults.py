"""Customers who shop while processes are killed; then the question whether every promise was kept.

    summary = run_faults(fleet, stack, environment=environment, seed=1, seconds=30,
                         plan=plan_of({"kill worker": 5, "kill api": 1, "stop rabbitmq": 1}))
    assert summary.ok, summary.violations

Of a fault, the moment, the victim and how long it stays away come from the seed; how the processes interleave
does not. A worker of the pool `orders` is killed while it has a batch in hand.
"""

import contextlib
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from pymongo.errors import PyMongoError

from ops import books
from ops.bench import children
from ops.environment import settings_of
from ops.fleet import Fleet, FleetError, Member
from ops.servers import Server
from ops.soak.clients import Customers
from ops.soak.hits import Locks, freeze_at_work, orphans
from ops.soak.hooks import REFRESH, Hooks, odd_calls
from ops.soak.lookout import Lookout, leftovers, wait_until_settled, waiting_messages
from ops.soak.pace import find_rate
from ops.soak.plan import Fault, schedule
from ops.soak.postbox import Postbox, odd_letters
from ops.soak.summary import Summary
from ops.soak.verdict import cut_short, few, tally, verdict
from ops.stack import Stack

#: SKUs of the shop that is loaded; the first half sells out, the rest does not.
SKUS = 20
SCARCE, PLENTY = 60, 1_000_000
#: Settings of a shop where holds expire while one looks.
SHORT_HOLDS = {"STOCKYARD_ORDERS_HOLD_TIME": "6s", "STOCKYARD_PAYMENTS_TIMEOUT": "1s"}
#: Seconds that the kill of a worker of orders waits for a moment at which it has a batch in hand.
FOR_A_BATCH = 5.0
#: Seconds after which a store that does not answer is stuck.
STUCK_AFTER = 20.0


def run_faults(
    fleet: Fleet,
    stack: Stack,
    *,
    environment: Mapping[str, str],
    seed: int = 1,
    seconds: float = 30.0,
    plan: Sequence[str] = (),
    clients: int = 16,
    rate: float | None = 60.0,
    patience: float = 120.0,
    postbox: Postbox | None = None,
    hooks: Hooks | None = None,
) -> Summary:
    """Customers in `clients` threads shop while the plan takes place; then waits, and checks everything.

    They come about `rate` times per second together, or, where it is None, as often as the shop bears, which
    is found first; they try again with the same key on a connection error or a 5xx. Faults come one after
    the other, all of them, although that may take longer than `seconds`; every victim is started again.
    `environment` is the running fleet's, over a database that nobody else uses, with `SHORT_HOLDS`, and
    with the settings of the `postbox` and the `hooks`, if there are any. Waits up to `patience` seconds
    until all is settled. Leaves nothing stopped.
    """
    stock = {f"SOAK-{n:02}": SCARCE if n < SKUS // 2 else PLENTY for n in range(SKUS)}
    wanted = {"stock": stock, "customers": clients, "endpoint": hooks.endpoint if hooks else None}
    shop = children.ask("shop", wanted, environment)
    opened = datetime.now(UTC)
    if hooks:
        hooks.secret = shop["secret"]
    summary = Summary(seed=seed, seconds=seconds)
    url, name = (
        _impatient(environment["STOCKYARD_MONGO_URL"]),
        environment.get("STOCKYARD_MONGO_DATABASE", "stockyard"),
    )
    with contextlib.ExitStack() as closing:
        database = closing.enter_context(books.store(url, name))
        settings = settings_of(environment)
        ttl, hold_time = settings.workers.lock_ttl, settings.orders.hold_time
        locks = closing.enter_context(contextlib.closing(Locks(environment["STOCKYARD_REDIS_URL"], ttl=ttl)))
        lookout = closing.enter_context(Lookout(database))
        customers = Customers(fleet.urls, shop["tokens"], seed=seed)
        if rate is None:
            plenty = sorted(sku for sku, units in stock.items() if units == PLENTY)
            rate = find_rate(customers, plenty, database, hold_time=hold_time)
        summary.rate = rate
        if hooks:
            hooks.ill = True
        customers.start(sorted(stock), rate=rate)
        with _whole_again(fleet, stack, summary):
            faults = schedule(plan, seed=seed, seconds=seconds)
            _take_place(faults, fleet, stack, summary, locks=locks)
            time.sleep(max(0.0, customers.began + seconds - time.monotonic()))
        customers.stop()
        summary.accepted, summary.replayed = len(customers.accepted), customers.replayed
        summary.retried = customers.retried
        summary.violations += customers.violations
        summary.settled_after = wait_until_settled(database, seconds=patience)
        version = environment.get("STOCKYARD_RABBITMQ_QUEUE_VERSION", "1")
        try:
            summary.violations += leftovers(database)
            url = environment["STOCKYARD_RABBITMQ_URL"]
            summary.violations += waiting_messages(url, pools=sorted(_pools(fleet)), version=version)
            summary.orders, wrong = verdict(database, customers.accepted)
            summary.jobs, summary.cut_short = tally(database), cut_short(database)
            short = books.oversold(database)
            summary.oversold = len(short)
            summary.violations += wrong + short
            if postbox:
                _count_letters(database, postbox, summary)
            if hooks:
                _count_calls(database, hooks, summary, since=opened + timedelta(seconds=REFRESH))
        except PyMongoError as error:
            summary.violations.append(f"the store does not answer: {error}")
        summary.violations += lookout.seen
    return summary


def _impatient(url: str) -> str:
    """The store's URL, for a client that does not wait for ever where the store is stuck."""
    return f"{url}{'&' if '?' in url else '?'}socketTimeoutMS={1000 * STUCK_AFTER:.0f}"


def _take_place(
    faults: Sequence[Fault], fleet: Fleet, stack: Stack, summary: Summary, *, locks: Locks
) -> None:
    began, chance = time.monotonic(), random.Random(summary.seed + 1)
    with ThreadPoolExecutor(1) as looking:
        for fault in faults:
            time.sleep(max(0.0, began + fault.at - time.monotonic()))
            victim = _victim(fault, fleet, stack, chance)
            at_work = (fault.how, fault.target) == ("kill", "worker")
            if isinstance(victim, Member) and at_work:
                freeze_at_work(victim, locks, random.Random(fault.at), seconds=FOR_A_BATCH)
            at = round(time.monotonic() - began, 2)
            if fault.how == "kill":
                victim.kill()
            else:
                victim.stop()
            left = looking.submit(orphans, locks) if at_work else None
            time.sleep(fault.away)
            if isinstance(victim, Member):
                _revive(victim, summary)
            else:
                victim.start()
            away = round(time.monotonic() - began - at, 2)
            label = victim.name if isinstance(victim, Member) else victim.slug
            summary.faults.append((at, f"{fault.how} {fault.target}", label, away))
            if left is not None:
                summary.worker_kills += 1
                summary.worker_kills_in_batch += left.result() > 0
            _note_deaths(fleet, summary)


def _victim(fault: Fault, fleet: Fleet, stack: Stack, chance: random.Random) -> Member | Server:
    pools = _pools(fleet)
    groups = {**pools, "worker": pools["orders"], "api": fleet.apis, "scheduler": fleet.schedulers}
    if fault.target in groups:
        return chance.choice(groups[fault.target])
    return {server.slug: server for server in stack.servers}[fault.target]


def _pools(fleet: Fleet) -> dict[str, list[Member]]:
    found: dict[str, list[Member]] = {}
    for worker in fleet.workers:
        found.setdefault(worker.name.rpartition("-")[0], []).append(worker)
    return found


def _count_letters(database: books.Store, postbox: Postbox, summary: Summary) -> None:
    letters = dict(postbox.letters)
    summary.letters, summary.letters_again = len(letters), sum(letters.values()) - len(letters)
    summary.violations += few("letters", odd_letters(database, letters))


def _count_calls(database: books.Store, hooks: Hooks, summary: Summary, *, since: datetime) -> None:
    taken = dict(hooks.taken)
    summary.webhooks, summary.webhooks_again = len(taken), sum(taken.values()) - len(taken)
    summary.webhooks_refused = hooks.refused.total()
    summary.violations += few("webhooks", [*hooks.violations, *odd_calls(database, taken, since=since)])


def _note_deaths(fleet: Fleet, summary: Summary) -> None:
    """A process that ended although nobody killed it is a violation, and is started again."""
    for member in fleet.members:
        if not member.running():
            summary.violations.append(f"{member.name} ended by itself; see {member.log.name}")
            _revive(member, summary)


@contextlib.contextmanager
def _whole_again(fleet: Fleet, stack: Stack, summary: Summary) -> Iterator[None]:
    """All runs at the end of it; but for Ctrl-C, after which all is to stop."""
    try:
        yield
    except Exception:
        _bring_back(fleet, stack, summary)
        raise
    _bring_back(fleet, stack, summary)


def _bring_back(fleet: Fleet, stack: Stack, summary: Summary) -> None:
    for server in stack.servers:
        server.start()
    for member in fleet.members:
        _revive(member, summary)


def _revive(member: Member, summary: Summary) -> None:
    try:
        member.start()
    except FleetError as error:
        summary.violations.append(str(error))
