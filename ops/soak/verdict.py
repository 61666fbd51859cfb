"""Whether everything that was accepted ended, once, and left nothing behind."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from domain.events.models import EVENTS
from domain.inventory.commands import Release, Reserve
from domain.inventory.models import HOLDS
from domain.inventory.rules import CANCELLED as HOLD_CANCELLED
from domain.inventory.rules import COMMITTED, GIVEN_BACK, HELD, RELEASED
from domain.inventory.rules import EXPIRED as HOLD_EXPIRED
from domain.inventory.rules import PAID as HOLD_PAID
from domain.jobs.models import JOBS
from domain.jobs.rules import CANCELLED as JOB_CANCELLED
from domain.jobs.rules import DEAD, FAILED, FINAL, SUCCEEDED, SYSTEM
from domain.orders.commands import CancelOrder, PayOrder, PlaceOrder
from domain.orders.models import ORDERS, PAYMENTS
from domain.orders.rules import CANCELLED, EXPIRED, PAID, PENDING, REJECTED, RESERVED, due
from ops.books import Store

#: The sandbox provider's books.
CHARGES = "sandbox_charges"
#: What an order's hold has to be.
HOLD_OF = {
    RESERVED: (HELD, None),
    PAID: (COMMITTED, HOLD_PAID),
    EXPIRED: (RELEASED, HOLD_EXPIRED),
    CANCELLED: (RELEASED, HOLD_CANCELLED),
}
#: What an attempt to pay, and its charge, may end as.
SETTLED = {"captured", "declined", "voided"}
#: What the shop is told of its stock.
CROSSINGS = {"stock.low", "stock.back"}
#: The most lines of one kind that a verdict has.
FEW = 5


@dataclass(frozen=True, slots=True)
class _Ledgers:
    """All that was kept, by id."""

    jobs: Mapping[str, Mapping[str, Any]]
    orders: Mapping[str, Mapping[str, Any]]
    holds: Mapping[str, Mapping[str, Any]]
    payments: Mapping[str, Mapping[str, Any]]

    def of(self, kind: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The jobs of a kind, with their ids."""
        return ((name, job) for name, job in self.jobs.items() if job["kind"] == kind)

    def order_state(self, name: str | None) -> str | None:
        """None where there is no such order."""
        return self.orders.get(name or "", {}).get("state")


def verdict(database: Store, accepted: Mapping[str, str]) -> tuple[dict[str, int], list[str]]:
    """Orders by state, and what is wrong: lost, doubled, stuck, told or charged wrongly.

    `accepted` has the ids of jobs by their keys. What is still open is no fault here, except in the jobs:
    see `lookout.leftovers`.
    """
    read = {
        name: {row["_id"]: row for row in database[name].find({}, dict.fromkeys(without, 0))}
        for name, without in (
            (JOBS, ("payload", "history")),
            (ORDERS, ("lines", "address")),
            (HOLDS, ("lines",)),
            (PAYMENTS, ("source",)),
        )
    }
    all_of = _Ledgers(jobs=read[JOBS], orders=read[ORDERS], holds=read[HOLDS], payments=read[PAYMENTS])
    jobs, orders = all_of.jobs, all_of.orders
    placed = {name for name, _ in all_of.of(PlaceOrder.kind)}
    wrong = [
        *few("accepted, and not in the ledger", set(accepted.values()) - jobs.keys()),
        *few("one key, two jobs", _keys_used_twice(jobs.values())),
        *few("accepted under another key", _under_other_keys(jobs, accepted)),
        *few("never ended", (name for name, job in jobs.items() if job["state"] not in FINAL)),
        *few("ended as it should not", _odd_endings(all_of)),
        *few("an order without a job", orders.keys() - placed),
        *few("an order's odd story", _odd_stories(orders)),
        *few("hold and order do not agree", _odd_holds(all_of)),
        *few("money that is not where it belongs", _odd_money(database, all_of)),
        *_events(database, all_of),
    ]
    return dict(Counter(order["state"] for order in orders.values())), wrong


def tally(database: Store) -> dict[str, int]:
    """How many jobs of each kind ended how."""
    rows = database[JOBS].find({}, {"kind": 1, "state": 1})
    return dict(sorted(Counter(f"{row['kind']} {row['state']}" for row in rows).items()))


def cut_short(database: Store) -> int:
    """How many jobs had a run whose worker never told of its end."""
    return database[JOBS].count_documents({"history.note": "the worker fell silent"})


def _keys_used_twice(jobs: Iterable[Mapping[str, Any]]) -> list[str]:
    used = Counter((job["owner"], job["kind"], job["key"]) for job in jobs)
    return [f"{kind} {key}" for (_, kind, key), count in used.items() if count > 1]


def _under_other_keys(jobs: Mapping[str, Any], accepted: Mapping[str, str]) -> list[str]:
    return [key for key, name in accepted.items() if name in jobs and jobs[name]["key"] != key]


def _odd_endings(all_of: _Ledgers) -> Iterator[str]:
    """Final jobs whose outcome is not what came of their subject."""
    for name, job in all_of.jobs.items():
        state = job["state"]
        if state in FINAL and state != _right_ending(name, job, all_of):
            order = all_of.order_state(job.get("subject") or name)
            yield f"{job['kind']} {name} is {state}, its order {order}, its error {job.get('error')}"


