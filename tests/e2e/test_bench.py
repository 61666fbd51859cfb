import json
import os
import subprocess
import sys

import pytest

KEYS = {
    "spread_orders_per_second", "spread_p50_ms", "spread_p99_ms", "hot_orders_per_second", "hot_p50_ms",
    "hot_p99_ms", "accept_per_second", "batch_of_one_orders_per_second", "mean_batch",
    "limit_dramatiq_jobs_per_second", "limit_store_orders_per_second", "limit_empty_202_per_second",
    "worker_rss_mb_max", "oversold", "spread", "machine", "versions",
}  # fmt: skip


@pytest.mark.long
def test_a_tiny_run_on_a_stack_that_is_up_measures_every_case_and_sells_nothing_twice(stack, tmp_path):
    written = tmp_path / "bench.json"
    command = [
        sys.executable, "-m", "ops.bench", "--quick", "--seconds", "0.5", "--clients", "4", "--skus", "20",
        "--use-environment", "--json-file", str(written),
    ]  # fmt: skip
    environment = {**os.environ, **stack.up().as_env()}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told == json.loads(written.read_text())
    assert told.keys() >= KEYS
    assert told["oversold"] == 0
    assert told["strays"] == {}
    assert told["spread_orders_per_second"] > 0
    assert told["batch_of_one_orders_per_second"] > 0
