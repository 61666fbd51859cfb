"""Imports and exports of products on the wire."""

from typing import Any

from pydantic import BaseModel, Field

from api.schemas.jobs import JobState
from domain.products.commands import FileForm
from domain.products.forms import Category, Status, TypeName
from domain.values import Value


class ImportView(BaseModel):
    """How far an import is. Rows are counted as they are done; a failed one keeps what it took."""

    id: str
    state: JobState
    rows: int = Field(examples=[10_000])
    created: int
    updated: int
    unchanged: int
    refused: int
    error: dict[str, Any] | None = None


class ExportView(BaseModel):
    """How far an export is."""

    id: str
    state: JobState
    rows: int


class NewExport(Value):
    """What is written, and in which form. Products that were deleted never are."""

    form: FileForm = "csv"
    status: Status | None = None
    category: Category | None = None
    type: TypeName | None = None


EXPORTS = {"all": {"value": {"form": "csv"}}, "books": {"value": {"form": "ndjson", "type": "book"}}}
#: The body of an import, which is a file and no JSON.
FILE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "text/csv": {
                "schema": {"type": "string"},
                "example": "sku,name,category,price\nCHAI,Chai,Beverages,1800\n",
            },
            "application/x-ndjson": {
                "schema": {"type": "string"},
                "example": '{"sku":"CHAI","name":"Chai","category":"Beverages","price":{"amount":1800}}\n',
            },
        },
    }
}
