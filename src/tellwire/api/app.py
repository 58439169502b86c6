"""The control plane over HTTP, on FastAPI."""

from collections.abc import Callable

from fastapi import FastAPI

from tellwire.hub import Tellwire


def build_api(tellwire: Tellwire, new_request_id: Callable[[], str]) -> FastAPI:
    """Every route of API.md but the two publish routes."""
    return FastAPI(title="Tellwire")
