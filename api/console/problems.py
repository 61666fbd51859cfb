"""What is shown instead of a page."""

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from api.console.plain import plain_page

#: Seconds after which a page that could not be shown is asked for again.
AGAIN = 2


def away(*, acts: bool) -> Response:
    """503: nobody knows who asks. A page that was asked for comes by itself once the store is back."""
    headers = {"Retry-After": str(AGAIN)}
    if acts:
        return PlainTextResponse("The store is away. Try again in a moment.", 503, headers)
    return _page("The store is away", "This page is tried again every few seconds.", 503, headers, AGAIN)


async def missing(_: Request, __: Exception) -> Response:
    """404, where there is no page."""
    return _page("There is no such page", "Its address may have been cut off, or mistyped.", 404, {})


def _page(title: str, says: str, status: int, headers: dict[str, str], again: int | None = None) -> Response:
    return plain_page("problem.html", status, headers=headers, title=title, says=says, again=again)
