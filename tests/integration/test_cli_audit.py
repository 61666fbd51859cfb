"""`stockyard audit`, in this process."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pymongo.database import Database
from typer.testing import CliRunner, Result

from domain.inventory import stock
from domain.settings import Settings
from domain.values import utcnow
from ops.books import store
from ops.cli.main import app


@pytest.fixture
def books(settings: Settings) -> Iterator[Database[dict[str, Any]]]:
    """A store with one stock that is right."""
    with store(settings.mongo.url, settings.mongo.database) as database:
        database["stock"].insert_one(stock.empty("A", low_at=None) | {"available": 3})
        database["stock_movements"].insert_one(
            {
                "_id": "m",
                "stock_id": "main:A",
                "quantity": 3,
                "kind": "receipt",
                "reason": "x",
                "actor": "x",
                "at": utcnow(),
            }
        )
        yield database


def audit(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["audit", *arguments])


def test_it_says_that_all_is_well_or_what_differs_and_repairs_it_only_when_told_to(
    books: Database[dict[str, Any]],
):
    fine = audit()
    assert (fine.exit_code, fine.stdout) == (0, "1 stocks, 0 differ\n")
    books["stock"].update_one({"_id": "main:A"}, {"$inc": {"reserved": 2}})
    found = audit("--sku", "A")
    assert found.exit_code == 1
    assert (
        "main:A  differs, never seen right\n    2 units are reserved, and no hold keeps any" in found.stdout
    )
    assert (books["stock"].find_one({}) or {})["reserved"] == 2
    unsaid = audit("--repair")
    assert (unsaid.exit_code, unsaid.stderr) == (2, "stockyard: a repair needs a --reason\n")
    done = audit("--repair", "--reason", "ticket 1", "--json")
    assert done.exit_code == 0
    (finding,) = json.loads(done.stdout)["findings"]
    assert (finding["stock"], finding["reserved"], finding["repaired"]) == ("main:A", 2, True)
    assert (books["stock"].find_one({}) or {})["reserved"] == 0
    noted = books["stock_movements"].find_one({"kind": "repair"}) or {}
    assert (noted["actor"], noted["reason"]) == ("stockyard audit", "ticket 1")
    assert audit().exit_code == 0
    unknown = audit("--sku", "GHOST")
    assert (unknown.exit_code, unknown.stderr.count("\n")) == (1, 1)
