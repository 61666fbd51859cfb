"""How often customers may come: so that this machine, today, keeps up with them while things break."""

import time
from collections.abc import Sequence
from datetime import timedelta

from ops.books import Store
from ops.soak.clients import Customers
from ops.soak.lookout import wait_until_settled

#: Seconds for which they come as fast as they are served.
SECONDS = 10.0
#: The part of what was served then that is asked of a shop whose processes are killed.
SHARE = 0.4
#: Seconds that all that came of it may take at most.
PATIENCE = 120.0


def find_rate(customers: Customers, skus: Sequence[str], database: Store, *, hold_time: timedelta) -> float:
    """Visits per second that a shop bears while it is under faults, found while it is not.

    Customers in a hurry shop for a while. Then all that came of it, letters and calls included, has to have
    its end: the longer that takes, the less the shop bears. Holds that expire are given their time for it.
    """
    customers.start(skus, rate=None)
    time.sleep(SECONDS)
    customers.stop()
    wait_until_settled(database, seconds=PATIENCE)
    took = time.monotonic() - customers.began - hold_time.total_seconds()
    return borne(customers.ended, took)


def borne(visits: int, seconds: float) -> float:
    """At least one visit in five seconds, however slow the machine."""
    return round(max(0.2, SHARE * visits / max(seconds, SECONDS)), 1)
