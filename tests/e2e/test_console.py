"""The console in a real browser, over a small platform of real processes."""

import os
import re
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.base import AXE_SCRIPT  # type: ignore[import-untyped]  # it has no types
from playwright.async_api import (
    Browser,
    BrowserContext,
    Locator,
    Page,
    ViewportSize,
    async_playwright,
    expect,
)

from api.console.frame import MENU
from domain.jobs.models import JOBS
from domain.orders.commands import CancelOrder
from domain.values import Money, new_id
from ops.fleet import Fleet
from ops.stack import Stack
from tests.conftest import environment_on
from tests.e2e.town import PASSWORD, Person, Town, open_town, said
from tests.factories import eventually

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
#: Nothing that the browser does for itself; and no other host has an address.
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
             "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1")  # fmt: skip
HOSTILE = "<img src=x onerror=\"document.title='broken into'\">"
#: Milliseconds that a page has to show what became of something.
PATIENCE = 20_000
SCREEN: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}

#: Between them and a job's page they have all colours that there are.
DARK = ("/", "/orders", "/workers")
#: The socket is there, and the page's events are heard.
LIVE = "() => window.did_handshake"
expect.set_options(timeout=PATIENCE)

pytestmark = [
    pytest.mark.skipif(
        CHROMIUM is None and "CI" not in os.environ,
        reason="there is no Chromium: install the package chromium",
    ),
    pytest.mark.timeout(240),
]


@dataclass
class Console:
    """A browser that somebody of ops has logged in with, and all that went wrong on its pages."""

    town: Town
    url: str
    browser: Browser
    email: str
    #: Where whoever came first is logged in; its pages share what the browser keeps, scripts too.
    first: BrowserContext | None = None
    wrong: list[str] = field(default_factory=list)

    async def context(self) -> BrowserContext:
        context = await self.browser.new_context(reduced_motion="reduce", viewport=SCREEN)
        context.set_default_timeout(PATIENCE)
        context.on(
            "console", lambda each: self._note(each.text) if each.type in {"error", "warning"} else None
        )
        context.on("weberror", lambda each: self._note(str(each.error)))
        context.on("request", lambda each: self._note(each.url) if _is_elsewhere(each.url) else None)
        context.on(
            "response", lambda each: self._note(f"{each.status} {each.url}") if each.status >= 400 else None
        )
        return context

    async def open(self, path: str) -> Page:
        """A page of the console, live."""
        assert self.first is not None
        page = await self.first.new_page()
        await self.go(page, path)
        return page

    async def go(self, page: Page, path: str) -> None:
        await page.goto(f"{self.url}{path}")
        await page.wait_for_function(LIVE)

    def _note(self, what: str) -> None:
        self.wrong.append(what)


