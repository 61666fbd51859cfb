"""Accounts as staff and ops see and change them over HTTP."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from domain.accounts.rules import ROLE_SCOPES, SCOPES
from domain.values import new_id
from ops.environment import settings_of
from ops.stack import Stack
from tests.api import Api, User, open_api
from tests.conftest import environment_on


@pytest.fixture(scope="module")
async def api(stack: Stack) -> AsyncIterator[Api]:
    async with open_api(settings_of(environment_on(stack))) as api:
        yield api


@pytest.fixture
def ops(api: Api) -> User:
    return api.user(scopes=SCOPES, role="ops")


async def change(api: Api, by: User, account_id: str, body: Any, match: str | None = "*") -> httpx.Response:
    headers = by.headers() | ({"If-Match": match} if match else {})
    return await api.client.patch(f"/v1/accounts/{account_id}", json=body, headers=headers)


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_accounts_are_listed_by_pages_and_filters(api: Api, ops: User):
    group = f"g{new_id()}"
    people = [api.user(groups=[group]) for _ in range(3)]
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        path = f"/v1/accounts?group={group}&limit=2{cursor}"
        page = (await ops.get(path)).json()
        found += page["accounts"]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert [each["id"] for each in found] == [person.id for person in people]
    one = (await ops.get(f"/v1/accounts?email={people[0].id.upper()}@example.com")).json()["accounts"]
    assert one == [found[0]]
    assert found[0]["groups"] == [group]
    roles = {each["role"] for each in (await ops.get("/v1/accounts?role=ops")).json()["accounts"]}
    assert roles == {"ops"}
    assert "password" not in str(found)


async def test_ops_make_staff_over_http(api: Api, ops: User):
    person = api.user()
    answer = await change(api, ops, person.id, {"role": "staff"})
    assert (answer.status_code, answer.json()["role"]) == (200, "staff")
    assert set(answer.json()["scopes"]) == ROLE_SCOPES["staff"]
    answer = await change(api, ops, person.id, {"scopes": ["catalog:write"], "groups": ["vip"]})
    assert (answer.json()["scopes"], answer.json()["groups"]) == (["catalog:write"], ["vip"])


async def test_what_is_taken_away_is_gone_at_once(api: Api, ops: User):
    person = api.user()
    assert (await person.get("/v1/orders")).status_code == 200
    await change(api, ops, person.id, {"scopes": []})
    assert problem(await person.get("/v1/orders")) == (403, "forbidden")


async def test_an_edit_names_what_it_saw(api: Api, ops: User):
    person = api.user()
    seen = (await ops.get(f"/v1/accounts/{person.id}")).headers["etag"]
    first = await change(api, ops, person.id, {"groups": ["vip"]}, seen)
    assert first.status_code == 200
    late = await change(api, ops, person.id, {"groups": ["wholesale"]}, seen)
    assert late.status_code == 412
    assert (await change(api, ops, person.id, {"groups": []}, first.headers["etag"])).status_code == 200
    assert (await change(api, ops, person.id, {"groups": []}, None)).status_code == 428


async def test_only_ops_set_roles_and_never_of_ops_accounts(api: Api, ops: User):
    person, staff = api.user(), api.user("ops:write", role="staff")
    assert problem(await change(api, staff, person.id, {"role": "staff"})) == (403, "forbidden")
    assert problem(await change(api, staff, staff.id, {"scopes": list(SCOPES)})) == (403, "forbidden")
    assert (await change(api, staff, person.id, {"groups": ["vip"]})).status_code == 200
    bodies: list[Any] = [{"role": "customer"}, {"scopes": []}, {"groups": ["vip"]}]
    for body in bodies:
        assert problem(await change(api, ops, ops.id, body)) == (409, "ops_account")
    assert problem(await change(api, ops, person.id, {"role": "ops"})) == (422, "validation_error")
    half = api.user(scopes=frozenset({"ops:write"}), role="ops")
    for body in ({"scopes": ["ops:read"]}, {"role": "staff"}):
        assert problem(await change(api, half, person.id, body)) == (403, "forbidden")


async def test_somebody_is_logged_out_everywhere(api: Api, ops: User):
    person, staff = api.user(), api.user("ops:write", role="staff")
    path = f"/v1/accounts/{person.id}/sessions"
    for ended in (1, 0):
        assert (await staff.delete(path)).json() == {"ended": ended}
    assert (await person.get("/v1/me")).status_code == 401
    assert problem(await staff.delete(f"/v1/accounts/{ops.id}/sessions")) == (403, "forbidden")


async def test_accounts_are_for_staff_alone(api: Api, ops: User):
    customer, reader = api.user(), api.user("ops:read")
    path = f"/v1/accounts/{ops.id}"
    answers = [
        await customer.get("/v1/accounts"),
        await customer.get(path),
        await change(api, reader, customer.id, {"role": "staff"}),
        await reader.delete(f"{path}/sessions"),
    ]
    assert [problem(answer) for answer in answers] == [(403, "forbidden")] * 4
    missing = [
        await ops.get("/v1/accounts/nobody"),
        await change(api, ops, "nobody", {"groups": []}),
        await ops.delete("/v1/accounts/nobody/sessions"),
    ]
    assert [problem(answer) for answer in missing] == [(404, "not_found")] * 3


async def test_a_change_that_makes_no_sense_is_refused(api: Api, ops: User, subtests: pytest.Subtests):
    person = api.user()
    cases: list[tuple[Any, str]] = [
        ({"role": "king"}, "validation_error"),
        ({"scopes": ["root"]}, "invalid"),
        ({"scopes": "orders:read"}, "validation_error"),
        ({"groups": ["No Such"]}, "validation_error"),
        ({"groups": [f"g{n}" for n in range(21)]}, "validation_error"),
        ({"email": "new@example.com"}, "validation_error"),
        ([], "validation_error"),
    ]
    for body, code in cases:
        with subtests.test(body=str(body)):
            assert problem(await change(api, ops, person.id, body)) == (422, code)
    for query in ("role=king", "group=No", "limit=0", "cursor=x", f"email={'x' * 300}"):
        with subtests.test(query=query[:20]):
            assert (await ops.get(f"/v1/accounts?{query}")).status_code == 422
