"""The books are right after every step of any journey (P3, P4), next to a model that fits in one's head."""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from domain.bootstrap import open_services
from domain.errors import (
    BelowReserved,
    HoldNotFound,
    OrderNotCancellable,
    OrderNotPayable,
    PaymentDeclined,
)
from domain.orders.rules import hold_for_payment
from domain.products.search_index import SEARCH_CHANGES
from domain.settings import Settings
from domain.values import new_id, utcnow
from tests.factories import Shop, rewired

SKUS = ("A", "B", "C")
#: Locations in the order of their priority.
PLACES = ("main", "leith")
HOLD_TIME = timedelta(minutes=15)
#: Many more examples where there is time for them.
SOAK = os.environ.get("HYPOTHESIS_PROFILE") == "soak"
RUN = settings(
    max_examples=400 if SOAK else 16,
    stateful_step_count=50 if SOAK else 20,
    deadline=None,
    derandomize=not SOAK,
    suppress_health_check=list(HealthCheck),
)

UNITS = st.dictionaries(st.sampled_from(SKUS), st.integers(1, 4), min_size=1)
SKU, PLACE = st.sampled_from(SKUS), st.sampled_from(PLACES)


@dataclass(slots=True)
class Expected:
    """What the model knows of one hold, with its order where it has one."""

    units: dict[str, Any]
    #: Where the units are, by stock id.
    lines: dict[str, int]
    expires_at: datetime
    state: str = "held"
    order: str | None = None
    order_state: str | None = None

    def end(self, state: str, order_state: str | None) -> None:
        self.state = state
        if self.order:
            self.order_state = order_state


@dataclass(slots=True)
class Model:
    """The shop on paper."""

    now: datetime = field(default_factory=utcnow)
    #: By stock id.
    available: Counter[str] = field(default_factory=Counter)
    closed: set[str] = field(default_factory=set)
    holds: dict[str, Expected] = field(default_factory=dict)
    rejected: set[str] = field(default_factory=set)

    def reserved(self) -> Counter[str]:
        total = Counter[str]()
        for hold in self.holds.values():
            if hold.state == "held":
                total.update(hold.lines)
        return total

    def alive(self, hold: Expected) -> bool:
        return hold.state == "held" and hold.expires_at > self.now

    def give_back(self, hold: Expected, order_state: str) -> None:
        self.available.update(hold.lines)
        hold.end("released", order_state)

    def expire(self, hold_ids: list[str]) -> int:
        over = [self.holds[each] for each in hold_ids if self.holds[each].state == "held"]
        over = [hold for hold in over if hold.expires_at <= self.now]
        for hold in over:
            self.give_back(hold, "expired")
        return len(over)

    def place_of(self, sku: str, units: int) -> str | None:
        """The stock that has all of the units, by priority."""
        open_places = [place for place in PLACES if place not in self.closed]
        return next(
            (f"{each}:{sku}" for each in open_places if self.available[f"{each}:{sku}"] >= units), None
        )

    def take(self, units: dict[str, int]) -> dict[str, int] | None:
        """Takes the units where they fit, once expired holds on what is missing are reclaimed; from where."""
        while short := {sku for sku in units if self.place_of(sku, units[sku]) is None}:
            if not self.expire([each for each, hold in self.holds.items() if short & hold.units.keys()]):
                return None
        lines = {str(self.place_of(sku, count)): count for sku, count in units.items()}
        self.available.subtract(lines)
        return lines


