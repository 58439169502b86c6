"""The control plane over HTTP, on FastAPI: the routes of the table, and what describes them."""

from collections.abc import Callable
from functools import cache
from typing import Final

from fastapi import FastAPI

from tellwire.hub import Tellwire
from tellwire.version import __version__

from .auth import Door
from .docs import add_docs
from .gate import Gate
from .metrics import METRICS, MetricsPage
from .openapi import document
from .problem_pages import add_problem_pages
from .routes import ROUTES, add_routes
from .shell import Shell, raise_through

_WATCHED: Final = frozenset({METRICS, "/healthz", "/readyz"})


def build_api(
    tellwire: Tellwire,
    new_request_id: Callable[[], str],
    door: Door,
    gate: Gate,
    metrics: MetricsPage | None,
    *,
    metrics_open: bool,
) -> FastAPI:
    """Every route of docs/reference/http-api.md but the two publish routes.

    Without a page of ``metrics`` there is no route to it; ``metrics_open`` shows it to everybody.
    """
    app = _empty(tellwire, new_request_id, door, gate, metrics, openapi_url="/openapi.json")
    without = frozenset() if metrics else frozenset({METRICS})
    add_routes(app, without=without, unguarded=_unguarded(metrics_open))
    add_docs(app)
    add_problem_pages(app)
    app.openapi = cache(lambda: document(app))  # type: ignore[method-assign]  # FastAPI's own way to replace it
    return app


def build_watch(
    tellwire: Tellwire,
    new_request_id: Callable[[], str],
    door: Door,
    gate: Gate,
    metrics: MetricsPage | None,
    *,
    metrics_open: bool,
) -> FastAPI:
    """Only the routes by which a process without an API is watched: health, and ``metrics`` as for ``build_api``."""
    app = _empty(tellwire, new_request_id, door, gate, metrics, openapi_url=None)
    shown = _WATCHED if metrics else _WATCHED - {METRICS}
    others = frozenset(route.path for route in ROUTES) - shown
    add_routes(app, without=others, unguarded=_unguarded(metrics_open))
    return app


def _empty(
    tellwire: Tellwire,
    new_request_id: Callable[[], str],
    door: Door,
    gate: Gate,
    metrics: MetricsPage | None,
    *,
    openapi_url: str | None,
) -> FastAPI:
    app = FastAPI(
        title="Tellwire",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=openapi_url,
        redirect_slashes=False,
    )
    app.state.tellwire = tellwire
    app.state.door = door
    app.state.gate = gate
    app.state.metrics = metrics
    raise_through(app)
    app.add_middleware(Shell, new_request_id=new_request_id)
    return app


def _unguarded(metrics_open: bool) -> frozenset[str]:
    return frozenset({METRICS}) if metrics_open else frozenset()
