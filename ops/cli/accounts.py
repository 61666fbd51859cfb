"""`stockyard accounts`: the first ops account, and scopes."""

import sys
from typing import Annotated

import typer

from domain.accounts.models import Account
from domain.accounts.rules import normal_email
from domain.bootstrap import Services
from ops.cli.shared import USAGE, AsJson, end, show, with_services

app = typer.Typer(help="Accounts of ops people, and what accounts may do.", no_args_is_help=True)

Email = Annotated[str, typer.Argument(help="The account's email address.", show_default=False)]


@app.command("create-ops")
def create_ops(
    email: Email,
    *,
    password_stdin: Annotated[
        bool,
        typer.Option("--password-stdin", help="Read the password from the first line of standard input."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Create an account that may do everything. Asks for its password."""
    password = _password(from_stdin=password_stdin)
    account = with_services(lambda services: services.accounts.create_ops(email, password))
    show(_form(account), f"created {account.email} ({account.id}), role {account.role}", as_json=as_json)


@app.command()
def grant(
    email: Email,
    scopes: Annotated[list[str], typer.Argument(help="Such as orders:price.", show_default=False)],
    *,
    as_json: AsJson = False,
) -> None:
    """Give an account scopes, which its tokens have from the next log-in on."""

    async def work(services: Services) -> Account | None:
        found = await Account.find_one({"email": normal_email(email)})
        return found and await services.accounts.grant(found.id, scopes)

    account = with_services(work)
    if account is None:
        end(f"there is no account {email}")
    show(_form(account), f"{account.email} may now: {' '.join(sorted(account.scopes))}", as_json=as_json)


def _password(*, from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        end("there is no terminal to ask for the password: use --password-stdin", code=USAGE)
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))


def _form(account: Account) -> dict[str, object]:
    return {
        "id": account.id,
        "email": account.email,
        "role": account.role,
        "scopes": sorted(account.scopes),
    }
