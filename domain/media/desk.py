"""All verbs of media, wired."""

from dataclasses import dataclass
from typing import Any

from domain.changes import Database
from domain.events.service import Events
from domain.jobs.service import Jobs
from domain.media.attachments import Attachments
from domain.media.claims import Claims
from domain.media.delivery import Delivery
from domain.media.pictures import Pictures
from domain.media.quota import Quota
from domain.media.renderer import Renderers
from domain.media.rendering import Rendering
from domain.media.service import Library
from domain.media.stalled import Stalled
from domain.media.sweeps import Sweeps
from domain.media.uploads import Uploads
from domain.ports import ObjectStore, UploadStore, UrlSigner
from domain.products.service import Products
from domain.settings import Cdn
from domain.settings import Media as MediaSettings
from domain.values import Clock


@dataclass(frozen=True, slots=True)
class MediaDesk:
    """Pictures come in, are rendered, shown, attached and taken away."""

    uploads: Uploads
    library: Library
    attachments: Attachments
    delivery: Delivery
    claims: Claims
    rendering: Rendering
    sweeps: Sweeps
    stalled: Stalled
    renderers: Renderers


def media_desk(
    *,
    database: Database,
    objects: ObjectStore,
    uploads: UploadStore,
    signer: UrlSigner,
    jobs: Jobs,
    events: Events,
    products: Products,
    settings: MediaSettings,
    cdn: Cdn,
    clock: Clock,
) -> MediaDesk:
    """The verbs over the given ports. Their processes start with the first picture."""
    shared: dict[str, Any] = {"database": database, "clock": clock}
    quota = Quota(database=database, settings=settings)
    claims = Claims(objects=objects, **shared)
    renderers = Renderers.of(settings)
    pictures = Pictures(
        database=database, objects=objects, claims=claims, renderers=renderers, settings=settings
    )
    rendering = Rendering(objects=objects, pictures=pictures, events=events, settings=settings, **shared)
    return MediaDesk(
        uploads=Uploads(
            jobs=jobs, objects=objects, uploads=uploads, quota=quota, settings=settings, **shared
        ),
        library=Library(jobs=jobs, quota=quota, settings=settings, **shared),
        attachments=Attachments(products=products, **shared),
        delivery=Delivery(signer=signer, settings=cdn, clock=clock),
        claims=claims,
        rendering=rendering,
        sweeps=Sweeps(objects=objects, uploads=uploads, claims=claims, quota=quota, **shared),
        stalled=Stalled(database=database, rendering=rendering),
        renderers=renderers,
    )
