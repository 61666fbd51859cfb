"""The `stockyard` command as a process; where only its answer counts, in this process."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from honcho.environ import parse as parse_dotenv
from typer.testing import CliRunner

from domain.accounts.keyring import new_pem
from domain.values import new_id, utcnow
from ops.cli.main import app
from tests.factories import eventually

#: Exit code, standard output, standard error.
Run = Callable[..., tuple[int, str, str]]

PASSWORD = "correct horse battery"


@pytest.fixture
def stockyard(environment, tmp_path):
    """Runs the command; answers exit code, standard output and standard error."""

    def run(*arguments, typed="", **variables):
        done = subprocess.run(
            [sys.executable, "-m", "ops.cli.main", *arguments],
            input=typed,
            env={**base_environment(), **environment, **variables},
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def command(settings) -> Run:
    """As `stockyard`, without a process of its own, which takes a second or two to start."""

    def run(*arguments, typed=""):
        done = CliRunner().invoke(app, list(arguments), input=typed)
        return done.exit_code, done.stdout, done.stderr

    return run


def base_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("STOCKYARD_")}


def created(stockyard: Run, email: str, *more: str) -> tuple[int, str, str]:
    return stockyard("accounts", "create-ops", email, "--password-stdin", *more, typed=PASSWORD + "\n")


async def test_the_first_ops_account_is_made_on_the_server_and_can_log_in(stockyard, services):
    code, out, _ = created(stockyard, "Ops@Example.com", "--json")

    account = json.loads(out)
    assert code == 0
    assert (account["email"], account["role"]) == ("ops@example.com", "ops")
    session = await services.accounts.log_in("ops@example.com", PASSWORD)
    assert (await services.accounts.authenticate(session.token)).may("inventory:write")


async def test_a_granted_scope_comes_with_the_next_log_in(stockyard, services):
    await services.accounts.register("ada@example.com", PASSWORD)

    code, out, _ = stockyard("accounts", "grant", "ADA@example.com", "orders:price")

    assert (code, out) == (0, "ada@example.com may now: orders:price orders:read orders:write\n")
    session = await services.accounts.log_in("ada@example.com", PASSWORD)
    assert (await services.accounts.authenticate(session.token)).may("orders:price")


async def test_a_rotated_key_is_taken_up_by_running_processes(stockyard, services):
    async with services.accounts.listening():
        before = services.accounts.jwks()["keys"]

        code, out, _ = stockyard("accounts", "rotate-key", "--lead", "5m", "--json")

        assert code == 0
        signs_from = datetime.fromisoformat(json.loads(out)["signs_from"])
        assert timedelta(minutes=4) < signs_from - utcnow() <= timedelta(minutes=5)
        await eventually(lambda: len(services.accounts.jwks()["keys"]) == 2)
        assert services.accounts.jwks()["keys"][0] == before[0]


def test_keys_of_the_settings_are_not_rotated_by_the_command(stockyard):
    code, out, err = stockyard("accounts", "rotate-key", STOCKYARD_AUTH_SIGNING_KEY=new_pem())
    assert (code, out) == (1, "")
    assert err.startswith("stockyard: The signing keys are a setting.")


def test_what_is_refused_says_so_in_one_line(command):
    assert created(command, "twice@example.com")[0] == 0
    refusals = [
        (created(command, "twice@example.com"), "There is an account with this email address."),
        (created(command, "nobody"), "this is no email address"),
        (
            command("accounts", "create-ops", "a@example.com", "--password-stdin", typed="short\n"),
            "a password has at least 10 characters",
        ),
        (
            command("accounts", "create-ops", "a@example.com", "--password-stdin", typed="password1234\n"),
            "this password is easy to guess",
        ),
        (
            command("accounts", "grant", "twice@example.com", "orders:steal"),
            "there is no scope orders:steal",
        ),
        (
            command("accounts", "grant", "none@example.com", "orders:price"),
            "there is no account none@example.com",
        ),
    ]
    for (code, out, err), message in refusals:
        assert (code, out) == (1, "")
        assert err.startswith(f"stockyard: {message}")
        assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("accounts", "grant", "a@example.com"),
        ("accounts", "rotate-key", "--lead", "soon"),
        ("accounts", "delete"),
        ("config", "check", "--yaml"),
    ],
)
def test_wrong_usage_is_2(command, arguments):
    assert command(*arguments)[0] == 2


def test_a_password_is_never_asked_where_there_is_no_terminal(command):
    code, _, err = command("accounts", "create-ops", "a@example.com")
    assert code == 2
    assert "--password-stdin" in err


def test_config_check_times_every_service(stockyard):
    code, out, err = stockyard("config", "check", "--json")

    found = json.loads(out)
    assert (code, err, found["ok"], found["problems"]) == (0, "", True, [])
    assert set(found["services"]) == {"mongodb", "redis", "rabbitmq", "s3"}
    assert all(each["latency_ms"] < 5000 for each in found["services"].values())


def test_config_check_names_settings_that_do_not_exist_or_cannot_be_read(stockyard):
    code, out, _ = stockyard(
        "config", "check", STOCKYARD_MONGO_URI="mongodb://elsewhere", STOCKYARD_JOBS_LEASE="soon"
    )
    assert code == 1
    assert "STOCKYARD_MONGO_URI: no such setting; is it STOCKYARD_MONGO_URL?" in out
    assert "STOCKYARD_JOBS_LEASE: " in out


def test_config_check_reads_dotenv_too(environment, tmp_path):
    (tmp_path / ".env").write_text("STOCKYARD_ORDER_HOLD_TIME=3s\n")
    done = subprocess.run(
        [sys.executable, "-m", "ops.cli.main", "config", "check"],
        cwd=tmp_path,
        env={**base_environment(), **environment},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "STOCKYARD_ORDER_HOLD_TIME: no such setting; is it STOCKYARD_ORDERS_HOLD_TIME?" in done.stdout


def test_a_store_that_is_away_is_one_line(stockyard):
    nobody = {
        "STOCKYARD_MONGO_URL": "mongodb://127.0.0.1:1/",
        "STOCKYARD_MONGO_TIMEOUT": "500ms",
        "STOCKYARD_MONGO_AWAY_AFTER": "200ms",
    }
    code, out, err = stockyard(
        "accounts", "create-ops", f"{new_id()}@example.com", "--password-stdin", typed=PASSWORD, **nobody
    )
    assert (code, out) == (1, "")
    assert err.startswith("stockyard: MongoDB is away: ")
    assert err.count("\n") == 1

    code, out, _ = stockyard("config", "check", **nobody)
    assert code == 1
    assert "mongodb   away" in out
    assert "s3        answers in" in out


def test_where_the_stack_is_can_be_read_by_a_shell_and_by_honcho(stockyard, stack, environment, tmp_path):
    code, out, _ = stockyard("stack", "env", "--name", stack.name)
    assert code == 0
    expected = {name: environment[name] for name in stack.urls.as_env()}
    assert set(out.splitlines()) == {f"{name}={value}" for name, value in expected.items()}
    (tmp_path / "stack.env").write_text(out, encoding="utf-8")
    told = subprocess.run(
        ["sh", "-c", "set -a; . ./stack.env; env"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert set(out.splitlines()) <= set(told.splitlines())
    assert parse_dotenv(out) == expected


def test_a_stack_that_is_not_up_says_how_to_start_it(stockyard):
    code, out, said = stockyard("stack", "env", "--name", "nowhere")
    assert (code, out) == (1, "")
    assert said == (
        "stockyard: the stack nowhere is not running: `python -m ops.stack --name nowhere up` starts it\n"
    )
    assert stockyard("stack", "env", "--name", "Odd Name")[0] == 1
