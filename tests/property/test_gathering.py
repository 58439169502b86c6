"""Whatever is gathered comes out once, in batches that keep to their bounds."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from tellwire.deliver.batch_request import size_of
from tellwire.deliver.gathering import Gathering
from tellwire.model.batching import BatchSettings
from tellwire.model.claim import Claim

NOW = 1_700_000_000_000

claims_strategy = st.lists(
    st.tuples(st.integers(0, 3_000), st.integers(0, 2), st.integers(-90_000, 0), st.booleans()), max_size=60
)


class Still:
    """A clock that stands still."""

    def now_ms(self) -> int:
        return NOW

    def monotonic(self) -> float:
        return 0.0


def claim(number: int, size: int, step: int, due_ms: int) -> Claim:
    made = Claim(number.to_bytes(16, "big"), b"e" * 16, b"l" * 16, "evt_" + "0" * 26, "a", b"x" * size, 1, 1)
    made.schedule_step, made.due_ms = step, NOW + due_ms
    return made


@given(given_claims=claims_strategy, most=st.integers(2, 9), most_bytes=st.integers(1_024, 8_000))
def test_all_comes_out_once_and_in_bounds(
    given_claims: list[tuple[int, int, int, bool]], most: int, most_bytes: int
) -> None:
    """Whenever it is asked for a batch: at most so many events and bytes, one step of the schedule, none lost."""
    settings = BatchSettings(max_events=most, max_wait_s=60, max_bytes=most_bytes)
    asyncio.run(_gather(given_claims, settings))


async def _gather(given_claims: list[tuple[int, int, int, bool]], settings: BatchSettings) -> None:
    line = Gathering(settings, Still(), lambda: None)
    out: list[bytes] = []
    for number, (size, step, due_ms, take) in enumerate(given_claims):
        line.append(claim(number, size, step, due_ms))
        if take and line:
            out += _checked(line, settings)
    while len(line):
        out += _checked(line, settings)
    assert not line
    assert sorted(out) == [number.to_bytes(16, "big") for number in range(len(given_claims))]
    line.clear()


def _checked(line: Gathering, settings: BatchSettings) -> list[bytes]:
    before = len(line)
    first = line.popleft()
    batch = [first, *first.along]
    assert len(line) == before - len(batch)
    assert len(batch) <= settings.max_events
    assert len({one.schedule_step for one in batch}) == 1
    assert len(batch) == 1 or sum(size_of(one, settings) for one in batch) + 1 <= settings.max_bytes
    return [one.delivery_id for one in batch]
