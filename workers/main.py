"""`python -m workers.main POOL [POOL ...]`: one worker process for one pool or more."""

import argparse
import sys
from collections.abc import Sequence

from domain.bootstrap import open_services, tracing
from domain.lifeline import stop_with_parent
from domain.observe import configure_logging
from domain.startup import Misconfigured, load_settings
from workers import control, handles, kinds
from workers.process import run


def main(argv: Sequence[str]) -> int:
    """The exit code: 2 for pools that do not exist, else as `workers.process.run`."""
    known = handles.pools(kinds.HANDLED)
    asked = _parser().parse_args(argv)
    unknown = sorted(set(asked.pools) - set(known))
    if unknown or not asked.pools:
        wrong = f"no such pool: {', '.join(unknown)}" if unknown else "name the pools to work for"
        print(f"workers: {wrong} (there are {', '.join(sorted(known))})", file=sys.stderr)  # noqa: T201
        return 2
    try:
        settings = load_settings()
    except Misconfigured as error:
        print(f"workers: {error}", file=sys.stderr)  # noqa: T201 - how to log is a setting, too
        return 1
    configure_logging(settings.log)
    if asked.lifeline is not None:
        stop_with_parent(asked.lifeline)
    with tracing(settings.telemetry, process="worker"):
        return run(
            settings,
            asked.pools,
            open_services=open_services,
            register=handles.register,
            attend=control.attending,
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m workers.main", description="Works for these pools.")
    parser.add_argument("pools", nargs="*", metavar="POOL")
    parser.add_argument("--lifeline", type=int, help="stop when this inherited pipe is closed")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
