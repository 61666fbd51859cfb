"""The cookie of a refresh token, for browsers whose scripts are not to see it."""

from fastapi import Request, Response

from domain.accounts.sessions import LoggedIn
from domain.values import Clock

NAME = "__Secure-stockyard-refresh"
#: Where browsers send it to: refresh and log-out.
PATH = "/v1/auth"


def read(request: Request) -> str | None:
    """The token that the browser sent."""
    return request.cookies.get(NAME)


def put(answer: Response, session: LoggedIn, clock: Clock) -> None:
    """Has the browser keep the token while it is good: out of scripts' sight, over HTTPS, for us alone."""
    seconds = int((session.refresh_expires_at - clock()).total_seconds())
    answer.set_cookie(
        NAME, session.refresh_token, seconds, path=PATH, secure=True, httponly=True, samesite="strict"
    )


def drop(answer: Response) -> None:
    """Has the browser forget it."""
    answer.delete_cookie(NAME, path=PATH, secure=True, httponly=True, samesite="strict")
