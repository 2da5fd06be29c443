"""The rules for Prometheus, the alarms of the service, their documentation and the dashboard hold
together.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.model.alarm import AlarmName
from app.ops.alarms.rules import RULES
from app.ops.metrics import Metrics
from tests.ops.promtool import promtool
from tests.ops.scraping import read
from tests.support.process import PROJECT

ALERTS = PROJECT / "deploy" / "alerts.yml"
DASHBOARD = PROJECT / "deploy" / "grafana-dashboard.json"
OF_PROMETHEUS_ALONE = {"database-away"}
_METRIC = re.compile(r"\b(?:dlr|process)_[a-z0-9_]+")


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def kebab(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


def sections() -> list[str]:
    text = (PROJECT / "docs" / "operations.md").read_text()
    chapter = text.split("\n## Alarms\n")[1].split("\n## ")[0]
    return re.findall(r"^### (.+)$", chapter, re.MULTILINE)


def series() -> set[str]:
    """The names of all samples of a service."""
    metrics = Metrics()
    metrics.prepare_routes([("/healthz", "GET", 200)])
    metrics.alarms.labels("silence").set(0)
    return {name.partition("{")[0] for name in read(metrics.render().decode())}


def test_every_alarm_has_a_rule_a_section_and_a_way_to_be_raised() -> None:
    alarms = {*AlarmName}
    assert set(RULES) == alarms
    assert [kebab(rule["alert"]) for rule in rules()] == sections()
    assert set(sections()) == alarms | OF_PROMETHEUS_ALONE
    for rule in rules():
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{kebab(rule['alert'])}"


def test_rules_ask_for_metrics_that_there_are() -> None:
    for rule in rules():
        assert set(_METRIC.findall(rule["expr"])) <= series(), rule["alert"]


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    board = json.loads(DASHBOARD.read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    assert len(queries) > 20
    asked = {name for query in queries for name in _METRIC.findall(query)}
    assert asked <= series()
    ours = {name for name in series() if name.startswith("dlr_")}
    left_out = {name for name in ours - asked if not name.endswith(("_bucket", "_sum", "_count"))}
    assert left_out == set()


def test_prometheus_reads_the_rules() -> None:
    done = subprocess.run(
        [promtool(), "check", "rules", str(ALERTS)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules())} rules found" in done.stdout


def every(name: str, values: str) -> dict[str, str]:
    return {"series": name, "values": values}


# The alert, the series a minute, and the minutes at which it is up and is not any more.
CASES: list[tuple[str, list[dict[str, str]], int, int]] = [
    ("Silence", [every('dlr_alarm{alarm="silence"}', "0 0 1 1 1 0 0 0 0 0")], 4, 8),
    ("NoWorker", [every('dlr_alarm{alarm="no-worker"}', "0 0 1 1 1 0 0 0 0 0")], 4, 9),
    (
        "Zone",
        [
            every('dlr_receipt_lag_seconds_bucket{le="-60.0"}', "0x30"),
            every('dlr_receipt_lag_seconds_bucket{le="60.0"}', "0x10 10+10x20"),
            every("dlr_receipt_lag_seconds_count", "0+10x10 110+10x20"),
        ],
        8,
        28,
    ),
    (
        "ReceiptsRefused",
        [every('dlr_receipts_refused_total{reason="unavailable"}', "0 0 1 1 1 1 1 1 1 1 1 1")],
        3,
        11,
    ),
    (
        "SpoolNotDraining",
        [
            every('dlr_spool_oldest_seconds{instance="a"}', "0 60 120 180 0 0 0"),
            every('dlr_database_up{instance="a"}', "1x10"),
        ],
        3,
        5,
    ),
    ("SpoolDiskFull", [every("dlr_spool_free_bytes", "9e9 1e6 1e6 9e9 9e9")], 2, 4),
    (
        "UnconfirmedGrowing",
        [every('dlr_messages{status="UNCONFIRMED"}', "1 1 3 6 9 9x30")],
        4,
        30,
    ),
    ("OverdueGrowing", [every('dlr_messages{status="overdue"}', "1 1 3 6 9 9x30")], 4, 30),
    (
        "Credentials",
        [every("dlr_iovox_credentials_refused_total", "0 0 1 2 2 2 2 2 2 2 2 2 2")],
        3,
        11,
    ),
    ("WebhookPaused", [every("dlr_webhooks_paused", "0 1 1 0 0")], 2, 4),
    ("Clock", [every("dlr_clock_offset_seconds", "0 -3 -3 -3 0 0")], 3, 5),
    (
        "DatabaseForgot",
        [every('dlr_alarm{alarm="database-forgot"}', "0 0 1 1 1 0 0 0 0 0")],
        4,
        9,
    ),
    ("DatabaseAway", [every("dlr_database_up", "1 0 0 0 0 1 1 1")], 4, 6),
]


def test_every_rule_has_a_case() -> None:
    assert [case[0] for case in CASES] == [rule["alert"] for rule in rules()]


@pytest.mark.parametrize(("alert", "series", "up", "over"), CASES, ids=[c[0] for c in CASES])
def test_a_rule_fires_and_ends(
    tmp_path: Path, alert: str, series: list[dict[str, str]], up: int, over: int
) -> None:
    rule = next(rule for rule in rules() if rule["alert"] == alert)
    labels = {"instance": "a"} if alert == "SpoolNotDraining" else {}
    fired = {"exp_labels": rule["labels"] | labels, "exp_annotations": rule["annotations"]}
    tests = {
        "rule_files": [str(ALERTS)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": series,
                "alert_rule_test": [
                    {"eval_time": "0m", "alertname": alert, "exp_alerts": []},
                    {"eval_time": f"{up}m", "alertname": alert, "exp_alerts": [fired]},
                    {"eval_time": f"{over}m", "alertname": alert, "exp_alerts": []},
                ],
            }
        ],
    }
    path = tmp_path / "tests.yml"
    path.write_text(yaml.safe_dump(tests))
    done = subprocess.run(
        [promtool(), "test", "rules", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
