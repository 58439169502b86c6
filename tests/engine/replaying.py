"""What tests of replays share: databases of both kinds, and waiting for a replay."""

from collections.abc import Callable
from pathlib import Path

from tests.postgres import database_in

from tellwire import Options, Tellwire
from tellwire.deliver.engine import EngineOptions
from tellwire.deliver.lanes import LaneBounds
from tellwire.model.replay import Replay, ReplayState
from tellwire.policy.retry import RetrySchedule

from .embedded import KEY, LOOPBACK, until

URLS: dict[str, Callable[[Path], str]] = {
    "sqlite": lambda folder: f"sqlite:///{folder / 'tellwire.db'}",
    "postgres": database_in,
}
SLOTS = 4


def hub(url: str, *, deliver: bool = True, retention_days: int = 30) -> Tellwire:
    """A Tellwire whose deliveries are exhausted by their first failure, with four slots for each endpoint."""
    engine = EngineOptions(
        schedule=RetrySchedule(()),
        bounds=LaneBounds(per_endpoint=SLOTS),
        grace_s=1,
        retention_days=retention_days,
    )
    return Tellwire(url, Options(deliver=deliver, secret_key=KEY, egress=LOOPBACK, engine=engine))


async def ended(tellwire: Tellwire, replay: Replay) -> Replay:
    """A replay, once it has ended."""

    async def look() -> Replay | None:
        found = await tellwire.replays.get(replay.id)
        return None if found.state is ReplayState.RUNNING else found

    found = await until(look)
    assert found is not None
    return found
