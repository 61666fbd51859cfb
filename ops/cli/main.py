"""`stockyard`: the command and its groups.

Exit codes: 0 done; 1 refused, or a service is away (one line on standard error says what); 2 wrong usage.
"""

import typer

from ops.cli import accounts, audit, config, queues, schedule, stack, status, workers

app = typer.Typer(
    name="stockyard",
    help="What is done on the server: accounts of ops people, the audit of stock, a look at the settings.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(accounts.app, name="accounts")
app.add_typer(config.app, name="config")
app.add_typer(stack.app, name="stack")
app.add_typer(queues.app, name="queues")
app.add_typer(schedule.app, name="schedule")
app.add_typer(workers.app, name="workers")
app.command("audit")(audit.audit)
app.command("status")(status.status)


if __name__ == "__main__":
    app()
