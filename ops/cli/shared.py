"""What the commands share: settings, services, and how they end."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, NoReturn, TypeVar

import typer

from domain.bootstrap import Services, open_services
from domain.errors import DomainError, Invalid, ServiceAway
from domain.observe import configure_logging
from domain.settings import Log, Settings
from domain.startup import unreadable

Result = TypeVar("Result")

#: What cannot be done.
REFUSED = 1
#: What makes no sense.
USAGE = 2

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]

#: What people are told of input that is refused, by its reason.
_REASONS = {
    "email": "this is no email address",
    "weak_password": "a password has at least {min_length} characters",
    "guessable_password": "this password is easy to guess",
    "long_password": "a password has at most {max_length} characters",
    "unknown_scope": "there is no scope {scopes}",
}


def with_services(work: Callable[[Services], Awaitable[Result]]) -> Result:
    """Runs the work with open services; ends the command in one line where it is refused."""
    configure_logging(Log(format="console", level="ERROR"))
    settings = read_settings()

    async def run() -> Result:
        async with open_services(settings) as services:
            return await work(services)

    try:
        return asyncio.run(run())
    except DomainError as error:
        end(sentence(error))


def read_settings() -> Settings:
    """The settings; ends the command where they are wrong."""
    try:
        return Settings()
    except ValueError as error:
        end("; ".join(unreadable(error)))


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


def end(message: str, *, code: int = REFUSED) -> NoReturn:
    """Ends the command with one line on standard error."""
    typer.echo(f"stockyard: {message}", err=True)
    raise typer.Exit(code)
