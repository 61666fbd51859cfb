"""Names, arguments and addresses that publishers and workers must agree on."""

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import pika
from dramatiq.common import xq_name

from domain.ports import QueueForm
from domain.settings import Rabbitmq

#: Milliseconds that a message which no worker understood can be looked at in its `.XQ` queue.
DEAD_MESSAGE_TTL = 7 * 24 * 3600 * 1000
#: RabbitMQ 4 drops a quorum queue's message at its 20th redelivery. A message that waits for the store
#: comes back every second or two, so this is 50 years; 3.x knows no number for "no limit".
DELIVERY_LIMIT = 1_000_000_000
#: Seconds for a TCP connection, and for the whole opening of AMQP on it.
SOCKET_TIMEOUT = 5.0
OPEN_TIMEOUT = 10.0


def queue_name(pool: str, settings: Rabbitmq, *, express: bool = False) -> str:
    """The queue of a pool: `orders.v1`, or `orders.quorum.v1`; the express one is `orders.express.v1`.

    Workers consume both side by side, so what ops send by the second one waits for nothing in the first.

    Whatever changes a queue's arguments is in its name, because RabbitMQ refuses another declaration of
    a queue that exists.
    """
    kind = "" if settings.queue_type == "classic" else f".{settings.queue_type}"
    lane = ".express" if express else ""
    return f"{pool}{lane}{kind}.v{settings.queue_version}"


def names_of_form(pool: str, form: QueueForm) -> list[str]:
    """All queues of the pool in that form: both lanes, and what was put aside of either."""
    settings = Rabbitmq.model_construct(queue_type=form.kind, queue_version=form.version)
    lanes = [queue_name(pool, settings, express=express) for express in (False, True)]
    return [name for lane in lanes for name in (lane, xq_name(lane))]


def pools_by_queue(pools: Iterable[str], settings: Rabbitmq) -> dict[str, str]:
    """The queues of the pools, each with its pool: what their workers consume."""
    return {queue_name(pool, settings, express=express): pool for pool in pools for express in (False, True)}


def queue_arguments(queue: str, settings: Rabbitmq) -> dict[str, Any]:
    """The arguments of a pool's queue: what is rejected goes to its `.XQ`."""
    arguments: dict[str, Any] = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": xq_name(queue)}
    if settings.queue_type == "quorum":
        arguments |= {"x-queue-type": "quorum", "x-delivery-limit": DELIVERY_LIMIT}
    return arguments


def dead_letter_arguments(settings: Rabbitmq) -> dict[str, Any]:
    """The arguments of a `.XQ` queue."""
    arguments: dict[str, Any] = {"x-message-ttl": DEAD_MESSAGE_TTL}
    if settings.queue_type == "quorum":
        arguments["x-queue-type"] = "quorum"
    return arguments


def connection_parameters(settings: Rabbitmq, *, name: str) -> Sequence[pika.URLParameters]:
    """One per URL of the `;`-separated list. `name` is what RabbitMQ shows of the connection.

    Raises ValueError where there is no URL in it, or one that cannot be read.
    """
    found = [_parameters(url.strip(), settings, name) for url in settings.url.split(";") if url.strip()]
    if not found:
        raise ValueError("the RabbitMQ URL is empty")
    return found


def quiet_pika() -> None:
    """Silences pika, which logs each refused connection many times over: its callers say it once."""
    logging.getLogger("pika").setLevel(logging.CRITICAL)


def _parameters(url: str, settings: Rabbitmq, name: str) -> pika.URLParameters:
    parameters = pika.URLParameters(url)
    parameters.heartbeat = max(1, int(settings.heartbeat.total_seconds()))
    parameters.socket_timeout = SOCKET_TIMEOUT
    parameters.stack_timeout = OPEN_TIMEOUT
    parameters.connection_attempts = 1
    parameters.client_properties = {"connection_name": name}
    return parameters


def in_words(reason: BaseException) -> str:
    """RabbitMQ's own words, or those of what lies beneath an error of pika's that has none."""
    last = getattr(reason, "exceptions", ())[-1:]
    for beneath in (getattr(reason, "exception", None), *last, *reason.args):
        if isinstance(beneath, BaseException):
            return in_words(beneath)
    return str(reason) or type(reason).__name__
