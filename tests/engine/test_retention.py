"""Retention as a running engine keeps it: data goes first, events later, and what is young stays."""

from pathlib import Path

from tellwire import Options, Tellwire
from tellwire.clock import SystemClock
from tellwire.deliver.engine import EngineOptions
from tellwire.errors import NotFoundError

from .embedded import KEY, LOOPBACK, until

DAY_MS = 86_400_000


class Earlier:
    """The clock of some days ago."""

    def __init__(self, days: int) -> None:
        self._days = days

    def now_ms(self) -> int:
        return SystemClock().now_ms() - self._days * DAY_MS


async def test_data_goes_first_and_events_later(tmp_path: Path) -> None:
    """With two days for data and five for events, of three events one loses its data and one goes."""
    url, ids = f"sqlite:///{tmp_path / 'tellwire.db'}", []
    for days in (6, 3, 1):
        options = Options(secret_key=KEY, deliver=False)
        async with Tellwire(url, options, clock=Earlier(days)) as tellwire:
            ids.append((await tellwire.publish("order.paid", {"n": days})).id)
    engine = EngineOptions(retention_days=5, payload_retention_days=2)
    async with Tellwire(url, Options(secret_key=KEY, egress=LOOPBACK, engine=engine)) as tellwire:

        async def gone() -> bool:
            try:
                await tellwire.events.get(ids[0])
            except NotFoundError:
                return (await tellwire.events.get(ids[1])).data_expired
            return False

        await until(gone)
        young = await tellwire.events.get(ids[2])
        assert (young.data, young.data_expired) == (b'{"n":1}', False)
