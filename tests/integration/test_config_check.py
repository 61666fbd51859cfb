"""What `stockyard config check` asks of the services that the settings name."""

import asyncio
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from domain.adapters.rabbitmq import RabbitmqJobQueue
from domain.bootstrap import check_services
from domain.settings import S3, Mail, Mongo, Rabbitmq, Redis, Settings
from ops.servers.ports import draw
from tests.smtp import serving


async def test_each_service_is_tried_and_told_apart(settings: Settings):
    async with serving() as box:
        mail = Mail(host="127.0.0.1", port=box.port, security="none")
        found = await check_services(settings.model_copy(update={"mail": mail}))
    assert {each.name: (each.ok, each.error) for each in found} == dict.fromkeys(
        ("mongodb", "rabbitmq", "redis", "s3", "smtp"), (True, None)
    )


async def test_one_that_is_away_or_refuses_hides_no_other(settings: Settings):
    port = draw(["nobody"], avoid=())["nobody"]
    wrong = settings.model_copy(
        update={
            "mongo": Mongo.model_validate({"url": f"mongodb://127.0.0.1:{port}/", "away_after": "100ms"}),
            "redis": Redis(url=f"redis://127.0.0.1:{port}/0"),
            "rabbitmq": Rabbitmq(url=settings.rabbitmq.url.replace("@", "wrong@")),
            "s3": S3.model_validate(settings.s3.model_dump() | {"secret_key": "wrong"}),
            "mail": Mail(host="127.0.0.1", port=port, security="none"),
        }
    )
    found = {each.name: each.error or "" for each in await check_services(wrong)}
    says = {
        "mongodb": "Connect call failed", "redis": "Connect call failed", "rabbitmq": "ACCESS_REFUSED",
        "s3": "403", "smtp": "Error connecting",
    }  # fmt: skip
    assert [name for name, words in says.items() if words not in found[name]] == [], found


async def test_a_bucket_that_is_not_there_yet_is_worth_a_word_and_not_made(settings: Settings):
    unmade = settings.model_copy(
        update={"s3": S3.model_validate(settings.s3.model_dump() | {"bucket": "not-yet"})}
    )
    for _ in range(2):
        found = {each.name: each for each in await check_services(unmade)}
        assert found["s3"].ok
        assert found["s3"].note == "there is no bucket not-yet yet; the first object makes it"


async def test_a_broker_that_takes_the_connection_and_says_nothing_is_left_without_a_word():
    async def says_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(says_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    queue = RabbitmqJobQueue(
        Rabbitmq.model_validate({"url": f"amqp://a:b@127.0.0.1:{port}/", "publish_timeout": "100ms"})
    )
    with capture_logs() as lines:
        await queue.open()
        with pytest.raises(ConnectionError, match="no open connection"):
            await queue.ping()
        await queue.close()
    server.close()
    assert [line for line in lines if line["log_level"] in {"error", "critical"}] == []
