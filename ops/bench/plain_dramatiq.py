"""Plain Dramatiq, no-op jobs, publisher confirms: a limit. Run as a child; see `children`.

One process with Dramatiq's default worker (8 threads) and four threads that each send one job after the
other, with a confirm for each, as Dramatiq does. The time is from the first send to the end of the last job.

In:  {"url": "amqp://...", "jobs": 2000, "senders": 4}
Out: {"jobs": 2000, "seconds": 2.2}
"""

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from ops.bench import children

# Dramatiq has types for what is public, not for all of it.
# mypy: allow-untyped-calls

QUEUE = "bench-noop"
PATIENCE = 120.0


class Countdown:
    """Tells when so many jobs have run."""

    def __init__(self, jobs: int) -> None:
        self._left = jobs
        self._lock = threading.Lock()
        self.done = threading.Event()

    def count(self) -> None:
        """One more has run."""
        with self._lock:
            self._left -= 1
            if self._left <= 0:
                self.done.set()


def main() -> None:
    """Measures, and answers."""
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    wanted = children.question()
    broker = RabbitmqBroker(url=wanted["url"], confirm_delivery=True)
    countdown = Countdown(wanted["jobs"])
    noop = dramatiq.actor(broker=broker, queue_name=QUEUE, actor_name="bench.noop")(countdown.count)
    worker = dramatiq.Worker(broker, worker_timeout=100)
    worker.start()
    share = wanted["jobs"] // wanted["senders"]

    def send(_number: int) -> None:
        for _ in range(share):
            noop.send()

    began = time.perf_counter()
    with ThreadPoolExecutor(wanted["senders"]) as pool:
        list(pool.map(send, range(wanted["senders"])))
    countdown.done.wait(PATIENCE)
    seconds = time.perf_counter() - began
    worker.stop()
    for queue in (QUEUE, f"{QUEUE}.DQ", f"{QUEUE}.XQ"):
        broker.channel.queue_delete(queue)
    broker.close()
    children.answer({"jobs": share * wanted["senders"], "seconds": round(seconds, 3)})


if __name__ == "__main__":
    main()
