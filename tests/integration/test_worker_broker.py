"""Workers on RabbitMQ: nothing is lost by a reconnect, a poisonous message, an absent store or a stop."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dramatiq
import pika
import pytest
import structlog
from dramatiq.brokers.rabbitmq import _RabbitmqConsumer
from dramatiq.middleware import CurrentMessage

from domain.adapters.rabbitmq import RabbitmqJobQueue
from domain.ports import JobMessage
from domain.probe import Probe
from domain.settings import Rabbitmq
from domain.values import new_id
from ops.servers.rabbitmq import RabbitMQ
from tests.tcp_proxy import TcpProxy
from workers.broker import StockyardWorker, StoreAway, make_broker, queue_name
from workers.consumer import StockyardConsumer
from workers.control import consumers_alive, drain, not_consuming

KIND = "test.work"


@pytest.fixture(autouse=True)
def _soon_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dramatiq's consumers come back after 3 s; tests need not wait for that."""
    monkeypatch.setattr("dramatiq.worker.CONSUMER_RESTART_DELAY_SECS", 0.1)


def until(condition: Callable[[], bool], *, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)


@dataclass
class Line:
    """One pool of its own: a broker whose actor does `work`, and a look at its queues past any proxy."""

    settings: Rabbitmq
    url: str
    pool: str = field(default_factory=lambda: f"pool-{new_id()[-12:]}")
    calls: list[tuple[float, str]] = field(default_factory=list)
    work: Callable[[str], object] = lambda _job_id: None
    workers: list[StockyardWorker] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.queue = queue_name(self.pool, self.settings)
        self.broker = make_broker(self.settings)
        dramatiq.actor(broker=self.broker, actor_name=KIND, queue_name=self.queue)(self.act)

    def act(self, job_id: str) -> None:
        self.calls.append((time.monotonic(), job_id))
        self.work(job_id)

    @property
    def jobs(self) -> list[str]:
        return [job_id for _, job_id in self.calls]

    def start(self, *, threads: int = 2) -> StockyardWorker:
        worker = StockyardWorker(self.broker, [self.queue], threads=threads)
        worker.worker_timeout = 200  # stops sooner
        self.workers.append(worker)
        worker.start()
        return worker

    def send(self, *bodies: str | bytes) -> None:
        """Job ids become jobs; bytes are sent as they are."""
        with self.channel() as channel:
            self.broker.declare_queue(self.queue, ensure=True)
            for body in bodies:
                raw = body if isinstance(body, bytes) else job(self.queue, body)
                channel.basic_publish("", self.queue, raw, pika.BasicProperties(delivery_mode=2))

    def ready(self, suffix: str = "") -> int:
        with self.channel() as channel:
            return int(channel.queue_declare(self.queue + suffix, passive=True).method.message_count)

    def take_all(self) -> list[str]:
        """The job ids that wait in the queue."""
        found = []
        with self.channel() as channel:
            while (got := channel.basic_get(self.queue, auto_ack=True))[0] is not None:
                found.append(json.loads(got[2])["args"][0])
        return found

    @contextlib.contextmanager
    def channel(self) -> Iterator[Any]:
        with pika.BlockingConnection(pika.URLParameters(self.url)) as connection:
            yield connection.channel()

    def stop(self) -> None:
        for worker in self.workers:
            worker.stop(timeout=5000)
        self.broker.close()


def job(queue: str, job_id: str, **changes: Any) -> bytes:
    fields = {
        "queue_name": queue,
        "actor_name": KIND,
        "args": (job_id,),
        "kwargs": {},
        "options": {},
    } | changes
    return dramatiq.Message[None](**fields).encode()


@pytest.fixture
def line(rabbitmq: RabbitMQ) -> Iterator[Line]:
    straight = Line(Rabbitmq(url=rabbitmq.url), rabbitmq.url)
    yield straight
    straight.stop()


@pytest.fixture
def proxied(proxy: TcpProxy, rabbitmq: RabbitMQ) -> Iterator[Line]:
    address = urlsplit(rabbitmq.url)
    url = address._replace(netloc=f"{address.username}:{address.password}@127.0.0.1:{proxy.port}").geturl()
    indirect = Line(Rabbitmq(url=url), rabbitmq.url)
    yield indirect
    proxy.mend()
    indirect.stop()


# -- a job that outlives its consumer's connection --------------------------------------------------------


