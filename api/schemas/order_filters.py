"""What is looked for among orders, as query parameters."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, TypeAlias, get_args

from fastapi import Depends
from pydantic import AwareDatetime, Field

from api.filters import Filter
from api.schemas.common import TIME
from domain.orders.listing import OrderQuery
from domain.values import Sku

#: Every state of a stored order: one that is `pending` is no order yet.
State: TypeAlias = Literal[
    "reserved",
    "paid",
    "fulfilled",
    "completed",
    "rejected",
    "expired",
    "cancelled",
    "refunded",
]
#: Times that ids can begin with.
_FIRST, _LAST = (datetime.fromisoformat(f"{year}-01-01T00:00:00Z") for year in (2000, 9000))
_Time = Annotated[AwareDatetime, Field(ge=_FIRST, le=_LAST)]
_Account = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+$")]


@dataclass(frozen=True, slots=True)
class OrderFilters:
    """As they were asked for."""

    state: State | None
    account: str | None
    sku: str | None
    created_from: datetime | None
    created_to: datetime | None
    total_from: int | None
    total_to: int | None

    def foreign(self, owner: str | None) -> bool:
        """Whether they ask for another account's: for who is confined to `owner` there are none."""
        return owner is not None and self.account not in (None, owner)

    def query(self, owner: str | None, *, before: str | None, limit: int) -> OrderQuery:
        """The query of somebody who is confined to `owner`, if that is set."""
        return OrderQuery(
            limit=limit,
            owner=owner or self.account,
            state=self.state,
            sku=self.sku,
            created_from=self.created_from,
            created_to=self.created_to,
            total_from=self.total_from,
            total_to=self.total_to,
            before=before,
        )


_STATE = Filter("state").one_of(*get_args(State)).described("What the orders are now.")
_ACCOUNT = Filter("account").matching(_Account).described("Whose they are.")
_SKU = Filter("sku").matching(Sku).described("A SKU among their lines.").example("CHAI-1")
_CREATED_FROM, _CREATED_TO = (
    Filter(f"created_{end}").matching(_Time).example(TIME) for end in ("from", "to")
)
_TOTAL_FROM, _TOTAL_TO = (
    Filter(f"total_{end}").number(at_least=0, at_most=10**15).described("Minor units.").example("2500")
    for end in ("from", "to")
)


async def _filters(
    *,
    state: Annotated[State | None, Depends(_STATE.build())],
    account: Annotated[str | None, Depends(_ACCOUNT.build())],
    sku: Annotated[str | None, Depends(_SKU.build())],
    created_from: Annotated[datetime | None, Depends(_CREATED_FROM.build())],
    created_to: Annotated[datetime | None, Depends(_CREATED_TO.build())],
    total_from: Annotated[int | None, Depends(_TOTAL_FROM.build())],
    total_to: Annotated[int | None, Depends(_TOTAL_TO.build())],
) -> OrderFilters:
    return OrderFilters(state, account, sku, created_from, created_to, total_from, total_to)


Filters = Annotated[OrderFilters, Depends(_filters)]
