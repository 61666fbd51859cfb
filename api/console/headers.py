"""What browsers are told with each answer: load nothing from elsewhere, show the page in no frame."""

from starlette.types import Send

#: Scripts build the page out of templates at run time, which takes `unsafe-eval`. All is our own.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"strict-transport-security", b"max-age=31536000; includeSubDomains"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


def with_headers(send: Send) -> Send:
    """Sends answers on, with the headers."""

    async def answer(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *HEADERS]  # type: ignore[misc]
        await send(message)

    return answer  # type: ignore[return-value]
