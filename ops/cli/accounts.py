"""`stockyard accounts`: ops accounts, scopes, and the key that signs tokens."""

import sys
from datetime import datetime
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from domain.accounts.models import Account
from domain.accounts.rules import normal_email
from domain.bootstrap import Services
from domain.values import Duration
from ops.cli.shared import USAGE, AsJson, end, entry, show, with_services

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

    async def work(services: Services) -> Account:
        async with services.audit_log.acting(entry("accounts.create_ops", "account", email)) as act:
            made = await services.accounts.create_ops(email, password)
            act.after = _form(made)
        return made

    account = with_services(work)
    show(_form(account), f"created {account.email} ({account.id}), role {account.role}", as_json=as_json)


@app.command()
def grant(
    email: Email,
    scopes: Annotated[list[str], typer.Argument(help="Such as orders:price.", show_default=False)],
    *,
    as_json: AsJson = False,
) -> None:
    """Give an account scopes, which its tokens have from the next refresh or log-in on."""

    async def work(services: Services) -> Account | None:
        found = await services.accounts.directory.by_email(normal_email(email))
        if found is None:
            return None
        noted = entry("accounts.grant", "account", found.id, before=_form(found))
        async with services.audit_log.acting(noted) as act:
            changed = await services.accounts.grant(found.id, scopes)
            act.after = _form(changed)
        return changed

    account = with_services(work)
    if account is None:
        end(f"there is no account {email}")
    show(_form(account), f"{account.email} may now: {' '.join(sorted(account.scopes))}", as_json=as_json)


@app.command("rotate-key")
def rotate_key(
    *,
    lead: Annotated[
        str, typer.Option(help="How long before it signs the new key is made known, such as 10m.")
    ] = "10m",
    at_once: Annotated[
        bool,
        typer.Option(
            "--at-once",
            help="Sign with it now and drop the old keys, as when one has leaked. Nobody is logged out.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a new key that signs tokens. All processes take it up without a restart."""
    try:
        wait = TypeAdapter(Duration).validate_python(lead)
    except ValidationError:
        end(f"{lead} is no duration such as 10m", code=USAGE)

    async def work(services: Services) -> datetime:
        noted = entry("accounts.rotate_key", "signing_key", "at once" if at_once else "in turn")
        async with services.audit_log.acting(noted) as act:
            signs = await services.accounts.rotate_signing_key(lead=wait, at_once=at_once)
            act.after = {"signs_from": signs.isoformat()}
        return signs

    signs_from = with_services(work)
    show(
        {"signs_from": signs_from.isoformat()},
        f"the new key signs from {signs_from:%c} UTC on",
        as_json=as_json,
    )


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
