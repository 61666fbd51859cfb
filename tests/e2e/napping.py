"""The platform with one more kind of job, which only sleeps: `python -m tests.e2e.napping WHAT ...`.

`worker` is `workers.main`; `autoscale` is the command, which starts such workers; `flood N` submits so many.
"""

import asyncio
import sys
from importlib import import_module

from domain.bootstrap import Services, open_services
from domain.jobs import meter
from domain.jobs.commands import Command
from domain.jobs.models import Claimed
from domain.settings import Settings
from domain.values import new_id
from ops import autoscale
from ops.cli.main import app
from workers.handles import Result, handles

#: Seconds of one nap, which a processor has no part in.
NAP = 0.4
# What is counted is known at once: a test does not wait for what is written every five seconds.
meter.FLUSH_EVERY = 0.3


class Nap(Command):
    """Sleep a little."""

    kind = "tests.nap"
    pool = "naps"


@handles(Nap, pool="naps")
async def nap(_services: Services, _command: Nap, _job: Claimed) -> Result:
    """Takes its time."""
    await asyncio.sleep(NAP)
    return None


async def flood(count: int) -> None:
    """All at once."""
    async with open_services(Settings()) as services:
        await asyncio.gather(
            *(services.jobs.submit(Nap(), owner="system", key=new_id()) for _ in range(count))
        )


def main() -> int:
    """The exit code."""
    what, *rest = sys.argv[1:]
    if what == "worker":
        # It takes stock of the kinds when it is imported.
        return int(import_module("workers.main").main(rest))
    if what == "flood":
        asyncio.run(flood(int(rest[0])))
        return 0
    autoscale.COMMAND = (sys.executable, "-m", "tests.e2e.napping", "worker")
    app([what, *rest])
    return 0


if __name__ == "__main__":
    sys.exit(main())
