"""How many calls one process has on their way to each endpoint: none takes another's worker threads."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic

from domain.errors import TryAgain

#: How fast an endpoint answers, as far as is known.
NEW, SLOWLY, QUICKLY = "new", "slowly", "quickly"
#: Seconds for which an endpoint has to be asked to count as slow, until it answers faster.
SLOW = 2.0
#: What part of the places an endpoint has that is slow, or was not asked yet.
PART = 4
#: Seconds that a call waits which found no place, at least and at most.
SHORTEST, LONGEST = 1.0, 300.0
#: Calls come again in bursts, as the relay sends them. So each place takes no more than so many a second.
RATE = 2.0
#: Endpoints without a call on its way that are remembered.
REMEMBERED = 10_000


@dataclass(slots=True)
class _Line:
    """The calls to one endpoint."""

    #: When those on their way began, oldest first.
    began: list[float] = field(default_factory=list)
    #: Seconds that the last one took; None before there was one.
    seconds: float | None = None
    #: When, by the monotonic clock, the next one that finds no place is to come again.
    next_turn: float = 0.0

    def pace(self, now: float) -> str:
        """NEW, SLOWLY or QUICKLY. A call that has no answer yet, after so long, is slow already."""
        if self.began and now - self.began[0] > SLOW:
            return SLOWLY
        if self.seconds is None:
            return NEW
        return SLOWLY if self.seconds > SLOW else QUICKLY


class Places:
    """Places for calls: `each` per endpoint, `slow` for all slow endpoints together, as many for new ones.

    A slow endpoint, and a new one, which was not asked yet, has a quarter of its places.
    Nobody waits for a place. Who finds none is told when to come again: each a little later than the one
    before, as fast as places become free. So a thousand calls to an endpoint that hangs are not looked at a
    thousand times a second.
    """

    def __init__(
        self, *, each: int, slow: int, patience: timedelta, clock: Callable[[], float] = monotonic
    ) -> None:
        self._each = each
        self._slow = slow
        self._patience = patience
        self._clock = clock
        self._lines: dict[str, _Line] = {}
        #: Calls on their way, by the pace that their endpoint had when they began.
        self._busy: Counter[str] = Counter()

    @contextmanager
    def taken(self, endpoint_id: str) -> Iterator[None]:
        """A place until the call is over. Raises TryAgain, which counts as no attempt."""
        line = self._lines.setdefault(endpoint_id, _Line())
        began = self._clock()
        pace = line.pace(began)
        most = self._each if pace == QUICKLY else max(1, self._each // PART)
        if len(line.began) >= most or (pace != QUICKLY and self._busy[pace] >= self._slow):
            raise TryAgain("no place", seconds=self._turn(line, most), patience=self._patience)
        line.began.append(began)
        self._busy[pace] += 1
        try:
            yield
        finally:
            line.began.remove(began)
            self._busy[pace] -= 1
            line.seconds = self._clock() - began
            self._forget()

    def _turn(self, line: _Line, places: int) -> float:
        now = self._clock()
        waited = now - line.began[0] if line.began else 0.0
        apart = max(line.seconds or 0, waited, 1 / RATE) / places
        line.next_turn = min(max(line.next_turn + apart, now + SHORTEST), now + LONGEST)
        return line.next_turn - now

    def _forget(self) -> None:
        if len(self._lines) > REMEMBERED:
            self._lines = {each: line for each, line in self._lines.items() if line.began}
