"""The page about events: its requests are answered as it says. Its listeners run in `tests/e2e`."""

from pathlib import Path

from domain.events.rules import envelope
from domain.settings import Settings
from tests.api import open_api
from tests.curl import EXAMPLE, follow
from tests.happenings import happen, held, paid

PAGE = (Path(__file__).parents[2] / "docs/events.md").read_text(encoding="utf-8")


async def test_every_request_is_answered_as_the_page_says(settings: Settings):
    async with open_api(settings) as api:
        user = api.user("ops:read")
        await happen(api.services, *(held(user.id) for _ in range(17)))
        since = api.services.clock().isoformat(timespec="seconds").replace("+00:00", "Z")
        await follow(api.client, PAGE, {"TOKEN": user.token, "SINCE": since})
    assert len(EXAMPLE.findall(PAGE)) == 3


async def test_the_envelope_on_the_page_has_the_members_of_one(settings: Settings):
    async with open_api(settings) as api:
        (event,) = await happen(api.services, paid("ada"))
    shown = PAGE.partition('{"specversion"')[2].partition("```")[0]
    for member in envelope(event):
        assert member == "specversion" or f'"{member}": ' in shown, member
