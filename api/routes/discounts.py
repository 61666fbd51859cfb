"""Discounts: made and edited by staff, tried by everybody."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from api.answers import REPLAYED, json, page
from api.body import JsonBody
from api.deps import KEYED, Caller, Cursor, IdCursor, Limit, Requires
from api.etag import CONDITIONAL, IfMatch, tagged
from api.openapi import problems
from api.schemas.discount_steps import DiscountEdit, NewDiscount
from api.schemas.discounts import DiscountPage, DiscountView, PreviewAsk, PreviewView, UsageView
from api.submission import Submission, Submits
from domain.carts.models import account_cart
from domain.changes import Doc
from domain.discounts.rules import Application, Code
from domain.discounts.service import Preview
from domain.discounts.views import shown, usage_shown
from domain.errors import CartEmpty

routes = APIRouter(prefix="/v1/discounts", tags=["discounts"])

Staff = Annotated[Caller, Depends(Requires("discounts:write"))]


@routes.post(
    "",
    status_code=201,
    response_model=DiscountView,
    responses=problems(400, 409),
    openapi_extra=KEYED,
    summary="Create a discount",
)
async def create_discount(
    made: Annotated[Submission[NewDiscount], Depends(Submits("discounts:write", NewDiscount))],
) -> Response:
    """A discount with a code, or an automatic one; active unless it says otherwise."""
    caller, new = made.caller, made.body
    created = await caller.services.discounts.create(
        new.built(), by=caller.account_id, key=made.key, active=new.active
    )
    where = {"Location": f"/v1/discounts/{created.row['_id']}"}
    return _tagged(created.row, 201, where | (REPLAYED if created.replayed else {}))


@routes.get("", response_model=DiscountPage, summary="List discounts")
async def list_discounts(
    caller: Staff,
    limit: Limit = 50,
    cursor: IdCursor = None,
    code: Annotated[Code | None, Query(description="In upper or lower case.", examples=["SPRING"])] = None,
    active: Annotated[bool | None, Query(description="Only those that are, or are not.")] = None,
) -> Response:
    """Newest first."""
    rows = await caller.services.discounts.page(before=cursor, limit=limit + 1, code=code, active=active)
    some, following = page(rows, limit, lambda row: str(row["_id"]))
    return json({"discounts": [shown(row) for row in some], "next_cursor": following})


@routes.post("/preview", response_model=PreviewView, responses=problems(409), summary="Try codes on a basket")
async def preview_discounts(
    caller: Annotated[Caller, Depends(Requires("orders:write", "discounts:write"))],
    ask: Annotated[PreviewAsk, Depends(JsonBody(PreviewAsk))],
) -> Response:
    """What the codes and the automatic discounts would take off now, and why others would not."""
    if ask.account_id is not None and ask.account_id != caller.account_id:
        caller.principal.require("discounts:write")
    items, codes = [item.model_dump() for item in ask.items or ()], ask.codes
    if ask.cart:
        content = (await caller.services.carts.look(account_cart(caller.account_id))).content
        items, codes = content.items(), content.codes if codes is None else codes
    if not items:
        raise CartEmpty
    previewed = await caller.services.discounts.preview(
        items,
        codes=codes or (),
        account_id=ask.account_id or caller.account_id,
        shipping=ask.shipping,
    )
    return json(_previewed(previewed))


@routes.get("/{discount_id}", response_model=DiscountView, responses=problems(404), summary="One discount")
async def get_discount(discount_id: str, caller: Staff) -> Response:
    """The discount, with the `ETag` that an edit asks for."""
    return _tagged(await caller.services.discounts.get(discount_id))


@routes.patch(
    "/{discount_id}",
    response_model=DiscountView,
    responses=problems(400, 404, 412, 428),
    openapi_extra=CONDITIONAL,
    summary="Edit a discount",
)
async def edit_discount(
    discount_id: str,
    caller: Staff,
    expected: IfMatch,
    edit: Annotated[DiscountEdit, Depends(JsonBody(DiscountEdit))],
) -> Response:
    """For orders that are placed from now on. What past orders show, and what they used, stays."""
    row = await caller.services.discounts.edit(discount_id, edit.say, expected=expected)
    return _tagged(row)


@routes.post(
    "/{discount_id}/activate",
    response_model=DiscountView,
    responses=problems(404),
    summary="Let a discount apply",
)
async def activate_discount(discount_id: str, caller: Staff) -> Response:
    """Safe to repeat: an active one stays as it is."""
    return _tagged(await caller.services.discounts.switch(discount_id, active=True))


@routes.post(
    "/{discount_id}/deactivate",
    response_model=DiscountView,
    responses=problems(404),
    summary="Let a discount apply no more",
)
async def deactivate_discount(discount_id: str, caller: Staff) -> Response:
    """Its code is then as unknown as any. Orders that used it keep their price. Safe to repeat."""
    return _tagged(await caller.services.discounts.switch(discount_id, active=False))


@routes.get(
    "/{discount_id}/usage",
    response_model=UsageView,
    responses=problems(404),
    summary="What was used of a discount",
)
async def discount_usage(
    discount_id: str, caller: Staff, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """In all, and by customer: a page of those who used it, by account."""
    row = await caller.services.discounts.get(discount_id)
    rows = await caller.services.discounts.customers(row, after=cursor, limit=limit + 1)
    customers, following = page(rows, limit, lambda each: str(each["account_id"]))
    return json(usage_shown(row, customers) | {"next_cursor": following})


def _tagged(row: Doc, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return tagged(shown(row), row["revision"], status, headers)


def _previewed(preview: Preview) -> dict[str, Any]:
    basket, found = preview.basket, preview.discounted
    subtotal = sum(line.amount for line in basket.lines)
    skus = [line.sku for line in basket.lines]
    return {
        "currency": basket.currency,
        "subtotal": subtotal,
        "shipping": basket.shipping,
        "discounts": [_applied(each, skus) for each in found.applications],
        "refusals": [each.as_detail() for each in found.refusals],
        "discount": found.amount,
        "total": subtotal + basket.shipping - found.amount,
    }


def _applied(application: Application, skus: list[str]) -> dict[str, Any]:
    by_line = sorted((int(key), amount) for key, amount in application.by_line.items())
    return {
        "discount_id": application.discount_id,
        "code": application.code,
        "name": application.name,
        "kind": application.kind,
        "by_line": [{"line": line, "sku": skus[line], "amount": amount} for line, amount in by_line],
        "shipping": application.shipping,
        "amount": application.amount,
    }
