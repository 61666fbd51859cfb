"""The pages, one module each."""

from importlib import import_module

MODULES = ("overview", "jobs", "job", "dead", "orders", "order", "workers", "schedule", "audit")


def register() -> None:
    """Makes the pages known: a page's module registers it when it is imported."""
    for name in MODULES:
        import_module(f"{__name__}.{name}")