@pytest.mark.parametrize(
    ("consumer_class", "left"),
    [
        pytest.param(_RabbitmqConsumer, ["slow"], id="dramatiq's loses the other message"),
        pytest.param(StockyardConsumer, ["slow", "other"], id="ours loses none"),
    ],
)
def test_a_late_ack_of_a_job_that_outlived_its_connection(
    line: Line, consumer_class: Any, left: list[str]
) -> None:
    line.send("first", "slow", "other")
    before = consumer_class(line.broker, line.queue, 2, 100)
    before.ack(next_of(before))
    slow = next_of(before)
    before.close()

    after = consumer_class(line.broker, line.queue, 2, 100)
    assert [next_of(after).args for _ in range(2)] == [("slow",), ("other",)]
    after.ack(slow)  # as a worker thread does when the job ends: through the consumer that is there now
    after.close()
    assert line.take_all() == left


def next_of(consumer: Any) -> Any:
    return next(message for message in consumer if message is not None)


def test_jobs_that_outlive_their_connection_run_again_and_nothing_is_lost(
    proxied: Line, proxy: TcpProxy
) -> None:
    go_on = threading.Event()
    proxied.work = lambda _job_id: go_on.wait(10)
    proxied.send("a", "b", "c")
    proxied.start(threads=2)
    until(lambda: len(proxied.calls) == 2)
    proxy.cut()
    proxy.mend()
    until(lambda: consumers(proxied) == 1)
    go_on.set()
    until(lambda: sorted(proxied.jobs) == ["a", "a", "b", "b", "c"])
    until(lambda: proxied.ready() == 0)
    proxied.stop()
    assert proxied.take_all() == []


def consumers(line: Line) -> int:
    with line.channel() as channel:
        return int(channel.queue_declare(line.queue, passive=True).method.consumer_count)


# -- messages that no worker can use -----------------------------------------------------------------------


def test_unusable_messages_are_put_aside_with_a_line_and_the_next_job_runs(line: Line) -> None:
    unusable = [
        b"not json",
        b"\xff\xfe",
        b"[]",
        b'{"queue_name": "x"}',
        job(line.queue, "1", actor_name="no.such.kind"),
        job(line.queue, "1", actor_name=5),
        job(line.queue, "1", args=()),
        job(line.queue, "1", args=({"$gt": ""},)),
        job(line.queue, "1", kwargs={"more": 1}),
        job(line.queue, "1", options=None),
        job(line.queue, "1", options={"eta": 1}),
    ]
    with structlog.testing.capture_logs() as lines:
        line.start()
        line.send(*unusable, "good")
        until(lambda: line.ready(".XQ") == len(unusable))
        until(lambda: line.jobs == ["good"])
    said = [entry for entry in lines if "moved_to" in entry]
    assert len(said) == len(unusable)
    assert said[0]["head"] == "b'not json'"
    assert said[4]["reason"] == "unknown kind 'no.such.kind'"
    assert said[4]["moved_to"] == f"{line.queue}.XQ"
    assert not consumers_alive(line.workers[0])


def test_options_that_steer_dramatiq_and_a_wrong_queue_name_do_no_harm(line: Line) -> None:
    options = {"throws": "x", "pipe_target": {}, "on_failure": "y", "request_id": "r-7"}
    seen: list[Any] = []
    line.work = lambda _job_id: seen.append(CurrentMessage.get_current_message())
    line.start()
    line.send(job("elsewhere", "1", options=options, message_id=5))
    until(lambda: len(seen) == 1)
    assert seen[0].options == {"request_id": "r-7"}
    until(lambda: line.ready() == 0)
    assert not consumers_alive(line.workers[0])


def test_a_fault_in_an_actor_puts_the_message_aside(line: Line) -> None:
    def fail(_job_id: str) -> None:
        raise KeyError("a fault of ours")

    line.work = fail
    line.start()
    line.send("1")
    until(lambda: line.ready(".XQ") == 1)
    assert line.jobs == ["1"]


# -- the store is away ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
def test_a_message_comes_back_until_the_store_does_and_blocks_nobody(
    rabbitmq: RabbitMQ, queue_type: str
) -> None:
    line = Line(Rabbitmq.model_validate({"url": rabbitmq.url, "queue_type": queue_type}), rabbitmq.url)

    def away_twice(job_id: str) -> None:
        if job_id == "hard" and line.jobs.count("hard") < 3:
            raise StoreAway

    line.work = away_twice
    line.start(threads=1)
    line.send("hard", "easy")
    until(lambda: "easy" in line.jobs)
    assert line.jobs.count("hard") == 1
    until(lambda: line.jobs.count("hard") == 3)
    moments = [at for at, job_id in line.calls if job_id == "hard"]
    assert all(0.9 < later - sooner < 3 for sooner, later in pairwise(moments))
    line.stop()
    assert line.take_all() == []
    assert line.ready(".XQ") == 0


