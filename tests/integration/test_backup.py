"""`stockyard backup`: what is taken is of one moment, whole, and put back as it was, or not at all."""

import asyncio
import errno
import gzip
import json
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from bson import BSON
from typer.testing import CliRunner, Result

from domain.adapters.s3 import S3ObjectStore
from domain.bootstrap import open_services
from domain.inventory.models import STOCK
from domain.orders.models import ORDERS
from domain.settings import Settings
from domain.values import new_id
from ops import books
from ops.backup import BackupError, create, restore, run, taken
from ops.backup.documents import documents_of, moment, opened
from ops.backup.objects import Objects
from ops.cli.main import app
from tests.factories import Shop

Elsewhere = Callable[[], Settings]


@pytest.fixture
def here(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A shop with two orders, and a bucket of its own with two objects."""
    monkeypatch.setenv("STOCKYARD_S3_BUCKET", f"bucket-{new_id()}")
    asyncio.run(_fill(Settings()))
    return Settings()


@pytest.fixture
def elsewhere(here: Settings, monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    """Has the environment name a database and a bucket that have nothing."""

    def move() -> Settings:
        monkeypatch.setenv("STOCKYARD_MONGO_DATABASE", f"{here.mongo.database}-{new_id()[-6:]}")
        monkeypatch.setenv("STOCKYARD_S3_BUCKET", f"bucket-{new_id()}")
        return Settings()

    return move


async def _fill(settings: Settings) -> None:
    objects = S3ObjectStore(settings.s3)
    await objects.put("media/a.png", _bytes(b"a" * 1000), content_type="image/png", cache_control="no-cache")
    await objects.put("exports/b c.csv", _bytes(b"b"), content_type="text/csv")
    objects.close()
    async with open_services(settings) as services:
        shop = Shop(services)
        await shop.stock(CHAI=10)
        await shop.place(CHAI=2)
        await shop.place(CHAI=99)


async def _bytes(body: bytes) -> AsyncIterator[bytes]:
    yield body


def quiet(_what: str) -> None:
    """Says nothing."""


def rows(settings: Settings, name: str) -> list[dict[str, Any]]:
    with opened(settings.mongo.url, settings.mongo.database) as database:
        return list(database[name].find().sort("_id"))


async def content(settings: Settings, key: str) -> bytes:
    objects = S3ObjectStore(settings.s3)
    async with objects.open(key) as chunks:
        found = b"".join([chunk async for chunk in chunks])
    objects.close()
    return found


def stockyard(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["backup", *arguments])


def test_all_comes_back_as_it_was(here: Settings, elsewhere: Elsewhere, tmp_path: Path):
    made = stockyard("create", str(tmp_path), "--json")
    assert made.exit_code == 0, made.output
    told = json.loads(made.stdout)
    assert told["documents"][ORDERS]["count"] == 2
    assert told["objects"]["count"] == 2
    assert "processes" not in told["documents"]
    there = elsewhere()
    done = stockyard("restore", str(tmp_path), "--yes", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["objects"] == 2
    for name in told["documents"]:
        if name != "signing_keys":
            assert rows(there, name) == rows(here, name), name
    with opened(there.mongo.url, there.mongo.database) as database:
        assert books.oversold(database) == []
        assert "by_key" in database["jobs"].index_information()
    assert asyncio.run(content(there, "media/a.png")) == b"a" * 1000
    assert asyncio.run(content(there, "exports/b c.csv")) == b"b"
    listed = stockyard("list", str(tmp_path), "--json")
    assert [each["backup"] for each in json.loads(listed.stdout)["backups"]] == [told["backup"]]


def test_a_second_backup_copies_only_what_is_new(here: Settings, tmp_path: Path):
    create(here, tmp_path, say=quiet)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "objects").rglob("*") if path.is_file()}
    assert len(before) == 2
    asyncio.run(_put_another(here))
    _, second = create(here, tmp_path, say=quiet)
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "objects").rglob("*") if path.is_file()}
    assert second.objects is not None
    assert second.objects.count == len(after) == 3
    assert before.items() <= after.items()
    assert [manifest.format for _, manifest in taken(tmp_path)] == [1, 1]


async def _put_another(settings: Settings) -> None:
    objects = S3ObjectStore(settings.s3)
    await objects.put("c", _bytes(b"c"), content_type="text/plain")
    objects.close()


def test_a_restore_overwrites_nothing(here: Settings, tmp_path: Path):
    create(here, tmp_path, objects=False, say=quiet)
    before = rows(here, STOCK)
    refused = stockyard("restore", str(tmp_path), "--yes")
    assert refused.exit_code == 1
    assert "is not empty" in refused.output
    assert rows(here, STOCK) == before
    assert stockyard("restore", str(tmp_path)).exit_code == 2


def change(path: Path) -> None:
    """Another byte, and as many."""
    path.write_bytes(path.read_bytes()[:-1] + b"x")


def copied(backup: Path) -> Path:
    """The bytes of an object."""
    return next(path for path in (backup.parent / "objects").rglob("*") if path.is_file())


def rewrite(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


#: What can be wrong with a backup.
DAMAGE: dict[str, Callable[[Path], None]] = {
    "a changed file": lambda backup: change(backup / "store" / "stock.bson.gz"),
    "a lost file": lambda backup: (backup / "store" / "stock.bson.gz").unlink(),
    "a changed object": lambda backup: change(copied(backup)),
    "a lost object": lambda backup: copied(backup).unlink(),
    "no manifest": lambda backup: (backup / "manifest.json").unlink(),
    "half a manifest": lambda backup: rewrite(backup / "manifest.json", "}", ""),
    "a newer layout": lambda backup: rewrite(backup / "manifest.json", '"format": 1', '"format": 2'),
    "another manifest": lambda backup: rewrite(backup / "manifest.json", '"vanished"', '"gone"'),
}


def test_a_backup_that_is_not_whole_is_refused_before_anything_is_written(
    here: Settings, elsewhere: Elsewhere, tmp_path: Path
):
    name, _ = create(here, tmp_path / "whole", say=quiet)
    there = elsewhere()
    for what, damage in DAMAGE.items():
        folder = tmp_path / what
        shutil.copytree(tmp_path / "whole", folder)
        damage(folder / name)
        with pytest.raises(BackupError) as refused:
            restore(there, folder, say=quiet)
        assert "\n" not in str(refused.value), what
    with opened(there.mongo.url, there.mongo.database) as database:
        assert database.list_collection_names() == []


def test_a_backup_and_a_restore_that_break_off_say_so(
    here: Settings, elsewhere: Elsewhere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def away(*_: object) -> None:
        raise EndpointConnectionError(endpoint_url="http://s3")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Objects, "listing", away)
        with pytest.raises(BackupError, match="http://s3"):
            create(here, tmp_path, say=quiet)
    assert list(tmp_path.iterdir()) == []
    with monkeypatch.context() as patched:
        patched.setattr(run, "write_manifest", full)
        with pytest.raises(BackupError, match="No space left"):
            create(here, tmp_path, say=quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["objects"]
    create(here, tmp_path, say=quiet)
    there = elsewhere()
    for step, said in (("prepare", r"http://s3\"$"), ("load", "has a part of the backup by now: empty it")):
        with monkeypatch.context() as patched:
            patched.setattr(Objects, step, away)
            with pytest.raises(BackupError, match=said):
                restore(there, tmp_path, say=quiet)
        assert bool(rows(there, STOCK)) == (step == "load")
    with pytest.raises(BackupError, match="is not empty"):
        restore(there, tmp_path, say=quiet)


def test_what_is_read_is_of_one_moment(here: Settings):
    with opened(here.mongo.url, here.mongo.database) as database:
        with moment(database) as (session, how):
            first = database[STOCK].find_one({}, session=session)
            assert first is not None
            database[STOCK].update_one({"_id": first["_id"]}, {"$inc": {"available": 1}})
            database[ORDERS].insert_one({"_id": "later"})
            assert database[STOCK].find_one({"_id": first["_id"]}, session=session) == first
            assert database[ORDERS].find_one({"_id": "later"}, session=session) is None
        assert how in {"snapshot", "transaction"}
        assert database[ORDERS].find_one({"_id": "later"}) is not None


def test_a_file_that_ends_in_the_middle_of_a_document_is_damaged(tmp_path: Path):
    path = tmp_path / "a.bson.gz"
    path.write_bytes(gzip.compress(BSON.encode({"_id": 1}) + BSON.encode({"_id": 2})[:-2]))
    with pytest.raises(BackupError, match="damaged"):
        list(documents_of(path))


def test_a_store_that_is_away_is_one_line(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("ops.backup.documents.PATIENCE", 0.2)
    nobody = settings.mongo.model_copy(update={"url": "mongodb://127.0.0.1:9/?directConnection=true"})
    away = settings.model_copy(update={"mongo": nobody})
    with pytest.raises(BackupError) as caught:
        create(away, tmp_path, say=quiet)
    assert "\n" not in str(caught.value)
    assert taken(tmp_path) == []
