"""Passes of the ops console: who has logged in there, for as long as its session stands."""

from datetime import timedelta

import jwt

from domain.accounts.access import Access
from domain.accounts.rules import Principal
from domain.accounts.sessions import LoggedIn
from domain.accounts.tokens import MAX_LENGTH, Tokens
from domain.errors import Unauthenticated
from domain.values import Clock

#: Whom a pass is for. The API takes no token that is for somebody, and the console none that is for nobody.
AUDIENCE = "console"


class ConsolePasses:
    """Issues passes and reads them. A pass names a session, and opens nothing once that has ended."""

    def __init__(self, *, access: Access, tokens: Tokens, clock: Clock) -> None:
        self._access = access
        self._tokens = tokens
        self._clock = clock

    def first(self, session: LoggedIn, *, ttl: timedelta) -> str:
        """The pass of somebody who has just logged in."""
        return self._issue(session.account_id, session.session_id, ttl)

    def renewed(self, holder: Principal, *, ttl: timedelta) -> str:
        """Another pass of the same session, which ends later."""
        return self._issue(holder.account_id, holder.session_id or "", ttl)

    async def holder(self, shown: str) -> Principal:
        """Who holds the pass, and what they may do now. Raises Unauthenticated."""
        if len(shown) > MAX_LENGTH:
            raise Unauthenticated
        try:
            claims = self._tokens.verify(shown, audience=AUDIENCE)
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise Unauthenticated from error
        if self._clock().timestamp() >= float(claims["exp"]):
            raise Unauthenticated(reason="expired")
        return await self.standing(str(claims["sid"]))

    async def standing(self, session_id: str) -> Principal:
        """What the session's account may do now. Raises Unauthenticated once the session has ended."""
        return await self._access.of_session(session_id)

    def _issue(self, account_id: str, session_id: str, ttl: timedelta) -> str:
        return self._tokens.sign(account_id, session_id, audience=AUDIENCE, ttl=ttl)
