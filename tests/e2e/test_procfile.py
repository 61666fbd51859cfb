"""`honcho start` with the `Procfile`, as the README has it."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from urllib.error import URLError
from urllib.request import urlopen

import psutil
import pytest

from ops.fleet import EVERY_POOL, Fleet, free_port
from tests.e2e.town import Town, open_town, said
from tests.factories import eventually

ROOT = Path(__file__).parents[2]
#: What somebody types who has just opened a shell.
TYPED = '. "$1/bin/activate" && exec honcho start --env "$2"'
#: What `.venv` is not on, and what would steer honcho or us.
BARE = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": os.environ.get("HOME", "/")}


@pytest.fixture
def url() -> str:
    return f"http://127.0.0.1:{free_port()}"


@pytest.fixture
def honcho(environment: dict[str, str], url: str, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """It has found its settings in a `.env`."""
    settings = environment | {
        "STOCKYARD_API_PORT": url.rpartition(":")[2],
        "STOCKYARD_CONSOLE_PORT": str(free_port()),
    }
    dotenv = tmp_path / ".env"
    dotenv.write_text("".join(f"{name}={value}\n" for name, value in settings.items()), encoding="utf-8")
    with (tmp_path / "honcho.log").open("wb") as log:
        process = subprocess.Popen(
            ["sh", "-c", TYPED, "sh", sys.prefix, str(dotenv)],
            cwd=ROOT,
            env=BARE,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    yield process
    for each in tree_of(process):
        each.kill()
    process.wait(10)


@pytest.fixture
async def town(
    honcho: subprocess.Popen[bytes], environment: dict[str, str], url: str, tmp_path: Path
) -> AsyncIterator[Town]:
    try:
        await eventually(lambda: honcho.poll() is not None or answers(url), within=25)
    except TimeoutError:
        pytest.fail(said(tmp_path / "honcho.log"))
    assert honcho.poll() is None, said(tmp_path / "honcho.log")
    async with open_town(environment, cast(Fleet, SimpleNamespace(urls=[url]))) as town:
        yield town


async def test_an_order_is_reserved_and_sigterm_leaves_nothing(
    town: Town, honcho: subprocess.Popen[bytes], url: str, tmp_path: Path
):
    ada, sku = await town.customer(), await town.product(5)
    assert (await ada.order({sku: 2}))["state"] == "reserved"
    tree = tree_of(honcho)
    entries = {" ".join(each.cmdline()[1:]) for each in tree}
    assert entries >= {
        f"-m {what}" for what in ("api", *(f"workers.main {pool}" for pool in EVERY_POOL), "scheduler.main")
    }
    honcho.send_signal(signal.SIGTERM)
    await eventually(lambda: honcho.poll() is not None, within=15)
    _, alive = psutil.wait_procs(tree, timeout=5)
    left = [each for each in alive if each.status() != psutil.STATUS_ZOMBIE]
    assert left == [], said(tmp_path / "honcho.log")
    assert not answers(url)


def tree_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    if process.poll() is not None:
        return []
    root = psutil.Process(process.pid)
    return [*root.children(recursive=True), root]


def answers(url: str) -> bool:
    try:
        with urlopen(f"{url}/healthz", timeout=2) as answer:  # noqa: S310 - our own loopback URL
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False
