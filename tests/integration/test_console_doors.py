"""Every way into the console and out of it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest
from pymongo import MongoClient

from api.console import doors
from api.console.app import create_console
from api.console.headers import POLICY
from domain.accounts.rules import SCOPES
from domain.bootstrap import Services
from domain.errors import Unauthenticated
from domain.values import new_id
from ops.environment import settings_of
from ops.stack import Stack
from tests.api import Api, User
from tests.conftest import environment_on
from tests.e2e.town import PASSWORD
from tests.factories import eventually

HOST = "console.test"
TTL = timedelta(hours=1)
SOCKET = "/ops/_nicegui_ws/socket.io/"


@dataclass(frozen=True, slots=True)
class Console:
    """The console in this process, and people who come to it."""

    api: Api

    @property
    def client(self) -> httpx.AsyncClient:
        return self.api.client

    @property
    def services(self) -> Services:
        return self.api.services

    def staff(self, *, scopes: frozenset[str] = SCOPES) -> User:
        return self.api.user(scopes=scopes, role="ops")

    def session(self, user: User) -> str:
        found = self.api.store["sessions"].find_one({"account_id": user.id})
        assert found is not None
        return str(found["_id"])

    def shown(self, user: User, *, ttl: timedelta = TTL) -> str:
        """The pass of the user's session."""
        return self.services.accounts.console._issue(user.id, self.session(user), ttl)

    async def get(self, path: str, shown: str | None = None, **headers: str) -> httpx.Response:
        return await self.client.get(path, headers=headers | _cookie(shown))

    async def post(
        self, path: str, shown: str | None = None, body: Any = None, **headers: str
    ) -> httpx.Response:
        return await self.client.post(path, data=body, headers=headers | _cookie(shown))

    async def log_in(
        self, email: str, password: str = PASSWORD, *, to: str = "/ops/jobs", **headers: str
    ) -> httpx.Response:
        body = {"email": email, "password": password, "to": to}
        return await self.post("/ops/login", None, body, **headers)

    async def socket(self, shown: str | None = None, **headers: str) -> tuple[str, int | None]:
        """What a web socket is first answered, and the status where it is refused."""
        given = headers | _cookie(shown) | {"host": HOST, "connection": "upgrade", "upgrade": "websocket"}
        sent: list[dict[str, Any]] = []
        scope = {
            "type": "websocket", "asgi": {"version": "3.0"}, "scheme": "ws", "path": SOCKET,
            "raw_path": SOCKET.encode(),
            "query_string": b"EIO=4&transport=websocket", "root_path": "", "client": ("127.0.0.1", 1),
            "subprotocols": [],
            "headers": [(name.encode(), value.encode()) for name, value in given.items()], "server": (HOST,
            80),
            "extensions": {"websocket.http.response": {}},
        }  # fmt: skip
        hails = iter([{"type": "websocket.connect"}])

        async def receive() -> dict[str, Any]:
            return next(hails, {"type": "websocket.disconnect", "code": 1000})

        async def send(message: Any) -> None:
            sent.append(message)

        await self.api.app(scope, receive, send)
        return sent[0]["type"], sent[0].get("status")


def _cookie(shown: str | None) -> dict[str, str]:
    return {"cookie": f"{doors.COOKIE}={shown}"} if shown is not None else {}


@pytest.fixture(scope="module")
async def console(stack: Stack) -> AsyncIterator[Console]:
    """One: the library behind it has one app in each process."""
    settings = settings_of(environment_on(stack))
    app = create_console(settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}", timeout=30) as client:
            store: MongoClient[dict[str, Any]] = MongoClient(settings.mongo.url)
            yield Console(Api(app, client, store[settings.mongo.database]))
            store.close()


@pytest.fixture
async def staff(console: Console) -> tuple[str, str]:
    """The address of an account that may come in, and its id."""
    account = await console.services.accounts.create_ops(f"{new_id()}@example.com", PASSWORD)
    return account.email, account.id


PAGES = ("/ops/", "/ops/jobs", f"/ops/jobs/{new_id()}", "/ops/dead", "/ops/orders", "/ops/workers",
         "/ops/schedule", "/ops/audit")  # fmt: skip


async def test_without_a_pass_every_page_leads_to_the_log_in(console: Console):
    for path in PAGES:
        answer = await console.get(path)
        assert answer.status_code == 303, path
        assert answer.headers["location"] == f"/ops/login?to={path}"
    assert (await console.post("/ops/renew")).status_code == 401
    assert await console.socket() == ("websocket.http.response.start", 401)


