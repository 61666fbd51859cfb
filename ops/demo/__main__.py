"""The command line of the demo. It leaves nothing running, whatever happens."""

import argparse
import asyncio
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from domain.errors import DomainError
from domain.observe import configure_logging
from ops.client import ClientError
from ops.demo.passes import Outcome, Plan, run_pass
from ops.demo.report import Report, check
from ops.environment import settings_of
from ops.fleet import EVERY_POOL, Fleet, FleetError, end_leftovers
from ops.sample.northwind import Northwind, Order, Product
from ops.servers import StackError
from ops.servers.process import BackgroundProcess
from ops.signals import INTERRUPTED, end_on_signals, uninterrupted
from ops.stack import Stack

NAME = "demo"
HOLD_TIME = "3s"


def plans(orders: Sequence[Order], products: Sequence[Product]) -> tuple[Plan, Plan]:
    """Both passes over the same orders."""
    asked = Counter[str]()
    for order in orders:
        asked.update({line.sku: line.quantity for line in order.lines})
    recorded = {product.sku: product.stock for product in products}
    enough = {sku: max(units, asked[sku]) for sku, units in recorded.items()}
    half = (len(orders) + 1) // 2
    waves = tuple(orders[:half]), tuple(orders[half:])
    return (
        Plan("enough stock", enough, (tuple(orders),)),
        Plan("stock as recorded", recorded, waves, leave_unpaid=True),
    )


class Demo:
    """Both passes, each with a fleet and a database of its own over one stack."""

    def __init__(self, stack: Stack, report: Report) -> None:
        self._stack = stack
        self._report = report

    def run(self, orders: Sequence[Order], products: Sequence[Product]) -> int:
        """The exit code: 0 where all sums are right. Raises StackError, FleetError and ClientError."""
        self._report.headline(orders, len(products))
        first_plan, second_plan = plans(orders, products)
        with self._stack_up() as environment:
            first = self._pass(
                first_plan, products, environment | {"STOCKYARD_MONGO_DATABASE": "demo_enough"}
            )
            second = self._pass(
                second_plan,
                products,
                environment
                | {"STOCKYARD_MONGO_DATABASE": "demo_recorded", "STOCKYARD_ORDERS_HOLD_TIME": HOLD_TIME},
            )
        problems = check(first, second)
        self._report.table(first, second)
        self._report.problems(problems)
        self._report.result(first, second)
        return 1 if problems else 0

    def _pass(self, plan: Plan, products: Sequence[Product], environment: Mapping[str, str]) -> Outcome:
        settings = settings_of(environment)
        configure_logging(settings.log.model_copy(update={"format": "console", "level": "WARNING"}))
        began = time.monotonic()
        with Fleet(environment, folder=self._stack.folder / "fleet", pools=EVERY_POOL) as fleet:
            what = f"{len(fleet.apis)} APIs, {len(fleet.workers)} workers, {len(fleet.schedulers)} scheduler"
            self._report.step(f"{plan.title}: {what} up", time.monotonic() - began)
            began = time.monotonic()
            with self._report.progress(plan.title, len(plan.orders)) as progress:
                work = run_pass(
                    plan, products=products, urls=fleet.urls, settings=settings, progress=progress
                )
                outcome = asyncio.run(work)
            self._report.step(
                f"{plan.title}: {len(plan.orders):,} orders to their end", time.monotonic() - began
            )
            return outcome

    @contextmanager
    def _stack_up(self) -> Iterator[dict[str, str]]:
        began = time.monotonic()
        own = BackgroundProcess(self._stack.root / f"{NAME}.pid", self._stack.folder)
        if own.running():
            raise StackError(f"another demo runs (pid {own.pid()})")
        own.adopt(os.getpid())
        try:
            # Those of a demo that was killed.
            end_leftovers(self._stack.folder / "fleet")
            urls = self._stack.up(fresh=True)
            self._report.step("RabbitMQ, Redis, MongoDB and S3 up", time.monotonic() - began)
            yield urls.as_env()
        finally:
            with uninterrupted():
                began = time.monotonic()
                self._stack.down()
                own.pid_file.unlink(missing_ok=True)
                self._report.step("all stopped", time.monotonic() - began)


def main(argv: Sequence[str] | None = None) -> int:
    """0 where all sums are right; 1 where one is not or something failed; 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m ops.demo", description=Demo.__doc__)
    parser.add_argument("--orders", type=int, metavar="N", help="only the first N of the 830 orders")
    asked = parser.parse_args(argv)
    data = Northwind()
    if asked.orders is not None and not 1 <= asked.orders <= len(data.orders):
        parser.error(f"--orders: 1 to {len(data.orders)}")
    end_on_signals()
    try:
        return Demo(Stack(NAME), Report()).run(data.orders[: asked.orders], data.products)
    except KeyboardInterrupt:
        print("demo: interrupted; nothing is left running", file=sys.stderr)
        return INTERRUPTED
    except (StackError, FleetError, ClientError, DomainError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
