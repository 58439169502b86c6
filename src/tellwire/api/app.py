"""The control plane over HTTP, on FastAPI: the routes of the table, and what describes them."""

from collections.abc import Callable
from functools import cache

from fastapi import FastAPI

from tellwire.hub import Tellwire
from tellwire.version import __version__

from .docs import add_docs
from .metrics import METRICS, MetricsPage
from .openapi import document
from .routes import add_routes
from .shell import Shell, raise_through


def build_api(
    tellwire: Tellwire, new_request_id: Callable[[], str], metrics: MetricsPage | None, *, metrics_open: bool
) -> FastAPI:
    """Every route of docs/reference/http-api.md but the two publish routes.

    Without a page of ``metrics`` there is no route to it; ``metrics_open`` shows it to everybody.
    """
    app = FastAPI(
        title="Tellwire",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.tellwire = tellwire
    raise_through(app)
    app.state.metrics = metrics
    without = frozenset() if metrics else frozenset({METRICS})
    add_routes(app, without=without, unguarded=frozenset({METRICS}) if metrics_open else frozenset())
    add_docs(app)
    app.openapi = cache(lambda: document(app))  # type: ignore[method-assign]  # FastAPI's own way to replace it
    app.add_middleware(Shell, new_request_id=new_request_id)
    return app
