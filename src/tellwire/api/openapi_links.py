"""Links in the OpenAPI document: what is made by one route is looked at and changed by others, under its id.

For people who read the document, and for tools that test the API by following them.
"""

from collections.abc import Iterator
from typing import Any, Final

_MAKERS: Final = {
    "/v1/events": ("/v1/events/{id}",),
    "/v1/endpoints": ("/v1/endpoints/{id}",),
    "/v1/endpoints/{id}/test": ("/v1/deliveries/{id}",),
    "/v1/endpoints/{id}/replay": ("/v1/replays/{id}",),
    "/v1/tenants": ("/v1/tenants/{id}",),
    "/v1/keys": ("/v1/keys/{id}",),
}
"""Who POSTs to a path gets something with an id, and goes on with it at these paths and below."""


def add_links(paths: dict[str, Any]) -> None:
    """Add to each answer that brings an id links to the operations that take it."""
    for path, below in _MAKERS.items():
        links = {
            operation["operationId"]: {
                "operationId": operation["operationId"],
                "parameters": {"id": "$response.body#/id"},
            }
            for operation in _operations(paths, below)
        }
        for status, response in paths[path]["post"]["responses"].items():
            if status.startswith("2"):
                response["links"] = links


def _operations(paths: dict[str, Any], below: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    for path, item in paths.items():
        if path.startswith(below):
            yield from item.values()
