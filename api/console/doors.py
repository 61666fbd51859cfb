"""Coming in and going out: the log-in page, the pass that the browser keeps, and who is let through."""

from urllib.parse import quote, urlsplit

from pymongo.errors import PyMongoError
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from api.console import problems
from api.console.headers import with_headers
from api.console.plain import plain_page
from api.device import device_of
from domain.accounts.rules import Principal
from domain.accounts.sessions import Device, LoggedIn
from domain.bootstrap import Services
from domain.errors import DomainError, Forbidden, TooManyRequests, Unauthenticated
from domain.settings import Settings
from domain.startup import PRODUCTION

#: Where the console is.
HOME = "/ops"
LOGIN = f"{HOME}/login"
LOGOUT = f"{HOME}/logout"
RENEW = f"{HOME}/renew"
#: What whoever comes in has to be allowed.
SCOPE = "ops:read"
COOKIE = "stockyard-console"
#: What another site's page is told.
FOREIGN = "This was sent by another site."
#: The longest way back.
LONGEST = 2000
#: What anybody may have: the page's own scripts and styles hold nothing of the shop's.
ASSETS = f"{HOME}/_nicegui/"
#: What browsers show beside the page's name.
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
    '<rect width="32" height="32" rx="6" fill="#1d4f91"/>'
    '<path d="M6 24V12l10-6 10 6v12h-5v-9H11v9z" fill="#fff"/></svg>'
)


