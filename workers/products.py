"""Imports and exports of products, in the pool `inventory`: one short function per command."""

from domain.bootstrap import Services
from domain.jobs.models import Claimed
from domain.products.commands import ExportProducts, ImportProducts
from workers.handles import Result, handles


@handles(ImportProducts, pool="inventory")
async def import_products(services: Services, command: ImportProducts, job: Claimed) -> Result:
    """Each row taken or refused."""
    return await services.imports.run(command, job)


@handles(ExportProducts, pool="inventory")
async def export_products(services: Services, command: ExportProducts, job: Claimed) -> Result:
    """Written to a file."""
    return await services.exports.run(command, job)
