"""How figures are shown: a table for people, one JSON object for programs."""

from typing import Any

from rich.table import Table

from ops.bench import watch
from ops.bench.figures import Figures, tidy
from ops.bench.run import Outcome, Plan

#: Rows of the table: the figure's name, what it is, and its unit.
ROWS = (
    ("spread_orders_per_second", "(a) orders over {skus} SKUs", "/s"),
    ("spread_p50_ms", "    from POST to reserved, p50", "ms"),
    ("spread_p99_ms", "    p99", "ms"),
    ("mean_batch", "    orders per batch", ""),
    ("hot_orders_per_second", "(b) orders on one SKU", "/s"),
    ("hot_p50_ms", "    from POST to reserved, p50", "ms"),
    ("hot_p99_ms", "    p99", "ms"),
    ("accept_per_second", "(c) accepted, no worker", "/s"),
    ("batch_of_one_orders_per_second", "(a) with batches of one", "/s"),
    ("limit_dramatiq_jobs_per_second", "limit: plain Dramatiq, no-op, confirmed", "/s"),
    ("limit_store_orders_per_second", "limit: the store alone, batches of 50", "/s"),
    ("limit_ledger_jobs_per_second", "limit: the ledger's inserts alone, batches of 50", "/s"),
    ("limit_empty_202_per_second", "limit: an empty FastAPI 202", "/s"),
    ("worker_rss_mb", "worker's memory", "MB"),
)
#: What has to be reached: the figure, the part, the figure that it is a part of.
TARGETS = (
    ("spread_orders_per_second", 0.5, "limit_store_orders_per_second"),
    ("hot_orders_per_second", 0.9, "spread_orders_per_second"),
    ("accept_per_second", 0.35, "limit_empty_202_per_second"),
)
MEAN_BATCH, WORKER_MB = 8.0, 150.0


def targets(figures: Figures) -> dict[str, bool]:
    """Whether each target was reached, for those that were measured."""
    found = {}
    for name, part, of in TARGETS:
        ratio = figures.ratio(name, of)
        if ratio is not None:
            found[f"{name} >= {part:g} of {of}"] = ratio >= part
    if "mean_batch" in figures:
        found[f"mean_batch >= {MEAN_BATCH:g}"] = figures["mean_batch"].median >= MEAN_BATCH
    if "worker_rss_mb" in figures:
        found[f"worker_rss_mb_max < {WORKER_MB:g}"] = figures["worker_rss_mb"].high < WORKER_MB
    return found


def table(outcome: Outcome, plan: Plan) -> Table:
    """Every figure with its spread."""
    clients = f"{plan.clients} clients, {plan.apis} API, {plan.workers} worker"
    shown = Table(
        title=f"median of {plan.rounds} rounds of {plan.seconds:g} s; {clients}", title_justify="left"
    )
    for heading in ("what", "median", "lowest", "highest", ""):
        shown.add_column(heading, justify="left" if heading in {"what", ""} else "right")
    for name, label, unit in ROWS:
        if name in outcome.figures:
            each = outcome.figures[name]
            values = (f"{tidy(value):g}" for value in (each.median, each.low, each.high))
            shown.add_row(label.format(skus=f"{plan.skus:,}"), *values, unit)
    for name in sorted(outcome.figures.values):
        if name.startswith("cpu_ms_"):
            each = outcome.figures[name]
            values = (f"{value:.2f}" for value in (each.median, each.low, each.high))
            shown.add_row(f"(a) processor time of {name.removeprefix('cpu_ms_')}", *values, "ms/order")
    shown.add_row("oversold", str(len(outcome.oversold)), "", "", "")
    for target, reached in targets(outcome.figures).items():
        shown.add_row(target, "yes" if reached else "NO", "", "", "")
    return shown


def document(outcome: Outcome, plan: Plan, machine: dict[str, object]) -> dict[str, Any]:
    """The same as one JSON object: medians by name, the rest beside them."""
    figures = outcome.figures
    highest = {"worker_rss_mb_max": figures["worker_rss_mb"].high} if "worker_rss_mb" in figures else {}
    return {
        **figures.medians(),
        **highest,
        "oversold": len(outcome.oversold),
        "strays": outcome.strays,
        "spread": figures.spreads(),
        "targets": targets(figures),
        "rounds": plan.rounds,
        "seconds": plan.seconds,
        "clients": plan.clients,
        "skus": plan.skus,
        "apis": plan.apis,
        "workers": plan.workers,
        "machine": machine,
        "versions": watch.versions(),
    }
