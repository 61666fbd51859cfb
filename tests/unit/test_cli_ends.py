"""However a command ends, it is one line on standard error, a stated code, and with `--json` an object."""

import json
from typing import Any

import pytest
from pymongo.errors import AutoReconnect, OperationFailure
from typer.testing import CliRunner, Result

from domain.errors import NotFound, ServiceAway, TryAgain
from ops.cli import shared
from ops.cli.main import app
from tests.unit.test_cli_page import COMMANDS

#: What commands need to get as far as to their work.
ARGUMENTS = {
    "accounts create-ops": ("a@example.com", "--password-stdin"),
    "accounts grant": ("a@example.com", "orders:read"),
    "autoscale": ("--pool", "orders=1..2"),
    "dead discard": ("--kind", "orders.pay", "--yes"),
    "dead replay": ("--kind", "orders.pay", "--yes"),
    "queues delete": ("--version", "1", "--yes"),
    "repair": ("take_back", "x"),
}
#: Commands that open no services, or others than the rest.
OTHERS = {"backup create", "backup list", "backup restore", "config check", "stack env"}


def arguments(name: str) -> tuple[str, ...]:
    positional = [each for each in COMMANDS[name].params if each.param_type_name == "argument"]
    return (*name.split(), *ARGUMENTS.get(name, tuple("x" for _ in positional)))


@pytest.fixture
def raising(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Has services fail as they are opened."""

    def fail(error: BaseException) -> None:
        class Fails:
            def __init__(self, _settings: object) -> None:
                pass

            async def __aenter__(self) -> None:
                raise error

            async def __aexit__(self, *_: object) -> None:
                pass

        monkeypatch.setattr(shared, "open_services", Fails)

    return fail


def run(*words: str) -> Result:
    return CliRunner().invoke(app, words, input="correct horse battery\n")


def told(found: Result) -> dict[str, str]:
    """The one object on standard output."""
    error: dict[str, str] = json.loads(found.stdout)["error"]
    assert set(error) == {"code", "message"}
    return error


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - OTHERS))
def test_a_service_that_is_away_is_one_line_and_one_object(name: str, raising: Any):
    raising(ServiceAway(service="MongoDB", reason="nobody listens"))
    found = run(*arguments(name))
    assert (found.exit_code, found.stdout) == (1, ""), found.output
    assert found.stderr == "stockyard: MongoDB is away: nobody listens\n"
    found = run(*arguments(name), "--json")
    assert (found.exit_code, found.stderr.count("\n")) == (1, 1)
    assert told(found) == {"code": "service_away", "message": "MongoDB is away: nobody listens"}


@pytest.mark.parametrize(
    ("error", "code", "kind", "says"),
    [
        (AutoReconnect("db:1: closed\nand so on"), 1, "unavailable", "MongoDB is away: db:1: closed"),
        (OperationFailure("no room"), 1, "unavailable", "MongoDB failed: no room"),
        (TimeoutError("it took too long"), 1, "unavailable", "it took too long"),
        (TryAgain("others were first"), 1, "busy", "others were first; try again"),
        (NotFound(job="x\x1b[2J"), 1, "not_found", "There is no such thing. (job='x\\x1b[2J')"),
        (OverflowError("date value out of range"), 2, "usage", "a time is out of all range"),
        (KeyboardInterrupt(), 130, "interrupted", "interrupted; what it had begun may have been done"),
    ],
    ids=["lost", "refused", "slow", "busy", "unknown", "range", "ctrl-c"],
)  # fmt: skip
def test_what_happens_in_the_middle_has_its_code(
    error: BaseException, code: int, kind: str, says: str, raising: Any
):
    raising(error)
    found = run("jobs", "show", "x", "--json")
    assert (found.exit_code, found.stderr) == (code, f"stockyard: {says}\n")
    assert told(found) == {"code": kind, "message": says}


def test_what_nobody_foresaw_keeps_its_traceback(raising: Any):
    raising(ZeroDivisionError())
    assert isinstance(run("jobs", "list").exception, ZeroDivisionError)


@pytest.mark.parametrize(
    "words",
    [
        ("jobs", "show"),
        ("jobs", "list", "--state", "tired"),
        ("jobs", "list", "--since", "2026"),
        ("jobs", "list", "--since", "yesterday"),
        ("jobs", "list", "--until", "2026-11-22T10:00:00"),
        ("jobs", "list", "--since", "999999d"),
        ("jobs", "show", "\udcff"),
        ("dead", "replay"),
        ("pray",),
    ],
    ids=["argument", "state", "number", "word", "zone", "long-ago", "bytes", "which", "command"],
)
def test_wrong_usage_is_an_object_too(words: tuple[str, ...]):
    found = run(*words, "--json")
    assert found.exit_code == 2
    assert told(found)["code"] == "usage"
