"""The page on imports and exports: its requests are answered as it says, and it names every column."""

import re
from pathlib import Path

import httpx

from domain.products.rows import COLUMNS
from domain.settings import Settings
from tests.api import open_api
from tests.curl import follow, requests_of

PAGE = (Path(__file__).parents[2] / "docs/imports.md").read_text(encoding="utf-8")


async def test_every_request_is_answered_as_the_page_says(settings: Settings) -> None:
    async with open_api(settings) as api:
        variables = {"TOKEN": api.user("catalog:write").token}

        async def work(answer: httpx.Response) -> None:
            if answer.status_code == 202:
                variables["ID"] = answer.json()["id"]
                await api.shop.work(variables["ID"])

        await follow(api.client, PAGE, variables, after=work)


def test_every_request_is_an_example_with_an_answer() -> None:
    assert requests_of(PAGE) == 6


def test_every_column_is_explained() -> None:
    table = PAGE.partition("## Rows")[2].partition("\n\n- ")[0]
    assert set(COLUMNS) <= set(re.findall(r"`([a-z_]+)`", table))