# -- a broker that is away -----------------------------------------------------------------------------------


async def test_a_worker_waits_for_a_broker_that_is_away_and_says_so(
    proxied: Line, proxy: TcpProxy, rabbitmq: RabbitMQ
) -> None:
    proxy.cut()
    worker = proxied.start()
    until(lambda: consumers_alive(worker, silence=0.3) != [])
    assert "has not been consumed for" in consumers_alive(worker, silence=0.3)[0]
    assert consumers_alive(worker) == []  # not yet
    proxy.mend()
    publisher = RabbitmqJobQueue(Rabbitmq(url=rabbitmq.url))
    await publisher.open()
    assert await publisher.publish([JobMessage("j-1", KIND, proxied.pool)]) == [True]
    await publisher.close()
    until(lambda: proxied.jobs == ["j-1"])
    assert consumers_alive(worker, silence=2) == []


def test_a_consumer_whose_queue_was_deleted_declares_it_and_goes_on(line: Line) -> None:
    line.start()
    line.send("1")
    until(lambda: line.jobs == ["1"])
    with line.channel() as channel:
        channel.queue_delete(line.queue)
    until(lambda: line.queue not in line.broker.queues_pending and exists(line) and consumers(line) == 1)
    line.send("2")
    until(lambda: line.jobs == ["1", "2"])


def exists(line: Line) -> bool:
    try:
        line.ready()
    except pika.exceptions.ChannelClosedByBroker:
        return False
    return True


def test_a_dead_thread_is_noticed(line: Line) -> None:
    worker: Any = line.start(threads=1)
    until(lambda: exists(line) and consumers(line) == 1)
    for thread in [*worker.workers, *worker.consumers.values()]:
        thread.stop()
        thread.join(5)
    assert consumers_alive(worker) == [
        f"the consumer of {line.queue} has died",
        "1 of 1 worker threads have died",
    ]


def test_the_probe_answers_for_the_process() -> None:
    problems: list[str] = []
    probe = Probe(host="127.0.0.1", port=0, problems=lambda: problems)
    probe.start()
    try:
        assert fetch(probe, "/healthz") == (200, '{"status": "ok", "problems": []}')
        problems.append("the consumer of orders.v1 has died")
        status, body = fetch(probe, "/healthz")
        assert (status, json.loads(body)["problems"]) == (503, problems)
        assert "python_info" in fetch(probe, "/metrics")[1]
        assert fetch(probe, "/else")[0] == 404
    finally:
        probe.stop()


