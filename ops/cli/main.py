"""`stockyard`: the command and its groups.

Exit codes: 0 done; 1 refused, or a service is away (one line on standard error says what); 2 wrong usage;
130 interrupted.
"""

import typer

from ops.cli import (
    accounts,
    audit,
    audit_log,
    autoscale,
    backup,
    config,
    dead,
    jobs,
    pools,
    queues,
    schedule,
    stack,
    status,
    workers,
)
from ops.cli.root import Root

app = typer.Typer(
    name="stockyard",
    cls=Root,
    help="What is done on the server: looked at, mended, scaled. Every change is in the audit log.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(accounts.app, name="accounts")
app.add_typer(backup.app, name="backup")
app.add_typer(config.app, name="config")
app.add_typer(stack.app, name="stack")
app.add_typer(jobs.app, name="jobs")
app.add_typer(dead.app, name="dead")
app.add_typer(queues.app, name="queues")
app.add_typer(schedule.app, name="schedule")
app.add_typer(workers.app, name="workers")
app.command("audit")(audit.audit)
app.command("audit-log")(audit_log.audit_log)
app.command("timeline")(audit_log.timeline)
app.command("stuck")(audit_log.stuck)
app.command("repair")(audit_log.repair)
app.command("autoscale")(autoscale.autoscale)
app.command("pools")(pools.pools)
app.command("top")(pools.top)
app.command("status")(status.status)


if __name__ == "__main__":
    app()
