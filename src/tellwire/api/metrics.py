"""What Prometheus reads. Who makes the page (see ``observe.page``) is none of the API's business."""

from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import Request, Response

MetricsPage = Callable[[str], Awaitable[tuple[str, bytes]]]
"""Makes the page in the form that an ``Accept`` header asks for: its content type and its bytes."""

METRICS: Final = "/metrics"


async def get_metrics(request: Request) -> Response:
    """Metrics for Prometheus.

    All metrics of this server, in the text format of Prometheus or of OpenMetrics. The setting `metrics` says whether
    a key is needed (the default), or none, or whether there is no such route.
    """
    make: MetricsPage = request.app.state.metrics
    content_type, body = await make(request.headers.get("accept", ""))
    # Not as media_type: that would add a charset to those that have one.
    return Response(body, headers={"content-type": content_type, "cache-control": "no-store"})
