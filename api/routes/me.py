"""One's own account: what it may do, its password, its sessions."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from api.answers import page
from api.body import JsonBody
from api.deps import Authenticated, Caller, IdCursor, Limit
from api.device import device_of
from api.openapi import problems
from api.schemas.accounts import AccountView
from api.schemas.auth import Ended, NewPassword, SessionPage, SessionView
from domain.accounts.models import Account
from domain.changes import Doc

routes = APIRouter(prefix="/v1/me", tags=["accounts"])

Person = Annotated[Caller, Depends(Authenticated(session=True))]


@routes.get("", response_model=AccountView, summary="The caller's account")
async def me(caller: Annotated[Caller, Depends(Authenticated())]) -> Account:
    """The account that the token or key is for."""
    return await caller.services.accounts.get(caller.account_id)


@routes.post("/password", status_code=204, responses=problems(409, 429), summary="Change the password")
async def change_password(
    caller: Person, request: Request, wanted: Annotated[NewPassword, Depends(JsonBody(NewPassword))]
) -> Response:
    """Ends every other session of the account. API keys stay."""
    await caller.services.accounts.change_password(
        caller.principal, wanted.current_password, wanted.new_password, device=device_of(request)
    )
    return Response(status_code=204)


@routes.get("/sessions", summary="List sessions")
async def list_sessions(caller: Person, limit: Limit = 50, cursor: IdCursor = None) -> SessionPage:
    """The devices that are logged in, newest first."""
    sessions = caller.services.accounts.sessions
    rows = await sessions.page(caller.account_id, after=cursor, limit=limit + 1)
    shown, following = page(rows, limit, lambda row: str(row["_id"]))
    return SessionPage(sessions=[_view(row, caller) for row in shown], next_cursor=following)


@routes.delete("/sessions", summary="Log out everywhere else")
async def end_other_sessions(caller: Person) -> Ended:
    """Ends all sessions of the account but the caller's own. Idempotent."""
    sessions = caller.services.accounts.sessions
    return Ended(ended=await sessions.end_all(caller.account_id, but=caller.principal.session_id))


@routes.delete("/sessions/{session_id}", status_code=204, responses=problems(404), summary="Log a device out")
async def end_session(session_id: str, caller: Person) -> Response:
    """Ends the session: its tokens are refused everywhere."""
    await caller.services.accounts.sessions.end(session_id, account_id=caller.account_id)
    return Response(status_code=204)


def _view(row: Doc, caller: Caller) -> SessionView:
    current = row["_id"] == caller.principal.session_id
    return SessionView.model_validate({**row, "id": row["_id"], "current": current}, extra="ignore")
