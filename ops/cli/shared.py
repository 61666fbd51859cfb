"""What the commands share: settings, services, and how they end."""

import asyncio
import getpass
import json
import os
import re
import socket
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from io import StringIO
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from domain.audit_log.models import Actor, Entry
from domain.bootstrap import Services, open_services
from domain.errors import DomainError, Invalid, ServiceAway
from domain.observe import configure_logging
from domain.settings import Log, Settings
from domain.startup import unreadable, unusable

Result = TypeVar("Result")

#: What cannot be done.
REFUSED = 1
#: What makes no sense.
USAGE = 2
#: Ctrl-C.
INTERRUPTED = 130

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Reason = Annotated[
    str | None, typer.Option("--reason", help="Why; kept in the audit log.", show_default=False)
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and change nothing.")]

#: The least width of tables: enough for ids and a sentence.
WIDTH = 200
#: What must not reach a terminal: it could steer it.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]+")

#: What people are told of input that is refused, by its reason.
_REASONS = {
    "email": "this is no email address",
    "weak_password": "a password has at least {min_length} characters",
    "guessable_password": "this password is easy to guess",
    "long_password": "a password has at most {max_length} characters",
    "unknown_scope": "there is no scope {scopes}",
}


class Ended(Exception):
    """Ends the command with one line, see `Root`."""

    def __init__(self, message: str, *, kind: str, exit_code: int) -> None:
        #: The `code` of the object that `--json` prints.
        self.kind = kind
        self.exit_code = exit_code
        super().__init__(message)


def with_services(work: Callable[[Services], Awaitable[Result]]) -> Result:
    """Runs the work with open services. What it raises ends the command, see `Root`."""
    configure_logging(Log(format="console", level="ERROR"))
    settings = read_settings()

    async def run() -> Result:
        async with open_services(settings) as services:
            return await work(services)

    return asyncio.run(run())


def read_settings() -> Settings:
    """The settings; ends the command where they are wrong."""
    try:
        settings = Settings()
    except ValueError as error:
        end("; ".join(unreadable(error)))
    wrong = list(unusable(settings))
    if wrong:
        end("; ".join(wrong))
    return settings


def sentence(error: DomainError) -> str:
    """What people are told of the error."""
    if isinstance(error, ServiceAway):
        return f"{error.detail.get('service')} is away: {error.detail.get('reason')}"
    if isinstance(error, Invalid) and error.detail.get("reason") in _REASONS:
        facts = {
            name: ", ".join(value) if isinstance(value, list) else value
            for name, value in error.detail.items()
        }
        return _REASONS[error.detail["reason"]].format(**facts)
    return str(error)


def show(result: Mapping[str, Any], text: str, *, as_json: bool) -> None:
    """Prints the result in the form that was asked for."""
    typer.echo(json.dumps(result) if as_json else text)


def actor() -> Actor:
    """Who acts, for the audit log: the user of this machine."""
    return Actor(f"cli:{_user()}@{socket.gethostname()}", "cli")


def _user() -> str:
    """The user's name; the number where there is no name, as in a container of any user's."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def entry(
    action: str, thing: str, thing_id: str, *, reason: str | None = None, before: dict[str, Any] | None = None
) -> Entry:
    """An entry of the audit log for what the command is about to do, see `AuditLog.acting`."""
    return Entry(actor(), action, thing, thing_id, reason=reason, before=before)


def confirm(question: str, *, yes: bool) -> None:
    """Asks, unless `yes`; ends the command on no, and where there is nobody to ask."""
    if yes:
        return
    if not sys.stdin.isatty():
        end("there is no terminal to ask: use --yes", code=USAGE)
    if not typer.confirm(question, err=True):
        end("nothing was done")


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None) -> str:
    """The rows as text in columns. None is shown as a dash; nothing in a cell steers the terminal."""
    shown = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in columns:
        shown.add_column(name, overflow="fold")
    for row in rows:
        shown.add_row(*(Text(plain(cell)) for cell in row))
    return rendered(shown)


def plain(cell: object) -> str:
    """One line of text."""
    return "-" if cell is None else _CONTROLS.sub(" ", str(cell))


def rendered(shown: object) -> str:
    """What Rich makes of it, with colours where standard output is a terminal.

    A narrow terminal wraps the lines itself: ids stay whole, to be copied.
    """
    terminal = sys.stdout.isatty()
    console = Console(file=StringIO(), force_terminal=terminal, width=WIDTH)
    if terminal:
        console.width = max(WIDTH, Console().width)
    with console.capture() as caught:
        console.print(shown)
    return "\n".join(line.rstrip() for line in caught.get().splitlines())


def end(message: str, *, code: int = REFUSED) -> NoReturn:
    """Ends the command with one line on standard error."""
    raise Ended(message, kind="usage" if code == USAGE else "refused", exit_code=code)
