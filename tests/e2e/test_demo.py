"""The demo, short: what it prints, and what it leaves."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from ops.sample.northwind import Northwind, gross, net

ROOT = Path(__file__).parents[2]
ORDERS = 25
KEYS = [
    "accepted", "reserved", "rejected", "paid", "expired", "oversold",
    "gross", "net", "orders_per_second", "p50_ms", "p99_ms", "events",
]  # fmt: skip


def start(*arguments: str) -> subprocess.Popen[str]:
    given = {name for name in os.environ if name.startswith("STOCKYARD_")}
    return subprocess.Popen(
        [sys.executable, "-m", "ops.demo", *arguments],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in given},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def left_over() -> list[str]:
    """Processes of the demo's stack or fleet, wherever they came from."""
    mark = str(ROOT / ".stack" / "demo")
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                told = [*process.cmdline(), *(file.path for file in process.open_files())]
                if any(text.startswith(mark) or f"={mark}" in text for text in told):
                    found.append(f"{process.pid} {process.name()}")
        except psutil.Error:
            continue
    return found


@pytest.mark.timeout(180)
def test_a_short_demo_is_right_to_the_cent_and_leaves_nothing_running():
    demo = start("--orders", str(ORDERS))
    out, err = demo.communicate()

    assert demo.returncode == 0, out + err
    result = json.loads(out.splitlines()[-1])
    orders = Northwind().orders[:ORDERS]
    assert list(result) == KEYS
    assert result["accepted"] == result["reserved"] + result["rejected"] == 2 * ORDERS
    assert result["reserved"] == result["paid"] + result["expired"]
    assert result["paid"] >= ORDERS
    assert result["expired"] >= 1
    assert result["rejected"] >= 1
    assert result["oversold"] == 0
    assert (result["gross"], result["net"]) == (gross(orders) / 100, net(orders) / 100)
    # Each payment is told of the order and of the money, each expiry of the order and of its hold.
    assert result["events"] == result["accepted"] + 2 * (result["paid"] + result["expired"])
    assert result["orders_per_second"] > 0
    assert 0 < result["p50_ms"] <= result["p99_ms"]
    assert max(map(len, out.splitlines()[:-1])) <= 100
    assert err == ""
    assert left_over() == []


@pytest.mark.timeout(120)
@pytest.mark.long
def test_an_interrupted_demo_leaves_nothing_running():
    demo = start("--orders", str(ORDERS))
    assert demo.stdout is not None
    for line in demo.stdout:
        if "scheduler up" in line:
            break
    demo.send_signal(signal.SIGINT)
    _, err = demo.communicate(timeout=90)

    assert demo.returncode == 130
    assert "nothing is left running" in err
    assert left_over() == []


def test_a_number_of_orders_that_there_are_not_is_wrong_usage():
    demo = start("--orders", "831")
    _, err = demo.communicate()
    assert demo.returncode == 2
    assert "1 to 830" in err
