"""The page on products: its requests are answered as it says, and its tables are the code's."""

import re
from pathlib import Path

from domain.products import registry
from domain.products.rules import TRANSITIONS
from domain.settings import Settings
from tests.api import open_api
from tests.curl import follow, requests_of

PAGE = (Path(__file__).parents[2] / "docs/products.md").read_text(encoding="utf-8")
CODE = re.compile(r"`(\w+)`")


def rows(mark: str) -> list[list[list[str]]]:
    """What stands in backticks in each cell of the table that follows the mark."""
    table = PAGE.partition(f"<!-- {mark} -->\n")[2].partition("\n\n")[0].splitlines()[2:]
    return [[CODE.findall(cell) for cell in row.split("|")[1:-1]] for row in table]


async def test_every_request_is_answered_as_the_page_says(settings: Settings):
    async with open_api(settings) as api:
        await follow(api.client, PAGE, {"TOKEN": api.user("catalog:write").token})


def test_every_request_is_an_example_with_an_answer():
    assert requests_of(PAGE) >= 10


def test_every_type_is_listed_with_its_attributes():
    listed = {name: (set(needed), set(more)) for (name,), needed, more in rows("types")}
    assert sorted(listed) == registry.names()
    for name, (needed, more) in listed.items():
        schema = registry.schema(name)
        assert needed == set(schema.get("required", ())), name
        assert more == set(schema["properties"]) - needed, name


def test_every_transition_is_listed():
    assert {state: tuple(allowed) for (state,), allowed in rows("transitions")} == TRANSITIONS


def test_the_pages_type_is_a_type():
    """As it stands there, in a file of its own."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    source = (
        "from typing import Annotated\nfrom pydantic import Field\n"
        "from domain.products.registry import Attributes, product_type\n" + code
    )
    try:
        exec(compile(source, "types.py", "exec"), {"__name__": "candles"})  # noqa: S102 - the page's own
        assert registry.attributes("candle", {"burns_h": 40}).stored() == {"burns_h": 40}
    finally:
        registry._TYPES.pop("candle", None)