def _is_elsewhere(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme not in {"data", "blob"} and parts.hostname != "127.0.0.1"


@pytest.fixture(scope="module")
async def town(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    environment = environment_on(stack)
    folder = tmp_path_factory.mktemp("console")
    with Fleet(
        environment, folder=folder, apis=1, pools={"orders": 1, "inventory": 1}, consoles=[0]
    ) as fleet:
        async with open_town(environment, fleet) as town:
            yield town
            assert "Traceback" not in said(fleet.consoles[0].log)


@pytest.fixture(scope="module")
async def console(town: Town) -> AsyncIterator[Console]:
    """One browser; who comes first logs in by the form."""
    account = await town.services.accounts.get(town.ops.id)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        console = Console(town, town.fleet.console_urls[0], browser, account.email)
        console.first = (await _log_in(console, console.email, to="/orders")).context
        yield console
        await browser.close()


@pytest.fixture(autouse=True)
async def nothing_went_wrong(console: Console) -> AsyncIterator[None]:
    """No error on a page, no answer that says so, and no request to another host."""
    console.wrong.clear()
    yield
    for context in console.browser.contexts:
        for page in context.pages:
            assert "broken into" not in await page.title()
            await page.close()
        if context is not console.first:
            await context.close()
    assert console.wrong == []


async def _log_in(console: Console, email: str, *, to: str) -> Page:
    page = await (await console.context()).new_page()
    await page.goto(f"{console.url}{to}")
    await expect(page).to_have_url(f"{console.url}/login?to=/ops{to}")
    await page.get_by_label("E-mail address").fill(email)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(f"{console.url}{to}")
    await page.wait_for_function(LIVE)
    return page


async def reserved(town: Town, ada: Person) -> str:
    """An order of a product with a hostile name."""
    sku = f"SKU-{new_id()[-8:]}"
    services = town.services
    await services.inventory.introduce(sku=sku, name=HOSTILE, price=Money(amount=1000), category="Goods")
    await town.ops.post(f"/v1/inventory/{sku}/adjustments", {"quantity": 5, "reason": "new"})
    order = await ada.order({sku: 1})
    assert order["state"] == "reserved"
    return str(order["id"])


async def dead(town: Town, order_id: str, fault: str, *, times: int = 1) -> list[str]:
    """Cancels of the order that died before they did anything."""
    now = town.services.clock()
    gone = {"state": "dead", "attempts": 5, "dispatched_at": now, "not_before": now, "started_at": now,
            "finished_at": now, "error": error_of(fault)}  # fmt: skip
    return [await cancel_of(town, order_id, gone) for _ in range(times)]


async def retrying(town: Town, order_id: str) -> str:
    """A cancel of the order that has failed for long and is tried again much later."""
    now = town.services.clock()
    long_ago = {"created_at": now - timedelta(minutes=20), "failing_since": now - timedelta(minutes=20)}
    later = {"state": "queued", "attempts": 3, "not_before": now + timedelta(hours=1), "dispatched_at": None}
    return await cancel_of(town, order_id, {**long_ago, **later, "error": error_of("TimeoutError")})


def error_of(fault: str) -> dict[str, Any]:
    return {"code": "internal", "message": "The platform failed at this.", "detail": {}, "fault": fault}


async def cancel_of(town: Town, order_id: str, state: dict[str, Any]) -> str:
    job_id, now = new_id(), town.services.clock()
    order = await town.services.orders.get(order_id, owner=None)
    command = CancelOrder(order_id=order_id, reason=HOSTILE)
    await town.collection(JOBS).insert_one({
        "_id": job_id, "kind": command.kind, "pool": "orders", "owner": order["account_id"], "key": job_id,
        "fingerprint": "", "payload": command.model_dump(mode="json"), "version": 1, "created_at": now,
        "history": [{"state": "queued", "at": now, "note": None}], "request_id": "r-1", "subject": order_id,
        **state,
    })  # fmt: skip
    return job_id


async def confirm(page: Page, label: str, *, reason: str = "") -> None:
    """Says yes in the dialog."""
    dialog = page.get_by_role("dialog")
    if reason:
        await dialog.get_by_label("Why").fill(reason)
    await dialog.get_by_role("button", name=label, exact=True).click()
    await expect(dialog).to_have_count(0)


def table(page: Page, label: str) -> Locator:
    return page.get_by_role("region", name=label, exact=True)


async def acts(town: Town, thing_id: str) -> list[tuple[str, str | None, str]]:
    """What the audit log has of a thing: the act, why, and who."""
    found = town.collection("audit_log").find({"thing_id": thing_id}).sort("at")
    return [(row["action"], row["reason"], row["actor"]) async for row in found]


async def test_orders_are_seen_as_they_come(console: Console, town: Town):
    ada = await town.customer()
    page = await console.open("/orders")
    order_id = await reserved(town, ada)
    row = table(page, "Orders").get_by_role("row").filter(has_text=order_id)
    await expect(row.get_by_text("reserved")).to_be_visible()
    await ada.cancel(order_id)
    await expect(row.get_by_text("cancelled")).to_be_visible()
    await row.get_by_role("link", name=order_id).click()
    await expect(table(page, "Timeline").get_by_text("the order is cancelled")).to_be_visible()
    await expect(table(page, "Lines").get_by_text(HOSTILE)).to_be_visible()


async def tab_to(page: Page, wanted: Locator) -> None:
    """Goes on with the Tab key until it stands there, and says so."""
    await expect(wanted).to_be_visible()
    for _ in range(80):
        await page.keyboard.press("Tab")
        if await wanted.evaluate("each => each === document.activeElement"):
            break
    outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert (await wanted.evaluate("each => each === document.activeElement"), outline) == (True, "solid")


async def test_a_dead_job_is_found_by_its_error_and_replayed_without_a_mouse(console: Console, town: Town):
    order_id = await reserved(town, await town.customer())
    (job_id,) = await dead(town, order_id, f"ValueError: {HOSTILE} of ticket 4711 \u202e")
    page = await console.open("/")
    dead_jobs = page.get_by_label("What needs attention").get_by_role("link", name="Replay or discard")
    await expect(dead_jobs).to_have_attribute("href", "/ops/dead")
    await tab_to(page, page.get_by_role("link", name="Jobs", exact=True))
    await page.keyboard.press("Enter")
    await page.wait_for_function(LIVE)
    await tab_to(page, page.get_by_label("Error text"))
    await page.keyboard.type("TICKET 4711 \u202e")
    await tab_to(page, page.get_by_label("State"))
    await page.keyboard.type("dead")
    await tab_to(page, page.get_by_role("button", name="Search"))
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile("text=TICKET.*&state=dead"))
    await page.wait_for_function(LIVE)
    await tab_to(page, page.get_by_role("link", name=job_id))
    await page.keyboard.press("Enter")
    await page.wait_for_function(LIVE)
    await expect(page.get_by_role("region", name="Error").get_by_text(HOSTILE)).to_be_visible()
    await expect(page.get_by_role("button", name="Send ahead")).to_be_hidden()
    await expect(page.get_by_role("region", name="Error").get_by_text("4711 \\u202e")).to_be_visible()
    await tab_to(page, page.get_by_role("button", name="Replay", exact=True))
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog").get_by_label("Why")).to_be_focused()
    await page.keyboard.type("mended")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(page.get_by_label("The job").get_by_text("succeeded")).to_be_visible()
    await expect(page.get_by_role("button", name="Replay", exact=True)).to_be_hidden()
    await expect(page.locator("#content")).to_be_focused()
    order = await town.services.orders.get(order_id, owner=None)
    assert order["state"] == "cancelled"
    assert await acts(town, job_id) == [("jobs.replay", "mended", town.ops.id)]
    await console.go(page, "/audit")
    entry = table(page, "Audit log").get_by_role("row").filter(has_text=job_id)
    await expect(entry.get_by_text(console.email)).to_be_visible()
    await expect(entry.get_by_text("mended")).to_be_visible()


async def test_many_dead_jobs_are_tried_and_discarded_and_the_keyboard_is_enough(
    console: Console, town: Town
):
    order_id = await reserved(town, await town.customer())
    jobs = await dead(town, order_id, "KeyError: 'tax'", times=3)
    page = await console.open("/dead")
    group = table(page, "Dead jobs, grouped").get_by_role("row").filter(has_text="KeyError")
    discard = group.get_by_role("button", name="Discard all")
    await discard.focus()
    await page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_text("3 jobs would be taken")).to_be_visible()
    await expect(dialog.get_by_label("Why")).to_be_focused()
    await page.emulate_media(color_scheme="dark")
    await expect(page.locator("body.body--dark")).to_be_visible()
    assert not await _axe(page, only="color-contrast"), "dark"
    await page.emulate_media(color_scheme="light")
    for _ in range(6):
        await page.keyboard.press("Tab")
        assert await page.evaluate("!document.querySelector('.content').contains(document.activeElement)")
    await page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    await expect(discard).to_be_focused()
    await page.keyboard.press("Enter")
    await dialog.get_by_role("button", name="Discard", exact=True).click()
    await expect(dialog.get_by_text("Say why")).to_be_visible()
    assert not await _axe(page)
    await dialog.get_by_label("Why").fill(HOSTILE)
    await page.keyboard.press("Enter")
    run = table(page, "Bulk runs").get_by_role("row").filter(has_text="discard 3")
    await expect(run.get_by_text("3 of 3")).to_be_visible()
    await expect(run.get_by_text(HOSTILE)).to_be_visible()
    await expect(group).to_have_count(0)
    assert [(await town.job(job))["state"] for job in jobs] == ["cancelled"] * 3


