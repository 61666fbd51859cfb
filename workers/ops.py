"""What ops have begun and takes long, in the pool `inventory`: one short function per command."""

from domain.bootstrap import Services
from domain.jobs.bulk_models import RunBulk
from domain.jobs.models import Claimed
from workers.handles import Result, handles


@handles(RunBulk, pool="inventory")
async def run_bulk(services: Services, command: RunBulk, job: Claimed) -> Result:
    """Dead jobs replayed or discarded, at the rate that was asked for."""
    del command
    return await services.job_desk.bulk_work.run(job)
