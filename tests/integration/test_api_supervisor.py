"""The API's supervisor and workers that are no API: how they are replaced."""

import contextlib
import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from api.supervisor import Crew, Worker

#: Does what it finds in a file: says that it serves, says nothing, or ends at once.
PROGRAM = """
import os, sys, time
what = open(sys.argv[1]).read()
if what == "fails":
    sys.exit(1)
if what == "serves":
    os.write(int(sys.argv[-1]), b"1")
time.sleep(60)
"""


class Office:
    """A crew whose workers do what the file says when they start."""

    def __init__(self, file: Path, *, workers: int, first: str = "serves") -> None:
        self._file = file
        self.new_ones(first)
        program = (sys.executable, "-c", PROGRAM, str(file))
        self._pipe = os.pipe()
        self.crew = Crew(partial(Worker.start, *self._pipe, program=program), workers=workers)
        for worker in self.crew._running:
            # Says something, or ends.
            assert select.select([worker.told], [], [], 10)[0]

    def new_ones(self, what: str) -> None:
        self._file.write_text(what, encoding="ascii")

    @property
    def pids(self) -> list[int]:
        return [worker.process.pid for worker in self.crew._running]

    def until(self, true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not true():
            assert self.crew.look()
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def close(self) -> None:
        self.crew.end()
        for end in self._pipe:
            os.close(end)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path / "what", workers=2)
    yield office
    with contextlib.suppress(ProcessLookupError):
        office.close()


def test_each_worker_is_replaced_once_another_serves(office: Office):
    before = office.pids
    office.crew.replace_all()
    most = 0

    def all_new() -> bool:
        nonlocal most
        leaving = [*office.crew._leaving, *([office.crew._fresh] if office.crew._fresh else [])]
        most = max(most, len(leaving))
        return not set(before) & set(office.pids) and not leaving

    office.until(all_new)
    assert most == 1


def test_where_a_new_one_does_not_start_the_old_ones_go_on(office: Office):
    before = office.pids
    office.new_ones("fails")
    office.crew.replace_all()
    office.until(lambda: not office.crew._outdated and not office.crew._leaving)
    assert office.pids == before
    office.new_ones("serves")
    office.crew.replace_all()
    office.until(lambda: not set(before) & set(office.pids))


def test_where_a_new_one_does_not_serve_in_time_the_old_ones_go_on(
    office: Office, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("api.supervisor.READY_WITHIN", 0.3)
    before = office.pids
    office.new_ones("says nothing")
    office.crew.replace_all()
    office.until(lambda: not office.crew._outdated and not office.crew._leaving)
    assert office.pids == before


def test_one_that_dies_during_a_restart_is_replaced_by_a_new_one_alone(office: Office):
    before = office.pids
    office.new_ones("says nothing")
    office.crew.replace_all()
    office.until(lambda: office.crew._fresh is not None)
    for worker in office.crew._running:
        worker.process.kill()
        worker.process.wait()
    office.new_ones("serves")
    office.until(lambda: not set(before) & set(office.pids) and office.crew._fresh is None)
    office.until(lambda: not office.crew._leaving)
    assert len(office.pids) == 2


def test_asked_for_in_the_middle_a_restart_replaces_also_what_the_first_one_began(office: Office):
    before = office.pids
    office.new_ones("says nothing")
    office.crew.replace_all()
    office.until(lambda: office.crew._fresh is not None)
    fresh = office.crew._fresh
    assert fresh is not None
    office.new_ones("serves")
    office.crew.replace_all()
    office.until(lambda: not set(before) & set(office.pids))
    office.until(lambda: not office.crew._leaving)
    assert fresh.ended()
    assert len(office.pids) == 2


def test_a_first_worker_that_has_served_is_replaced_however_it_ends(office: Office):
    before = office.pids
    office.until(lambda: not office.crew._first)
    worker = office.crew._running[0]
    worker.process.kill()
    worker.process.wait()
    # As of a fault that nobody caught.
    worker.process.returncode = 1
    office.until(lambda: before[0] not in office.pids)
    assert office.pids[1] == before[1]


def test_a_first_worker_without_services_is_the_end(tmp_path: Path):
    office = Office(tmp_path / "what", workers=1, first="fails")
    deadline = time.monotonic() + 10
    while office.crew.look():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    office.close()