async def test_with_a_pass_every_page_opens(console: Console):
    shown = console.shown(console.staff())
    for path in PAGES:
        answer = await console.get(path, shown, accept="text/html")
        assert answer.status_code == 200, (path, answer.text[:500])
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["cache-control"] == "no-store"
    assert (await console.socket(shown))[0] == "websocket.accept"


async def test_an_address_that_makes_no_sense_is_answered_in_words(console: Console):
    shown = console.shown(console.staff())
    for path in ("/ops/nothing", "/ops/jobs/a/b", "/ops/%2e%2e%2fetc"):
        missing = await console.get(path, shown)
        assert (missing.status_code, "There is no such page" in missing.text) == (404, True), path
    for path in (
        "/ops/jobs/%00",
        "/ops/orders/%3Cscript%3Ealert(1)%3C/script%3E",
        "/ops/jobs?text=%00%ff&before=x",
    ):
        answer = await console.get(path, shown)
        assert (answer.status_code, "<script>alert" in answer.text) in {(200, False), (404, False)}, path


async def test_what_was_searched_for_is_found_after_the_log_in(console: Console, staff: tuple[str, str]):
    answer = await console.get("/ops/jobs?state=dead&find=a%20b")
    location = answer.headers["location"]
    assert location == "/ops/login?to=/ops/jobs%3Fstate%3Ddead%26find%3Da%2520b"
    form = await console.get(location)
    assert 'value="/ops/jobs?state=dead&amp;find=a%20b"' in form.text
    done = await console.log_in(staff[0], to="/ops/jobs?state=dead")
    assert done.headers["location"] == "/ops/jobs?state=dead"


async def test_the_pass_is_out_of_reach_of_scripts_and_of_other_sites(
    console: Console, staff: tuple[str, str]
):
    answer = await console.log_in(staff[0])
    assert (answer.status_code, answer.headers["location"]) == (303, "/ops/jobs")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "path=/ops;" in cookie
    console.client.cookies.clear()


@pytest.mark.parametrize(
    "to",
    ["https://evil.example/ops", "//evil.example/ops", "/\\evil.example", "/ops\\@evil.example",
     "javascript:alert(1)",
     "/v1/jobs", "/opsy", "http://[", "/ops/" + "a" * 3000, ""],
)  # fmt: skip
async def test_the_way_back_leads_nowhere_else(console: Console, to: str):
    answer = await console.client.get("/ops/login", params={"to": to})
    assert 'name="to" value="/ops"' in answer.text


async def test_who_may_not_operate_the_platform_stays_outside(console: Console):
    email = f"{new_id()}@example.com"
    account = await console.services.accounts.register(email, PASSWORD)
    answer = await console.log_in(email)
    assert answer.status_code == 403
    assert "may not operate" in answer.text
    assert "set-cookie" not in answer.headers
    sessions = list(console.api.store["sessions"].find({"account_id": account.id}))
    assert all(row["revoked_at"] is not None for row in sessions)
    customer = console.api.user()
    assert (await console.get("/ops", console.shown(customer))).status_code == 303


async def test_a_wrong_password_says_no_more_than_that(console: Console, staff: tuple[str, str]):
    answers = [await console.log_in(staff[0], "wrong"), await console.log_in("nobody@example.com", "wrong")]
    assert {answer.status_code for answer in answers} == {401}
    assert all("E-mail address or password are wrong." in answer.text for answer in answers)
    shown = await console.log_in('"><img src=x onerror=alert(1)>', "wrong")
    assert "<img" not in shown.text


async def test_a_form_of_another_site_is_refused(console: Console, staff: tuple[str, str]):
    foreign: list[dict[str, str]] = [
        {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"origin": "https://evil.example"},
        {"origin": "null"}, {"origin": f"http://{HOST}:8000"},
    ]  # fmt: skip
    shown = console.shown(console.staff())
    for headers in foreign:
        assert (await console.log_in(staff[0], **headers)).status_code == 403, headers
        assert (await console.post("/ops/renew", shown, **headers)).status_code == 403, headers
        assert (await console.socket(shown, **headers))[1] == 403, headers
        await console.post("/ops/logout", shown, **headers)
        assert (await console.get("/ops/", shown)).status_code == 200, headers
    assert (await console.post("/ops/renew", shown, origin=f"http://{HOST}")).status_code == 204