def _right_ending(name: str, job: Mapping[str, Any], all_of: _Ledgers) -> str:
    subject = job.get("subject")
    order = all_of.orders.get(name if job["kind"] == PlaceOrder.kind else subject or "")
    state = order["state"] if order else None
    hold = all_of.holds.get(subject or "")
    done = {
        PlaceOrder.kind: state in HOLD_OF,
        PayOrder.kind: order is not None and state == PAID and order.get("payment_id") == name,
        CancelOrder.kind: state in {None, CANCELLED},
        Reserve.kind: name in all_of.holds,
        Release.kind: hold is None or hold["order_id"] is None,
    }
    if job["kind"] == PlaceOrder.kind and order is None:
        return JOB_CANCELLED
    return SUCCEEDED if done.get(job["kind"], True) else FAILED


def _odd_stories(orders: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """An order is reserved or rejected once, and once reserved ends once."""
    for name, order in orders.items():
        story = [each["state"] for each in order["timeline"]]
        begun = [PENDING] if order["state"] in {RESERVED, REJECTED} else [PENDING, RESERVED]
        if story != [*begun, order["state"]]:
            yield f"{name} is {order['state']} after {', '.join(story)}"


def _odd_holds(all_of: _Ledgers) -> Iterator[str]:
    for name, order in all_of.orders.items():
        if order["state"] == REJECTED:
            if order["hold_id"] is not None:
                yield f"{name} is rejected and has hold {order['hold_id']}"
            continue
        hold = all_of.holds.get(order["hold_id"] or "", {})
        if (hold.get("state"), hold.get("cause")) != HOLD_OF[order["state"]] or hold["order_id"] != name:
            yield f"{name} is {order['state']}, its hold {hold}"
    reserving = {name for name, _ in all_of.of(Reserve.kind)}
    for name, hold in all_of.holds.items():
        taker = all_of.orders.get(hold["order_id"] or "", {})
        if hold["order_id"] is None:
            free = {(HELD, None), (RELEASED, HOLD_EXPIRED), (RELEASED, GIVEN_BACK)}
            if name not in reserving or (hold["state"], hold.get("cause")) not in free:
                yield f"{name} is nobody's: {hold}"
        elif taker.get("hold_id") != name:
            yield f"{name} is for {hold['order_id']}, which has {taker.get('hold_id')}"


def _odd_money(database: Store, all_of: _Ledgers) -> Iterator[str]:
    """A paid order has one captured charge, of its sum; nobody else has any, and none is left open."""
    charges = {row["_id"]: row for row in database[CHARGES].find()}
    payments = all_of.payments
    captured = Counter(
        payments.get(name, {}).get("order_id") for name, row in charges.items() if row["status"] == "captured"
    )
    paid = {name: order for name, order in all_of.orders.items() if order["state"] == PAID}
    for name in captured.keys() | paid.keys():
        if captured[name] != (name in paid):
            yield f"order {name} is {all_of.order_state(name)} with {captured[name]} captured charges"
    for name, order in paid.items():
        charge = charges.get(order["payment_id"], {})
        if (charge.get("status"), charge.get("amount")) != ("captured", due(order)):
            yield f"order {name} of {due(order)} is paid by {order['payment_id']}: {charge}"
    for name in charges.keys() | payments.keys():
        status, state = charges.get(name, {}).get("status"), payments.get(name, {}).get("state")
        if status != state or status not in SETTLED:
            yield f"payment {name} is {state}, its charge {status}"


def _twice(crossings: list[str]) -> bool:
    """Whether a SKU was told to be low, or back, twice in a row."""
    return any(one == other for one, other in pairwise(crossings))


def _events(database: Store, all_of: _Ledgers) -> list[str]:
    told: Counter[str] = Counter()
    seqs: dict[str, list[int]] = {}
    crossings: dict[str, list[str]] = {}
    fields = {"account_id": 1, "seq": 1, "type": 1, "subject": 1}
    for event in database[EVENTS].find({}, fields).sort("seq"):
        seqs.setdefault(event["account_id"], []).append(event["seq"])
        if event["type"] in CROSSINGS:
            crossings.setdefault(event["subject"], []).append(event["type"])
        else:
            told[f"{event['subject']} {event['type']}"] += 1
    gaps = [account for account, found in seqs.items() if sorted(found) != list(range(1, len(found) + 1))]
    expected = Counter(_to_be_told(all_of))
    return [
        *few("gaps in the events of", gaps),
        *few("told never, or twice, or wrongly", ((expected - told) + (told - expected)).keys()),
        *few("crossings told in no order", (sku for sku, found in crossings.items() if _twice(found))),
    ]


def _to_be_told(all_of: _Ledgers) -> Iterator[str]:
    for name, order in all_of.orders.items():
        for each in order["timeline"]:
            if each["state"] != PENDING:
                yield f"{name} order.{each['state']}"
    for name, payment in all_of.payments.items():
        if payment["state"] in SETTLED:
            yield f"{name} payment.{payment['state']}"
    yield from _to_be_told_of_holds(all_of)
    for name, job in all_of.jobs.items():
        if job["state"] == DEAD:
            # The shop is told, and the account whose job it was.
            yield from [f"{name} job.dead"] * (1 if job["owner"] == SYSTEM else 2)


def _to_be_told_of_holds(all_of: _Ledgers) -> Iterator[str]:
    for name, _ in all_of.of(Reserve.kind):
        hold = all_of.holds.get(name)
        if hold is None:
            continue
        yield f"{name} hold.held"
        if hold["order_id"] is None and hold["state"] == RELEASED and hold["cause"] != HOLD_EXPIRED:
            yield f"{name} hold.released"
    for name, hold in all_of.holds.items():
        if hold.get("cause") == HOLD_EXPIRED:
            yield f"{name} hold.expired"


def few(what: str, names: Iterable[str]) -> list[str]:
    """The first names, and how many more there are."""
    found = sorted(names)
    more = [f"{what}: {len(found) - FEW} more"] if len(found) > FEW else []
    return [f"{what}: {name}" for name in found[:FEW]] + more
