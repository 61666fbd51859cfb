"""All accounts, for staff and ops."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from api.answers import page
from api.body import JsonBody
from api.deps import Caller, IdCursor, Limit, Requires
from api.etag import CONDITIONAL, IfMatch, tagged
from api.openapi import problems
from api.ops_acts import entry_of
from api.schemas.accounts import AccountChange, AccountPage, AccountView
from api.schemas.auth import Ended
from domain.accounts.models import Account
from domain.accounts.rules import Role

routes = APIRouter(prefix="/v1/accounts", tags=["accounts"])

Reader = Annotated[Caller, Depends(Requires("ops:read"))]
Writer = Annotated[Caller, Depends(Requires("ops:write"))]


@routes.get("", summary="List accounts")
async def list_accounts(
    caller: Reader,
    *,
    limit: Limit = 50,
    cursor: IdCursor = None,
    role: Role | None = None,
    email: Annotated[str | None, Query(max_length=254, description="The whole address.")] = None,
    group: Annotated[str | None, Query(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")] = None,
) -> AccountPage:
    """Accounts, oldest first."""
    rows = await caller.services.accounts.directory.page(
        after=cursor,
        limit=limit + 1,
        role=role,
        email=email.strip().lower() if email is not None else None,
        group=group,
    )
    shown, following = page(rows, limit, lambda account: account.id)
    return AccountPage(accounts=[_view(account) for account in shown], next_cursor=following)


@routes.get("/{account_id}", response_model=AccountView, responses=problems(404), summary="One account")
async def get_account(account_id: str, caller: Reader) -> Response:
    """The account, with its `ETag`."""
    return _tagged(await caller.services.accounts.get(account_id))


@routes.patch(
    "/{account_id}",
    response_model=AccountView,
    responses=problems(400, 404, 409, 412, 428),
    openapi_extra=CONDITIONAL,
    summary="Change an account",
)
async def change_account(
    account_id: str,
    caller: Writer,
    expected: IfMatch,
    wanted: Annotated[AccountChange, Depends(JsonBody(AccountChange))],
) -> Response:
    """Sets role, scopes or groups. Roles and scopes are for ops accounts to set, and none they have not.

    What is taken away is gone at once; what is given comes with the next token.
    """
    services = caller.services
    before = _rights(await services.accounts.get(account_id))
    entry = entry_of(caller, "accounts.change", "account", account_id, before=before)
    async with services.audit_log.acting(entry) as act:
        changed = await services.accounts.change(
            account_id,
            caller.principal,
            expected=expected,
            role=wanted.role,
            scopes=wanted.scopes,
            groups=wanted.groups,
        )
        act.after = _rights(changed)
    return _tagged(changed)


@routes.delete("/{account_id}/sessions", responses=problems(404, 409), summary="Log somebody out everywhere")
async def end_sessions(account_id: str, caller: Writer) -> Ended:
    """Ends all sessions of the account, as when a device is lost. Idempotent."""
    services = caller.services
    entry = entry_of(caller, "accounts.end_sessions", "account", account_id)
    async with services.audit_log.acting(entry) as act:
        ended = await services.accounts.end_sessions(account_id, caller.principal)
        act.after = {"ended": ended}
    return Ended(ended=ended)


def _rights(account: Account) -> dict[str, Any]:
    """What the audit log keeps of an account."""
    return {"role": account.role, "scopes": sorted(account.scopes), "groups": sorted(account.groups)}


def _view(account: Account) -> AccountView:
    return AccountView.model_validate(account, from_attributes=True)


def _tagged(account: Account) -> Response:
    return tagged(_view(account), account.revision)
