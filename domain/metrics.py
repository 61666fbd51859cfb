"""Prometheus metrics of what the domain does. Names and labels are documented in `docs/operations.md`."""

from prometheus_client import Counter, Histogram

JOBS = Counter("stockyard_jobs_total", "Jobs by kind and how a run of them ended.", ["kind", "outcome"])
JOB_SECONDS = Histogram(
    "stockyard_job_seconds",
    "Seconds from a job's acceptance to its end.",
    ["kind"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
BATCH_SIZE = Histogram(
    "stockyard_batch_size", "Items of one batch.", ["batch"], buckets=(1, 2, 4, 8, 16, 32, 64, 128)
)
BATCH_RETRIES = Counter(
    "stockyard_batch_retries_total", "Batches that looked again because somebody else was first.", ["batch"]
)
EXPIRIES = Counter("stockyard_hold_expiries_total", "Holds that expired, by who found them.", ["found_by"])
RELAYED = Counter("stockyard_jobs_relayed_total", "Jobs sent again by the relay.")
REPUBLISHED = Counter("stockyard_events_republished_total", "Events that were stored and never published.")
