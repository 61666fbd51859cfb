"""The overview: what needs attention, and how the pools are doing."""

from nicegui import ui
from starlette.requests import Request

from api.console.frame import frame


@ui.page("/")
async def overview(request: Request) -> None:
    """The first page."""
    async with frame(request, "Overview"):
        ui.label("Nothing to see yet.")
