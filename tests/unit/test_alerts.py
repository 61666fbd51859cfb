"""`ops/prometheus` and `ops/grafana` name only what is counted; each alert has its line in the runbook."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are not in the lock

from tests.unit.test_docs import metric_names

ROOT = Path(__file__).parents[2]
RUNBOOK = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
DASHBOARD = json.loads((ROOT / "ops/grafana/dashboard.json").read_text(encoding="utf-8"))
SCRAPES = yaml.safe_load((ROOT / "ops/prometheus/prometheus.yml").read_text(encoding="utf-8"))
RULES = [
    rule
    for group in yaml.safe_load((ROOT / "ops/prometheus/alerts.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
#: Words of PromQL beside functions, which are followed by a parenthesis.
WORDS = {"and", "or", "unless", "by", "without", "on", "ignoring"}


def names_in(expression: str) -> set[str]:
    """The metrics of a PromQL expression: what stands outside of labels, strings and grouping."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(?:by|without|on) ?\([^)]*\)", " ", bare)
    words = re.findall(r"[a-zA-Z_][\w:]*(?! *\()\b(?! *\()", bare)
    return {word for word in words if word not in WORDS}


def is_balanced(expression: str) -> bool:
    return all(expression.count(left) == expression.count(right) for left, right in ("()", "{}", "[]"))


def expressions() -> Iterator[tuple[str, str]]:
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


def test_names_are_found_in_an_expression():
    found = names_in('sum by (le, x) (rate(a_bucket{b="c_total"}[5m])) > 0.05 * max(d) and up == 0')
    assert found == {"a_bucket", "d", "up"}


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_every_metric_that_is_asked_for_is_counted(where: str, expression: str):
    assert is_balanced(expression), where
    asked = names_in(expression)
    assert asked
    assert asked - {"up"} <= metric_names(), where


def test_every_alert_says_how_bad_it_is_and_has_a_line_in_the_runbook():
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names)
    for rule in RULES:
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"]
    listed = re.findall(r"^\| `(Stockyard\w+)` \| \S.* \| \S.* \|$", RUNBOOK, re.MULTILINE)
    assert sorted(listed) == sorted(names)


def test_what_is_scraped_runs_in_compose_where_its_probe_is():
    services: dict[str, Any] = COMPOSE["services"]
    workers = next(each for each in SCRAPES["scrape_configs"] if each["job_name"] == "workers")
    (found,) = workers["dns_sd_configs"]
    with_probes = {
        name
        for name, each in services.items()
        if str(found["port"])
        in {
            each.get("environment", {}).get(f"STOCKYARD_{group}_PROBE_PORT")
            for group in ("WORKERS", "SCHEDULER")
        }
    }
    assert set(found["names"]) == with_probes
    api = next(each for each in SCRAPES["scrape_configs"] if each["job_name"] == "api")
    port = services["api"]["environment"]["STOCKYARD_API_PORT"]
    assert api["static_configs"] == [{"targets": [f"api:{port}"]}]


def test_what_compose_mounts_is_there():
    for name in ("prometheus", "grafana"):
        for volume in COMPOSE["services"][name]["volumes"]:
            if volume.startswith("./"):
                assert (ROOT / volume.partition(":")[0]).exists(), volume


def test_panels_do_not_lie_over_each_other():
    taken: set[tuple[int, int]] = set()
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
