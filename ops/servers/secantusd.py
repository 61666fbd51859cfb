"""SecantusDB's own command line, with a shorter life for transactions whose client has died.

A process that is killed in mid-transaction leaves it open, and all that it wrote stays locked for others.
MongoDB ends it after `transactionLifetimeLimitSeconds`, a minute unless it is told otherwise; SecantusDB
after a minute of silence, for which it has no option.
"""

import sys
from functools import partial

from secantus import cli  # type: ignore[import-untyped]

#: Seconds without a statement. One that was only slow is told so, and runs again.
SILENCE = 5.0

cli.SecantusDBServer = partial(cli.SecantusDBServer, transaction_lifetime_seconds=SILENCE)

if __name__ == "__main__":
    sys.exit(cli.main())
