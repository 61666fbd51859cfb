"""Traces of a process, where the settings name a collector."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from domain import telemetry
from domain.settings import Telemetry


@contextmanager
def tracing(settings: Telemetry, *, process: str) -> Iterator[None]:
    """Traces while it is entered, from before the services are opened. Nothing without a collector.

    The end takes 2 s at most, also where the collector hangs.
    """
    if settings.endpoint is None:
        yield
        return
    # An extra that takes 20 MB, which most processes never need.
    from domain.adapters.otel import OtelTracing  # noqa: PLC0415
    from domain.adapters.otel_export import FAREWELL, provider_for  # noqa: PLC0415

    provider = provider_for(settings, process=process)
    telemetry.use(OtelTracing(provider))
    try:
        yield
    finally:
        telemetry.use(telemetry.OFF)
        # It waits for a try that is under way, which may take longer.
        last = threading.Thread(target=provider.shutdown, daemon=True)
        last.start()
        last.join(FAREWELL)
