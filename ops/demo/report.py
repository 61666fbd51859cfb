"""What the demo says: a progress bar, a table, one JSON line, and what is wrong."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ops.demo import passes
from ops.demo.passes import Outcome
from ops.sample import northwind
from ops.sample.northwind import Order

#: The widest that anything is printed.
WIDTH = 100
#: The whole data's totals in cents, as its README states them.
ALL_ORDERS, ALL_GROSS, ALL_NET = 830, 135_445_859, 126_579_329


class Report:
    """Prints to standard output; the progress bar, on a terminal only, to standard error."""

    def __init__(self) -> None:
        out = Console()
        self.out = Console(width=min(out.width, WIDTH) if out.is_terminal else WIDTH, highlight=False)
        self._bar = Console(stderr=True)

    def headline(self, orders: Sequence[Order], products: int) -> None:
        """What is about to happen."""
        lines = sum(len(order.lines) for order in orders)
        self.out.print(
            f"[bold]Stockyard demo[/]: {len(orders):,} Northwind orders with {lines:,} lines, "
            f"{products} products, {passes.CLIENTS} clients at once\n"
        )

    def step(self, what: str, seconds: float) -> None:
        """Something that is done."""
        self.out.print(f"  {what:<76} {seconds:>6.1f} s")

    @contextmanager
    def progress(self, title: str, total: int) -> Iterator[passes.Progress]:
        """A bar over the orders of a pass; what it yields is called with each order's end."""
        columns = (
            TextColumn("  {task.description:<18}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn("{task.fields[counts]}"),
            TimeElapsedColumn(),
        )
        counts: dict[str, int] = {}
        bar = Progress(*columns, console=self._bar, transient=True, disable=not self._bar.is_terminal)
        with bar:
            task = bar.add_task(title, total=total, counts="")

            def happened(what: str) -> None:
                counts[what] = counts.get(what, 0) + 1
                told = ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items()))
                bar.update(task, advance=1, counts=told)

            yield happened

    def table(self, first: Outcome, second: Outcome) -> None:
        """Both passes side by side, by stage."""
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, width=min(WIDTH, self.out.width))
        table.add_column("stage")
        table.add_column("", ratio=1)
        table.add_column(first.plan.title, justify="right")
        table.add_column(second.plan.title, justify="right")
        for stage, rows in _stages(first, second):
            for number, (name, *cells) in enumerate(rows):
                table.add_row(stage if number == 0 else "", name, *cells, end_section=number == len(rows) - 1)
        self.out.print(table)

    def problems(self, problems: Sequence[str]) -> None:
        """What is wrong, or that nothing is."""
        for problem in problems:
            self.out.print(f"[bold red]wrong:[/] {problem}", markup=True)
        if not problems:
            self.out.print("[green]All sums are right: to the cent, to the unit, nothing oversold.[/]")

    def result(self, first: Outcome, second: Outcome) -> None:
        """The last line: counts over both passes, money and speed of the first."""
        both = (first, second)
        result = {
            "accepted": sum(each.accepted for each in both),
            "reserved": sum(each.reserved for each in both),
            "rejected": sum(each.rejected for each in both),
            "paid": sum(each.paid for each in both),
            "expired": sum(each.expired for each in both),
            "oversold": sum(len(each.books.wrong) for each in both),
            "gross": first.gross / 100,
            "net": first.net / 100,
            "orders_per_second": round(first.orders_per_second, 1),
            "p50_ms": round(first.percentile(50), 1),
            "p99_ms": round(first.percentile(99), 1),
            "events": sum(each.events.total() for each in both),
        }
        print(json.dumps(result), flush=True)


def check(first: Outcome, second: Outcome) -> list[str]:
    """What is not as it has to be, one line each; nothing when all is right."""
    return [*first.problems, *_check_enough(first), *second.problems, *_check_scarce(second)]


def _check_enough(outcome: Outcome) -> list[str]:
    orders = outcome.plan.orders
    expected = {
        "accepted": len(orders),
        "reserved": len(orders),
        "rejected": 0,
        "paid": len(orders),
        "gross": northwind.gross(orders),
        "net": northwind.net(orders),
    }
    if len(orders) == ALL_ORDERS:
        expected |= {"gross": ALL_GROSS, "net": ALL_NET}
    return [
        f"{outcome.plan.title}: {name} is {getattr(outcome, name)}, not {right}"
        for name, right in expected.items()
        if getattr(outcome, name) != right
    ] + _check_books(outcome)


