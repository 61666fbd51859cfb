"""Jobs that take products in from files, and write them out to files."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from domain.jobs.commands import Command
from domain.products.forms import Category, Status, TypeName

FileForm: TypeAlias = Literal["csv", "ndjson"]


class ImportProducts(Command):
    """Make and edit the products of a stored file, row by row."""

    kind = "products.import"
    pool = "inventory"
    #: The key of the stored file.
    file: Annotated[str, Field(min_length=1, max_length=200)]
    form: FileForm
    size: Annotated[int, Field(ge=1)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ExportProducts(Command):
    """Write products to a file, one row for each SKU."""

    kind = "products.export"
    pool = "inventory"
    form: FileForm = "csv"
    status: Status | None = None
    category: Category | None = None
    type: TypeName | None = None
