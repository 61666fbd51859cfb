"""The root command: however a command ends, it says so in one line, and with `--json` in an object."""

import errno
import json
from collections.abc import Sequence
from typing import Any, NoReturn, TypeAlias

import typer
from pymongo.errors import PyMongoError
from typer.core import TyperGroup

from domain.changes import store_is_away
from domain.errors import DomainError, TryAgain
from ops.cli.shared import INTERRUPTED, REFUSED, USAGE, Ended, plain, sentence

#: Where the context keeps all arguments.
_ARGUMENTS = "ops.cli.arguments"
#: The longest that is told of a fault of the store's.
_LONGEST = 200


class Root(TyperGroup):
    """Ends commands. What nobody foresaw keeps its traceback; a closed pipe ends quietly with 1."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keeps the arguments: wrong usage is told in an object, too."""
        ctx.meta[_ARGUMENTS] = tuple(args)
        rest: list[str] = super().parse_args(ctx, args)
        return rest

    def invoke(self, ctx: Any) -> Any:
        """Runs the command. Raises typer.Exit with the stated code where it cannot be done."""
        try:
            _require_text(ctx.meta[_ARGUMENTS])
            return super().invoke(ctx)
        except (Exception, KeyboardInterrupt) as error:
            as_json, ending = "--json" in ctx.meta[_ARGUMENTS], _ending(error)
            if ending is not None:
                _end(*ending, as_json=as_json)
            if as_json and isinstance(error, typer.TyperException):
                typer.echo(_form("usage", str(error)))
            raise


#: The `code` of the object, the line, and the exit code.
_Ending: TypeAlias = tuple[str, str, int]


def _ending(error: BaseException) -> _Ending | None:
    """How the command ends by this; None where Typer knows, or nobody foresaw it."""
    found: _Ending | None = None
    match error:
        case Ended():
            found = error.kind, str(error), error.exit_code
        case DomainError():
            found = error.code, sentence(error), REFUSED
        case TryAgain():
            found = "busy", f"{error}; try again", REFUSED
        case PyMongoError():
            found = "unavailable", _of_store(error), REFUSED
        case OverflowError():
            found = "usage", "a time is out of all range", USAGE
        case KeyboardInterrupt():
            found = "interrupted", "interrupted; what it had begun may have been done", INTERRUPTED
        case OSError() if error.errno != errno.EPIPE:
            found = "unavailable", str(error), REFUSED
    return found


def _end(code: str, message: str, exit_code: int, *, as_json: bool) -> NoReturn:
    line = plain(message)
    if as_json:
        typer.echo(_form(code, line))
    typer.echo(f"stockyard: {line}", err=True)
    raise typer.Exit(exit_code)


def _form(code: str, message: str) -> str:
    return json.dumps({"error": {"code": code, "message": message}})


def _of_store(error: PyMongoError) -> str:
    """The store's own words, shortened: a driver's error names every server, over and over."""
    first = (str(error).splitlines() or [type(error).__name__])[0]
    why = first.partition(" (configured timeouts")[0][:_LONGEST]
    return f"MongoDB is away: {why}" if store_is_away(error) else f"MongoDB failed: {why}"


def _require_text(arguments: Sequence[str]) -> None:
    for each in arguments:
        try:
            each.encode()
        except UnicodeEncodeError:
            raise Ended(f"{each!r} is no UTF-8", kind="usage", exit_code=USAGE) from None
