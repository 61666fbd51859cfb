"""Takes the pictures of the console for its documentation: `python -m ops.console_shots [--minutes 3]`.

Needs Chromium. Starts a platform of its own, gives it orders and a few dead jobs, and writes `docs/img/`.
"""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.async_api import Browser, Page, ViewportSize, async_playwright

from domain.audit_log.models import Actor
from domain.bootstrap import Services, open_services
from domain.changes import Doc
from domain.errors import DomainError
from domain.jobs.models import JOBS
from domain.jobs.rules import DEAD, QUEUED, step
from domain.orders.commands import Address, CancelOrder, OrderItem, PayOrder, PlaceOrder
from domain.orders.listing import OrderQuery
from domain.values import new_id
from ops.environment import settings_of
from ops.fleet import EVERY_POOL, Fleet
from ops.sample.northwind import Northwind
from ops.sample.platform import prepare
from ops.stack import Stack

FOLDER = Path("docs/img")
SIZE: ViewportSize = {"width": 1280, "height": 860}
PHONE: ViewportSize = {"width": 390, "height": 844}
COLOURS = 200
ADDRESS = Address(name="Ada", line1="1 Dock Road", city="Leith", country="GB")
FAULTS = ("TimeoutError: the provider did not answer in 10 s", "KeyError: 'tax'")
EMAIL, PASSWORD = "ops@example.com", "a long walk along the docks"
#: File, page, and whether it is dark or on a phone. `{job}` and `{order}` are of one dead job and its order.
SHOTS = (
    ("overview", "/", ""), ("overview-dark", "/", "dark"), ("overview-phone", "/", "phone"), ("jobs",
    "/jobs", ""),
    ("job", "/jobs/{job}", ""), ("job-phone", "/jobs/{job}", "phone"), ("dead", "/dead", ""), ("orders",
    "/orders", ""),
    ("order", "/orders/{order}", ""), ("workers", "/workers", ""), ("workers-dark", "/workers", "dark"),
    ("schedule", "/schedule", ""), ("audit", "/audit", ""),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shop:
    """Somebody who buys."""

    services: Services
    account_id: str

    async def trade(self, seconds: float) -> list[str]:
        """Orders, some of them paid, for so long; the ids."""
        skus = [product.sku for product in Northwind().products[:40]]
        loop, orders = asyncio.get_running_loop(), list[str]()
        until = loop.time() + seconds
        while loop.time() < until or not orders:
            for _ in range(random.randrange(1, 9)):
                items = [
                    OrderItem(sku=sku, quantity=random.randrange(1, 4)) for sku in random.sample(skus, 2)
                ]
                orders.append(await self._submit(PlaceOrder(items=tuple(items), address=ADDRESS)))
            paid = PayOrder(order_id=random.choice(orders[-20:]), source="sandbox:approve")
            await self._submit(paid, subject=paid.order_id)
            await asyncio.sleep(random.uniform(0.3, 2.0))
        return orders

    async def bury(self, order_id: str, fault: str) -> str:
        """A cancel of the order that has died; its id."""
        job_id, now = new_id(), self.services.clock()
        command = CancelOrder(order_id=order_id, reason="ordered twice")
        error = {"code": "internal", "message": "The platform failed at this.", "detail": {}, "fault": fault}
        job: Doc = {
            "_id": job_id, "kind": command.kind, "pool": command.pool, "owner": self.account_id,
            "key": job_id,
            "fingerprint": "", "payload": command.model_dump(mode="json"), "version": 1, "state": DEAD,
            "attempts": 5,
            "created_at": now, "dispatched_at": now, "not_before": now, "started_at": now, "finished_at": now,
            "error": error, "history": [step(QUEUED, now), {**step(DEAD, now), "error": error}],
            "request_id": new_id(), "subject": order_id,
        }  # fmt: skip
        await self.services.database[JOBS].insert_one(job)
        return job_id

    async def _submit(self, command: Any, *, subject: str | None = None) -> str:
        job = await self.services.jobs.submit(command, owner=self.account_id, key=new_id(), subject=subject)
        return job.job_id


async def take(url: str, things: dict[str, str]) -> None:
    """All pictures, of a platform that runs."""
    async with _logged_in(url) as (browser, kept):
        for name, path, how in SHOTS:
            context = await browser.new_context(
                storage_state=kept, color_scheme="dark" if how == "dark" else "light",
                viewport=PHONE if how == "phone" else SIZE,
            )  # fmt: skip
            page = await context.new_page()
            await page.goto(url + path.format(**things))
            await page.wait_for_function("() => window.did_handshake")
            await page.wait_for_timeout(2500)
            _keep(name, await page.screenshot())
            await context.close()


@asynccontextmanager
async def _logged_in(url: str) -> AsyncIterator[tuple[Browser, Any]]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page: Page = await browser.new_page(viewport=SIZE)
        await page.goto(url)
        _keep("login", await page.screenshot())
        await page.get_by_label("E-mail address").fill(EMAIL)
        await page.get_by_label("Password").fill(PASSWORD)
        await page.keyboard.press("Enter")
        await page.get_by_role("heading", name="Overview").wait_for()
        yield browser, await page.context.storage_state()
        await browser.close()


def _keep(name: str, png: bytes) -> None:
    """Few colours are enough, and small."""
    picture = Image.open(BytesIO(png)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    picture.save(FOLDER / f"{name}.png", optimize=True)


async def _shoot(fleet: Fleet, environment: dict[str, str], minutes: float) -> None:
    async with open_services(settings_of(environment)) as services:
        ops = await services.accounts.create_ops(EMAIL, PASSWORD)
        buyer = await services.accounts.register("ada@example.com", PASSWORD)
        shop = Shop(services, buyer.id)
        trading = asyncio.create_task(shop.trade(60 * minutes))
        await asyncio.sleep(5)
        orders = await services.orders.page(OrderQuery(limit=11, state="reserved"))
        jobs = [await shop.bury(order["id"], FAULTS[n % 3 == 0]) for n, order in enumerate(orders)]
        await trading
        await _tidy_up(services, ops.id, jobs[-1])
        trading = asyncio.create_task(shop.trade(90))
        await take(fleet.console_urls[0], {"job": jobs[0], "order": orders[0]["id"]})
        await trading


async def _tidy_up(services: Services, ops_id: str, job_id: str) -> None:
    """A few acts for the audit log."""
    actor = Actor(ops_id, "session:shots")
    try:
        await services.job_desk.replay(job_id, actor=actor, reason="the tax table is mended")
        await services.control.queues.pause("media", by=actor, reason="the new renderer is rolled out")
    except DomainError as error:
        print(f"shots: {error}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """0 once all pictures are written."""
    parser = argparse.ArgumentParser(prog="python -m ops.console_shots", description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0, help="how long the platform trades first")
    asked = parser.parse_args(argv)
    FOLDER.mkdir(parents=True, exist_ok=True)
    stack = Stack("shots")
    environment = {**stack.up(fresh=True).as_env(), "STOCKYARD_LOG_FORMAT": "console"}
    try:
        with tempfile.TemporaryDirectory() as folder:
            prepare(settings_of(environment), Path(folder) / "accounts.json")
            with Fleet(environment, folder=Path(folder), apis=1, pools=EVERY_POOL, consoles=[0]) as fleet:
                asyncio.run(_shoot(fleet, environment, asked.minutes))
    finally:
        stack.down()
    return 0


if __name__ == "__main__":
    sys.exit(main())
