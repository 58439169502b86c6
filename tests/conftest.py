"""What holds for all tests: a slow machine breaks no property, and the longest file does not come last."""

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("tellwire", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tellwire")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files go out to workers in this order: simulations take long, unit tests are left for the end."""
    items.sort(key=lambda item: "simulation" not in item.path.parts)