def fetch(probe: Probe, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{probe.port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


# -- stops ---------------------------------------------------------------------------------------------------


def test_a_drain_gives_back_what_waits_while_what_runs_goes_on(line: Line) -> None:
    go_on = threading.Event()
    line.work = lambda _job_id: go_on.wait(10)
    line.send(*"abcdefgh")
    worker = line.start(threads=4)
    until(lambda: len(line.calls) == 4)
    drain(worker)
    until(lambda: line.ready() == 4)
    line.send("i")
    until(lambda: line.ready() == 5)
    go_on.set()
    until(lambda: not line.broker.endings.running)
    line.stop()
    assert sorted(line.jobs) == ["a", "b", "c", "d"]
    assert sorted(line.take_all()) == ["e", "f", "g", "h", "i"]


def test_a_held_queue_is_not_consumed_until_it_is_let_go_and_the_other_is_not_touched(line: Line) -> None:
    go_on = threading.Event()
    line.work = lambda _job_id: go_on.wait(10)
    line.send(*"abcdefgh")
    worker = line.start(threads=4)
    until(lambda: len(line.calls) == 4)
    assert not_consuming(worker) == []
    line.broker.held = frozenset({line.queue})
    until(lambda: consumers(line) == 0)
    until(lambda: line.ready() == 4)
    line.send("i")
    time.sleep(0.3)
    assert line.ready() == 5
    go_on.set()
    until(lambda: not line.broker.endings.running)
    # What ran has been acked over the same connection, and paused is not broken.
    assert line.ready() == 5
    assert consumers_alive(worker, silence=0.5) == []
    assert (line.broker.consumed, not_consuming(worker)) == (set(), [])
    line.broker.held = frozenset()
    until(lambda: len(line.calls) == 9)
    assert sorted(line.jobs) == [*"abcdefghi"]
    until(lambda: line.ready() == 0)
    assert line.broker.consumed == {line.queue}


def test_a_worker_that_starts_on_a_held_queue_never_consumes_it(line: Line) -> None:
    line.broker.held = frozenset({line.queue})
    line.send("a")
    worker = line.start()
    until(lambda: line.queue not in line.broker.queues_pending)
    time.sleep(0.5)
    assert (consumers(line), line.ready(), line.calls) == (0, 1, [])
    assert consumers_alive(worker, silence=0.4) == []
    line.broker.held = frozenset()
    until(lambda: line.jobs == ["a"])


def test_a_held_queue_whose_connection_breaks_stays_held_and_loses_nothing(
    proxied: Line, proxy: TcpProxy
) -> None:
    proxied.send("a")
    proxied.broker.held = frozenset({proxied.queue})
    worker = proxied.start()
    until(lambda: proxied.queue in proxied.broker._seen)
    proxy.cut()
    until(lambda: consumers_alive(worker, silence=0.3) != [])
    proxy.mend()
    until(lambda: consumers_alive(worker, silence=0.3) == [])
    assert (proxied.ready(), proxied.calls) == (1, [])
    proxied.broker.held = frozenset()
    until(lambda: proxied.jobs == ["a"])


def test_a_queue_that_is_held_and_let_go_all_the_time_does_every_job_once(line: Line) -> None:
    worker = line.start(threads=4)
    jobs = [f"{number}" for number in range(300)]
    for number in range(0, 300, 20):
        line.broker.held = frozenset({line.queue}) if number % 40 else frozenset()
        line.send(*jobs[number : number + 20])
    line.broker.held = frozenset()
    until(lambda: len(line.calls) == 300)
    assert sorted(line.jobs) == sorted(jobs)
    until(lambda: line.ready() == 0)
    assert consumers_alive(worker) == []


SCRIPT = """
import asyncio, gc, sys
from contextlib import asynccontextmanager
import dramatiq
from domain.settings import Settings
from workers.broker import queue_name
from workers.process import run

pool, seconds, services = sys.argv[1], float(sys.argv[2]), sys.argv[3]
settings = Settings()

@asynccontextmanager
async def open_services(settings):
    if services == "away":
        raise OSError("the store is away")
    yield "services"
    print("closed", "frozen" if gc.get_freeze_count() > 50_000 else "scanned", flush=True)

def register(broker, opened):
    async def act(job_id):
        print("began", job_id, flush=True)
        await asyncio.sleep(seconds)
        print("ended", job_id, flush=True)
    dramatiq.actor(act, broker=broker, actor_name="test.work", queue_name=queue_name(pool, settings.rabbitmq))

sys.exit(run(settings, [pool], open_services=open_services, register=register))
"""


@contextlib.contextmanager
def process(
    line: Line, *, work: float, services: str = "there", shutdown: str = "10s"
) -> Iterator["subprocess.Popen[str]"]:
    env = os.environ | {
        "STOCKYARD_RABBITMQ_URL": line.url,
        "STOCKYARD_WORKERS_THREADS": "2",
        "STOCKYARD_WORKERS_SHUTDOWN_TIMEOUT": shutdown,
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    child = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, line.pool, str(work), services],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def read_until(child: "subprocess.Popen[str]", word: str) -> None:
    assert child.stdout is not None
    assert any(word in text for text in iter(child.stdout.readline, "")), f"never said {word!r}"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_jobs_in_hand_finish_and_gives_the_rest_back(
    line: Line, number: signal.Signals
) -> None:
    line.send("a", "b", "c", "d")
    with process(line, work=1) as child:
        read_until(child, "began b")
        child.send_signal(number)
        said = child.communicate(timeout=30)[0]
    assert child.returncode == 0
    assert "ended a" in said
    assert "ended b" in said
    assert "began c" not in said
    assert "closed frozen" in said
    assert sorted(line.take_all()) == ["c", "d"]


def test_a_stop_that_takes_too_long_names_what_runs_and_loses_nothing(line: Line) -> None:
    line.send("a")
    with process(line, work=60, shutdown="500ms") as child:
        read_until(child, "began a")
        child.terminate()
        said = child.communicate(timeout=20)[0]
    assert child.returncode == 1
    assert "test.work a" in said
    until(lambda: line.ready() == 1)


def test_a_second_signal_ends_the_process_at_once(line: Line) -> None:
    line.send("a")
    with process(line, work=60) as child:
        read_until(child, "began a")
        child.terminate()
        read_until(child, "worker stopping")
        child.terminate()
        assert child.wait(timeout=10) == 128 + signal.SIGTERM
    until(lambda: line.ready() == 1)


def test_without_services_no_actor_runs_and_the_process_says_why(line: Line) -> None:
    line.send("a")
    with process(line, work=0, services="away") as child:
        said = child.communicate(timeout=30)[0]
    assert child.returncode == 1
    assert "the store is away" in said
    assert "Traceback" not in said
    assert line.take_all() == ["a"]