async def test_a_bulk_run_is_stopped(console: Console, town: Town):
    jobs = await dead(town, await reserved(town, await town.customer()), "LookupError: 'rate'", times=20)
    page = await console.open("/dead")
    group = table(page, "Dead jobs, grouped").get_by_role("row").filter(has_text="LookupError")
    await group.get_by_role("button", name="Discard all").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Rate").click()
    await page.get_by_role("option", name="1 a second", exact=True).click()
    await expect(dialog.get_by_text("20 jobs would be taken, in 20 s")).to_be_visible()
    await confirm(page, "Discard", reason="of no use")
    run = table(page, "Bulk runs").get_by_role("row").filter(has_text="discard 20")
    await run.get_by_role("button", name="Stop").click()
    await confirm(page, "Stop", reason="the wrong group")
    await expect(run.get_by_text("stopped", exact=True)).to_be_visible()
    assert {(await town.job(job))["state"] for job in jobs} >= {"dead"}
    await town.collection(JOBS).delete_many({"_id": {"$in": jobs}})


async def test_what_is_stuck_is_repaired_cancelled_and_sent_ahead(console: Console, town: Town):
    ada = await town.customer()
    first, second = await reserved(town, ada), await reserved(town, ada)
    stuck, unwanted, late = [await retrying(town, order) for order in (first, second, second)]
    page = await console.open("/orders")
    row = table(page, "What is stuck").get_by_role("row").filter(has_text=stuck)
    await expect(row.get_by_text("It fails with internal, after 3 of")).to_be_visible()
    await row.get_by_role("button", name="Send ahead").click()
    await confirm(page, "Send ahead", reason="the bank is back")
    await expect(row).to_have_count(0)
    await eventually(lambda: _in_state(town, stuck, "succeeded"))
    await console.go(page, f"/jobs/{unwanted}")
    await page.get_by_role("button", name="Cancel").click()
    await confirm(page, "Cancel", reason="sent twice")
    await expect(page.get_by_label("The job").get_by_text("cancelled")).to_be_visible()
    await console.go(page, f"/jobs/{late}")
    await page.get_by_role("button", name="Send ahead").click()
    await confirm(page, "Send ahead")
    await expect(page.get_by_label("The job").get_by_text("succeeded")).to_be_visible()
    for order in (first, second):
        assert (await town.services.orders.get(order, owner=None))["state"] == "cancelled"
    told = [await acts(town, job) for job in (stuck, unwanted, late)]
    assert [(act, why) for ((act, why, _),) in told] == [
        ("jobs.expedite", "the bank is back"),
        ("jobs.cancel", "sent twice"),
        ("jobs.expedite", None),
    ]