def _check_scarce(outcome: Outcome) -> list[str]:
    sums = {
        "orders accepted": (outcome.accepted, len(outcome.plan.orders)),
        "orders reserved and rejected": (outcome.reserved + outcome.rejected, outcome.accepted),
        "orders paid and expired": (outcome.paid + outcome.expired, outcome.reserved),
    }
    wrong = [
        f"{outcome.plan.title}: {name} are {found}, not {right}"
        for name, (found, right) in sums.items()
        if found != right
    ]
    stock = sum(outcome.plan.stock.values())
    if outcome.books.sold > stock:
        wrong.append(f"{outcome.plan.title}: {outcome.books.sold} units were sold of {stock}")
    if len(outcome.plan.orders) == ALL_ORDERS and not (outcome.expired and outcome.sold_again):
        wrong.append(f"{outcome.plan.title}: nothing that expired was sold again")
    return wrong + _check_books(outcome)


def _check_books(outcome: Outcome) -> list[str]:
    """What the store and the subscriber say, of either pass."""
    wrong = [f"{outcome.plan.title}: {name}: {what}" for name, what in outcome.books.wrong.items()]
    told, stored = outcome.events.total(), outcome.events_stored
    return wrong + ([f"{outcome.plan.title}: {told} of {stored} events were told"] if told != stored else [])


def _stages(first: Outcome, second: Outcome) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    both = (first, second)

    def row(name: str, *cells: str) -> tuple[str, str, str]:
        return name, cells[0], cells[1]

    yield (
        "catalogue",
        [
            row("units in stock", *(f"{sum(each.plan.stock.values()):,}" for each in both)),
            row("units asked for", *(f"{_asked(each):,}" for each in both)),
        ],
    )
    yield (
        "orders",
        [
            row("accepted (202)", *(f"{each.accepted:,}" for each in both)),
            row("reserved", *(f"{each.reserved:,}" for each in both)),
            row("rejected, out of stock", *(f"{each.rejected:,}" for each in both)),
        ],
    )
    yield (
        "payment",
        [
            row("paid", *(f"{each.paid:,}" for each in both)),
            row("gross", *(_money(each.gross) for each in both)),
            row("net", *(_money(each.net) for each in both)),
        ],
    )
    yield (
        "expiry",
        [
            row("not paid in time, expired", *(f"{each.expired:,}" for each in both)),
            row(
                "longest wait for release",
                *(f"{each.release_lag:.2f} s" if each.expired else "" for each in both),
            ),
            row("units given back", *(f"{each.freed:,}" if each.expired else "" for each in both)),
            row("of them sold again", *(f"{each.sold_again:,}" if each.expired else "" for each in both)),
        ],
    )
    yield (
        "stock",
        [
            row("units sold", *(f"{each.books.sold:,}" for each in both)),
            row("oversold", *(f"{len(each.books.wrong)} of {each.books.stocks} SKUs" for each in both)),
        ],
    )
    yield (
        "events",
        [
            *(row(kind, *(f"{each.events[kind]:,}" for each in both)) for kind in _types(both)),
            row(
                "received of stored", *(f"{each.events.total():,} of {each.events_stored:,}" for each in both)
            ),
        ],
    )
    yield (
        "speed",
        [
            row("orders per second, to their end", *(f"{each.orders_per_second:,.0f}" for each in both)),
            row("POST to reserved, p50", *(f"{each.percentile(50):,.0f} ms" for each in both)),
            row("POST to reserved, p99", *(f"{each.percentile(99):,.0f} ms" for each in both)),
            row("seconds with orders", *(f"{each.seconds['orders']:.1f} s" for each in both)),
        ],
    )


def _types(both: Sequence[Outcome]) -> list[str]:
    return sorted({kind for each in both for kind in each.events})


def _asked(outcome: Outcome) -> int:
    return sum(line.quantity for order in outcome.plan.orders for line in order.lines)


def _money(cents: int) -> str:
    return f"{cents // 100:,}.{cents % 100:02d} {northwind.CURRENCY}"
