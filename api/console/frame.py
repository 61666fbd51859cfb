"""What every page has around it: who looks, the way to the other pages, the theme."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from nicegui import ui
from starlette.requests import Request

from api.console.doors import HOME, LOGIN, LOGOUT, RENEW
from domain.accounts.rules import Principal
from domain.bootstrap import Services
from domain.errors import Unauthenticated

#: Seconds after which an open page asks for a new pass, and between two looks whether its session stands.
RENEW_EVERY, LOOK_EVERY = 300.0, 5.0
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


@dataclass(slots=True)
class Operator:
    """Who looks at a page."""

    services: Services
    principal: Principal
    email: str

    async def may(self, scope: str) -> bool:
        """Whether the session stands and its account is allowed it, at this moment."""
        try:
            self.principal = await self.services.accounts.console.standing(self.principal.session_id or "")
        except Unauthenticated:
            return False
        return self.principal.may(scope)


@asynccontextmanager
async def frame(request: Request, title: str) -> AsyncIterator[Operator]:
    """The page's own part goes inside."""
    operator = await _operator(request)
    ui.page_title(f"{title} · Stockyard")
    ui.add_head_html(_STYLE)
    ui.colors(primary="#1d4f91", negative="#b3261e", positive="#1b6e3c", warning="#8a5a00")
    with ui.left_drawer(value=None, bordered=True).props(
        'width=220 role="navigation" aria-label="Pages"'
    ) as menu:
        _menu(title)
    with ui.header().classes("items-center"):
        ui.button(icon="menu", on_click=menu.toggle).props('flat color=white aria-label="Menu" dense')
        ui.label("Stockyard").classes("text-weight-bold text-subtitle1")
        ui.space()
        _theme()
        ui.label(operator.email).classes("gt-xs")
        ui.html(
            f'<form method="post" action="{LOGOUT}"><button class="out">Log out</button></form>',
            sanitize=False,
        )
    with ui.element("main").classes("content"):
        ui.html(f"<h1>{title}</h1>", sanitize=False)
        yield operator
    ui.timer(LOOK_EVERY, lambda: _look(operator))
    ui.timer(RENEW_EVERY, lambda: ui.run_javascript(f"fetch('{RENEW}', {{method: 'POST'}})"), immediate=False)


async def _operator(request: Request) -> Operator:
    services: Services = request.state.services
    principal: Principal = request.state.holder
    account = await services.accounts.get(principal.account_id)
    return Operator(services, principal, account.email)


async def _look(operator: Operator) -> None:
    if not await operator.may("ops:read"):
        ui.navigate.to(LOGIN)


def _menu(current: str) -> None:
    for path, name, icon in MENU:
        with ui.link(target=f"{HOME}{path}").classes("menu") as link:
            ui.icon(icon).props('aria-hidden="true"')
            ui.label(name)
        if name == current:
            link.props('aria-current="page"')


def _theme() -> None:
    """Dark or light as the system is, until somebody says otherwise."""
    dark = ui.dark_mode(None)
    following = {None: True, True: False, False: None}
    names = {None: "as the system", True: "dark", False: "light"}

    def turn() -> None:
        dark.set_value(following[dark.value])
        button.props(f'aria-label="Theme: {names[dark.value]}"')

    button = ui.button(icon="contrast", on_click=turn).props(
        'flat color=white dense aria-label="Theme: as the system"'
    )


_STYLE = """
<style>
  h1 { font-size: 1.5rem; line-height: 2rem; margin: 0 0 1rem; font-weight: 600; }
  h2 { font-size: 1.1rem; line-height: 1.6rem; margin: 1.25rem 0 .5rem; font-weight: 600; }
  main.content { padding: 1rem; max-width: 90rem; }
  a.menu { display: flex; gap: .75rem; align-items: center; padding: .6rem .75rem; border-radius: .4rem;
           color: inherit; text-decoration: none; }
  a.menu:hover, a.menu[aria-current] { background: #1d4f9122; }
  a.menu[aria-current] { font-weight: 600; }
  button.out { font: inherit; color: #fff; background: none; border: 1px solid #fff9; border-radius: .4rem;
               padding: .25rem .7rem; cursor: pointer; }
  :focus-visible { outline: 3px solid #5b9bff; outline-offset: 2px; }
</style>
"""
