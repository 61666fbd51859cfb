"""What is told of jobs."""

from domain.events.registry import EITHER, ID, EventData, event


@event(
    "job.dead",
    subject="job",
    whose=EITHER,
    example={
        "job_id": ID, "kind": "orders.pay", "owner": ID, "subject": ID, "attempts": 5, "code": "internal",
        "message": "The platform failed at this.",
    },
)  # fmt: skip
class JobDead(EventData):
    """A job has failed for the last time and waits for people. Told to the shop, and to its owner."""

    job_id: str
    kind: str
    owner: str
    subject: str | None
    attempts: int
    code: str
    message: str
