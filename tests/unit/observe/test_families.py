"""The table of metrics: names that Prometheus takes, places that do not overlap, labels that stay few."""

import re
from itertools import chain

import pytest

from tellwire.observe.families import CELLS, FAMILIES, PLACES, SAMPLED_AT, WAITING_S, Family

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
