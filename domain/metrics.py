"""Prometheus metrics of what the domain does. Names and labels are documented in `docs/operations.md`."""

from prometheus_client import Counter, Histogram

JOBS = Counter("stockyard_jobs_total", "Jobs by kind and how a run of them ended.", ["kind", "outcome"])
JOB_SECONDS = Histogram(
    "stockyard_job_seconds",
    "Seconds from a job's acceptance to its end.",
    ["kind"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
ARRIVALS = Counter("stockyard_jobs_accepted_total", "Jobs that were accepted.", ["kind"])
RUN_SECONDS = Histogram(
    "stockyard_run_seconds",
    "Seconds that a thread of a worker had a job in hand.",
    ["pool"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
HELD = Counter("stockyard_jobs_held_total", "Jobs kept back for their account's turn.", ["pool"])
FED = Counter("stockyard_jobs_fed_total", "Jobs whose account's turn has come.", ["pool"])
BATCH_SIZE = Histogram(
    "stockyard_batch_size", "Items of one batch.", ["batch"], buckets=(1, 2, 4, 8, 16, 32, 64, 128)
)
BATCH_RETRIES = Counter(
    "stockyard_batch_retries_total", "Batches that looked again because somebody else was first.", ["batch"]
)
EXPIRIES = Counter("stockyard_hold_expiries_total", "Holds that expired, by who found them.", ["found_by"])
RELAYED = Counter("stockyard_jobs_relayed_total", "Jobs sent again by the relay.")
SET_ASIDE = Counter(
    "stockyard_jobs_set_aside_total", "Jobs that a worker left to a newer one, each time that it did."
)
REPUBLISHED = Counter("stockyard_events_republished_total", "Events that were stored and never published.")
WEBHOOKS = Counter("stockyard_webhook_attempts_total", "Calls of webhooks, by their outcome.", ["outcome"])
