"""The local stack: starts once, comes back from kill -9 with its data, and leaves nothing behind."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pika
import psutil
import pytest
import redis
from pymongo import MongoClient

from ops import stack as stack_cli
from ops.servers import Server, StackError, rabbitmq
from ops.servers.process import BackgroundProcess
from ops.stack import Stack

NAME = "check"


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    whole = Stack(NAME)
    whole.up(fresh=True)
    yield whole
    whole.wipe()


@pytest.fixture
def lone(tmp_path: Path) -> Iterator[Stack]:
    """A stack of which a test starts single servers."""
    alone = Stack("lone", root=tmp_path)
    yield alone
    alone.wipe()


def command_line(*words: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "ops.stack", "--name", NAME, *words]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def pids(whole: Stack) -> list[int]:
    found = [int(file.read_text().split(":")[1].split(",")[0]) for file in whole.folder.glob("*.pid")]
    assert len(found) == 5  # four servers and epmd
    return sorted(found)


def line(error: pytest.ExceptionInfo[StackError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_a_second_up_reuses_what_runs(stack: Stack):
    before = pids(stack)

    again = Stack(NAME).up()

    assert again == stack.urls
    assert pids(stack) == before


def test_two_at_once_start_each_server_once(stack: Stack):
    stack.down()

    both = [command_line("up"), command_line("up")]
    said = [process.communicate(timeout=60) for process in both]

    assert [process.returncode for process in both] == [0, 0], said
    assert said[0] == said[1]  # the same pids
    assert all(server.running() for server in stack.servers)  # although their starters have ended


def test_a_ctrl_c_of_the_starter_does_not_reach_the_servers(stack: Stack):
    sessions = {os.getsid(pid) for pid in pids(stack)}

    assert os.getsid(0) not in sessions
    assert len(sessions) == 5


def test_everything_listens_on_loopback_only(stack: Stack):
    ours = set(pids(stack))
    sockets = [c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN and c.pid in ours]
    listening = [socket.laddr for socket in sockets if socket.laddr]

    assert {address.port for address in listening} == set(stack.rabbitmq.machine.ports.values())
    assert {address.ip for address in listening} <= {"127.0.0.1", "::1"}


def test_rabbitmq_keeps_its_messages_over_kill_9(stack: Stack):
    with pika.BlockingConnection(pika.URLParameters(stack.rabbitmq.url)) as connection:
        connection.channel().queue_declare("kept", durable=True)
    # RabbitMQ writes a new queue's definition down a moment later; a clean stop does it now. Where a crash is
    # sooner, whoever uses the queue declares it again, and the relay sends what was in it.
    stack.rabbitmq.stop()
    stack.rabbitmq.start()
    with pika.BlockingConnection(pika.URLParameters(stack.rabbitmq.url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish("", "kept", b"order 1", pika.BasicProperties(delivery_mode=2), mandatory=True)

    crash_and_start(stack.rabbitmq)

    with pika.BlockingConnection(pika.URLParameters(stack.rabbitmq.url)) as connection:
        _, _, body = connection.channel().basic_get("kept", auto_ack=True)
    assert body == b"order 1"


def test_mongo_keeps_its_commits_over_kill_9(stack: Stack):
    client: MongoClient[dict[str, int]] = MongoClient(stack.mongo.url, w="majority", journal=True)
    with client, client.start_session() as session:
        client.check.orders.create_index("number", unique=True)
        with session.start_transaction():
            client.check.orders.insert_one({"number": 1}, session=session)

        crash_and_start(stack.mongo)

        assert client.check.orders.count_documents({"number": 1}) == 1


def test_s3_keeps_its_objects_over_kill_9(stack: Stack):
    s3 = boto3.client(
        "s3",
        endpoint_url=stack.s3.url,
        aws_access_key_id=stack.s3.access_key,
        aws_secret_access_key=stack.s3.secret_key,
        region_name="us-east-1",
    )
    s3.create_bucket(Bucket="media")
    s3.put_object(Bucket="media", Key="a.png", Body=b"pixels")

    crash_and_start(stack.s3)

    assert s3.get_object(Bucket="media", Key="a.png")["Body"].read() == b"pixels"
    s3.close()


def test_valkey_comes_back_empty_after_kill_9(stack: Stack):
    with redis.Redis.from_url(stack.valkey.url) as client:
        client.set("cached", "1")
        crash_and_start(stack.valkey)
        assert client.dbsize() == 0


def crash_and_start(server: Server) -> None:
    before = server.pid
    server.kill()
    assert not server.running()
    server.start()
    assert server.pid not in {None, before}


def test_a_server_of_the_environment_is_used_and_left_alone(stack: Stack, tmp_path: Path):
    given = Stack("given", root=tmp_path, environ={"STOCKYARD_REDIS_URL": stack.valkey.url})

    given.valkey.start()
    given.valkey.stop()

    assert given.valkey.url == stack.valkey.url
    assert stack.valkey.running()
    with pytest.raises(StackError, match="not ours to kill"):
        given.valkey.kill()


def test_an_endpoint_of_the_environment_needs_its_keys(stack: Stack, tmp_path: Path):
    given = Stack("given", root=tmp_path, environ={"STOCKYARD_S3_ENDPOINT_URL": stack.s3.url})

    with pytest.raises(StackError) as error:
        given.s3.start()

    assert line(error) == "STOCKYARD_S3_ENDPOINT_URL is set, STOCKYARD_S3_ACCESS_KEY is not"


def test_down_leaves_nothing_running(stack: Stack):
    family = [psutil.Process(pid) for pid in pids(stack)]
    family += [child for process in family for child in process.children(recursive=True)]

    stack.down()

    assert not [process for process in family if process.is_running() and process.status() != "zombie"]
    about_us = [
        p for p in psutil.process_iter(["cmdline"]) if str(stack.folder) in " ".join(p.info["cmdline"] or ())
    ]
    assert about_us == []
    assert not list(stack.folder.glob("*.pid"))
    for port in stack.rabbitmq.machine.ports.values():
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=1)


def test_a_taken_port_is_named_with_its_holder(lone: Stack):
    port = lone.valkey.port("redis")
    with socket.create_server(("127.0.0.1", port)), pytest.raises(StackError) as error:
        lone.valkey.start()

    assert line(error).startswith(f"Valkey needs port {port}, which is taken by ")
    assert f"(pid {os.getpid()})" in line(error)
    assert not lone.valkey.running()


def test_a_missing_program_is_named_with_its_remedy(
    lone: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(rabbitmq, "DEBIAN_SERVER", tmp_path / "none")
    bare = Stack("lone", root=lone.root, environ={"PATH": str(tmp_path)})

    with pytest.raises(StackError) as error:
        bare.rabbitmq.start()

    assert line(error).startswith("RabbitMQ not found: install the package rabbitmq-server")
    assert "STOCKYARD_RABBITMQ_URL" in line(error)
    assert not list(bare.folder.glob("*.pid"))  # no epmd either


def test_a_server_that_dies_at_start_is_quoted(lone: Stack, tmp_path: Path):
    broken = tmp_path / "valkey-server"
    broken.write_text("#!/bin/sh\necho 'no memory left'\nexit 1\n")
    broken.chmod(0o700)
    bad = Stack("lone", root=lone.root, environ={"PATH": f"{tmp_path}:{os.defpath}"})

    with pytest.raises(StackError) as error:
        bad.valkey.start()

    assert line(error).startswith("Valkey ended while starting (log: ")
    assert line(error).endswith("logs/valkey.log; last line: no memory left)")


def test_the_command_line_fails_with_one_line(capsys: pytest.CaptureFixture[str]):
    assert stack_cli.main(["--name", "No Name", "status"]) == 1
    assert capsys.readouterr().err == (
        "stack: 'No Name' is no name for a stack: use lower-case letters, digits and dashes\n"
    )


def test_a_recorded_pid_that_is_now_somebody_elses_is_spared(tmp_path: Path):
    with subprocess.Popen(["sleep", "60"]) as bystander:
        (tmp_path / "stale.pid").write_text(f'{{"pid": {bystander.pid}, "began": 12345.0}}')
        stale = BackgroundProcess(tmp_path / "stale.pid", tmp_path / "stale.log")

        stale.kill()

        assert not stale.running()
        assert bystander.poll() is None
        bystander.send_signal(signal.SIGTERM)
