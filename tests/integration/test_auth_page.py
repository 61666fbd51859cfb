"""The page on accounts and access: its requests are answered as it says, in their order."""

from datetime import timedelta
from pathlib import Path

import httpx

from domain.accounts.rules import MAX_KEYS, MAX_SESSIONS, ROLE_SCOPES, SCOPES
from domain.accounts.service import RING_READ
from domain.accounts.standing import CACHED
from domain.settings import Auth, Settings
from tests.api import Api, open_api
from tests.curl import follow, requests_of

PAGE = (Path(__file__).parents[2] / "docs/auth.md").read_text(encoding="utf-8")


def learn(answer: httpx.Response, variables: dict[str, str]) -> None:
    """What later requests on the page need of this answer."""
    found = answer.json() if answer.content else {}
    if found.get("role"):
        variables["ACCOUNT"] = found["id"]
    if found.get("refresh_token"):
        variables |= {"TOKEN": found["access_token"], "REFRESH": found["refresh_token"]}
    if "set-cookie" in answer.headers:
        variables["COOKIE"] = answer.headers["set-cookie"].split(";")[0].partition("=")[2]
        variables["SESSION"] = found["session_id"]
    if found.get("key"):
        variables |= {"KEY": found["key"], "KEY_ID": found["id"]}


async def run(api: Api) -> None:
    variables = {"OPS": api.user(scopes=SCOPES, role="ops").token}

    async def learnt(answer: httpx.Response) -> None:
        learn(answer, variables)

    await follow(api.client, PAGE, variables, after=learnt)


async def test_every_request_is_answered_as_the_page_says(settings: Settings):
    async with open_api(settings) as api:
        await run(api)


def test_every_request_is_an_example_with_an_answer():
    assert requests_of(PAGE) > 10


def test_the_page_promises_what_the_code_keeps():
    assert Auth.model_fields["recheck"].default + timedelta(seconds=CACHED) == timedelta(seconds=15)
    assert f"kept for {CACHED} seconds" in PAGE
    assert f"look every {RING_READ:.0f} seconds" in PAGE
    assert f"An account has {MAX_SESSIONS} at most" in PAGE
    assert f"An account has {MAX_KEYS} live keys at most" in PAGE
    staff = "`orders:manage`, `inventory:read`, `ops:read`"
    assert staff in PAGE
    assert {each.strip("` ") for each in staff.split(",")} == ROLE_SCOPES["staff"] - ROLE_SCOPES["customer"]