async def test_a_worker_is_drained_and_a_queue_is_paused(console: Console, town: Town):
    page = await console.open("/workers")
    worker = table(page, "Processes").get_by_role("row").filter(has_text="inventory")
    await worker.get_by_role("button", name="Drain").click()
    await confirm(page, "Drain", reason="a new version")
    await expect(worker.get_by_text("drained", exact=True)).to_be_visible()
    await expect(worker.get_by_text("a new version")).to_be_visible()
    await worker.get_by_role("button", name="Undrain").click()
    await confirm(page, "Undrain")
    await expect(worker.get_by_text("working")).to_be_visible()
    queue = table(page, "Queues").get_by_role("row").filter(has_text="orders")
    await queue.get_by_role("button", name="Pause").click()
    await confirm(page, "Pause")
    await expect(queue.get_by_text("paused")).to_be_visible()
    order_id = await (await town.customer()).submit({await town.product(1): 1})
    await queue.get_by_role("button", name="Purge").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_text("1 x orders.place would be cancelled")).to_be_visible()
    await dialog.get_by_label("Why").fill("a flood")
    await dialog.get_by_role("button", name="Purge", exact=True).click()
    await expect(dialog.get_by_text("Type orders to confirm.", exact=True).last).to_be_visible()
    await dialog.get_by_label("Type orders").fill("orders")
    await confirm(page, "Purge")
    await eventually(lambda: _in_state(town, order_id, "cancelled"))
    await queue.get_by_role("button", name="Resume").click()
    await confirm(page, "Resume")
    await expect(queue.get_by_text("open")).to_be_visible()
    assert [act for act, _, _ in await acts(town, "orders")] == [
        "queues.pause",
        "queues.purge",
        "queues.resume",
    ]


async def _in_state(town: Town, job_id: str, state: str) -> bool:
    return bool((await town.job(job_id))["state"] == state)


