"""Requests as the documentation writes them, with curl, sent to the API of a test."""

import json
import re
import shlex
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from string import Template
from typing import Any

import httpx

#: Options of curl that only change what is printed.
SILENT = {"-s", "-i", "-si", "-sS"}


@dataclass(slots=True)
class Request:
    """What one command sends."""

    url: str = ""
    method: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: str | None = None


def parse(command: str, variables: Mapping[str, str]) -> Request:
    """The request of the block's curl command. Raises KeyError for a variable that is not known."""
    words = shlex.split(command.replace("\\\n", " "), comments=True)
    words = words[words.index("curl") + 1 :]
    request = Request()
    while words:
        word = words.pop(0)
        if word in SILENT:
            continue
        if word == "-H":
            name, _, value = words.pop(0).partition(": ")
            request.headers.append((name, Template(value).substitute(variables)))
        elif word in {"-d", "--data-binary"}:
            request.body = Template(words.pop(0)).safe_substitute(variables)
        elif word == "-X":
            request.method = words.pop(0)
        elif word.startswith("$API"):
            request.url = Template(word).substitute(variables)
        else:
            break
    request.method = request.method or ("GET" if request.body is None else "POST")
    return request


async def send(client: httpx.AsyncClient, command: str, variables: Mapping[str, str]) -> httpx.Response:
    """The answer to the block's curl command; `API` is the client's own address."""
    request = parse(command, {"API": "", **variables})
    assert request.url, command
    return await client.request(request.method, request.url, headers=request.headers, content=request.body)


#: A request, the status of its answer, and what the page shows of the answer.
EXAMPLE = re.compile(
    r"^<!-- answers (\d{3}) -->\n```sh\n(.*?)^```$(?:\n\n```json\n(.*?)^```$)?", re.MULTILINE | re.DOTALL
)


def shows(shown: Any, answered: Any) -> bool:
    """Whether all that is shown is in the answer, however much more there is."""
    if isinstance(shown, dict):
        return isinstance(answered, dict) and all(
            name in answered and shows(value, answered[name]) for name, value in shown.items()
        )
    if isinstance(shown, list):
        return isinstance(answered, list) and len(shown) == len(answered) and all(map(shows, shown, answered))
    return bool(shown == answered)


#: What a test does before a request: it is handed the command, and may change the variables.
Before = Callable[[str], Awaitable[None]]
#: What a test does after it was answered: it is handed the answer, and may change the variables.
After = Callable[[httpx.Response], Awaitable[None]]


async def follow(
    client: httpx.AsyncClient,
    page: str,
    variables: dict[str, str],
    *,
    before: Before | None = None,
    after: After | None = None,
) -> None:
    """Sends every request of a page, in its order; each has to be answered as the page says.

    `variables` has what `$NAME` stands for. `ETAG` and `OLD_ETAG` are those of the last two answers with one.
    """
    for status, command, shown in EXAMPLE.findall(page):
        if before is not None:
            await before(command)
        answer = await send(client, command, variables)
        assert answer.status_code == int(status), (command, answer.text)
        if shown:
            expected = json.loads(Template(shown).safe_substitute(variables))
            assert shows(expected, answer.json()), (command, answer.json())
        if "etag" in answer.headers:
            variables["OLD_ETAG"] = variables.get("ETAG", "")
            variables["ETAG"] = answer.headers["etag"]
        if after is not None:
            await after(answer)


def requests_of(page: str) -> int:
    """How many requests the page has. Each is an example with an answer."""
    found = len(EXAMPLE.findall(page))
    assert found == page.count("curl -")
    return found
