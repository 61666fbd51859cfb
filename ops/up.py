"""The whole platform on this machine until Ctrl-C: `python -m ops.up [--reload | --down]`.

The stack `dev`, one API, a worker per pool, a scheduler and the console; a sample catalogue and two sample
accounts where there are none. A process that dies is started again. `--down` stops what a killed run left.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dotenv import dotenv_values
from watchfiles import PythonFilter, watch

from domain.settings import Settings
from domain.startup import Misconfigured, load_settings
from ops.environment import settings_of
from ops.fleet import EVERY_POOL, Fleet, FleetError, end_leftovers
from ops.nurse import Nurse, say, short
from ops.sample.platform import prepare
from ops.servers import StackError
from ops.servers import ports as loopback
from ops.servers.process import BackgroundProcess
from ops.signals import end_on_signals, uninterrupted
from ops.stack import Stack

#: The folders whose changes restart the processes.
SOURCES = ("api", "domain", "scheduler", "workers")
#: Decides where the API listens.
PORT = "STOCKYARD_API_PORT"
#: Decides where the console does.
CONSOLE_PORT = "STOCKYARD_CONSOLE_PORT"
#: Seconds between two looks at the processes.
LOOK = 1.0
#: Seconds that `--down` gives a running `make up` to stop everything itself.
STOP_PATIENCE = 120.0


class Platform:
    """The stack `dev` and a fleet over it."""

    def __init__(self, stack: Stack, settings: Settings) -> None:
        self._stack = stack
        self._port, self._console_port = settings.api.port, settings.console.port
        self._fleet_folder = stack.folder / "fleet"
        self._own = BackgroundProcess(stack.folder / "up.pid", stack.folder / "up.log")

    def run(self, *, reload: bool) -> None:
        """Until Ctrl-C. Raises StackError and FleetError where something does not start."""
        if self._own.running():
            raise StackError(f"it runs already (pid {self._own.pid()}): `make down` stops it")
        end_leftovers(self._fleet_folder)
        for port, name in ((self._port, PORT), (self._console_port, CONSOLE_PORT)):
            if port and not loopback.is_free(port):
                raise StackError(f"port {port} is taken{loopback.holder(port)}: stop that, or set {name}")
        if port_of_dotenv() is not None:
            say(f"the API's port is {self._port}, as .env says")
        with self._stack_up() as environment:
            say("starting the processes")
            with Fleet(
                environment, folder=self._fleet_folder, apis=1, pools=EVERY_POOL, ports=[self._port],
                consoles=[self._console_port],
            ) as fleet:  # fmt: skip
                accounts = self._stack.folder / "accounts.json"
                token = prepare(settings_of(environment), accounts)
                self._greet(fleet, token, accounts)
                _keep(fleet, self._stack, reload=reload)

    def down(self) -> None:
        """Idempotent. Ends a running `up`, what a killed one left, and the stack; data stay."""
        self._own.stop(grace=STOP_PATIENCE)
        for name in end_leftovers(self._fleet_folder):
            say(f"stopped {name}, which was left over")
        self._stack.down()

    @contextmanager
    def _stack_up(self) -> Iterator[dict[str, str]]:
        say("starting RabbitMQ, Redis, MongoDB and S3")
        try:
            urls = self._stack.up()
            self._own.adopt(os.getpid())
            yield urls.as_env()
        finally:
            with uninterrupted():
                say("stopping")
                self._stack.down()
                self._own.pid_file.unlink(missing_ok=True)

    def _greet(self, fleet: Fleet, token: str, accounts: Path) -> None:
        (url,), (console,) = fleet.urls, fleet.console_urls
        ops = json.loads(accounts.read_text(encoding="utf-8"))["ops"]
        order = {
            "items": [{"sku": "NW-001", "quantity": 2}],
            "address": {"name": "Ada", "line1": "1 Dock Road", "city": "Leith", "country": "GB"},
        }
        print(
            f"""
Stockyard is up. Ctrl-C stops it.

  API        {url}
  docs       {url}/docs
  console    {console}
    log in   {ops["email"]}, password {ops["password"]}
  ready      {url}/readyz
  metrics    {url}/metrics
  logs       {short(self._fleet_folder)}/*.log

  RabbitMQ   {self._stack.rabbitmq.address}
  Redis      {self._stack.valkey.address}
  MongoDB    {self._stack.mongo.address}
  S3         {self._stack.s3.address}

The sample accounts' passwords are in {short(accounts)}, too. A customer's token, good for 15 minutes:

TOKEN={token}

curl -i {url}/v1/orders -H "Authorization: Bearer $TOKEN" \\
  -H "Idempotency-Key: $(cat /proc/sys/kernel/random/uuid)" -H 'Content-Type: application/json' \\
  -d '{json.dumps(order)}'
""",
            flush=True,
        )


def port_of_dotenv() -> str | None:
    """The API's port where `.env` decides it: what is set in the environment wins over that."""
    if PORT in os.environ or not Path(".env").is_file():
        return None
    return dotenv_values(".env").get(PORT) or None


def _keep(fleet: Fleet, stack: Stack, *, reload: bool) -> None:
    """Until KeyboardInterrupt: starts again what dies, and all processes when a source file changes."""
    nurse = Nurse(lambda: fleet.members, stack.servers)
    if not reload:
        while True:
            time.sleep(LOOK)
            nurse.look()
    changes = watch(
        *SOURCES,
        watch_filter=PythonFilter(),
        rust_timeout=int(LOOK * 1000),
        yield_on_timeout=True,
        raise_interrupt=True,
    )
    for changed in changes:
        if changed:
            names = sorted({short(Path(path)) for _, path in changed})
            say(f"changed: {', '.join(names)}; restarting")
            _restart(fleet)
        else:
            nurse.look()


def _restart(fleet: Fleet) -> None:
    fleet.stop()
    try:
        fleet.start()
    except FleetError as error:
        say(f"{error}; waiting for the next change")


def main(argv: Sequence[str] | None = None) -> int:
    """0 after Ctrl-C or `--down`; 1 where something does not start."""
    parser = argparse.ArgumentParser(prog="python -m ops.up", description=__doc__.split("\n\n")[0])
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--reload", action="store_true", help="restart the processes when a source file changes")
    how.add_argument("--down", action="store_true", help="stop what is left, and the stack")
    asked = parser.parse_args(argv)
    end_on_signals()
    try:
        platform = Platform(Stack("dev"), load_settings())
        if asked.down:
            platform.down()
        else:
            platform.run(reload=asked.reload)
    except KeyboardInterrupt:
        return 0
    except (StackError, FleetError, Misconfigured) as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
