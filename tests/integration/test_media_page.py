"""The page on media: its requests are answered as it says, and its client sends forms and parts."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from domain.media.rules import ORIGINALS, RENDITIONS, UPLOADS
from domain.settings import Settings
from tests.api import open_api
from tests.curl import EXAMPLE, send, shows
from tests.media import picture

PAGE = (Path(__file__).parents[2] / "docs/media.md").read_text(encoding="utf-8")
#: More than one part.
LARGE = 5 * 1024**2 + 100


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    own = {"STOCKYARD_MEDIA_MULTIPART_OVER": str(LARGE - 1), "STOCKYARD_MEDIA_PART_BYTES": str(5 * 1024**2)}
    return {**environment, **own}


@pytest.mark.parametrize("size", [1000, LARGE], ids=["a form", "parts"])
async def test_every_request_is_answered_as_the_page_says(settings: Settings, size: int) -> None:
    (client,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(client, names)  # noqa: S102 - the page's own
    # What follows on a picture is no part of it.
    body = picture().ljust(size, b"\0")
    async with open_api(settings) as api:
        await api.shop.stock(**{"CHAI-1": 1})
        user = api.user("media:write", "catalog:write")
        variables = {"TOKEN": user.token, "SIZE": str(len(body))}
        for status, command, shown in EXAMPLE.findall(PAGE):
            answer = await send(api.client, command, variables)
            assert answer.status_code == int(status), (command, answer.text)
            if shown and (size < LARGE or answer.status_code != 201):
                assert shows(json.loads(shown), answer.json()), (command, answer.json())
            if answer.status_code == 201:
                variables["ID"] = answer.json()["id"]
                etags = names["send"](answer.json()["upload"], body)
                assert len(etags) == (2 if size == LARGE else 0)
                variables["ETAGS"] = json.dumps(etags)
            if answer.status_code == 202:
                await api.shop.work(answer.json()["job_id"])


def test_every_request_is_an_example_with_an_answer() -> None:
    assert len(EXAMPLE.findall(PAGE)) == PAGE.count("curl -") == 9


def test_every_prefix_is_named() -> None:
    assert set(re.findall(r"\| `(\w+/)\{", PAGE)) == {UPLOADS, ORIGINALS, RENDITIONS}
