"""Pictures go through real worker processes, also those that are killed over them."""

import os
import signal
import time
from collections.abc import Callable

from domain.bootstrap import Services
from domain.jobs.rules import SUCCEEDED
from domain.media.commands import RenderMedia
from domain.media.models import MEDIA
from domain.media.rules import PROCESSING, READY, upload_key
from domain.values import new_id, utcnow
from ops.fleet import Fleet
from tests.pictures import encoded, noisy


async def test_a_worker_that_is_killed_over_a_picture_leaves_it_to_the_next(
    services: Services, fleet_of: Callable[..., Fleet]
):
    data = encoded(noisy(4000, 3000))
    media_id, account, now = new_id(), new_id(), utcnow()

    async def body():
        yield data

    await services.objects.put(upload_key(media_id), body(), content_type="image/jpeg")
    upload = {"key": upload_key(media_id), "size": len(data), "content_type": "image/jpeg", "multipart_id": None}
    await services.database[MEDIA].insert_one({
        "_id": media_id, "account_id": account, "state": PROCESSING, "name": "a.jpg", "upload": upload,
        "sha256": None, "renditions": [], "error": None, "job_id": new_id(), "revision": new_id(),
        "created_at": now, "deleted_from": None, "sweep_at": None,
    })
    fleet = fleet_of(apis=0, pools={"media": 1}, schedulers=1)
    accepted = await services.jobs.submit(RenderMedia(media_id=media_id), owner=account, key="k")
    for _ in range(400):
        medium = await services.database[MEDIA].find_one({"_id": media_id})
        if medium["sha256"]:
            break
        time.sleep(0.02)
    print(fleet.__dict__)
    (worker,) = fleet.workers
    os.kill(worker.pid, signal.SIGKILL)
    print("killed at", medium["state"])
    time.sleep(1)
    os.system("ps aux | grep -v grep | grep render_process")
    fleet2 = fleet_of(apis=0, pools={"media": 1}, schedulers=0)
    done = await services.signals.wait(accepted.job_id, seconds=60)
    print(done)
    medium = await services.database[MEDIA].find_one({"_id": media_id})
    assert medium["state"] == READY
    assert done["state"] == SUCCEEDED
    assert len(await services.events.after(account, 0, limit=9)) == 1
