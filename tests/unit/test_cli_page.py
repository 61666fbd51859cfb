"""docs/cli.md holds each command, what it is for, and its options, as `--help` has them."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from ops.cli import shared
from ops.cli.main import app

PAGE = (Path(__file__).parents[2] / "docs/cli.md").read_text(encoding="utf-8").partition("## All commands")[2]
#: Commands that run until they are stopped, or print lines for `.env`.
WITHOUT_JSON = {"autoscale"}


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield " ".join(path), command
        return
    for name, each in inner.items():
        yield from commands(each, (*path, name))


COMMANDS = dict(commands(typer.main.get_command(app)))


def row(name: str, command: Any) -> str:
    arguments = [str(each.name).upper() for each in command.params if each.param_type_name == "argument"]
    options = [f"`{max(each.opts, key=len)}`" for each in command.params if each.param_type_name == "option"]
    said = re.sub(r"\s+", " ", command.help or "").strip().replace("|", "\\|")
    return f"| `{' '.join(['stockyard', name, *arguments])}` | {said} | {' '.join(options)} |"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_command_is_on_the_page_as_help_has_it(name: str):
    assert row(name, COMMANDS[name]) in PAGE.splitlines()


def test_the_page_has_no_other_commands():
    listed = re.findall(r"^\| `stockyard ([a-z -]+?)(?: [A-Z_ ]+)?` \|", PAGE, re.MULTILINE)
    assert sorted(listed) == sorted(COMMANDS)


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - WITHOUT_JSON))
def test_every_command_can_print_json(name: str):
    assert any("--json" in each.opts for each in COMMANDS[name].params)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_is_printed_and_wrong_usage_ends_with_2(name: str):
    run = CliRunner()
    assert run.invoke(app, [*name.split(), "--help"]).exit_code == 0
    assert run.invoke(app, [*name.split(), "--no-such-option"]).exit_code == 2


if __name__ == "__main__":
    print("\n".join(row(name, command) for name, command in COMMANDS.items()))  # noqa: T201


def test_somebody_without_a_name_is_known_by_number(monkeypatch: pytest.MonkeyPatch):
    def nameless() -> str:
        raise KeyError("uid not found: 10001")

    monkeypatch.setattr("ops.cli.shared.getpass.getuser", nameless)
    assert shared.actor().id.startswith(f"cli:{os.getuid()}@")
