"""Imports and exports of products: over HTTP, with the worker's part done here."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from domain.changes import Changes, Doc
from domain.errors import ServiceAway, TryAgain
from domain.products import imports
from domain.products.commands import ImportProducts
from domain.products.exports import Exports
from domain.settings import Settings
from domain.values import new_id
from tests.api import Api, User, open_api
from tests.transactions import LABELS, commit_whose_answer_is_lost

IMPORTS, EXPORTS = "/v1/products/imports", "/v1/products/exports"
CSV, NDJSON = "text/csv", "application/x-ndjson"
HEAD = "sku,name,category,price,status\n"
TEA = f"{HEAD}CHAI,Chai,Tea,1800,published\nSENCHA,Sencha,Tea,2400,published\n"


@pytest.fixture
def clerk(api: Api) -> User:
    return api.user("catalog:write", "inventory:read", "inventory:write")


async def send(user: User, body: str | bytes, *, key: str | None = None, media_type: str = CSV) -> Any:
    headers = user.headers() | {"Idempotency-Key": key or new_id(), "Content-Type": media_type}
    content = body.encode() if isinstance(body, str) else body
    return await user.client.post(IMPORTS, content=content, headers=headers)


async def taken(api: Api, user: User, body: str | bytes, **how: Any) -> Doc:
    """The import once a worker has done it."""
    answer = await send(user, body, **how)
    assert answer.status_code == 202, answer.text
    await api.shop.work(answer.json()["id"])
    found = await user.get(answer.json()["links"]["import"])
    assert found.status_code == 200, found.text
    return dict(found.json())


async def refused(user: User, import_id: str) -> list[Doc]:
    answer = await user.get(f"{IMPORTS}/{import_id}/refused")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(NDJSON)
    return [json.loads(line) for line in answer.text.splitlines()]


async def exported(api: Api, user: User, **wanted: Any) -> str:
    answer = await user.post(EXPORTS, wanted)
    assert answer.status_code == 202, answer.text
    await api.shop.work(answer.json()["id"])
    file = await user.get(f"{EXPORTS}/{answer.json()['id']}/file")
    assert file.status_code == 200, file.text
    return str(file.text)


async def test_a_file_becomes_products_that_are_shown_and_have_a_stock(api: Api, clerk: User) -> None:
    done = await taken(api, clerk, TEA)
    expected = {"state": "succeeded", "rows": 2, "created": 2, "updated": 0, "unchanged": 0, "refused": 0}
    assert done.items() >= expected.items()
    assert (await api.client.get("/v1/products/chai")).json()["price"]["amount"] == 1800
    assert (await clerk.get("/v1/inventory/SENCHA")).json()["available"] == 0


async def test_the_same_file_twice_changes_nothing_the_second_time(api: Api, clerk: User) -> None:
    await taken(api, clerk, TEA)
    before = (await api.client.get("/v1/products/chai")).json()
    assert (await taken(api, clerk, TEA))["unchanged"] == 2
    assert (await api.client.get("/v1/products/chai")).json() == before


async def test_a_row_edits_what_is_there_and_keeps_the_old_price_in_the_history(
    api: Api, clerk: User
) -> None:
    await taken(api, clerk, TEA)
    done = await taken(api, clerk, "sku,price\nCHAI,1999\n")
    assert (done["updated"], done["rows"]) == (1, 1)
    history = (await clerk.get("/v1/products/chai/variants/CHAI/prices")).json()
    assert "1800" in str(history)


async def test_wrong_rows_are_reported_with_their_lines_and_the_right_ones_taken(
    api: Api, clerk: User
) -> None:
    done = await taken(api, clerk, TEA + "BAD,,Tea,1,published\nWORSE,Worse,Tea,many,published\n")
    assert (done["state"], done["created"], done["refused"]) == ("succeeded", 2, 2)
    report = await refused(clerk, done["id"])
    assert [(row["line"], row["sku"], row["code"]) for row in report] == [
        (4, "BAD", "invalid"),
        (5, None, "unreadable_cell"),
    ]


async def test_ndjson_makes_variants_of_one_product(api: Api, clerk: User) -> None:
    rows = [
        {
            "sku": f"TS-{size}", "product": "t-shirt", "name": "T-shirt", "category": "Shirts",
            "price": {"amount": 1999}, "options": {"size": size}, "status": "published", "type": "clothing",
            "attributes": {"fabric": [{"name": "cotton", "percent": 100}]},
        }
        for size in ("S", "M", "L")
    ]  # fmt: skip
    done = await taken(api, clerk, "".join(f"{json.dumps(row)}\n" for row in rows), media_type=NDJSON)
    assert done["created"] == 3
    shirt = (await api.client.get("/v1/products/t-shirt")).json()
    assert [variant["sku"] for variant in shirt["variants"]] == ["TS-S", "TS-M", "TS-L"]


@pytest.mark.parametrize("form", ["csv", "ndjson"])
async def test_an_export_read_back_changes_nothing(api: Api, clerk: User, form: str) -> None:
    await taken(api, clerk, TEA)
    text = await exported(api, clerk, form=form)
    done = await taken(api, clerk, text, media_type=CSV if form == "csv" else NDJSON)
    assert (done["unchanged"], done["rows"], done["refused"]) == (2, 2, 0)


async def test_an_export_has_what_was_asked_for(api: Api, clerk: User) -> None:
    await taken(api, clerk, TEA + "DRAFT,Draft,Tea,1,draft\nCUP,Cup,Cups,1,published\n")
    text = await exported(api, clerk, form="ndjson", status="published", category="Tea")
    assert [json.loads(line)["sku"] for line in text.splitlines()] == ["CHAI", "SENCHA"]


async def test_a_file_without_the_form_fails_and_says_where(api: Api, clerk: User) -> None:
    done = await taken(api, clerk, "sku,colour\nA,red\n")
    assert (done["state"], done["rows"]) == ("failed", 0)
    assert done["error"]["code"] == "unreadable_file"
    assert done["error"]["detail"]["line"] == 1


async def test_an_import_with_too_many_wrong_rows_is_given_up(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "CHUNK", 10)
    few = settings.catalog.model_copy(update={"max_refused": 15})
    async with open_api(settings.model_copy(update={"catalog": few})) as api:
        clerk = api.user("catalog:write")
        done = await taken(api, clerk, HEAD + "BAD,,Tea,1,published\n" * 40)
    assert (done["state"], done["error"]["code"]) == ("failed", "too_many_errors")
    assert done["refused"] == 20


async def test_the_end_of_an_import_is_an_event(api: Api, clerk: User) -> None:
    done = await taken(api, clerk, TEA)
    (event,) = await api.services.events.after(clerk.id, 0, limit=10)
    assert (event["type"], event["subject"], event["data"]["created"]) == ("import.finished", done["id"], 2)


async def test_the_same_key_and_file_are_one_import(
    api: Api, clerk: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored: list[str] = []
    put = api.services.objects.put

    async def noted(key: str, *args: Any, **how: Any) -> int:
        stored.append(key)
        return await put(key, *args, **how)

    monkeypatch.setattr(api.services.objects, "put", noted)
    first = await send(clerk, TEA, key="monday")
    again = await send(clerk, TEA, key="monday")
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["idempotent-replayed"] == "true"
    other = await send(clerk, TEA + "X,X,Tea,1,draft\n", key="monday")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    # The other file did not take the first one's place, and is not kept.
    assert len(set(stored)) == 2
    assert [await api.services.objects.size(each) for each in stored] == [len(TEA), len(TEA), None]
    await api.shop.work(first.json()["id"])
    assert (await clerk.get(f"{IMPORTS}/{first.json()['id']}")).json()["rows"] == 2


async def test_a_run_that_was_cut_short_goes_on_and_counts_each_row_once(
    api: Api, clerk: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "CHUNK", 3)
    monkeypatch.setattr(imports, "SLICE", 0.0)
    text = HEAD + "".join(f"S{number},Tea {number},Tea,{number},draft\n" for number in range(1, 11))
    answer = (await send(clerk, text)).json()
    runs = 0
    while (job := await api.shop.work(answer["id"]))["state"] == "queued":
        runs += 1
        assert runs < 10
    assert job["state"] == "succeeded"
    found = (await clerk.get(f"{IMPORTS}/{answer['id']}")).json()
    assert (found["rows"], found["created"], found["unchanged"]) == (10, 10, 0)
    assert runs > 1


async def test_two_imports_of_the_same_new_products_at_once_make_each_once(
    api: Api, clerk: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "CHUNK", 5)
    text = HEAD + "".join(f"S{number},Tea {number},Tea,{number},published\n" for number in range(1, 21))
    ids = [(await send(clerk, text)).json()["id"] for _ in range(2)]
    await asyncio.gather(*(api.shop.work(each) for each in ids))
    found = [(await clerk.get(f"{IMPORTS}/{each}")).json() for each in ids]
    assert sum(each["created"] for each in found) == 20
    assert sum(each["unchanged"] for each in found) == 20
    assert [each["refused"] for each in found] == [0, 0]
    listed = (await api.client.get("/v1/products?limit=100")).json()["products"]
    assert len(listed) == 20


@pytest.mark.parametrize(
    ("body", "media_type", "status", "code"),
    [
        (b"", CSV, 422, "invalid"),
        (b"sku\nA\n", "application/json", 415, "unsupported_media_type"),
        (b"sku\nA\n", "multipart/form-data", 415, "unsupported_media_type"),
        (b"sku\nA\n", "text/csv; charset=iso-8859-1", 415, "unsupported_media_type"),
        (b"", 'text/csv; header=present; charset="UTF-8"', 422, "invalid"),
    ],
)
async def test_what_is_no_file_is_refused(clerk: User, body, media_type, status, code) -> None:
    answer = await send(clerk, body, media_type=media_type)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_file_past_the_limit_is_refused_whether_announced_or_not(settings: Settings) -> None:
    small = settings.catalog.model_copy(update={"max_import_bytes": 2000})
    async with open_api(settings.model_copy(update={"catalog": small})) as api:
        clerk = api.user("catalog:write")

        async def parts() -> AsyncIterator[bytes]:
            for _ in range(30):
                yield b"x" * 100

        headers = clerk.headers() | {"Idempotency-Key": new_id(), "Content-Type": CSV}
        for content in (b"x" * 3000, parts()):
            answer = await api.client.post(IMPORTS, content=content, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


async def test_an_import_needs_the_scope_and_is_its_owners(api: Api, clerk: User) -> None:
    assert (await send(api.user(), TEA)).status_code == 403
    done = await taken(api, clerk, TEA)
    other, ops = api.user("catalog:write"), api.user("catalog:write", "ops:read")
    for path in (f"{IMPORTS}/{done['id']}", f"{IMPORTS}/{done['id']}/refused"):
        assert (await other.get(path)).status_code == 404
        assert (await ops.get(path)).status_code == 200
        assert (await api.user().get(path)).status_code == 403
    assert (await clerk.get(f"{IMPORTS}/{new_id()}")).status_code == 404
    assert (await clerk.get(f"{EXPORTS}/{done['id']}")).status_code == 404


async def test_a_file_that_is_not_written_yet_is_not_ready(api: Api, clerk: User) -> None:
    export_id = (await clerk.post(EXPORTS, {})).json()["id"]
    answer = await clerk.get(f"{EXPORTS}/{export_id}/file")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_ready")
    assert (await clerk.get(f"{EXPORTS}/{export_id}")).json()["state"] == "queued"


async def test_files_and_reports_are_deleted_when_their_time_is_over(api: Api, clerk: User) -> None:
    done = await taken(api, clerk, TEA + "BAD,,Tea,1,published\n")
    await exported(api, clerk)
    transfers = api.services.transfers
    assert await transfers.sweep() == 0
    keep = api.services.settings.catalog.keep_files
    rows = await api.services.database["product_transfers"].find().to_list()
    for row in rows:
        over = {"finished_at": row["finished_at"] - keep - timedelta(seconds=1)}
        await api.services.database["product_transfers"].update_one({"_id": row["_id"]}, {"$set": over})
    assert await transfers.sweep() == 2
    assert [await api.services.objects.size(row["file"]) for row in rows] == [None, None]
    assert await refused(clerk, done["id"]) == []
    assert await transfers.sweep() == 0


# -- what goes wrong on the way -----------------------------------------------------------------------


async def test_an_import_and_an_export_wait_for_the_object_store(
    api: Api, clerk: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_id = (await send(clerk, TEA)).json()["id"]
    export_id = (await clerk.post(EXPORTS, {})).json()["id"]

    def away(*_: object, **__: object) -> None:
        raise ServiceAway(service="S3", reason="away")

    with monkeypatch.context() as patch:
        for name in ("open", "put"):
            patch.setattr(api.services.objects, name, away)
        for job_id in (import_id, export_id):
            assert (await api.shop.work(job_id))["state"] == "queued"
        answer = await send(clerk, TEA)
        assert (answer.status_code, answer.json()["code"]) == (503, "service_away")
    for job_id in (import_id, export_id):
        assert (await api.shop.work(job_id))["state"] == "succeeded"
    assert (await clerk.get(f"{IMPORTS}/{import_id}")).json()["created"] == 2


async def test_an_import_whose_file_is_gone_fails_and_can_be_replayed(api: Api, clerk: User) -> None:
    import_id = (await send(clerk, TEA)).json()["id"]
    file = (await api.shop.job(import_id))["payload"]["file"]
    await api.services.objects.delete([file])
    assert (await api.shop.work(import_id))["error"]["code"] == "unreadable_file"
    assert (await api.user("ops:write").post(f"/v1/ops/jobs/{import_id}/replay")).status_code == 200

    async def again() -> AsyncIterator[bytes]:
        yield TEA.encode()

    await api.services.objects.put(file, again(), content_type=CSV)
    assert (await api.shop.work(import_id))["state"] == "succeeded"
    assert (await clerk.get(f"{IMPORTS}/{import_id}")).json()["created"] == 2


async def test_a_worker_that_went_after_the_import_failed_ends_the_job_in_the_same_way(
    api: Api, clerk: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_id = (await send(clerk, TEA + "A,B\n")).json()["id"]
    await api.services.database["jobs"].update_one({"_id": import_id}, {"$set": {"payload.form": "ndjson"}})
    limited = api.services.settings.catalog.model_copy(update={"max_refused": 0})
    monkeypatch.setattr(api.services.imports, "_settings", limited)

    async def gone(*_: object) -> bool:
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(api.services.runs, "fail", gone)
        with pytest.raises(asyncio.CancelledError):
            await api.shop.work(import_id)
    queued = {"$set": {"state": "queued"}}
    await api.services.database["jobs"].update_one({"_id": import_id}, queued)
    job = await api.shop.work(import_id)
    assert (job["state"], job["error"]["code"]) == ("failed", "too_many_errors")


async def test_a_run_that_lost_its_lease_counts_nothing(
    api: Api, clerk: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "CHUNK", 3)
    text = HEAD + "".join(f"S{number},Tea {number},Tea,{number},draft\n" for number in range(1, 13))
    import_id = (await send(clerk, text)).json()["id"]
    job = await api.services.runs.claim(import_id, kind=ImportProducts.kind)
    assert job is not None
    command = ImportProducts.model_validate(job.payload)
    runs = await asyncio.gather(
        *(api.services.imports.run(command, job) for _ in range(3)), return_exceptions=True
    )
    assert {type(each) for each in runs} <= {dict, TryAgain}
    done = await api.services.imports.run(command, job)
    assert done == {"rows": 12, "created": 12, "updated": 0, "unchanged": 0, "refused": 0}
    finished = [event["type"] for event in await api.services.events.after(clerk.id, 0, limit=10)]
    assert finished == ["import.finished"]


async def test_an_export_leaves_out_what_is_not_wanted_any_more(
    api: Api, clerk: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    await taken(api, clerk, TEA)
    read = Exports._page

    async def late(self: Exports, *args: Any) -> list[Doc]:
        for path, status in (("chai", "archived"), ("sencha", "published")):
            edit = {"status": status, "description": "New"}
            assert (await clerk.patch(f"/v1/products/{path}", edit, tag="*")).status_code == 200
        return await read(self, *args)

    monkeypatch.setattr(Exports, "_page", late)
    (row,) = [
        json.loads(line)
        for line in (await exported(api, clerk, form="ndjson", status="published")).splitlines()
    ]
    assert (row["sku"], row["description"]) == ("SENCHA", "New")


async def test_the_file_of_an_import_that_was_cancelled_is_deleted_in_time(api: Api, clerk: User) -> None:
    cancelled, waiting = [(await send(clerk, TEA)).json()["id"] for _ in range(2)]
    files = [(await api.shop.job(each))["payload"]["file"] for each in (cancelled, waiting)]
    assert (await clerk.post(f"/v1/jobs/{cancelled}/cancel")).status_code == 200
    transfers = api.services.transfers
    assert await transfers.sweep() == 0
    long_ago = api.services.clock() - api.services.settings.catalog.keep_files - timedelta(seconds=1)
    for each in (cancelled, waiting):
        begun = {"$set": {"started_at": long_ago}}
        await api.services.database["product_transfers"].update_one({"_id": each}, begun)
    assert await transfers.sweep() == 1
    assert [await api.services.objects.size(each) for each in files] == [None, len(TEA)]
    await api.shop.work(waiting)
    assert (await clerk.get(f"{IMPORTS}/{waiting}")).json()["created"] == 2


async def test_an_import_that_is_killed_anywhere_counts_what_it_made_as_made(
    api: Api, clerk: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "CHUNK", 2)
    text = HEAD + "".join(f"S{number},Tea {number},Tea,{number},draft\n" for number in range(1, 13)) + "bad\n"
    import_id = (await send(clerk, text)).json()["id"]
    commit, left = Changes.commit, [3]

    async def killed(self: Changes, *args: Any, **how: Any) -> None:
        """After every third transaction of products, before it is known."""
        await commit(self, *args, **how)
        left[0] -= "products" in self.inserts
        if left[0] == 0:
            left[0] = 3
            raise asyncio.CancelledError

    kills = 0
    with monkeypatch.context() as patch:
        patch.setattr(Changes, "commit", killed)
        while True:
            try:
                await api.shop.work(import_id)
                break
            except asyncio.CancelledError:
                kills += 1
            queued = {"$set": {"state": "queued"}}
            await api.services.database["jobs"].update_one({"_id": import_id}, queued)
    assert kills == 2
    found = (await clerk.get(f"{IMPORTS}/{import_id}")).json()
    assert (found["rows"], found["created"], found["unchanged"], found["refused"]) == (13, 12, 0, 1)
    assert [row["line"] for row in await refused(clerk, import_id)] == [14]
    events = [event["type"] for event in await api.services.events.after(clerk.id, 0, limit=10)]
    assert events == ["import.finished"]


@LABELS
async def test_rows_whose_commit_went_unanswered_are_counted_once(api: Api, clerk: User, label: str) -> None:
    text = TEA + "BAD,,Tea,1,draft\n"
    await taken(api, clerk, text)
    import_id = (await send(clerk, text)).json()["id"]
    with commit_whose_answer_is_lost(label):
        await api.shop.work(import_id)
    found = (await clerk.get(f"{IMPORTS}/{import_id}")).json()
    assert (found["state"], found["unchanged"], found["refused"]) == ("succeeded", 2, 1)
