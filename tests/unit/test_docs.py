"""The documentation names only what exists. No I/O but reading files; nothing is opened."""

import ast
import json
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from jsonschema import Draft202012Validator
from prometheus_client import REGISTRY

import workers.kinds
from api import backlog, errors
from api.app import create_app
from api.deps import KEYED, Requires
from domain import settings
from domain.accounts.rules import SCOPES
from domain.errors import DomainError
from domain.events import registry
from domain.jobs.commands import kinds
from domain.settings import Settings
from domain.values import parse_duration
from ops.cli.main import app as command_line
from ops.demo.passes import Outcome, Plan
from ops.demo.report import _stages
from ops.environment import variables

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/**/*.md")])
TOP = ("api", "docs", "domain", "ops", "scheduler", "tests", "workers", ".ci")
FILES = (
    "Makefile",
    "Procfile",
    "Dockerfile",
    "docker-compose.yml",
    "pyproject.toml",
    ".env.example",
    "LICENSE",
)
#: Variables that are no settings of the processes.
OTHER_VARIABLES = {"STOCKYARD_TEST_STACK"}
#: Stages of the demo of which the first page shows no row.
ABBREVIATED = {"speed"}
#: Codes that jobs have and HTTP answers do not, with where they are made.
JOB_CODES = {"worker_lost": "domain/jobs/relay.py"}

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
ROUTE = re.compile(
    r"\b(GET|POST|PUT|PATCH|DELETE) (/(?:v1|healthz|readyz|metrics|openapi|\.well-known)[^\s`?\"]*)"
)


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


pages = pytest.mark.parametrize("page", PAGES, ids=named)


@cache
def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose(page: Path) -> str:
    return FENCE.sub("", text(page))


def spans(page: Path) -> list[str]:
    """What stands in backticks outside of code blocks."""
    return CODE.findall(prose(page))


