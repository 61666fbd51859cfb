"""Customers who do not give up: whatever they submit, they submit under one key until it was accepted.

They order, pay (also with sources that are declined, or whose answer gets lost), cancel, reserve, release and
use reservations, and leave the rest to expire. What each of them does, in which order, comes from the seed.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush
from http import HTTPStatus
from itertools import count, cycle

import httpx

from ops.soak.visits import CANCEL, LEAVE, ORDER, Body, Step, Visit, at_once, visits

ADDRESS = {"name": "Ada", "line1": "1 Dock Road", "city": "Leith", "country": "GB"}
#: Seconds between two tries, and until one is given up.
PAUSE, TIMEOUT = 0.1, 15.0
#: One accepted request in so many is submitted again, to see that nothing comes of it.
REPEAT_EVERY = 10
#: Seconds between two looks at an order that is pending, and that one look at a job waits for its end.
LOOK_AGAIN, WAIT = 0.3, 5


class Customers:
    """One thread per token, for as long as they shop; they may shop again, for other things.

    `accepted` holds each key that was answered 202, with the job's id; `ended` counts the visits of those in
    a hurry that came to their end.
    """

    def __init__(self, urls: Sequence[str], tokens: Sequence[str], *, seed: int) -> None:
        self.accepted: dict[str, str] = {}
        self.replayed = 0
        self.retried = 0
        self.ended = 0
        self.violations: list[str] = []
        self.began = 0.0
        self._urls = urls
        self._tokens = tokens
        self._seed = seed
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._given_up = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, skus: Sequence[str], *, rate: float | None) -> None:
        """Returns at once. They come about `rate` times per second together; None stands for a hurry.

        Whoever is in a hurry does all of a visit at once, waits for the end of each thing, and comes again.
        """
        self.began = time.monotonic()
        self._stop, self._given_up = threading.Event(), threading.Event()
        every = None if rate is None else len(self._tokens) / rate
        self._threads = [
            threading.Thread(target=self._shop, args=(n, skus, token, every), daemon=True)
            for n, token in enumerate(self._tokens)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self, *, seconds: float = 60.0) -> None:
        """No new visits; returns when what had been begun was accepted."""
        self._stop.set()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        stuck = sum(thread.is_alive() for thread in self._threads)
        self._given_up.set()
        if stuck:
            self.violations.append(f"{stuck} customers could not do what they had begun in {seconds:.0f} s")

    def _shop(self, number: int, skus: Sequence[str], token: str, every: float | None) -> None:
        headers, seed = {"Authorization": f"Bearer {token}"}, f"{self._seed}/{number}"
        turn = number % len(self._urls)
        urls = [*self._urls[turn:], *self._urls[:turn]]
        with httpx.Client(headers=headers, timeout=TIMEOUT) as client:
            customer = _Customer(self, client, urls, in_a_hurry=every is None)
            if every is None:
                customer.hurry(visits(f"{seed}/hurry", skus))
            else:
                customer.shop(visits(seed, skus), pauses=_pauses(random.Random(f"{seed}/pace"), every))

    # -- what the threads tell --

    @property
    def stopping(self) -> threading.Event:
        """Set when nothing new may begin."""
        return self._stop

    @property
    def given_up(self) -> bool:
        """Whether nobody waits for them any more."""
        return self._given_up.is_set()

    def try_again(self) -> None:
        """A request met no answer, or a 5xx."""
        with self._lock:
            self.retried += 1

    def note(self, key: str, job_id: str) -> None:
        """A 202."""
        with self._lock:
            self.replayed += key in self.accepted
            first = self.accepted.setdefault(key, job_id)
            if first != job_id:
                self.violations.append(f"{key}: {first} at first, then {job_id}")

    def end_visit(self) -> None:
        """One that was in a hurry, with all that came of it."""
        with self._lock:
            self.ended += 1

    def complain(self, what: str) -> None:
        """An answer that nobody should get."""
        self.violations.append(what)


class _Customer:
    """One of them, in a thread of its own."""

    def __init__(
        self, all_of_us: Customers, client: httpx.Client, urls: Sequence[str], *, in_a_hurry: bool
    ) -> None:
        self._us = all_of_us
        self._client = client
        self._urls = cycle(urls)
        self._in_a_hurry = in_a_hurry
        self._numbers = count()
        self._submitted = count(1)
        #: (when, a number that no other has, what).
        self._errands: list[tuple[float, int, Callable[[], None]]] = []

    def shop(self, coming: Iterator[Visit], *, pauses: Iterator[float]) -> None:
        """Comes again and again until it is time to stop, and ends what was begun."""
        self._later(next(pauses), lambda: self._come(coming, pauses))
        self._run_errands()

    def hurry(self, coming: Iterator[Visit]) -> None:
        """Comes again as soon as all that came of the visit before has ended."""
        while not self._us.stopping.is_set():
            self._visit(at_once(next(coming)))
            self._run_errands()
            self._us.end_visit()

    def _run_errands(self) -> None:
        while self._errands and not self._us.given_up:
            due, _, act = heappop(self._errands)
            time.sleep(max(0.0, due - time.monotonic()))
            act()

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        heappush(self._errands, (time.monotonic() + seconds, next(self._numbers), act))

    def _come(self, coming: Iterator[Visit], pauses: Iterator[float]) -> None:
        if self._us.stopping.is_set():
            return
        self._later(next(pauses), lambda: self._come(coming, pauses))
        self._visit(next(coming))

    def _visit(self, visit: Visit) -> None:
        if not visit.use:
            self._order(visit, visit.key)
            return
        made = self._submit("/v1/reservations", visit.key, {"items": visit.items})
        if made and visit.use != LEAVE:
            self._later(visit.looks_after, lambda: self._look_at_reservation(visit, made))

    def _order(self, visit: Visit, key: str, *, reservation: str | None = None) -> None:
        taken = {"reservation_id": reservation} if reservation else {}
        made = self._submit("/v1/orders", key, {"items": visit.items, "address": ADDRESS, **taken})
        if made and visit.steps:
            self._later(visit.looks_after, lambda: self._look_at_order(visit, made))

    def _look_at_order(self, visit: Visit, order_id: str) -> None:
        state = self._state(f"/v1/orders/{order_id}")
        if state == "pending":
            self._later(LOOK_AGAIN, lambda: self._look_at_order(visit, order_id))
        elif state == "reserved":
            self._follow(order_id, visit.steps)

    def _follow(self, order_id: str, steps: Sequence[Step]) -> None:
        first, rest = steps[0], steps[1:]
        if first.what == CANCEL:
            self._submit(f"/v1/orders/{order_id}/cancel", first.key, None)
        else:
            self._submit(f"/v1/orders/{order_id}/payments", first.key, {"source": first.what})
        if rest:
            self._later(rest[0].after, lambda: self._follow(order_id, rest))

    def _look_at_reservation(self, visit: Visit, reservation_id: str) -> None:
        path = f"/v1/reservations/{reservation_id}"
        state = self._state(path)
        if state == "pending":
            self._later(LOOK_AGAIN, lambda: self._look_at_reservation(visit, reservation_id))
        elif state == "held" and visit.use == ORDER:
            self._order(visit, visit.order_key, reservation=reservation_id)
        elif state == "held":
            # The reservation's id is the key of its release.
            self._submit(path, reservation_id, None, method="DELETE")

    def _state(self, path: str) -> str:
        answer = self._ask("GET", path, {}, None)
        if answer is None:
            return ""
        if answer.status_code != HTTPStatus.OK:
            self._us.complain(f"GET {path}: {answer.status_code} {answer.text[:200]}")
            return ""
        return str(answer.json()["state"])

    def _submit(self, path: str, key: str, body: Body | None, *, method: str = "POST") -> str:
        """The job's id; every tenth time the request is made twice. "" where it was refused."""
        again = next(self._submitted) % REPEAT_EVERY == 0
        made = ""
        for _ in range(2 if again else 1):
            answer = self._ask(method, path, {"Idempotency-Key": key}, body)
            if answer is None:
                return made
            if answer.status_code != HTTPStatus.ACCEPTED:
                self._us.complain(f"{method} {path}: {answer.status_code} {answer.text[:200]}")
                return ""
            made = str(answer.json()["job_id"])
            self._us.note(key, made)
        if self._in_a_hurry:
            self._ask("GET", f"/v1/jobs/{made}?wait={WAIT}", {}, None)
        return made

    def _ask(
        self, method: str, path: str, headers: dict[str, str], body: Body | None
    ) -> httpx.Response | None:
        """Until there is an answer that is no 5xx; None where nobody waits for it any more."""
        while not self._us.given_up:
            try:
                answer = self._client.request(method, next(self._urls) + path, headers=headers, json=body)
            except httpx.TransportError:
                pass
            else:
                if answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
                    return answer
            self._us.try_again()
            time.sleep(PAUSE)
        return None


def _pauses(chance: random.Random, mean: float) -> Iterator[float]:
    while True:
        yield chance.uniform(0.5, 1.5) * mean
