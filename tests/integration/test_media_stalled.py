"""Media whose job died or was cancelled: their client sees it, and they can be rendered all the same."""

import pytest

from domain.bootstrap import Services
from domain.media import stalled
from domain.media.claims import Claims
from domain.media.rules import STOPPED
from tests.factories import Shop
from tests.media import Studio, picture


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    """The first run of a job that fails is its last."""
    return {**environment, "STOCKYARD_JOBS_MAX_ATTEMPTS": "1"}


@pytest.fixture
def studio(services: Services) -> Studio:
    return Studio(services)


async def dead(studio: Studio, shop: Shop) -> tuple[str, str]:
    """A medium whose job died, as no process could be started, and that job."""
    media_id, job_id = await studio.processing("ada", picture())
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("sys.executable", "/bin/false")
        assert (await shop.work(job_id))["state"] == "dead"
    return media_id, job_id


async def test_a_medium_whose_job_died_fails_with_a_reason(
    services: Services, studio: Studio, shop: Shop
) -> None:
    media_id, _ = await dead(studio, shop)
    at_work, _ = await studio.processing("ada", picture((1, 1, 1)))
    assert await studio.media.stalled.fail() == 1
    assert await studio.media.stalled.fail() == 0
    medium = await studio.get(media_id)
    assert (medium["state"], medium["error"]["code"]) == ("failed", STOPPED)
    assert medium["sweep_at"] is not None
    assert (await studio.get(at_work))["state"] == "processing"
    told = [event["type"] for event in await services.events.after("ada", 0, limit=10)]
    assert told == ["job.dead", "media.failed"]
    # Its upload is still there: it is completed once more.
    await studio.media.sweeps.orphans()
    again = await studio.media.uploads.complete(media_id, owner="ada", key="again")
    await shop.work(again.job_id)
    medium = await studio.get(media_id)
    assert (medium["state"], medium["error"], medium["sweep_at"]) == ("ready", None, None)


@pytest.mark.parametrize("seen", [True, False])
async def test_a_dead_job_that_is_replayed_makes_its_medium_ready(
    services: Services, studio: Studio, shop: Shop, *, seen: bool
) -> None:
    media_id, job_id = await dead(studio, shop)
    assert await studio.media.stalled.fail() == 1 if seen else True
    await services.jobs.replay(job_id, by="ops")
    assert await studio.media.stalled.fail() == 0
    await shop.work(job_id)
    medium = await studio.get(media_id)
    assert (medium["state"], medium["error"], medium["sweep_at"]) == ("ready", None, None)
    assert await studio.keys(medium["upload"]["key"]) == []


async def test_what_failed_for_its_job_comes_back_when_it_was_deleted(
    services: Services, studio: Studio, shop: Shop
) -> None:
    media_id, job_id = await dead(studio, shop)
    await studio.media.stalled.fail()
    await studio.media.library.delete(media_id, owner="ada")
    await studio.media.sweeps.orphans()
    await studio.media.library.restore(media_id, owner="ada")
    await services.jobs.replay(job_id, by="ops")
    await shop.work(job_id)
    assert (await studio.get(media_id))["state"] == "ready"


async def test_a_run_that_was_given_up_too_early_leaves_the_upload(
    studio: Studio, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    media_id, job_id = await studio.processing("ada", picture())
    claim = Claims.claim

    async def given_up(self: Claims, medium: str, sha256: str) -> bool:
        kept = await claim(self, medium, sha256)
        await studio.media.rendering.stop(await studio.get(media_id))
        return kept

    with monkeypatch.context() as patched:
        patched.setattr(Claims, "claim", given_up)
        await shop.work(job_id)
    assert (await studio.get(media_id))["error"]["code"] == STOPPED
    again = await studio.media.uploads.complete(media_id, owner="ada", key="again")
    await shop.work(again.job_id)
    assert (await studio.get(media_id))["state"] == "ready"


async def test_the_walk_comes_to_every_medium(
    services: Services, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stalled, "PAGE", 2)
    made = [await studio.processing("ada", picture((shade, 0, 0))) for shade in range(5)]
    for _, job_id in made[3:]:
        await services.jobs.cancel(job_id, owner="ada", by="ada")
    assert sum([await studio.media.stalled.fail() for _ in range(3)]) == 2
    states = [(await studio.get(media_id))["state"] for media_id, _ in made]
    assert states == ["processing"] * 3 + ["failed"] * 2