def blocks(page: Path, language: str) -> list[str]:
    return [body for found, body in FENCE.findall(text(page)) if found == language]


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    heads = re.findall(r"^#+ (.+)$", FENCE.sub("", text(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def table(page: Path, mark: str) -> list[list[str]]:
    """The cells of the table that follows the mark, without its head."""
    lines = text(page).partition(f"<!-- {mark} -->\n")[2].splitlines()
    rows = [line for line in lines[: lines.index("")] if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows[2:]]


@cache
def the_app() -> Any:
    return create_app(Settings())


@cache
def openapi() -> dict[str, Any]:
    document: dict[str, Any] = the_app().openapi()
    return document


def routes() -> dict[str, APIRoute]:
    """By method and path."""
    found = [route for route in the_app().routes if isinstance(route, APIRoute)]
    return {f"{method} {route.path}": route for route in found for method in route.methods or ()}


def scopes_of(route: APIRoute) -> set[str]:
    stated = [each.call for each in route.dependant.dependencies if isinstance(each.call, Requires)]
    return {scope for each in stated for scope in each.scopes}


def family(kind: type[DomainError]) -> Iterator[type[DomainError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from family(child)


def codes() -> dict[str, str]:
    """Every code that an HTTP answer can have, with its status."""
    found = {kind.code: str(errors.status_of(kind())) for kind in family(DomainError)}
    found |= {code: str(status) for status, (code, _) in errors._FRAMEWORK.items()}
    found |= {"http_error": "any"}
    for module in sorted((ROOT / "api").rglob("*.py")):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                found |= dict(_codes_of(node.func.id, node))
    return found


def _codes_of(function: str, call: ast.Call) -> Iterator[tuple[str, str]]:
    """Literal codes of `BadRequest(status, code, ...)` and `problem(status, code=...)`."""
    values = [each.value for each in call.args if isinstance(each, ast.Constant)]
    if function == "BadRequest" and len(values) >= 2:
        yield str(values[1]), str(values[0])
    if function == "problem" and values:
        for keyword in call.keywords:
            if keyword.arg == "code" and isinstance(keyword.value, ast.Constant):
                yield str(keyword.value.value), str(values[0])


def metric_names() -> set[str]:
    gauges = backlog._Gauges(backlog.Waiting({}, {})).collect()
    return {name for name in REGISTRY._names_to_collectors if name.startswith("stockyard_")} | {
        gauge.name for gauge in gauges
    }


# -- every page --------------------------------------------------------------------------------------


@pages
def test_links_lead_somewhere(page: Path):
    for target in LINK.findall(prose(page)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there), target


@pages
def test_files_that_are_named_exist(page: Path):
    for span in spans(page):
        path = span.split("::")[0].rstrip("/")
        inside = path.split("/")[0] in TOP and "/" in path and re.fullmatch(r"[\w./-]+", path)
        if inside or path in FILES:
            assert (ROOT / path).exists(), span


@pages
def test_targets_of_make_that_are_named_exist(page: Path):
    known = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    shell = "\n".join([*spans(page), *blocks(page, "sh")])
    for words in re.findall(r"(?:^|[`;&] ?)make ((?:[a-z]+ ?)+)", shell, re.MULTILINE):
        assert set(words.split()) <= known, words


@pages
def test_variables_that_are_named_are_settings(page: Path):
    known = set(variables()) | OTHER_VARIABLES
    for name in re.findall(r"\bSTOCKYARD_[A-Z0-9_]*[A-Z0-9]\b(?!_)", text(page)):
        assert name in known, name
    for prefix in re.findall(r"\bSTOCKYARD_[A-Z0-9]+_(?![A-Z0-9<])", text(page)):
        assert any(name.startswith(prefix) for name in known), prefix


@pages
def test_modules_that_are_started_exist(page: Path):
    for module in re.findall(r"python -m ([a-z_.]+)", text(page)):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


@pages
def test_processes_that_are_scaled_exist(page: Path):
    services = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    entries = (ROOT / "Procfile").read_text(encoding="utf-8")
    for name in re.findall(r"--scale ([\w-]+)=", text(page)):
        assert f"\n  {name}:\n" in services, name
    for counts in re.findall(r"--concurrency (\S+)", text(page)):
        for name in re.findall(r"([\w-]+)=", counts):
            assert f"{name}: " in entries, name


@pages
def test_commands_of_stockyard_that_are_named_exist(page: Path):
    known = {
        f"{group.name} {command.name or command.callback.__name__}"  # type: ignore[union-attr]
        for group in command_line.registered_groups
        for command in group.typer_instance.registered_commands  # type: ignore[union-attr]
    }
    for words in re.findall(r"(?:^|[`/])stockyard ([a-z]+ [a-z][a-z-]*)", text(page), re.MULTILINE):
        assert words in known, words


@pages
def test_metrics_that_are_named_are_counted(page: Path):
    for name in re.findall(r"\bstockyard_[a-z_]+\b", text(page)):
        assert name in metric_names(), name


@pages
def test_routes_that_are_named_exist(page: Path):
    known = {re.sub(r"\{\w+\}", "{}", route) for route in routes()} | {"GET /openapi.json"}
    for method, path in ROUTE.findall(text(page)):
        assert f"{method} {re.sub(r'{[a-z_]+}', '{}', path)}" in known, f"{method} {path}"


@pages
def test_pages_name_no_machine_and_no_index(page: Path):
    found = re.search(
        r"/(?:home|root|work|tmp)/\w|pypi\.|pythonhosted|registry\.(?!py\b)|index-url|https?://10\.",
        text(page),
    )
    assert found is None, found


@pages
def test_pages_leave_nothing_for_later(page: Path):
    assert not re.search(r"\b(?:TODO|FIXME|TBD|XXX)\b", text(page))


# -- single pages ------------------------------------------------------------------------------------

README = ROOT / "README.md"
HTTP_API = ROOT / "docs/http-api.md"
OPERATIONS = ROOT / "docs/operations.md"
EVENTS = ROOT / "docs/events.md"
ARCHITECTURE = ROOT / "docs/architecture.md"


def sections() -> dict[str, str]:
    """What the page on HTTP says of each route."""
    parts = re.split(r"^### `(.+)`$", text(HTTP_API), flags=re.MULTILINE)
    return dict(zip(parts[1::2], (part.split("\n## ")[0] for part in parts[2::2]), strict=True))


def test_every_route_has_a_section_and_every_section_a_route():
    assert set(sections()) == set(routes())


def is_keyed(code: APIRoute) -> bool:
    return KEYED.items() <= (code.openapi_extra or {}).items()


def is_public(code: APIRoute) -> bool:
    return (code.openapi_extra or {}).get("security") == []


@pytest.mark.parametrize("route", sorted(routes()))
def test_a_section_states_scope_and_key_as_the_route_does(route: str):
    said, code = sections()[route].split("\n```", 1)[0], routes()[route]
    asked = re.match(r"\s*Scope (.+?)[.;]", said)
    if asked:
        assert set(CODE.findall(asked[1])) == scopes_of(code)
    else:
        assert said.strip().startswith("Public" if is_public(code) else "Any token")
        assert not scopes_of(code)
    assert ("Needs an `Idempotency-Key`" in said) == is_keyed(code)


@pytest.mark.parametrize("route", sorted(routes()))
def test_a_section_has_an_example_that_the_route_takes(route: str):
    (example,) = re.findall(r"^```sh\n(.*?)^```$", sections()[route], re.MULTILINE | re.DOTALL)
    words = shlex.split(example)
    method, path = route.split(" ")
    asked = next(word for word in words if word.startswith("$API")).removeprefix("$API").split("?")[0]
    assert re.fullmatch(re.sub(r"\{\w+\}", r"[$\\w.-]+", path), asked), asked
    body = next((words[words.index(each) + 1] for each in ("-d", "--data-binary") if each in words), None)
    sent = words[words.index("-X") + 1] if "-X" in words else "GET" if body is None else "POST"
    assert sent == method
    headers = {words[index + 1].split(":")[0] for index, word in enumerate(words) if word == "-H"}
    assert ("Authorization" in headers) == (not is_public(routes()[route]))
    assert ("Idempotency-Key" in headers) == is_keyed(routes()[route])
    operation = openapi()["paths"][path][method.lower()]
    assert (body is not None) == ("requestBody" in operation)
    if body is not None and not body.startswith("@"):
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        Draft202012Validator({**schema, "components": openapi()["components"]}).validate(json.loads(body))


def test_every_error_code_is_listed_with_its_status():
    listed = {row[0].strip("`"): row[1] for row in table(HTTP_API, "errors")}
    assert listed == codes()
    assert list(listed) == sorted(listed)


@pytest.mark.parametrize(("code", "where"), JOB_CODES.items())
def test_codes_of_jobs_are_told_of(code: str, where: str):
    assert f"`{code}`" in text(HTTP_API)
    assert f'"{code}"' in (ROOT / where).read_text(encoding="utf-8")


def test_every_scope_is_listed():
    assert {name for name in SCOPES if f"`{name}`" in prose(HTTP_API)} == SCOPES


def test_every_metric_is_listed_with_its_labels():
    rows = re.findall(r"^\| `(stockyard_[a-z_]+)` \| (.*?) \|", text(OPERATIONS), re.MULTILINE)
    listed = {name: set(CODE.findall(labels)) for name, labels in rows}
    counted = {
        name: set(getattr(REGISTRY._names_to_collectors.get(name), "_labelnames", ("pool",)))
        for name in metric_names()
        if not re.search(r"_(?:bucket|count|sum|created)$", name) and f"{name}_total" not in metric_names()
    }
    assert listed == counted


def test_settings_are_listed_with_their_defaults():
    for name, default, _ in table(OPERATIONS, "settings"):
        group, field = variables()[name.strip("`")]
        value = getattr(settings, group.capitalize()).model_fields[field].default
        shown = default.strip("`")
        assert value == (parse_duration(shown) if re.fullmatch(r"\d+(ms|s|m|h|d)", shown) else value), name
        assert shown in {"", str(value)} or parse_duration(shown) == value, name
        assert (shown == "") == (value is None), name


def test_every_pool_and_kind_is_listed():
    rows = re.findall(
        r"^\| `\w+` \| `python -m workers\.main (\w+)` \| .*? \| (.*?) \|$", text(OPERATIONS), re.MULTILINE
    )
    listed = {pool: set(CODE.findall(what)) for pool, what in rows}
    handled = {kind: command.pool for kind, command in kinds().items() if kind in workers.kinds.HANDLED}
    assert listed == {pool: {kind for kind in handled if handled[kind] == pool} for pool in handled.values()}


def test_every_type_of_event_is_listed_as_it_is_declared():
    assert table(EVENTS, "types") == [
        [
            f"`{kind.name}`",
            ", ".join(kind.whose),
            kind.when,
            ", ".join(f"`{member}`" for member in kind.model.model_fields),
        ]
        for kind in registry.types()
    ]


def test_the_subscriber_on_the_first_page_is_the_one_that_is_run():
    assert blocks(README, "python") == [block for block in blocks(EVENTS, "python") if ".listen()" in block]


def test_the_demo_on_the_first_page_is_the_one_that_is_printed():
    demo, _, _ = next(block for block in blocks(README, "console") if "$ make demo" in block).partition(
        "$ make test"
    )
    *_, verdict, last = demo.splitlines()
    outcome = Outcome(Plan("", {}, ()), seconds={"orders": 1.0})
    printed = {stage: [name for name, *_ in rows] for stage, rows in _stages(outcome, outcome)}
    for stage, names in rows_of(demo).items():
        assert [name for name in printed[stage] if name in names] == names, stage
    assert set(rows_of(demo)) | ABBREVIATED == set(printed)
    source = (ROOT / "ops/demo/report.py").read_text(encoding="utf-8")
    assert verdict in source
    assert list(json.loads(last)) == re.findall(r'^ {12}"(\w+)": ', source, re.MULTILINE)


def rows_of(demo: str) -> dict[str, list[str]]:
    """The labels of the demo's table by stage; what is abbreviated has none."""
    found: dict[str, list[str]] = {}
    stage = ""
    for line in demo.partition("───\n")[2].splitlines()[:-2]:
        stage = line[1:13].strip() or stage
        name = re.split(r"\s{2,}", line[13:].strip())[0]
        if name != "...":
            found.setdefault(stage, []).append(name)
    return found


def test_blocks_of_the_first_page_use_only_variables_that_it_has_set():
    known = {"1", "name"}
    for block in blocks(README, "sh"):
        known |= set(re.findall(r"(?:^|export )([A-Z_]+)=", block, re.MULTILINE))
        assert set(re.findall(r"\$\{?(\w+)", block)) <= known, block


def test_every_decision_is_linked_from_the_architecture():
    decisions = [named(page).removeprefix("docs/") for page in PAGES if page.parent.name == "decisions"]
    assert decisions
    assert all(f"]({decision})" in text(ARCHITECTURE) for decision in decisions)
    assert [decision.split("/")[1][:4] for decision in decisions] == [
        f"{n:04d}" for n in range(1, len(decisions) + 1)
    ]
