"""All accounts, as staff sees and changes them."""

import re
from collections.abc import Iterable
from typing import Any

from domain.accounts.models import ACCOUNTS, Account, account_of
from domain.accounts.rules import CUSTOMER_SCOPES, ROLE_SCOPES, Principal, Role, known_scopes, own_scopes
from domain.changes import Database, Doc
from domain.errors import Forbidden, Invalid, NotFound, OpsAccount, StaleRevision
from domain.values import new_id

#: The name of a customer group.
GROUP = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
MAX_GROUPS = 20


class Directory:
    """Lists and changes accounts, and tells their groups."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self,
        *,
        after: str | None,
        limit: int,
        role: Role | None = None,
        email: str | None = None,
        group: str | None = None,
    ) -> list[Account]:
        """Accounts, oldest first, of the role, with the address, in the group."""
        wanted = {"_id": {"$gt": after} if after else None, "role": role, "email": email, "groups": group}
        query = {name: value for name, value in wanted.items() if value is not None}
        found = await self._accounts.find(query).sort("_id").limit(limit).to_list()
        return [account_of(row) for row in found]

    async def get(self, account_id: str) -> Account:
        """Raises NotFound."""
        row = await self._accounts.find_one({"_id": account_id})
        if row is None:
            raise NotFound(account=account_id)
        return account_of(row)

    async def by_email(self, email: str) -> Account | None:
        """The account with this address, in lower case; None where there is none."""
        row = await self._accounts.find_one({"email": email})
        return account_of(row) if row is not None else None

    async def groups_of(self, account_ids: Iterable[str]) -> dict[str, frozenset[str]]:
        """The customer groups of each account, by one read; none for accounts that there are not."""
        wanted = set(account_ids)
        if not wanted:
            return {}
        found = self._accounts.find({"_id": {"$in": sorted(wanted)}}, {"groups": 1})
        groups = {row["_id"]: frozenset(row.get("groups", ())) async for row in found}
        return {account_id: groups.get(account_id, frozenset()) for account_id in wanted}

    async def change(
        self,
        account_id: str,
        by: Principal,
        *,
        expected: frozenset[str] | None = None,
        role: Role | None = None,
        scopes: Iterable[str] | None = None,
        groups: Iterable[str] | None = None,
    ) -> Account:
        """Sets what is given, whole. A new role without scopes brings the role's own.

        Roles and scopes are set by ops accounts alone, and scopes only those that `by` has. Raises
        NotFound, Forbidden, Invalid, OpsAccount for an ops account, and StaleRevision where the account's
        revision is none that is `expected`.
        """
        account = await self.get(account_id)
        values = _values(account, by, role=role, scopes=scopes, groups=groups)
        if expected is not None and account.revision not in expected:
            raise StaleRevision(account=account_id)
        guard = {"_id": account_id, "revision": account.revision}
        if not (await self._accounts.update_one(guard, {"$set": values})).matched_count:
            raise StaleRevision(account=account_id)
        return await self.get(account_id)

    async def grant(self, account_id: str, scopes: Iterable[str]) -> Account:
        """Idempotent. Adds scopes. Raises Invalid and NotFound."""
        added = {"$addToSet": {"scopes": {"$each": known_scopes(scopes)}}, "$set": {"revision": new_id()}}
        await self._accounts.update_one({"_id": account_id}, added)
        return await self.get(account_id)

    @property
    def _accounts(self) -> Any:
        return self._database[ACCOUNTS]


def _values(
    account: Account,
    by: Principal,
    *,
    role: Role | None,
    scopes: Iterable[str] | None,
    groups: Iterable[str] | None,
) -> Doc:
    values: Doc = {"revision": new_id()}
    if (role is not None or scopes is not None) and by.role != "ops":
        raise Forbidden(role="ops")
    if account.role == "ops" or role == "ops":
        raise OpsAccount
    if role is not None:
        values["role"] = role
    if role is not None and role != account.role and scopes is None:
        # A key may have fewer scopes than its account: it gives no role that brings more.
        brought = ROLE_SCOPES[role]
        own_scopes(brought - CUSTOMER_SCOPES - {*account.scopes}, of=by.scopes)
        values["scopes"] = sorted(brought)
    if scopes is not None:
        values["scopes"] = own_scopes(scopes, of=by.scopes)
    if groups is not None:
        values["groups"] = _groups(groups)
    return values


def _groups(names: Iterable[str]) -> list[str]:
    found = sorted(set(names))
    wrong = [name for name in found if GROUP.fullmatch(name) is None]
    if wrong or len(found) > MAX_GROUPS:
        raise Invalid(reason="groups", groups=wrong, most=MAX_GROUPS)
    return found
