"""What starts a job: who, under which key, and what, in one dependency, for it is on the accept path."""

from dataclasses import dataclass
from typing import Generic

from fastapi import Request

from api.body import Examples, JsonBody, Model
from api.deps import Caller, Requires, idempotency_key


@dataclass(frozen=True, slots=True)
class Submission(Generic[Model]):
    """A request that has passed everything but the domain."""

    caller: Caller
    key: str
    body: Model


class Submits(Requires, Generic[Model]):
    """As `Requires`, `IdempotencyKey` and `JsonBody` together, in this order."""

    def __init__(self, scope: str, model: type[Model], examples: Examples | None = None) -> None:
        super().__init__(scope)
        self.json_body = JsonBody(model, examples)

    async def __call__(self, request: Request) -> Submission[Model]:  # type: ignore[override]
        """The caller, the key and the body."""
        caller = await super().__call__(request)
        return Submission(caller, idempotency_key(request), await self.json_body(request))
