"""The listeners on the page about events, as they stand there, while all that they stand on breaks."""

import asyncio
import json
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from domain.bootstrap import Services
from domain.settings import Settings
from ops.stack import Stack
from tests.api import Api, User, open_api, serving
from tests.factories import eventually
from tests.happenings import happen, held, paid
from tests.tcp_proxy import TcpProxy

PAGE = (Path(__file__).parents[2] / "docs/events.md").read_text(encoding="utf-8")
PROGRAMS = dict(re.findall(r"^<!-- (listener\.\w+) -->\n```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
#: What runs each, and what it cannot do without.
RUN_BY = {"listener.py": [sys.executable], "listener.mjs": ["node"], "listener.sh": ["sh"]}
NEEDS = {"listener.py": [], "listener.mjs": ["node"], "listener.sh": ["sh", "curl", "jq"]}
#: Where there is no `redis-cli`: SUBSCRIBE over the same protocol, printed as it does.
STAND_IN = f"""#!{sys.executable}
import sys, redis
channel = redis.Redis.from_url(sys.argv[2], decode_responses=True, retry=None).pubsub()
channel.execute_command(*sys.argv[3:])
while True:
    for part in channel.parse_response(block=True):
        print(part, flush=True)
"""


def test_the_page_has_a_listener_for_each():
    assert set(PROGRAMS) == set(RUN_BY)
    assert PAGE.count("## Listeners that miss nothing") == 1


@pytest.fixture
def redis_proxy(stack: Stack) -> Iterator[TcpProxy]:
    """What listeners reach Redis by."""
    url = stack.up().redis_url
    proxy = TcpProxy(int(urlsplit(url).port or 0))
    yield proxy
    proxy.cut()


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    async with open_api(settings) as api:
        yield api


@asynccontextmanager
async def listening(
    name: str, folder: Path, environment: dict[str, str]
) -> AsyncIterator[tuple[asyncio.subprocess.Process, Path]]:
    """The program, running; what it prints is in the file."""
    program, heard = folder / name, folder / f"{name}.heard"
    program.write_text(PROGRAMS[name], encoding="utf-8")
    with heard.open("ab") as out, (folder / f"{name}.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *RUN_BY[name],
            str(program),
            cwd=folder,
            env=environment,
            stdout=out,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process, heard
    finally:
        os.killpg(process.pid, 9)
        await process.wait()


def events_in(heard: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in heard.read_text(encoding="utf-8").splitlines() if line.endswith("}")]


@pytest.mark.timeout(120)
async def test_listeners_miss_nothing_and_repeat_nothing_whatever_breaks(
    api: Api, stack: Stack, tmp_path: Path, redis_proxy: TcpProxy, environment: dict[str, str]
):
    user, flowing, stored = api.user(), asyncio.Event(), 0
    names = [name for name in PROGRAMS if all(map(shutil.which, NEEDS[name]))]
    assert "listener.py" in names
    if not shutil.which("redis-cli"):
        (tmp_path / "redis-cli").write_text(STAND_IN, encoding="utf-8")
        (tmp_path / "redis-cli").chmod(0o755)

    async def flow() -> None:
        nonlocal stored
        while not flowing.is_set():
            order = paid(user.id)
            await happen(api.services, held(user.id), order)
            stored += 2
            await asyncio.sleep(0.02)

    async def all_heard(files: list[Path]) -> bool:
        await api.services.events.republish()
        return all(len(events_in(file)) >= stored for file in files)

    async with serving(api) as (_, url), AsyncExitStack() as running:
        api_proxy = TcpProxy(int(urlsplit(url).port or 0))
        database = urlsplit(environment["STOCKYARD_REDIS_URL"]).path
        surroundings = {
            **os.environ,
            "PATH": f"{os.environ['PATH']}:{tmp_path}",
            "API": f"http://127.0.0.1:{api_proxy.port}",
            "TOKEN": user.token,
            "ACCOUNT": user.id,
            "STOCKYARD_REDIS_URL": f"redis://127.0.0.1:{redis_proxy.port}{database}",
        }
        files = [
            (await running.enter_async_context(listening(name, tmp_path, surroundings)))[1] for name in names
        ]
        writer = asyncio.create_task(flow())
        await eventually(lambda: heard_some(files, 1), within=20)
        for proxy in (redis_proxy, api_proxy):
            proxy.cut()
            await asyncio.sleep(0.3)
            proxy.mend()
        await eventually(lambda: heard_some(files, stored), within=20)
        stack.valkey.kill()
        await asyncio.sleep(0.5)
        stack.valkey.start()
        await asyncio.sleep(0.5)
        flowing.set()
        await writer
        await eventually(lambda: all_heard(files), within=40)
        api_proxy.cut()
    expected = [event["_id"] for event in await everything(api.services, user)]
    assert len(expected) == stored > 50
    for file in files:
        told = events_in(file)
        assert [event["id"] for event in told] == expected, file.name
        assert [event["seq"] for event in told] == list(range(1, stored + 1))


async def heard_some(files: list[Path], count: int) -> bool:
    return all(len(events_in(file)) >= count for file in files)


async def everything(services: Services, user: User) -> list[dict[str, Any]]:
    return await services.events.after(user.id, 0, limit=100_000)
