"""`stockyard pools` and `stockyard top`, in this process."""

import json

import pytest
from typer.testing import CliRunner, Result

from domain.settings import Settings
from domain.values import utcnow
from ops.books import store
from ops.cli.main import app


@pytest.fixture
def waiting(settings: Settings) -> None:
    """A job that nobody has sent."""
    with store(settings.mongo.url, settings.mongo.database) as database:
        database["jobs"].insert_one(
            {
                "_id": "j", "kind": "media.render", "pool": "media", "state": "queued", "owner": "ada",
                "key": "k", "created_at": utcnow(), "not_before": utcnow(), "dispatched_at": None,
            }
        )  # fmt: skip


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_pools_are_shown_with_what_needs_attention_in_words(waiting: None):
    found = run("pools")
    assert found.exit_code == 0
    head, *rows = found.stdout.splitlines()
    assert head.split()[:3] == ["pool", "waiting", "oldest"]
    (media,) = (row for row in rows if row.startswith("media "))
    assert media.split()[1] == "1"
    assert rows[-1] == "`media` has no worker and 1 job waiting; start 1"
    told = json.loads(run("pools", "--json").stdout)
    (media,) = (each for each in told["pools"] if each["pool"] == "media")
    assert (media["depth"], media["recommended_workers"], media["drain_seconds"]) == (1, 1, None)


def test_top_looks_as_often_as_it_is_told_to(waiting: None):
    lines = run("top", "--times", "2", "--every", "0.5", "--json").stdout.splitlines()
    assert [set(json.loads(line)) for line in lines] == [{"at", "pools"}] * 2
    live = run("top", "--times", "1")
    assert live.exit_code == 0
    assert "`media` has no worker and 1 job waiting; start 1" in live.stdout


@pytest.mark.parametrize("options", [("--every", "0"), ("--times", "-1"), ("--pool", "x")])
def test_what_makes_no_sense_is_wrong_usage(options: tuple[str, ...]):
    assert run("top", *options).exit_code == 2


def test_a_store_that_is_away_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STOCKYARD_MONGO_URL", "mongodb://127.0.0.1:1/?replicaSet=none")
    monkeypatch.setenv("STOCKYARD_MONGO_TIMEOUT", "500ms")
    monkeypatch.setenv("STOCKYARD_MONGO_AWAY_AFTER", "200ms")
    found = run("pools")
    assert (found.exit_code, found.stdout) == (1, "")
    assert found.stderr.startswith("stockyard: MongoDB is away")
    assert found.stderr.count("\n") == 1
