"""Alerts, dashboard and pages name metrics that there are, and each alert has its runbook."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from paxosd.metrics.catalogue import METRICS
from paxosd.metrics.metric import HISTOGRAM
from tests.metrics_page import PAGE, page

ROOT = Path(__file__).parents[2]
RULES = ROOT / "conf" / "prometheus" / "paxosd.rules.yml"
RULES_TEST = Path(__file__).parent / "rules_test.yml"
DASHBOARD = ROOT / "conf" / "grafana" / "paxosd.json"
ALERTS = ROOT / "docs" / "ALERTS.md"
NAME = re.compile(r"\b(?:paxosd|process)_[a-z_]+\b")
LABEL = re.compile(r"(\w+)\{([^}]*)\}")
ALWAYS = {"job", "instance", "le"}
"""Labels that Prometheus adds, and that of buckets."""


def series():
    """Name of a series as queries name it → its labels."""
    found = {}
    for metric in METRICS:
        ends = ("_bucket", "_count", "_sum") if metric.kind == HISTOGRAM else ("",)
        found |= {f"{metric.name}{end}": ALWAYS | set(metric.labels) for end in ends}
    return found


def alerts():
    """Name → the rule."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def queries(value):
    """All queries of a dashboard."""
    if isinstance(value, dict):
        for key, each in value.items():
            if key in ("expr", "query") and isinstance(each, str) and each != "prometheus":
                yield each
            else:
                yield from queries(each)
    elif isinstance(value, list):
        for each in value:
            yield from queries(each)


def unknown(query):
    """Names and labels in a query that no node has."""
    known = series()
    found = [name for name in NAME.findall(query) if name not in known]
    for name, matchers in LABEL.findall(query):
        labels = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", re.sub(r'"[^"]*"', "", matchers))
        if name in known:
            found += [f"{name}.{label}" for label in labels if label not in known[name]]
    return found


def test_metrics_page_is_what_the_catalogue_says():
    assert PAGE.read_text() == page(), "run: python -m tests.metrics_page"


def test_alerts_name_metrics_that_exist():
    rules = alerts()
    assert len(rules) >= 12
    for name, rule in rules.items():
        assert NAME.search(rule["expr"]) or "up{" in rule["expr"], name
        assert not unknown(rule["expr"]), name
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]


def test_each_alert_has_a_runbook_in_the_same_order():
    text = ALERTS.read_text()
    assert re.findall(r"^## (\w+)$", text, re.M) == list(alerts())
    for part in re.split(r"^## \w+$", text, flags=re.M)[1:]:
        assert len(part.split()) >= 15, part
    for named in re.findall(r"\bPaxosd\w+", text):
        assert named in alerts()
    assert not [name for name in re.findall(r"`(paxosd_[a-z_]+)`", text)
                if name not in {metric.name for metric in METRICS}]  # fmt: skip


def test_dashboard_asks_for_metrics_that_exist():
    dashboard = json.loads(DASHBOARD.read_text())
    asked = list(queries(dashboard))
    assert len(asked) > 30
    assert not [name for query in asked for name in unknown(query)]
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("query", ["rate(paxosd_no_such_total[5m])", 'paxosd_keys{no="x"}'])
def test_an_unknown_name_would_be_noticed(query):
    assert unknown(query)


def test_no_figure_of_an_alert_has_fifteen_digits():
    """Rates are no whole numbers: each is rounded, a time in seconds with its unit."""
    shown = re.findall(r"{{ *\$value([^}]*)}}", RULES.read_text())
    assert shown
    assert {each.strip() for each in shown} <= {
        "| humanize", "| humanizeDuration", '| printf "%.0f"'
    }  # fmt: skip


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@pytest.mark.parametrize("command", [("check", "rules", RULES), ("test", "rules", RULES_TEST)])
def test_promtool(command):
    done = subprocess.run(
        ["promtool", *map(str, command)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
