"""Alerts fire when they should and are silent when they should: each has a case of both, in Prometheus' own format."""

import math
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from .test_deploy import DEPLOY, EXPORTED, alerts, allowed

TESTS = DEPLOY / "prometheus-alerts.test.yml"
RULES = {rule["alert"]: rule for rule in alerts()}

_SERIES = re.compile(r"(\w+)\{(.*)\}")
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_TEMPLATE = re.compile(r"\{\{.*?\}\}")


def cases() -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = yaml.safe_load(TESTS.read_text(encoding="utf-8"))["tests"]
    return made


def expectations(alert: str) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """The cases that ask for an alert, each with what is to fire in it at any time."""
    for case in cases():
        asked = [one for one in case["alert_rule_test"] if one["alertname"] == alert]
        if asked:
            yield case, [fired for one in asked for fired in one["exp_alerts"]]


@pytest.mark.parametrize("command", ["check", "test"])
def test_promtool_agrees(command: str) -> None:
    """Prometheus' own tool reads the rules, and every case comes out as it stands there."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip(
            "promtool is not on the PATH (it comes with Prometheus): the alerts' own cases are not run"
        )
    file = DEPLOY / "prometheus-alerts.yml" if command == "check" else TESTS
    done = subprocess.run([promtool, command, "rules", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_cases_are_about_our_rules() -> None:
    """The file with the cases loads the file with the rules, and asks for no alert that is not there."""
    loaded = yaml.safe_load(TESTS.read_text(encoding="utf-8"))["rule_files"]
    assert loaded == ["prometheus-alerts.yml"]
    assert {one["alertname"] for case in cases() for one in case["alert_rule_test"]} == set(RULES)
    assert len({case["name"] for case in cases()}) == len(cases())


@pytest.mark.parametrize("alert", RULES)
def test_every_alert_has_a_case_of_both_kinds(alert: str) -> None:
    """One in which it fires, and one with metrics that it looks at in which it never does; their names say which."""
    found = list(expectations(alert))
    assert any(fired for _, fired in found), f"{alert}: no case in which it fires"
    assert any(not fired for _, fired in found), f"{alert}: no case in which it is silent"
    for case, fired in found:
        assert case["name"].startswith(f"{alert} fires" if fired else f"{alert} is silent")
        series = {_named(one["series"])[0] for one in case["input_series"]}
        assert fired or any(name in RULES[alert]["expr"] for name in series)


@pytest.mark.parametrize("alert", RULES)
def test_what_fires_says_what_the_rule_says(alert: str) -> None:
    """Its severity, its summary and its description, with something in the place of each template."""
    rule = RULES[alert]
    for _, all_fired in expectations(alert):
        for fired in all_fired:
            assert fired["exp_labels"]["severity"] == rule["labels"]["severity"]
            assert fired["exp_annotations"].keys() == rule["annotations"].keys()
            for name, text in rule["annotations"].items():
                pattern = ".+".join(re.escape(part) for part in _TEMPLATE.split(text))
                assert re.fullmatch(pattern, fired["exp_annotations"][name]), name


@pytest.mark.parametrize("case", cases(), ids=lambda case: case["name"])
def test_cases_are_made_of_metrics_that_exist(case: dict[str, Any]) -> None:
    """As a server exports them: with all of their labels and no others, values and buckets that there are."""
    for one in case["input_series"]:
        name, labels = _named(one["series"])
        assert {labels.pop("job"), labels.pop("instance")}
        if name == "up":
            continue
        family, le = EXPORTED[name], labels.pop("le", None)
        assert (le is not None) == name.endswith("_bucket")
        assert le is None or float(le) in {*family.buckets, math.inf}
        assert set(labels) == set(family.labels)
        for label, value in labels.items():
            values = allowed(family, label)
            assert values is None or value in values, f'{name} has no {label}="{value}"'


def _named(series: str) -> tuple[str, dict[str, str]]:
    found = _SERIES.fullmatch(series)
    assert found, series
    return found[1], dict(_LABEL.findall(found[2]))
