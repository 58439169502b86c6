"""Dashboard and alerts speak of metrics that there are: every name, label and value in their expressions is real."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from tests.docs.blocks import ROOT

from tellwire.observe.families import FAMILIES, Family

DEPLOY = ROOT / "deploy"
EXPORTED = {name: family for family in FAMILIES for name in family.exported}

_SELECTED = re.compile(r"\b(tellwire_\w+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)\s*(=~|=|!=|!~)\s*"([^"]*)"')
_GROUPED = re.compile(r"\bby \(([^)]*)\)")
_OF_PROMETHEUS = {"job", "instance", "le"}


def dashboard() -> dict[str, Any]:
    made: dict[str, Any] = json.loads((DEPLOY / "grafana-dashboard.json").read_text(encoding="utf-8"))
    return made


def alerts() -> list[dict[str, Any]]:
    made = yaml.safe_load((DEPLOY / "prometheus-alerts.yml").read_text(encoding="utf-8"))
    return [rule for group in made["groups"] for rule in group["rules"]]


def expressions() -> Iterator[tuple[str, str]]:
    """Every expression of both files, with what it is for."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["definition"]
    for rule in alerts():
        yield rule["alert"], rule["expr"]


def allowed(family: Family, label: str) -> set[str] | None:
    """The values of a label of ours; None where it is Prometheus' own or not bounded by the table."""
    if label in _OF_PROMETHEUS or not family.series:
        return None
    return {values[family.labels.index(label)] for values in family.series}


@pytest.mark.parametrize(("what", "expression"), list(expressions()))
def test_expression_is_about_metrics_that_exist(what: str, expression: str) -> None:
    """Each name is exported, each label is one of its metric, each value one that the label has."""
    found = _SELECTED.findall(expression)
    assert found
    for name, selector in found:
        assert name in EXPORTED, name
        family = EXPORTED[name]
        for label, _, value in _MATCHER.findall(selector):
            assert label in {*family.labels, *_OF_PROMETHEUS}, f"{name} has no label {label}"
            values = allowed(family, label)
            assert values is None or value in values, f'{name} has no {label}="{value}"'


@pytest.mark.parametrize(("what", "expression"), list(expressions()))
def test_expression_groups_by_labels_that_exist(what: str, expression: str) -> None:
    """What a sum is grouped by is a label of a metric that it sums; quantiles keep their buckets apart."""
    labels = {label for name, _ in _SELECTED.findall(expression) for label in EXPORTED[name].labels}
    for group in _GROUPED.findall(expression):
        assert {label.strip() for label in group.split(",")} <= labels | _OF_PROMETHEUS
    if "histogram_quantile" in expression:
        assert "_bucket" in expression
        assert any("le" in group for group in _GROUPED.findall(expression))


@pytest.mark.parametrize(("what", "expression"), list(expressions()))
def test_expression_is_balanced(what: str, expression: str) -> None:
    """Brackets close what they open; counters are only read as a rate or an increase."""
    for opening, closing in ("()", "[]", "{}"):
        assert expression.count(opening) == expression.count(closing)
    for name, _ in _SELECTED.findall(expression):
        if EXPORTED[name].kind != "gauge":
            assert re.search(rf"(rate|increase)\({name}\b[^()]*\[[\w$]+\]\)", expression), name


def test_panels_say_something_when_nothing_happens() -> None:
    """What is divided is divided by no zero (Prometheus makes that NaN), and a panel that can be empty says why."""
    for panel in dashboard()["panels"]:
        expressions = [target["expr"] for target in panel.get("targets", [])]
        for expression in expressions:
            assert " / " not in expression or expression.endswith(" > 0)"), panel["title"]
        if expressions and all(" > 0" in expression for expression in expressions):
            assert panel["fieldConfig"]["defaults"].get("noValue"), panel["title"]


def test_dashboard_shows_every_metric() -> None:
    """Nothing that is exported is left out; no two panels share an id or a place."""
    shown = {
        EXPORTED[name].name for _, expression in expressions() for name, _ in _SELECTED.findall(expression)
    }
    assert shown == {family.name for family in FAMILIES}
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(places)
    legends = [target["legendFormat"] for panel in panels for target in panel.get("targets", [])]
    named = {label for legend in legends for label in re.findall(r"\{\{(\w+)\}\}", legend)}
    assert named <= {label for family in FAMILIES for label in family.labels} | _OF_PROMETHEUS


def test_alerts_say_what_to_do() -> None:
    """Each alert has a name of its own, a severity, a summary and a description."""
    rules = alerts()
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"].endswith(".")
