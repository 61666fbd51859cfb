"""The programs in the documentation run as they stand there, on the real stack."""

import asyncio
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from domain.bootstrap import Services
from domain.values import Money
from ops.fleet import Member, free_port
from ops.sample.northwind import Northwind
from tests.factories import Shop, eventually

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/adding-a-job.md").read_text(encoding="utf-8")
#: Each with the file that it belongs into, which is its first line.
COMMAND, HANDLER, SUBMIT = re.findall(r"^```python\n# (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
#: What the third one restocks: of the catalogue that is there for whoever follows the page.
(SKU,) = re.findall(r'sku="([^"]+)"', SUBMIT[1])
SUBSCRIBER = re.search(
    r"<!-- subscriber -->\n```python\n(.*?)^```$",
    (ROOT / "docs/events.md").read_text(encoding="utf-8"),
    re.MULTILINE | re.DOTALL,
)


def lines(*texts: str) -> int:
    return sum(bool(line.strip()) for text in texts for line in text.splitlines())


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The checkout's packages with the page's first two programs at the ends of their files."""
    for package in ("domain", "workers"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    for path, code in (COMMAND, HANDLER):
        with (tmp_path / path).open("a", encoding="utf-8") as file:
            file.write(f"\n\n{code}")
    (tmp_path / SUBMIT[0]).write_text(SUBMIT[1], encoding="utf-8")
    return tmp_path


@pytest.fixture
def surroundings(environment: dict[str, str], copy: Path) -> dict[str, str]:
    """The environment of a process that finds the copy before the checkout."""
    return {**environment, "PYTHONPATH": str(copy), "PYTHONSAFEPATH": "1"}


@pytest.fixture
def worker(surroundings: dict[str, str], tmp_path: Path) -> Iterator[Member]:
    port = free_port()
    member = Member(
        name="worker",
        arguments=("workers.main", "inventory"),
        environment={**surroundings, "STOCKYARD_WORKERS_PROBE_PORT": str(port)},
        log=tmp_path / "worker.log",
        ready_url=f"http://127.0.0.1:{port}/healthz",
    )
    member.start()
    yield member
    member.stop()


def test_the_new_kind_takes_thirty_lines():
    assert lines(COMMAND[1], HANDLER[1], SUBMIT[1]) <= 30


async def test_the_new_kind_of_job_runs_and_its_effect_happens_once(
    services: Services, surroundings: dict[str, str], worker: Member, copy: Path
):
    assert SKU in {product.sku for product in Northwind().products}
    await services.inventory.introduce(sku=SKU, name="Chai", price=Money(amount=1800), category="Beverages")
    for _ in range(2):
        script = await asyncio.create_subprocess_exec(
            sys.executable, str(copy / SUBMIT[0]), env=surroundings, stdout=asyncio.subprocess.PIPE
        )
        said, _ = await script.communicate()
        assert "'state': 'succeeded'" in said.decode(), (said, worker.log.read_text(encoding="utf-8"))
    (job,) = await services.database["jobs"].find({"kind": "inventory.restock"}).to_list()
    assert (job["result"], job["progress"], job["attempts"]) == ({"lines": 1}, {"done": 1, "of": 1}, 1)
    (level,) = await services.inventory.levels(SKU)
    assert (level["available"], level["reserved"]) == (40, 0)


async def test_the_subscriber_hears_of_an_order(shop: Shop, environment: dict[str, str], tmp_path: Path):
    assert SUBSCRIBER is not None
    assert lines(SUBSCRIBER[1]) <= 10
    program = tmp_path / "subscriber.py"
    program.write_text(SUBSCRIBER[1], encoding="utf-8")
    heard = tmp_path / "heard"
    # More than are placed before a slow machine has started the program.
    await shop.stock(A=10_000)
    with heard.open("wb") as out:
        subscriber = await asyncio.create_subprocess_exec(
            sys.executable, str(program), "ada", env=environment, stdout=out
        )
    try:

        async def order_is_heard() -> bool:
            # Its first one may come before the subscriber listens.
            await shop.place(A=1)
            return "order.reserved" in heard.read_text(encoding="utf-8")

        await eventually(order_is_heard)
    finally:
        subscriber.kill()
        await subscriber.wait()
    number, kind, subject = heard.read_text(encoding="utf-8").splitlines()[0].split()
    assert (int(number) >= 1, kind) == (True, "order.reserved")
    assert (await shop.order(subject))["state"] == "reserved"