async def test_an_entry_of_the_timetable_is_run_now(console: Console, town: Town):
    page = await console.open("/schedule")
    entry = table(page, "Timetable").get_by_role("row").filter(has_text="audit the stock")
    await entry.get_by_role("button", name="Run now").click()
    await confirm(page, "Run now")
    await expect(page.get_by_text("Done: nothing to do.")).to_be_visible()
    assert await acts(town, "audit-the-stock") == [("schedule.run", None, town.ops.id)]


async def test_what_somebody_may_is_asked_when_they_act_and_who_may_only_look_is_offered_nothing(
    console: Console, town: Town
):
    email = await _staff(town, "ops:read", "ops:write")
    page = await _log_in(console, email, to="/workers")
    worker = table(page, "Processes").get_by_role("row").filter(has_text="inventory")
    await worker.get_by_role("button", name="Drain").click()
    accounts = town.collection("accounts")
    await accounts.update_one({"email": email}, {"$set": {"scopes": ["ops:read"]}})
    account = await accounts.find_one({"email": email})
    assert account is not None
    await town.services.accounts.sessions.changed(account["_id"])
    await confirm(page, "Drain")
    await expect(page.get_by_text("Your account may look, and not act.").last).to_be_visible()
    await expect(worker.get_by_text("working")).to_be_visible()
    await console.go(page, "/workers")
    await expect(worker.get_by_text("working")).to_be_visible()
    await expect(page.get_by_role("main").get_by_role("button")).to_have_count(0)
    await town.services.accounts.sessions.end_all(account["_id"])
    await expect(page).to_have_url(f"{console.url}/login")


async def _staff(town: Town, *scopes: str) -> str:
    """The address of an account that may just this."""
    email = f"staff-{new_id()}@example.com"
    account = await town.services.accounts.register(email, PASSWORD)
    change = {"$set": {"role": "staff", "scopes": list(scopes)}}
    await town.collection("accounts").update_one({"_id": account.id}, change)
    return email


async def test_every_page_can_be_used_by_everybody_on_every_screen(console: Console, town: Town):
    order_id = await reserved(town, await town.customer())
    (job_id,) = await dead(town, order_id, f"ValueError: {HOSTILE}")
    page = await console.open("/")
    await expect(page.get_by_role("img", name="Jobs accepted")).to_be_visible()
    for path in [*(path for path, _, _ in MENU), f"/jobs/{job_id}", f"/orders/{order_id}"]:
        await console.go(page, path)
        assert not await _axe(page), path
        if path in DARK or job_id in path:
            await page.emulate_media(color_scheme="dark")
            await expect(page.locator("body.body--dark")).to_be_visible()
            assert not await _axe(page, only="color-contrast"), f"{path}, dark"
            await page.emulate_media(color_scheme="light")
        await page.set_viewport_size(PHONE)
        await page.wait_for_function(
            "wide => document.documentElement.scrollWidth <= wide", arg=PHONE["width"]
        )
        await page.set_viewport_size(SCREEN)


async def _axe(page: Page, *, only: str = "") -> list[str]:
    """What keeps people out, of the grave kinds; of one rule where only that can have changed."""
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(AXE_SCRIPT)
    options = {"resultTypes": ["violations"], **({"runOnly": [only]} if only else {})}
    grave = "found => found.violations.filter(each => ['serious', 'critical'].includes(each.impact))"
    tell = "each => `${each.id}: ${each.nodes[0].html}: ${each.nodes[0].failureSummary}`"
    told: list[str] = await page.evaluate(
        f"options => axe.run(options).then({grave}).then(found => found.map({tell}))", options
    )
    return told


async def test_a_row_keeps_the_focus_while_the_page_lives(console: Console, town: Town):
    page = await console.open("/")
    pool = table(page, "Pools").get_by_role("link", name="orders", exact=True)
    await pool.focus()
    before = await table(page, "Pools").inner_text()
    ada = await town.customer()
    await reserved(town, ada)
    await eventually(lambda: _changed(page, before), within=30)
    await expect(pool).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(f"{console.url}/jobs?pool=orders&state=queued")


async def _changed(page: Page, before: str) -> bool:
    return await table(page, "Pools").inner_text() != before
