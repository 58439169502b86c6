"""The table of metrics: names that Prometheus takes, places that do not overlap, labels that stay few."""

import ast
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

import tellwire
from tellwire.observe.families import (
    AGENTS,
    CELLS,
    FAILING,
    FAMILIES,
    OTHER,
    PLACES,
    SAMPLED_AT,
    STAGES,
    WAITING_S,
    Family,
)

MOST_SERIES = 600
"""How many series a server has at most, every bucket counted: what comes from outside can make no more."""


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_family_is_well_formed(family: Family) -> None:
    """Names are Prometheus' own kind; counters end in total; buckets grow; each series has a value for each label."""
    assert re.fullmatch(r"tellwire_[a-z_]+", family.name)
    assert family.name.endswith("_total") == (family.kind == "counter")
    assert list(family.buckets) == sorted(set(family.buckets))
    assert bool(family.buckets) == (family.kind == "histogram")
    assert all(len(values) == len(family.labels) for values in family.series)
    assert family.doc.endswith(".")


def test_places_do_not_overlap() -> None:
    """Every series has cells of its own, and all of them fit on the board."""
    taken = [
        range(place, place + family.width)
        for family in FAMILIES
        for place in PLACES.get(family.name, {}).values()
    ]
    cells = [*chain(*taken), WAITING_S, SAMPLED_AT]

    assert sorted(cells) == list(range(CELLS))


def test_series_are_few() -> None:
    """Their number is bounded, whatever endpoints, tenants and types there are."""
    series = sum(
        len(family.series) * (family.width + 1 if family.kind == "histogram" else 1) for family in FAMILIES
    )

    assert series <= MOST_SERIES
    labels = {label for family in FAMILIES for label in family.labels}
    assert labels.isdisjoint({"endpoint", "endpoint_id", "tenant", "type", "event_id"})


def calls() -> Iterator[ast.Call]:
    """Every call that stands anywhere in the package."""
    for path in Path(tellwire.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield node


def named(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def test_every_stage_that_fails_has_a_name() -> None:
    """Who reads of a failed transaction learns whose it was: none of ours is counted as another's."""
    told = {
        named(call.args[0])
        for call in calls()
        if isinstance(call.func, ast.Name) and call.func.id == "StoreFailed"
    }
    assert told == {*FAILING} - {OTHER}


def test_every_stage_of_a_transaction_has_a_name() -> None:
    """What shares a commit is told apart: each stage that registers for commits stands in the table."""
    registered = {
        named(keyword.value)
        for call in calls()
        if isinstance(call.func, ast.Attribute) and call.func.attr in ("batched", "register")
        for keyword in call.keywords
        if keyword.arg == "stage"
    }
    assert registered - {None} == {*STAGES} - {OTHER}


def test_every_agent_has_a_name() -> None:
    """A fault is told with the agent that had it: each one that the engine keeps running stands in the table."""
    running = {
        word
        for path in Path(tellwire.__file__).parent.joinpath("deliver").glob("engine.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Dict)
        for key in node.keys
        if key is not None and (word := named(key)) is not None
    }
    assert running == {*AGENTS} - {"delivery", OTHER}