class Doors:
    """Lets nobody through to the console who has no pass. Pure ASGI: pages stay live over web sockets."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI calls it."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        if scope["type"] == "http":
            send = with_headers(send)
        if not _guarded(scope["path"]):
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        if _acts(connection) and _foreign(connection):
            await PlainTextResponse(FOREIGN, 403)(scope, receive, send)
            return
        try:
            holder = await holder_of(connection)
        except Unauthenticated:
            await _refused(connection)(scope, receive, send)
            return
        except PyMongoError:
            await problems.away(acts=_acts(connection))(scope, receive, send)
            return
        state = connection.scope["app"].state
        scope.setdefault("state", {}).update(holder=holder, services=state.services, reads=state.reads)
        await self._app(scope, receive, send)


def routes() -> list[Route]:
    """The pages and forms that are no part of the live page."""
    return [
        Route(LOGIN, _show_login, methods=["GET"]),
        Route(LOGIN, _log_in, methods=["POST"]),
        Route(LOGOUT, _log_out, methods=["POST"]),
        Route(RENEW, _renew, methods=["POST"]),
        Route("/", _home, methods=["GET"]),
        Route("/favicon.ico", _icon, methods=["GET"]),
    ]


async def holder_of(connection: HTTPConnection) -> Principal:
    """Who holds the pass that the browser sent. Raises Unauthenticated, also where it opens nothing here."""
    shown = connection.cookies.get(COOKIE)
    if shown is None:
        raise Unauthenticated
    holder = await _services(connection).accounts.console.holder(shown)
    if not holder.may(SCOPE):
        raise Unauthenticated
    return holder


def _guarded(path: str) -> bool:
    inside = path == HOME or path.startswith(f"{HOME}/")
    return inside and path not in {LOGIN, LOGOUT} and not path.startswith(ASSETS)


def _refused(connection: HTTPConnection) -> Response:
    """Pages lead to the log-in and back; what scripts ask for is refused."""
    if _acts(connection):
        return PlainTextResponse("Log in first.", 401)
    query = connection.url.query
    asked = connection.scope["path"] + (f"?{query}" if query else "")
    return RedirectResponse(f"{LOGIN}?to={quote(asked)}", 303)


async def _home(_: Request) -> Response:
    return RedirectResponse(HOME, 303)


async def _icon(_: Request) -> Response:
    return Response(ICON, media_type="image/svg+xml", headers={"Cache-Control": "max-age=86400"})


async def _show_login(request: Request) -> Response:
    return _form(request.query_params.get("to", HOME))


async def _log_in(request: Request) -> Response:
    if _foreign(request):
        return PlainTextResponse(FOREIGN, 403)
    async with request.form(max_files=0, max_fields=4) as form:
        email, password, to = (str(form.get(name, "")) for name in ("email", "password", "to"))
    services = _services(request)
    try:
        session = await _session(services, email, password, device_of(request, "console"))
    except (DomainError, PyMongoError) as error:
        problem, status = _told(error)
        return _form(to, email=email, problem=problem, status=status)
    answer = RedirectResponse(_own(to), 303)
    ttl = services.settings.console.session_ttl
    _put(answer, services.accounts.console.first(session, ttl=ttl), services.settings)
    return answer


async def _session(services: Services, email: str, password: str, device: Device) -> LoggedIn:
    """As `Accounts.log_in`; raises Forbidden, too, for an account that may not operate the platform."""
    accounts = services.accounts
    session = await accounts.log_in(email, password, device=device)
    holder = await accounts.console.standing(session.session_id)
    if not holder.may(SCOPE):
        await accounts.sessions.end(session.session_id, account_id=session.account_id)
        raise Forbidden(scope=SCOPE)
    return session


def _told(error: DomainError | PyMongoError) -> tuple[str, int]:
    """What the form says of a log-in that failed, and the status."""
    match error:
        case TooManyRequests():
            return f"Too many tries. Wait {error.detail.get('retry_after')} s.", 429
        case Forbidden():
            return "This account may not operate the platform.", 403
        case DomainError():
            return "E-mail address or password are wrong.", 401
        case _:
            return "The store is away. Try again in a moment.", 503


async def _renew(request: Request) -> Response:
    """What an open page asks for again and again: who watches stays logged in."""
    holder: Principal = request.scope["state"]["holder"]
    services = _services(request)
    answer = Response(status_code=204)
    shown = services.accounts.console.renewed(holder, ttl=services.settings.console.session_ttl)
    _put(answer, shown, services.settings)
    return answer


async def _log_out(request: Request) -> Response:
    answer = RedirectResponse(LOGIN, 303)
    if _foreign(request):
        return answer
    try:
        holder = await holder_of(request)
        sessions = _services(request).accounts.sessions
        await sessions.end(holder.session_id or "", account_id=holder.account_id)
    except (DomainError, PyMongoError):
        # What cannot be ended is forgotten by the browser at least.
        pass
    answer.delete_cookie(COOKIE, path=HOME)
    return answer


def _form(to: str, *, email: str = "", problem: str = "", status: int = 200) -> Response:
    return plain_page("login.html", status, to=_own(to), email=email, problem=problem, login=LOGIN)


def _own(to: str) -> str:
    """The way back, where it leads into the console and to no other site."""
    try:
        parts = urlsplit(to)
    except ValueError:
        return HOME
    inside = parts.path == HOME or parts.path.startswith(f"{HOME}/")
    if not inside or parts.netloc or parts.scheme or "\\" in to or len(to) > LONGEST:
        return HOME
    return parts.path + (f"?{parts.query}" if parts.query else "")


def _acts(connection: HTTPConnection) -> bool:
    """Whether more is asked than to be shown a page."""
    return connection.scope["type"] == "websocket" or connection.scope["method"] not in {"GET", "HEAD"}


def _foreign(connection: HTTPConnection) -> bool:
    """Whether another site's page sent it. To browsers, this machine's other ports are the same site."""
    headers = connection.headers
    if headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        return True
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != headers.get("host")


def _put(answer: Response, shown: str, settings: Settings) -> None:
    """Has the browser keep the pass: out of scripts' sight, for us alone; in production over HTTPS alone."""
    seconds = int(settings.console.session_ttl.total_seconds())
    secure = settings.deployment.env == PRODUCTION
    answer.set_cookie(COOKIE, shown, seconds, path=HOME, secure=secure, httponly=True, samesite="strict")


def _services(connection: HTTPConnection) -> Services:
    found: Services = connection.scope["app"].state.services
    return found
