"""Jobs in the ledger, brought as far as a test needs them."""

from domain.bootstrap import Services
from domain.inventory.commands import Release
from domain.jobs.models import PROGRESS_MARKS, Claimed
from domain.values import new_id

#: Of a kind that is claimed one by one.
RELEASE = Release(reservation_id="r")


async def submitted(services: Services, *, owner: str = "ada", key: str | None = None) -> str:
    """The id of a queued `RELEASE`."""
    return (await services.jobs.submit(RELEASE, owner=owner, key=key or new_id())).job_id


async def claimed(services: Services, job_id: str) -> Claimed:
    """As the worker has it that claims it."""
    job = await services.runs.claim(job_id, kind=RELEASE.kind)
    assert job is not None
    return job


async def state_of(services: Services, job_id: str) -> str:
    """Its state now."""
    return str((await services.jobs.get(job_id, owner=None))["state"])


async def left_open(services: Services) -> list[str]:
    """The jobs that the sweep has passed and will look at again."""
    mark = await services.database[PROGRESS_MARKS].find_one({"_id": "compact"})
    return list(mark["open"]) if mark else []