class Books(RuleBasedStateMachine):
    """Runs every step on the real store and on paper."""

    #: Set for the run: the loop that everything runs on, and an empty shop on it.
    do: Callable[[Any], Any]
    open_shop: Callable[[Callable[[], datetime]], Shop]
    empty: Callable[[], Any]

    holds: Bundle[str] = Bundle("holds")
    orders: Bundle[str] = Bundle("orders")

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.do(self.empty())
        self.shop = self.open_shop(lambda: self.model.now)
        self.do(self.shop.stock(**dict.fromkeys(SKUS, 0)))
        leith: dict[str, Any] = {"code": "leith", "name": "Leith", "priority": 200, "active": True}
        self.do(self.shop.services.locations.create(**leith))

    def raises(self, step: Any) -> type[BaseException] | None:
        """The type of what the step raised."""

        async def tried() -> type[BaseException] | None:
            answers = await asyncio.gather(step, return_exceptions=True)
            return type(answers[0]) if isinstance(answers[0], BaseException) else None

        return self.do(tried())  # type: ignore[no-any-return]

    @rule(sku=SKU, place=PLACE, quantity=st.integers(-6, 10).filter(bool))
    def adjust(self, sku: str, place: str, quantity: int) -> None:
        about = {"quantity": quantity, "location": place}
        self._moves("adjust", sku, about, {f"{place}:{sku}": quantity})

    @rule(sku=SKU, place=PLACE, quantity=st.integers(1, 3))
    def take_back(self, sku: str, place: str, quantity: int) -> None:
        about = {"quantity": quantity, "location": place}
        self._moves("take_back", sku, about, {f"{place}:{sku}": quantity})

    @rule(sku=SKU, place=PLACE, counted=st.integers(0, 8))
    def count(self, sku: str, place: str, counted: int) -> None:
        stock = f"{place}:{sku}"
        difference = counted - self.model.available[stock] - self.model.reserved()[stock]
        self._moves("count", sku, {"counted": counted, "location": place}, {stock: difference})

    @rule(sku=SKU, places=st.permutations(PLACES), quantity=st.integers(1, 5))
    def transfer(self, sku: str, places: list[str], quantity: int) -> None:
        source, target = places
        about = {"quantity": quantity, "source": source, "target": target}
        self._moves("transfer", sku, about, {f"{source}:{sku}": -quantity, f"{target}:{sku}": quantity})

    def _moves(self, verb: str, sku: str, about: dict[str, Any], by: dict[str, int]) -> None:
        """The verb moves so many units, by stock id, or none where fewer are available."""
        said = {"sku": sku, "reason": "test", "actor": "tester", "key": new_id()}
        raised = self.raises(getattr(self.shop.services.inventory, verb)(**said, **about))
        fits = all(self.model.available[stock] + units >= 0 for stock, units in by.items())
        assert raised is (None if fits else BelowReserved)
        if fits:
            self.model.available.update(by)

    @rule(place=PLACE)
    def open_or_close(self, place: str) -> None:
        self.model.closed ^= {place}
        active = place not in self.model.closed
        self.do(self.shop.services.locations.change(place, {"active": active}))

    @rule(target=holds, units=UNITS)
    def reserve(self, units: dict[str, Any]) -> Any:
        hold_id = self.do(self.shop.reserve(**units))
        lines = self.model.take(units)
        job = self.do(self.shop.job(hold_id))
        assert job["state"] == ("succeeded" if lines else "failed")
        if not lines:
            return multiple()
        self.model.holds[hold_id] = Expected(units, lines, self.model.now + HOLD_TIME)
        return hold_id

    @rule(target=orders, units=UNITS)
    def place(self, units: dict[str, Any]) -> str:
        order = self.do(self.shop.place(**units))
        order_id = str(order["id"])
        if lines := self.model.take(units):
            self.model.holds[order_id] = Expected(
                units, lines, self.model.now + HOLD_TIME, order=order_id, order_state="reserved"
            )
        else:
            self.model.rejected.add(order_id)
        return order_id

    @rule(target=orders, hold_id=holds)
    def place_over_a_reservation(self, hold_id: str) -> str:
        hold = self.model.holds[hold_id]
        order_id = str(self.do(self.shop.place(reservation=hold_id, **hold.units))["id"])
        if self.model.alive(hold) and hold.order is None:
            hold.order, hold.order_state = order_id, "reserved"
        else:
            self.model.rejected.add(order_id)
        return order_id

    @rule(hold_id=consumes(holds))
    def release(self, hold_id: str) -> None:
        hold = self.model.holds[hold_id]
        raised = self.raises(self.shop.services.reservations.release(hold_id, owner="ada"))
        assert raised is (HoldNotFound if hold.order else None)
        if hold.order is None and hold.state == "held":
            self.model.give_back(hold, "")

    @rule(order_id=orders, source=st.sampled_from(["sandbox:approve", "sandbox:decline", "sandbox:timeout"]))
    def pay(self, order_id: str, source: str) -> None:
        raised = self.raises(self.shop.pay(order_id, source=source))
        hold = self._hold_of(order_id)
        if hold is None or not self.model.alive(hold):
            assert raised is OrderNotPayable
            if hold is not None and hold.state == "held":
                self.model.give_back(hold, "expired")
            return
        lasts = self.model.now + hold_for_payment(self.shop.services.settings.payments.timeout)
        hold.expires_at = max(hold.expires_at, lasts)
        if source == "sandbox:decline":
            assert raised is PaymentDeclined
        else:
            assert raised is None
            hold.end("committed", "paid")

    @rule(order_id=orders)
    def cancel(self, order_id: str) -> None:
        raised = self.raises(self.shop.services.orders.cancel(order_id, owner="ada"))
        hold = self._hold_of(order_id)
        if hold is not None and hold.state == "held":
            self.model.give_back(hold, "cancelled")
        cancelled = hold is not None and hold.order_state == "cancelled"
        assert raised is (None if cancelled else OrderNotCancellable)

    @rule(seconds=st.sampled_from([1, 60, 450, 899, 900]))
    def time_passes(self, seconds: int) -> None:
        self.model.now += timedelta(seconds=seconds)

    @rule(share=st.integers(1, 3))
    def expire(self, share: int) -> None:
        ids = sorted(self.model.holds)[::share]
        assert self.do(self.shop.services.orders.expire(ids)) == {"expired": self.model.expire(ids)}

    @invariant()
    def the_books_are_right(self) -> None:
        self.do(self.shop.check_books())
        reserved = self.model.reserved()
        for row in self.do(self.shop.services.database["stock"].find().to_list()):
            level = self.model.available[row["_id"]], reserved[row["_id"]]
            assert (row["available"], row["reserved"]) == level, row["_id"]
        assert self.do(self.shop.services.auditor.audit()).findings == ()

    @invariant()
    def holds_and_orders_are_as_on_paper(self) -> None:
        database = self.shop.services.database
        holds = {row["_id"]: row["state"] for row in self.do(database["holds"].find().to_list())}
        orders = {row["_id"]: row["state"] for row in self.do(database["orders"].find().to_list())}
        assert holds == {hold_id: hold.state for hold_id, hold in self.model.holds.items()}
        with_order = {hold.order: hold.order_state for hold in self.model.holds.values() if hold.order}
        assert orders == with_order | dict.fromkeys(self.model.rejected, "rejected")

    @invariant()
    def money_is_where_it_belongs(self) -> None:
        charges = self.do(self.shop.services.database["sandbox_charges"].find().to_list())
        paid = [hold for hold in self.model.holds.values() if hold.order_state == "paid"]
        assert Counter(charge["status"] for charge in charges)["captured"] == len(paid)
        assert "authorised" not in {charge["status"] for charge in charges}

    def teardown(self) -> None:
        self.do(self.shop.services.drain())

    def _hold_of(self, order_id: str) -> Expected | None:
        return next((hold for hold in self.model.holds.values() if hold.order == order_id), None)


@pytest.fixture
def books(settings: Settings) -> Iterator[type[Books]]:
    """The machine over services of its own, on a loop of its own: its steps are not coroutines."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        opening = open_services(settings)
        services = runner.run(opening.__aenter__())

        async def empty() -> None:
            # What services make when they open, they make once.
            for name in set(await services.database.list_collection_names()) - {SEARCH_CHANGES}:
                await services.database[name].delete_many({})

        parts = {
            "do": staticmethod(runner.run),
            "empty": staticmethod(empty),
            "open_shop": staticmethod(lambda clock: Shop(rewired(services, clock=clock))),
        }
        yield type("BooksOnTheStack", (Books,), parts)
        runner.run(services.database.client.drop_database(services.database.name))
        runner.run(opening.__aexit__(None, None, None))


@pytest.mark.timeout(3600 if SOAK else 120)
def test_the_books_are_right_after_every_step(books: type[Books]) -> None:
    run_state_machine_as_test(books, settings=RUN)
