"""Inbox and preferences over HTTP."""

import asyncio
from typing import Any

import pytest

from api.cursors import encode
from domain.events.models import EVENTS
from domain.notifications import inbox as inboxes
from domain.notifications.preferences import UNWRITTEN
from tests.api import Api, User
from tests.happenings import happen, held, paid


async def seqs(user: User, **params: Any) -> list[int]:
    """The entries of all pages."""
    found: list[int] = []
    while True:
        answer = (await user.get("/v1/inbox", params=params)).json()
        found += [entry["seq"] for entry in answer["entries"]]
        if answer["next_cursor"] is None:
            return found
        params["cursor"] = answer["next_cursor"]


async def unread(user: User) -> int:
    answer = (await user.get("/v1/inbox/unread")).json()
    assert answer["more"] is False
    return int(answer["unread"])


async def mark(user: User, **what: Any) -> int:
    return (await user.post("/v1/inbox/read", what)).status_code


async def choose(user: User, choices: Any, *, tag: str | None = "*") -> Any:
    headers = user.headers() | ({"If-Match": tag} if tag else {})
    return await user.client.put("/v1/me/preferences", json={"preferences": choices}, headers=headers)


# -- reading --


async def test_an_inbox_has_the_accounts_events_in_words_newest_first(api: Api):
    ada, eve = api.user(), api.user()
    first, _, last = await happen(api.services, paid(ada.id), held(ada.id), paid(ada.id))
    await happen(api.services, paid(eve.id))
    answer = (await ada.get("/v1/inbox")).json()
    assert [entry["seq"] for entry in answer["entries"]] == [3, 1]
    assert answer["next_cursor"] is None
    entry = answer["entries"][0]
    assert (entry["id"], entry["type"], entry["subject"]) == (last["_id"], "order.paid", last["subject"])
    assert (entry["title"], entry["read"]) == ("Order confirmed", False)
    assert first["subject"] in answer["entries"][1]["text"]
    assert entry["data"] == last["data"]


async def test_pages_follow_each_other_and_what_happens_meanwhile_does_not_shift_them(api: Api):
    ada = api.user()
    await happen(api.services, *(paid(ada.id) for _ in range(5)))
    page = (await ada.get("/v1/inbox", params={"limit": 2})).json()
    await happen(api.services, paid(ada.id))
    assert [entry["seq"] for entry in page["entries"]] == [5, 4]
    assert await seqs(ada, limit=2, cursor=page["next_cursor"]) == [3, 2, 1]


