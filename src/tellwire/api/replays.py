"""Replays: jobs that send to an endpoint again; started, looked at, cancelled."""

from typing import Annotated

from fastapi import Query

from .caller import Who
from .hub import Hub
from .shapes.replays import ReplayBody, ReplayOutput, ReplayQuery
from .shapes.shown import ListOutput


async def start_replay(tellwire: Hub, id: str, asked: ReplayBody) -> ReplayOutput:
    """Start a replay

    A job that sends to this endpoint again what failed, what it missed, or what else is asked for. It takes at most
    half of the endpoint's slots, so that what is published meanwhile does not wait. With `dry_run` it only counts.
    """
    replay = await tellwire.replays.start(
        id,
        since=asked.since,
        until=asked.until,
        types=asked.types,
        states=asked.states,
        event=asked.event,
        dry_run=asked.dry_run,
    )
    return ReplayOutput.of(replay)


async def list_replays(
    tellwire: Hub, caller: Who, asked: Annotated[ReplayQuery, Query()]
) -> ListOutput[ReplayOutput]:
    """List replays

    Newest first.
    """
    return ListOutput[ReplayOutput].of(await tellwire.replays.list(**asked.seen_by(caller)))


async def get_replay(tellwire: Hub, id: str) -> ReplayOutput:
    """Get a replay

    With its progress.
    """
    return ReplayOutput.of(await tellwire.replays.get(id))


async def cancel_replay(tellwire: Hub, id: str) -> ReplayOutput:
    """Cancel a replay

    Only a running one can be cancelled. The few deliveries that it has made due already are still sent.
    """
    return ReplayOutput.of(await tellwire.replays.cancel(id))
