"""The nurse of `make up`: one line per death, another try after a pause."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from ops.nurse import Nurse
from ops.servers import StackError


@dataclass
class Patient:
    """A server or a process that has died."""

    label: str = "Redis"
    log: Path = Path("redis.log")
    managed: bool = True
    process: Any = None
    refuses: str = ""
    alive: bool = False
    tried: int = field(default=0)

    @property
    def name(self) -> str:
        return self.label

    def running(self) -> bool:
        return self.alive

    def start(self) -> None:
        self.tried += 1
        if self.refuses:
            raise StackError(self.refuses)
        self.alive = True

    launch = start


def nurse(*servers: Patient, members: tuple[Patient, ...] = ()) -> Nurse:
    return Nurse(lambda: cast(Any, members), cast(Any, servers))


def test_a_service_that_died_is_named_and_started_again(capsys: pytest.CaptureFixture[str]):
    redis = Patient()
    watch = nurse(redis, Patient("MongoDB", alive=True))
    watch.look()
    watch.look()
    assert (redis.alive, redis.tried) == (True, 1)
    assert capsys.readouterr().err.splitlines() == [
        "up: Redis has ended; starting it again (log: redis.log)",
        "up: Redis is back",
    ]


def test_one_that_does_not_start_is_left_alone_for_a_while(capsys: pytest.CaptureFixture[str]):
    broken = Patient(refuses="Redis needs port 27679, which is taken")
    watch = nurse(broken)
    for _ in range(3):
        watch.look()
    assert broken.tried == 1
    assert "up: Redis does not start: Redis needs port 27679" in capsys.readouterr().err


def test_a_service_of_the_environment_is_not_ours_to_start(capsys: pytest.CaptureFixture[str]):
    given, process = Patient(managed=False), Patient("api-0", Path("api-0.log"))
    nurse(given, members=(process,)).look()
    assert (given.tried, process.tried) == (0, 1)
    assert capsys.readouterr().err == "up: api-0 ended with None; starting it again (log: api-0.log)\n"
