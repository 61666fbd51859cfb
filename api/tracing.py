"""The span of each request. Part of the app only where traces are wanted."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.gate import ALWAYS_OPEN
from api.middleware import METHODS
from domain import telemetry

#: Answers from here on are faults of ours.
FAULTS = 500


class Traced:
    """Continues the trace that the client's `traceparent` names, or begins one. Probes have none."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI calls it."""
        if scope["type"] != "http" or scope["path"] in ALWAYS_OPEN:
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in METHODS else "HTTP"
        facts = {
            "http.request.method": method,
            "url.path": scope["path"],
            "stockyard.request_id": scope["request_id"],
        }

        async def note(message: Message) -> None:
            if message["type"] == "http.response.start":
                telemetry.describe({"http.response.status_code": message["status"]})
                if message["status"] >= FAULTS:
                    telemetry.failed()
            await send(message)

        with telemetry.span(method, facts, kind="server", parent=_traceparent(scope)):
            scope["trace_id"] = telemetry.trace_id(telemetry.traceparent())
            try:
                await self._app(scope, receive, note)
            finally:
                route = getattr(scope.get("route"), "path", None)
                if route is not None:
                    telemetry.describe({"http.route": route}, name=f"{method} {route}")


def _traceparent(scope: Scope) -> str | None:
    return next((str(value, "latin-1") for name, value in scope["headers"] if name == b"traceparent"), None)