async def test_what_one_page_looks_at_is_bounded(api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(inboxes, "WINDOW", 3)
    monkeypatch.setattr(inboxes, "WINDOWS", 2)
    ada = api.user()
    await happen(api.services, paid(ada.id), *(held(ada.id) for _ in range(10)), paid(ada.id))
    page = (await ada.get("/v1/inbox")).json()
    assert [entry["seq"] for entry in page["entries"]] == [12]
    assert page["next_cursor"] is not None
    assert await seqs(ada) == [12, 1]
    assert (await ada.get("/v1/inbox/unread")).json() == {"unread": 1, "more": True}


async def test_a_great_count_is_cut(api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(inboxes, "MOST_COUNTED", 3)
    ada = api.user()
    await happen(api.services, *(paid(ada.id) for _ in range(3)))
    assert (await ada.get("/v1/inbox/unread")).json() == {"unread": 3, "more": False}
    await happen(api.services, paid(ada.id))
    assert (await ada.get("/v1/inbox/unread")).json() == {"unread": 3, "more": True}


async def test_an_event_costs_the_inbox_no_write(api: Api):
    ada = api.user()
    await happen(api.services, paid(ada.id))
    database = api.services.database
    assert await database["read_marks"].count_documents({}) == 0
    assert await database[EVENTS].count_documents({"account_id": ada.id}) == 1


# -- what is read --


async def test_entries_are_read_one_by_one_or_up_to_one(api: Api):
    ada = api.user()
    await happen(api.services, *(paid(ada.id) for _ in range(6)))
    assert await unread(ada) == 6
    assert await mark(ada, seqs=[4]) == 204
    assert await seqs(ada, unread="true") == [6, 5, 3, 2, 1]
    assert await mark(ada, upto=2) == 204
    assert await mark(ada, seqs=[4, 6], upto=1) == 204
    assert await seqs(ada, unread="true") == [5, 3]
    assert await unread(ada) == 2
    page = (await ada.get("/v1/inbox")).json()
    assert [entry["seq"] for entry in page["entries"] if entry["read"]] == [6, 4, 2, 1]
    assert await mark(ada, upto=6) == 204
    assert (await unread(ada), await seqs(ada, unread="true")) == (0, [])


async def test_what_the_inbox_does_not_show_keeps_no_mark_back(api: Api):
    ada = api.user()
    await happen(api.services, *(each(ada.id) for _ in range(3) for each in (paid, held)))
    assert await mark(ada, seqs=[3, 5]) == 204
    assert await mark(ada, seqs=[1]) == 204
    row = await api.services.database["read_marks"].find_one({"_id": ada.id})
    assert row is not None
    assert (row["upto"], row["beyond"]) == (6, [])


async def test_marks_of_many_requests_at_once_are_all_kept(api: Api):
    ada = api.user()
    await happen(api.services, *(paid(ada.id) for _ in range(30)))
    answers = await asyncio.gather(*(mark(ada, seqs=[seq]) for seq in range(30, 0, -1)))
    assert set(answers) == {204}
    assert await unread(ada) == 0
    row = await api.services.database["read_marks"].find_one({"_id": ada.id})
    assert row is not None
    assert (row["upto"], row["beyond"]) == (30, [])


async def test_a_mark_that_means_nothing_is_refused(api: Api):
    ada = api.user()
    wrong: list[Any] = [
        {}, {"seqs": []}, {"seqs": [0]}, {"seqs": ["1"]}, {"seqs": [1.5]}, {"seqs": [True]},
        {"seqs": list(range(1, 502))}, {"upto": 0}, {"upto": -1}, {"upto": 2**53}, {"upto": "2"},
        {"upto": 1, "all": True}, [],
    ]  # fmt: skip
    for body in wrong:
        answer = await ada.post("/v1/inbox/read", body)
        assert (answer.status_code, answer.json()["code"]) == (422, "validation_error"), body


async def test_what_has_not_happened_yet_cannot_be_read(api: Api):
    ada = api.user()
    await happen(api.services, paid(ada.id))
    for body in ({"seqs": [2]}, {"upto": 2}):
        answer = await ada.post("/v1/inbox/read", body)
        assert (answer.status_code, answer.json()["facts"]) == (422, {"reason": "unknown_seq", "last_seq": 1})


async def test_an_inbox_is_its_accounts_alone(api: Api):
    ada, eve = api.user(), api.user()
    await happen(api.services, paid(ada.id), paid(eve.id))
    await mark(eve, upto=1)
    assert (await unread(ada), await unread(eve)) == (1, 0)
    nobody = api.user(scopes=frozenset({"orders:write"}))
    for call in (nobody.get("/v1/inbox"), nobody.get("/v1/inbox/unread"), nobody.post("/v1/inbox/read", {})):
        assert (await call).status_code == 403
    assert (await api.client.get("/v1/inbox")).status_code == 401


async def test_a_cursor_that_was_never_given_finds_nothing_it_should_not(api: Api):
    ada = api.user()
    for cursor in ("x", encode("../"), encode(1.5)):
        answer = await ada.get("/v1/inbox", params={"cursor": cursor})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor"), cursor
    await happen(api.services, held(ada.id))
    for cursor in (encode(1), encode(-1), encode(10**30)):
        answer = await ada.get("/v1/inbox", params={"cursor": cursor})
        assert answer.json() == {"entries": [], "next_cursor": None}, cursor


# -- preferences --


async def test_preferences_decide_what_the_inbox_shows(api: Api):
    ada = api.user()
    await happen(api.services, paid(ada.id), held(ada.id))
    assert await seqs(ada) == [1]
    answer = await choose(ada, {"hold.*": {"inbox": True}, "order.paid": {"inbox": False, "mail": False}})
    assert answer.status_code == 200
    assert (await seqs(ada), await unread(ada)) == ([2], 1)
    shown = (await ada.get("/v1/me/preferences")).json()
    assert shown == answer.json()
    types = {each["type"]: each for each in shown["types"]}
    assert types["order.paid"] == {"type": "order.paid", "inbox": False, "mail": False, "always": False}
    assert types["hold.held"] == {"type": "hold.held", "inbox": True, "mail": None, "always": False}
    assert types["account.password_changed"]["always"]


async def test_preferences_are_replaced_as_a_whole_and_by_who_has_seen_them(api: Api):
    ada = api.user()
    tag = (await ada.get("/v1/me/preferences")).headers["etag"]
    assert tag == f'"{UNWRITTEN}"'
    first = await choose(ada, {"order.*": {"mail": False}}, tag=tag)
    assert first.json()["preferences"] == {"order.*": {"mail": False}}
    stale = await choose(ada, {}, tag=tag)
    assert (stale.status_code, stale.json()["code"]) == (412, "stale_revision")
    assert (await choose(ada, {}, tag=None)).status_code == 428
    assert (await choose(ada, {}, tag=first.headers["etag"])).json()["preferences"] == {}


async def test_of_two_who_choose_first_one_is_told(api: Api):
    ada = api.user()
    answers = await asyncio.gather(
        *(choose(ada, {"order.*": {"mail": mail}}, tag=f'"{UNWRITTEN}"') for mail in (True, False))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412]


async def test_preferences_that_mean_nothing_are_refused(api: Api):
    ada = api.user()
    wrong: list[tuple[Any, str]] = [
        ({"order.lost": {"mail": True}}, "invalid"),
        ({"hold.held": {"mail": True}}, "invalid"),
        ({"account.password_changed": {"mail": False}}, "invalid"),
        ({"order.paid": {"fax": True}}, "validation_error"),
        ({"order.paid": {}}, "validation_error"),
        ({"order.paid": {"mail": None}}, "validation_error"),
        ({"order.paid": {"mail": "yes"}}, "validation_error"),
        ({"order.paid": True}, "validation_error"),
        ({"Order.paid": {"mail": True}}, "validation_error"),
        ({"": {"mail": True}}, "validation_error"),
        ({"order.paid\u0000": {"mail": True}}, "validation_error"),
        ({f"a.b{'c' * n}": {"mail": True} for n in range(101)}, "validation_error"),
        ([], "validation_error"),
    ]
    for choices, code in wrong:
        answer = await choose(ada, choices)
        assert (answer.status_code, answer.json()["code"]) == (422, code), choices
    assert (await ada.get("/v1/me/preferences")).json()["preferences"] == {}


async def test_preferences_are_changed_by_who_has_logged_in(api: Api):
    ada = api.user()
    made = await ada.post("/v1/keys", {"name": "robot", "scopes": ["orders:read"]})
    key = {"X-API-Key": made.json()["key"]}
    assert (await api.client.get("/v1/me/preferences", headers=key)).status_code == 200
    answer = await api.client.put(
        "/v1/me/preferences", json={"preferences": {}}, headers=key | {"If-Match": "*"}
    )
    assert (answer.status_code, answer.json()["code"]) == (403, "session_required")
