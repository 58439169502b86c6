"""Event types: the catalogue, which belongs to the whole server and is open to every reader."""

from typing import Annotated

from fastapi import Path, Query, Response

from .hub import Hub
from .shapes.event_types import EventTypeBody, EventTypeOutput, EventTypeQuery
from .shapes.saying import TypeName
from .shapes.shown import ListOutput


async def put_event_type(
    tellwire: Hub,
    response: Response,
    name: Annotated[TypeName, Path()],
    asked: EventTypeBody | None = None,
) -> EventTypeOutput:
    """Describe an event type

    In place of what the catalogue said of it before. Examples must fit the schema. A test of an endpoint sends the
    first example; with `validate`, events whose data does not fit the schema are refused when they are published.
    """
    event_type, is_new = await tellwire.event_types.put(name, **(asked or EventTypeBody()).fields())
    if is_new:
        response.status_code = 201
    return EventTypeOutput.of(event_type)


async def list_event_types(
    tellwire: Hub, asked: Annotated[EventTypeQuery, Query()]
) -> ListOutput[EventTypeOutput]:
    """List event types

    By name. With `operational`, the types of operational events, which tell what happens in Tellwire itself, instead of
    the catalogue's.
    """
    return ListOutput[EventTypeOutput].of(await tellwire.event_types.list(**dict(asked)))


async def get_event_type(tellwire: Hub, name: str) -> EventTypeOutput:
    """Get an event type

    A type of operational events where the catalogue has none of that name.
    """
    return EventTypeOutput.of(await tellwire.event_types.get(name))


async def delete_event_type(tellwire: Hub, name: str) -> None:
    """Take an event type out of the catalogue

    Events of it are published and kept as before.
    """
    await tellwire.event_types.delete(name)
