"""Pages that are whole as they are sent: no script, and nothing live."""

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

_PAGES = Environment(loader=PackageLoader("api.console"), autoescape=True, undefined=StrictUndefined)


def plain_page(
    template: str, status: int = 200, *, headers: Mapping[str, str] | None = None, **facts: Any
) -> Response:
    """The page that the template makes of the facts; kept by nobody."""
    page = _PAGES.get_template(template).render(**facts)
    return HTMLResponse(page, status, {"Cache-Control": "no-store", **(headers or {})})
