"""What is told of imports."""

from domain.events.registry import ACCOUNT, ID, EventData, event


@event(
    "import.finished",
    subject="import",
    whose=ACCOUNT,
    example={
        "import_id": ID, "state": "finished", "rows": 77, "created": 70, "updated": 5, "unchanged": 1,
        "refused": 1,
    },
)  # fmt: skip
class ImportFinished(EventData):
    """An import of products has ended; `refused` rows were left out."""

    import_id: str
    state: str
    rows: int
    created: int
    updated: int
    unchanged: int
    refused: int
