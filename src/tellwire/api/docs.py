"""The page at ``/docs``: Swagger UI on the OpenAPI document, with every byte of it served by ourselves.

The assets come from the package fastapi-swagger, the page does not: no inline script, and a content security policy
under which a browser would refuse to load anything from elsewhere.
"""

from functools import cache
from importlib.resources import files
from typing import Final

from fastapi import FastAPI, HTTPException, Response

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_ASSETS: Final = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tellwire: HTTP API</title>
<link rel="icon" type="image/png" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<noscript>This page needs JavaScript. The document that it shows is <a href="openapi.json">openapi.json</a>.</noscript>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
# The validator is swagger.io's: without "null" every document that is not on localhost would be sent there.
_START: Final = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  persistAuthorization: false,
  tryItOutEnabled: false,
  validatorUrl: null,
});
"""


def add_docs(app: FastAPI) -> None:
    """Give ``app`` the page and its assets."""
    app.add_api_route("/docs", _page, include_in_schema=False)
    app.add_api_route("/docs/start.js", _start, include_in_schema=False)
    app.add_api_route("/docs/{name}", _asset, include_in_schema=False)


async def _page() -> Response:
    return Response(_PAGE, media_type="text/html", headers=_headers(cached=False))


async def _start() -> Response:
    return Response(_START, media_type="text/javascript", headers=_headers(cached=False))


async def _asset(name: str) -> Response:
    if name not in _ASSETS:
        raise HTTPException(404)
    return Response(_content(name), media_type=_ASSETS[name], headers=_headers(cached=True))


def _headers(*, cached: bool) -> dict[str, str]:
    return {
        "content-security-policy": _POLICY,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "max-age=3600" if cached else "no-cache",
    }


@cache
def _content(name: str) -> bytes:
    return files("fastapi_swagger.resources").joinpath(name).read_bytes()
