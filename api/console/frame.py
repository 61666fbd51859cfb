"""What every page has around it: who looks, the way to other pages, the theme, and reads that recur."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

from nicegui import Client, ui
from nicegui.elements.mixins.text_element import TextElement
from pymongo.errors import PyMongoError
from starlette.requests import Request

from api.console.doors import HOME, LOGIN, LOGOUT, RENEW
from api.console.parts import link, text
from api.console.reads import FRESH, Reads
from api.console.words import told
from domain.accounts.rules import Principal
from domain.audit_log.models import Actor
from domain.bootstrap import Services
from domain.errors import DomainError, Unauthenticated
from domain.observe import logger

log = logger(__name__)

#: Seconds after which an open page asks for a new pass, and between two looks whether its session stands.
RENEW_EVERY, LOOK_EVERY = 300.0, 5.0
#: Seconds for which an account's address is taken for the same.
NAMES = 60.0
#: Seconds that a browser has to leave a page whose session has ended.
LEAVING = 2.0
#: A search may take its time; the page waits for it.
PATIENCE = 30.0
#: Path, name and icon of each page, in the order of the menu.
MENU: tuple[tuple[str, str, str], ...] = (
    ("/", "Overview", "dashboard"),
    ("/jobs", "Jobs", "list_alt"),
    ("/dead", "Dead jobs", "report"),
    ("/orders", "Orders", "receipt_long"),
    ("/workers", "Workers", "memory"),
    ("/schedule", "Schedule", "schedule"),
    ("/audit", "Audit log", "history"),
)
#: Makes a page of a function, as `ui.page` does.
page = partial(ui.page, response_timeout=PATIENCE)
_STYLE = Path(__file__).with_name("style.css").read_text(encoding="utf-8")


@dataclass(slots=True)
class Operator:
    """Who looks at a page, and what the page reads again and again for them."""

    services: Services
    reads: Reads
    principal: Principal
    email: str
    request_id: str | None = None
    trouble: TextElement | None = None
    gone: bool = False
    _refreshing: list[Callable[[], Awaitable[None]]] = field(default_factory=list)

    @property
    def writes(self) -> bool:
        """Whether buttons are worth showing. What is done asks `may` again."""
        return self.principal.may("ops:write")

    @property
    def now(self) -> datetime:
        """The platform's time."""
        return self.services.clock()

    async def may(self, scope: str) -> bool:
        """Whether the session stands and its account is allowed it, at this moment."""
        try:
            self.principal = await self.services.accounts.console.standing(self.principal.session_id or "")
        except Unauthenticated:
            self.gone = True
            return False
        return self.principal.may(scope)

    async def names(self, actors: Iterable[str]) -> dict[str, str]:
        """Who they are: an account's e-mail address, or what else acts as it calls itself."""
        wanted = sorted(set(actors))
        found = await asyncio.gather(
            *(self.reads.read(("who", actor), partial(self._name, actor), fresh=NAMES) for actor in wanted)
        )
        return dict(zip(wanted, found, strict=True))

    async def _name(self, actor: str) -> str:
        try:
            return (await self.services.accounts.get(actor)).email
        except DomainError:
            return actor

    def actor(self) -> Actor:
        """Who acts, for the audit log."""
        return Actor(self.principal.account_id, f"session:{self.principal.session_id}", self.request_id)

    async def live(self, refresh: Callable[[], Awaitable[None]], *, every: float = FRESH) -> None:
        """Calls `refresh` now, and again and again while the page is open. What fails is said on the page."""
        self._refreshing.append(refresh)
        await self.tried(refresh)
        ui.timer(every, lambda: self.tried(refresh), immediate=False)

    async def refresh(self) -> None:
        """Reads everything on the page again."""
        for refresh in self._refreshing:
            await self.tried(refresh)

    async def tried(self, refresh: Callable[[], Awaitable[None]]) -> None:
        """Reads something; what fails is said on the page. Nothing is read for whoever may no more."""
        if self.gone:
            return
        try:
            await refresh()
        except (DomainError, PyMongoError) as error:
            self._say(told(error))
        except Exception:
            log.exception("console.page_failed")
            self._say("Something broke: the console's log has it.")
        else:
            self._say("")

    def _say(self, trouble: str) -> None:
        if self.trouble is not None and self.trouble.text != trouble:
            self.trouble.text = trouble


@asynccontextmanager
async def frame(request: Request, title: str) -> AsyncIterator[Operator]:
    """The page's own part goes inside."""
    operator = await _operator(request)
    ui.page_title(f"{title} · Stockyard")
    ui.add_css(_STYLE)
    ui.colors(primary="#1d4f91", negative="#b3261e", positive="#1b6e3c", warning="#8a5a00")
    skip = text("a", "Skip to the page", "skip")
    skip.props["href"] = "#content"
    with ui.left_drawer(value=False, bordered=True).props(
        'width=210 breakpoint=900 show-if-above role="navigation" aria-label="Pages"'
    ) as menu:
        _menu(title)
    with ui.header().classes("items-center header"):
        toggle = ui.button(icon="menu", on_click=lambda: menu.run_method("toggle"))
        toggle.props('flat color=white aria-label="Menu" dense')
        text("span", "Stockyard", "brand")
        ui.space()
        _theme()
        text("span", operator.email, "gt-xs email")
        _log_out()
    with ui.element("div").classes("content") as content:
        content.props.update({"id": "content", "tabindex": "-1"})
        text("h1", title)
        if not operator.writes:
            text("p", "Your account may look, and not act.", "note")
        operator.trouble = text("p", "", "trouble")
        operator.trouble.props["role"] = "alert"
        yield operator
        text("p", "Times are UTC.", "note foot")
    client = ui.context.client
    ui.timer(LOOK_EVERY, lambda: _look(operator, client), immediate=False)
    ui.timer(RENEW_EVERY, lambda: ui.run_javascript(f"fetch('{RENEW}', {{method: 'POST'}})"), immediate=False)


async def _operator(request: Request) -> Operator:
    services: Services = request.state.services
    principal: Principal = request.state.holder
    try:
        email = (await services.accounts.get(principal.account_id)).email
    except (DomainError, PyMongoError):
        email = ""
    return Operator(services, request.state.reads, principal, email)


async def _look(operator: Operator, client: Client) -> None:
    """Whoever may no more is shown the door, and the page ends here, whatever their browser does."""
    try:
        if await operator.may("ops:read"):
            return
    except PyMongoError:
        return
    operator.gone = True
    # The library puts the console's own path before it.
    ui.navigate.to(LOGIN.removeprefix(HOME))
    await asyncio.sleep(LEAVING)
    if not client.is_deleted:
        client.remove_all_elements()


def _menu(current: str) -> None:
    for path, name, icon in MENU:
        with link("", f"{HOME}{path}" if path != "/" else HOME).classes("menu") as item:
            ui.icon(icon).props('aria-hidden="true"')
            text("span", name)
        if name == current:
            item.props["aria-current"] = "page"


def _log_out() -> None:
    with ui.element("form") as form:
        form.props.update({"method": "post", "action": LOGOUT})
        text("button", "Log out", "out").props["type"] = "submit"


def _theme() -> None:
    """Dark or light as the system is, until somebody says otherwise."""
    dark = ui.dark_mode(None)
    following = {None: True, True: False, False: None}
    names = {None: "as the system", True: "dark", False: "light"}

    def turn() -> None:
        dark.set_value(following[dark.value])
        button.props["aria-label"] = f"Theme: {names[dark.value]}"

    button = ui.button(icon="contrast", on_click=turn).props("flat color=white dense")
    button.props["aria-label"] = "Theme: as the system"
