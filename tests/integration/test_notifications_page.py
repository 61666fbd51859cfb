"""The page on notifications: its requests are answered as it says, and what it lists is the code's."""

import json
import re
from pathlib import Path

from domain.events.models import NewEvent
from domain.notifications.notices import KINDS
from domain.notifications.rules import TOPICS
from domain.settings import Settings
from tests.api import open_api
from tests.curl import EXAMPLE, send, shows
from tests.happenings import example, happen, paid

PAGE = (Path(__file__).parents[2] / "docs/notifications.md").read_text(encoding="utf-8")


async def test_every_request_is_answered_as_the_page_says(settings: Settings):
    async with open_api(settings) as api:
        await api.shop.stock(**{"CHAI-1": 0})
        user = api.user()
        told = example("product.back") | {"sku": "CHAI-1", "name": "Chai"}
        back = NewEvent(user.id, "product.back", "CHAI-1", told)
        await happen(api.services, paid(user.id), back)
        variables = {"TOKEN": user.token}
        for status, command, shown in EXAMPLE.findall(PAGE):
            answer = await send(api.client, command, variables)
            assert answer.status_code == int(status), (command, answer.text)
            if shown:
                assert shows(json.loads(shown), answer.json()), (command, answer.json())
            if "etag" in answer.headers:
                variables["ETAG"] = answer.headers["etag"]


def test_every_request_is_an_example_with_an_answer():
    assert len(EXAMPLE.findall(PAGE)) == PAGE.count("curl -") == 8


def table(mark: str) -> list[list[str]]:
    lines = PAGE.partition(f"{mark}\n")[2].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in lines]


def test_every_type_is_listed_with_its_defaults():
    mail = {None: "", True: "yes", False: "no"}
    known = [
        [name, "yes" if kind.inbox else "no", "always" if kind.always else mail[kind.mail]]
        for name, kind in sorted(KINDS.items())
    ]
    assert table("<!-- kinds -->") == known


def test_every_topic_is_listed():
    rows = re.findall(r"^\| `([a-z]+\.[a-z]+)` \| a SKU \| `([a-z.]+)`", PAGE, re.MULTILINE)
    assert dict(rows) == TOPICS
