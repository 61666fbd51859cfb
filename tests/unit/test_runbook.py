"""docs/logs.md has each event that is logged, and the runbook each thing that ops are told."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from domain.bootstrap import Services
from domain.control.rules import State
from domain.jobs.rules import FINAL, QUEUED, RUNNING

ROOT = Path(__file__).parents[2]
RUNBOOK = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
LOGS = (ROOT / "docs/logs.md").read_text(encoding="utf-8")
STATUS = ROOT / "domain/control/status.py"
LEVELS = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error"}


def modules() -> Iterator[ast.Module]:
    for folder in ("api", "domain", "scheduler", "workers"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield ast.parse(path.read_text(encoding="utf-8"))


def logged() -> dict[str, tuple[set[str], set[str]]]:
    """Levels and fields of each event."""
    found: dict[str, tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
    for call in (node for module in modules() for node in ast.walk(module) if isinstance(node, ast.Call)):
        way = call.func
        if not (isinstance(way, ast.Attribute) and way.attr in LEVELS and call.args):
            continue
        if not (isinstance(way.value, ast.Name) and way.value.id in {"log", "_log"}):
            continue
        said = call.args[0]
        for each in (said.body, said.orelse) if isinstance(said, ast.IfExp) else (said,):
            assert isinstance(each, ast.Constant), f"an event is a constant: {ast.unparse(call)}"
            levels, fields = found[str(each.value)]
            levels.add(LEVELS[way.attr])
            fields |= {keyword.arg for keyword in call.keywords if keyword.arg}
            fields |= {"exception"} if way.attr == "exception" else set()
    return found


def test_each_event_of_the_log_is_on_the_page_with_its_level_and_fields():
    rows = [re.split(r" *\| *", row) for row in re.findall(r"^\| `.*", LOGS, re.MULTILINE)]
    listed = {row[1].strip("`"): (row[2], set(re.findall(r"`(\w+)`", row[3]))) for row in rows}
    events = logged()
    assert sorted(listed) == sorted(events)
    for event, (levels, fields) in events.items():
        assert listed[event] == ("/".join(sorted(levels)), fields), event


def test_each_field_of_the_lines_of_requests_and_jobs_is_in_the_runbook():
    section = RUNBOOK.partition("## Logs")[2].partition("\n## ")[0]
    fields = set(re.findall(r"`(\w+)`", section))
    for path, names in (("api/access.py", {"facts"}), ("domain/jobs/signals.py", {"facts"})):
        module = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        for node in ast.walk(module):
            target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
            if isinstance(target, ast.Name) and target.id in names and isinstance(node.value, ast.Dict):  # type: ignore[attr-defined]
                keys = {str(key.value) for key in node.value.keys if isinstance(key, ast.Constant)}  # type: ignore[attr-defined]
                assert keys <= fields, path


def test_all_that_status_says_needs_attention_has_a_line_in_the_runbook():
    table = RUNBOOK.partition("| it says |")[2].partition("\n\n")[0]
    says = [row.split("|")[1].strip(" `") for row in table.splitlines()[2:]]
    module = ast.parse(STATUS.read_text(encoding="utf-8"))
    # Its sentences, without what is put into them.
    sentences = [
        "".join(str(part.value) for part in node.values if isinstance(part, ast.Constant))
        for node in ast.walk(module)
        if isinstance(node, ast.JoinedStr)
    ]
    sentences += [
        says[8] for node in ast.walk(module) if isinstance(node, ast.Constant) and node.value == says[8]
    ]
    told = [each for each in sentences if re.search(r"[a-z]{3}", each) and not each.startswith("the  ")]
    assert len(told) >= 8
    for sentence in told:
        assert any(re.sub(r"^\w+` ", "", row) in sentence for row in says), sentence


def test_every_service_that_is_asked_for_life_has_its_line():
    assert "pings" in Services.__annotations__
    for service in ("mongodb", "rabbitmq", "redis", "s3", "smtp"):
        assert f"| `{service}` does not answer |" in RUNBOOK


@pytest.mark.parametrize("state", [*State.__args__, QUEUED, RUNNING, *sorted(FINAL)])  # type: ignore[attr-defined]
def test_every_state_of_a_process_or_job_is_explained(state: str):
    section = RUNBOOK.partition("## Symptom, look, do")[2].partition("\n## ")[0]
    assert f"`{state}`" in section
