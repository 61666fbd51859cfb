"""The page on searching: its requests are answered as it says, and its lists are the code's."""

import inspect
import re
from pathlib import Path

from domain.products import builder, search, types  # noqa: F401 - fills the registry
from domain.settings import Settings
from tests.api import open_api
from tests.curl import follow, requests_of

PAGE = (Path(__file__).parents[2] / "docs/search.md").read_text(encoding="utf-8")


async def test_every_request_is_answered_as_the_page_says(settings: Settings):
    async with open_api(settings) as api:
        await follow(api.client, PAGE, {"TOKEN": api.user("catalog:write").token})


def test_every_request_is_an_example_with_an_answer():
    assert requests_of(PAGE) >= 7


def test_every_rule_is_listed():
    table = PAGE.partition("<!-- rules -->\n")[2].partition("\n\n")[0]
    source = inspect.getsource(builder) + inspect.getsource(search)
    rules = set(re.findall(r'yield [\w"]+, "(\w+)"', source)) | set(re.findall(r'"rule": "(\w+)"', source))
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == rules


def test_every_order_is_listed():
    listed = re.search(r"`sort` is (.+?)\. A", PAGE, re.DOTALL)
    assert listed
    assert re.findall(r"`(-?\w+)`", listed[1].replace("`q`", "")) == list(builder.SORTS)


def test_the_query_on_the_page_can_be_built():
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    built: dict[str, builder.ProductQuery] = {}
    exec(code, built)  # noqa: S102 - our own page
    assert built["query"].words == ("rose", "cotton")
