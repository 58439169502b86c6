"""What a process writes down of lanes that hold deliveries back."""

from collections.abc import Callable
from typing import Any

import pytest

from tellwire.deliver.holding import Holding
from tellwire.deliver.lane import HeldBack
from tellwire.model.delivery import WaitingFor
from tellwire.policy.circuit import Circuit
from tellwire.store import lanes
from tellwire.telemetry import Telemetry

ENDPOINT = b"e" * 16
OPEN = HeldBack(WaitingFor.CIRCUIT, Circuit(streak=10, opened_ms=1, probe_ms=60_000))


class Clock:
    """It stands still."""

    def now_ms(self) -> int:
        return 1_000


class FewLanes:
    """Lanes of which some hold something back, and some are known."""

    def __init__(self) -> None:
        self.back: dict[bytes, HeldBack] = {}
        self.known: set[bytes] = set()

    def knows(self, endpoint_id: bytes) -> bool:
        return endpoint_id in self.known


class Database:
    """Takes down what is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: list[tuple[set[bytes], WaitingFor | None]] = []
        monkeypatch.setattr(lanes, "tell", self._tell)

    async def write(self, change: Callable[[Any], None]) -> None:
        change(None)

    def _tell(self, _: object, ids: Any, owner: int, why: WaitingFor | None, circuit: Any = None) -> None:
        self.told.append((set(ids), why))


@pytest.mark.parametrize(("known", "freed"), [(True, True), (False, False)])
async def test_a_circuit_is_taken_back_by_who_knows_better(
    monkeypatch: pytest.MonkeyPatch, known: bool, freed: bool
) -> None:
    """A lane that goes on is told; one that was forgotten is not: its next owner begins with a probe."""
    database, few = Database(monkeypatch), FewLanes()
    told = Holding(database, few, Clock(), Telemetry(), owner=7)  # type: ignore[arg-type]  # all that it asks of them
    few.known.add(ENDPOINT)
    await told._tell({ENDPOINT: OPEN})
    if not known:
        few.known.clear()
    await told._tell({})
    assert database.told == [({ENDPOINT}, WaitingFor.CIRCUIT), *([({ENDPOINT}, None)] if freed else [])]


async def test_what_waited_for_a_rate_is_told_to_wait_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of that is for the next owner to know."""
    database, few = Database(monkeypatch), FewLanes()
    told = Holding(database, few, Clock(), Telemetry(), owner=7)  # type: ignore[arg-type]  # all that it asks of them
    await told._tell({ENDPOINT: HeldBack(WaitingFor.RATE)})
    await told._tell({})
    assert database.told == [({ENDPOINT}, WaitingFor.RATE), ({ENDPOINT}, None)]
