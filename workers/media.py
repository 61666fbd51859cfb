"""The pool `media`: one short function per command."""

from domain.bootstrap import Services
from domain.jobs.models import Claimed
from domain.media.commands import RenderMedia
from workers.handles import Result, handles


@handles(RenderMedia, pool="media")
async def render(services: Services, command: RenderMedia, job: Claimed) -> Result:
    """Ready, or failed with a reason."""
    return await services.media.rendering.run(command, job)
