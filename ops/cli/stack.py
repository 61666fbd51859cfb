"""`stockyard stack`: the services that `make up` and `python -m ops.stack up` run on this machine."""

from typing import Annotated

import typer

from ops.cli.shared import AsJson, end, show
from ops.servers import StackError
from ops.stack import Stack

app = typer.Typer(help="The services on this machine.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keeps `env` a command of its group while it is the only one."""


@app.command("env")
def print_env(
    *,
    name: Annotated[str, typer.Option(help="Which stack.")] = "dev",
    as_json: AsJson = False,
) -> None:
    """Print where the running services are, credentials included, as lines for `.env`."""
    try:
        stack = Stack(name)
        down = [server.label for server in stack.servers if not server.running()] if stack.exists() else None
        if down is None or down:
            what = f"{', '.join(down)} of the stack {name}" if down else f"the stack {name}"
            end(f"{what} is not running: `python -m ops.stack --name {name} up` starts it")
        lines = stack.urls.as_env()
    except StackError as error:
        end(str(error))
    show(lines, "\n".join(f"{variable}={value}" for variable, value in lines.items()), as_json=as_json)
