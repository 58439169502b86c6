"""Example events: what is sent to try an endpoint out."""

import json

import msgspec
from sqlalchemy import Connection

from tellwire.model.endpoint import Endpoint
from tellwire.model.event_type import EventType
from tellwire.model.tenant import OPERATIONAL_TENANT
from tellwire.store import event_types

from .announcing import operational_type

EXAMPLE_TYPE = "tellwire.test"
"""The type where none is asked for."""


def example_data(connection: Connection, endpoint: Endpoint, type: str) -> bytes:
    """The first example that the catalogue has of a type; else data that names the endpoint."""
    known = event_types.find(connection, type)
    if known is None and endpoint.tenant == OPERATIONAL_TENANT:
        known = operational_type(type)
    return _first_example(known) or msgspec.json.encode({"test": True, "endpoint": endpoint.id})


def _first_example(event_type: EventType | None) -> bytes | None:
    if event_type is None or not event_type.examples:
        return None
    return json.dumps(event_type.examples[0], ensure_ascii=False, separators=(",", ":")).encode()
