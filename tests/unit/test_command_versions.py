"""Payloads in older forms and newer ones, and the names by which messages call them."""

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from domain.jobs import commands
from domain.jobs.acceptance import same_request
from domain.jobs.commands import Command, NewerPayload, plain_kind, versioned_kind
from domain.jobs.rules import fingerprint


@pytest.fixture
def letter() -> Iterator[type[Command]]:
    """A command whose payload has changed twice. Known while the test runs."""

    class Letter(Command):
        """Write to somebody."""

        kind = "test.letter"
        pool = "test"
        version = 3
        upgrades: ClassVar[dict[int, Any]] = {
            1: lambda payload: {"to": payload["name"]},
            2: lambda payload: {**payload, "copies": 1},
        }
        to: str
        copies: int

    yield Letter
    del commands._KINDS["test.letter"]


def test_an_older_payload_is_upgraded_step_by_step(letter: type[Any]):
    new = letter(to="Ada", copies=1)
    assert letter.load({"name": "Ada"}, version=1) == new
    assert letter.load({"to": "Ada"}, version=2) == new
    assert letter.load({"to": "Ada", "copies": 1}, version=3) == new


def test_a_newer_payload_is_not_guessed_at(letter: type[Any]):
    with pytest.raises(NewerPayload, match=r"test\.letter in version 4"):
        letter.load({"to": "Ada", "copies": 1}, version=4)


@pytest.mark.parametrize("upgrades", [{}, {1: dict}, {1: dict, 2: dict, 3: dict}])
def test_every_version_below_needs_its_upgrade(upgrades: dict[int, Any]):
    with pytest.raises(TypeError, match="is at version 3"):
        type(
            "Broken",
            (Command,),
            {
                "kind": "test.broken",
                "pool": "test",
                "version": 3,
                "upgrades": upgrades,
                "__module__": __name__,
            },
        )
    assert "test.broken" not in commands.kinds()


def test_the_first_version_is_called_by_its_kind_and_others_by_their_number():
    assert [versioned_kind("orders.place", version) for version in (1, 2)] == [
        "orders.place",
        "orders.place@2",
    ]
    assert {plain_kind(name) for name in ("orders.place", "orders.place@2")} == {"orders.place"}


def job(payload: dict[str, Any] | None, *, version: int) -> dict[str, Any]:
    return {"payload": payload, "version": version, "fingerprint": fingerprint(payload or {})}


@pytest.mark.parametrize(
    ("payload", "version", "same"),
    [
        pytest.param({"to": "Ada", "copies": 1}, 3, True, id="today's form"),
        pytest.param({"name": "Ada"}, 1, True, id="an older form of the same"),
        pytest.param({"name": "Bob"}, 1, False, id="an older form of another"),
        pytest.param({"to": "Ada", "copies": 2}, 3, False, id="another in today's form"),
        pytest.param({"to": 7, "copies": None}, 2, False, id="what cannot be read any more"),
        pytest.param({"whatever": 1}, 4, True, id="a newer form: one job either way"),
        pytest.param(None, 1, False, id="compacted away"),
    ],
)
def test_a_repeated_key_is_compared_in_the_newer_form(
    letter: type[Any], payload: dict[str, Any] | None, version: int, *, same: bool
):
    command = letter(to="Ada", copies=1)
    repeated = job(command.payload(), version=3)
    assert same_request(job(payload, version=version), repeated, command) is same