async def test_a_pass_that_we_did_not_sign_opens_nothing(console: Console):
    shown = console.shown(console.staff())
    head, body, signature = shown.split(".")
    for forged in ("", "x", "a.b.c", f"{head}.{body}.", f"{head}.{body}.{signature[::-1]}",
    f"{head}.{body}x.{signature}",
                   "e30.e30.e30", "a" * 10_000):  # fmt: skip
        assert (await console.get("/ops", forged)).status_code == 303, forged
        assert (await console.socket(forged))[1] == 401, forged


async def test_a_pass_ends_with_its_time(console: Console):
    shown = console.shown(console.staff(), ttl=timedelta(seconds=-1))
    assert (await console.get("/ops", shown)).status_code == 303
    assert (await console.post("/ops/renew", shown)).status_code == 401


async def test_a_pass_is_renewed_for_the_same_session(console: Console):
    user = console.staff()
    answer = await console.post("/ops/renew", console.shown(user))
    assert answer.status_code == 204
    renewed = answer.headers["set-cookie"].split(";")[0].partition("=")[2]
    console.client.cookies.clear()
    holder = await console.services.accounts.console.holder(renewed)
    assert (holder.account_id, holder.session_id) == (user.id, console.session(user))


async def test_a_pass_ends_with_its_session(console: Console):
    user = console.staff()
    shown = console.shown(user)
    assert (await console.get("/ops/", shown)).status_code == 200
    await console.services.accounts.sessions.end(console.session(user), account_id=user.id)
    await eventually(lambda: _refused(console, shown))
    assert (await console.socket(shown))[1] == 401


async def _refused(console: Console, shown: str) -> bool:
    return (await console.get("/ops", shown)).status_code == 303


async def test_logging_out_ends_the_session(console: Console, staff: tuple[str, str]):
    answer = await console.log_in(staff[0])
    shown = answer.headers["set-cookie"].split(";")[0].partition("=")[2]
    console.client.cookies.clear()
    out = await console.post("/ops/logout", shown)
    assert (out.status_code, out.headers["location"]) == (303, "/ops/login")
    assert "max-age=0" in out.headers["set-cookie"].lower()
    console.client.cookies.clear()
    await eventually(lambda: _refused(console, shown))
    assert (await console.post("/ops/logout", "x")).status_code == 303
    console.client.cookies.clear()


async def test_tokens_of_the_api_and_passes_are_not_taken_for_each_other(console: Console):
    user = console.staff()
    assert (await console.get("/ops", user.token)).status_code == 303
    assert (await console.get("/ops", authorization=f"Bearer {user.token}")).status_code == 303
    with pytest.raises(Unauthenticated):
        await console.services.accounts.authenticate(console.shown(user))


async def test_nothing_of_the_shop_s_is_among_what_anybody_may_have(console: Console):
    assert [(await console.get(path)).status_code for path in ("/healthz", "/readyz")] == [200, 200]
    icon = await console.get("/favicon.ico")
    assert (icon.status_code, icon.headers["content-type"]) == (200, "image/svg+xml")
    assert (await console.get("/ops/_nicegui/../jobs")).status_code == 303
    assert (await console.get("/ops/_nicegui/%2e%2e/jobs")).status_code in {303, 404}
    assert (await console.get("/")).headers["location"] == "/ops"


async def test_while_the_store_is_away_nobody_comes_in_and_nobody_is_sent_out(console: Console, stack: Stack):
    if not stack.mongo.managed:
        pytest.skip("MongoDB comes from the environment: it is not ours to stop")
    shown = console.shown(console.staff())
    await asyncio.to_thread(stack.mongo.kill)
    try:
        # Each looks for the store for two seconds: all at once.
        away, (_, refused), log_in, renewed = await asyncio.gather(
            console.get("/ops/", shown),
            console.socket(shown),
            console.log_in("ops@example.com"),
            console.post("/ops/renew", shown),
        )
        assert (away.status_code, away.headers["retry-after"]) == (503, "2")
        assert '<meta http-equiv="refresh" content="2">' in away.text
        assert (refused, log_in.status_code) == (503, 503)
        assert "set-cookie" not in renewed.headers
    finally:
        await asyncio.to_thread(stack.mongo.start)
    await eventually(lambda: _opens(console, shown), within=30)


async def _opens(console: Console, shown: str) -> bool:
    return (await console.get("/ops/", shown)).status_code == 200


async def test_a_body_is_bounded(console: Console):
    answer = await console.log_in("a" * 2_000_000)
    assert answer.status_code in {400, 413}
