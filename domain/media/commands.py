"""Jobs that make pictures ready."""

from domain.jobs.commands import Command
from domain.values import Id


class RenderMedia(Command):
    """Look at what was uploaded, and make its renditions."""

    kind = "media.render"
    pool = "media"
    media_id: Id
