"""Gathering: when a batch may go, and what is in it."""

import asyncio
from collections.abc import Callable

import pytest

from tellwire.deliver.batch_request import batch_id_of, size_of
from tellwire.deliver.gathering import Gathering
from tellwire.model.batching import BatchSettings
from tellwire.model.claim import Claim

NOW = 1_700_000_000_000


class Still:
    """A clock that stands still."""

    def now_ms(self) -> int:
        return NOW

    def monotonic(self) -> float:
        return 0.0


def claim(number: int, *, due_ms: int = NOW, step: int = 0, size: int = 50) -> Claim:
    made = Claim(number.to_bytes(16, "big"), b"e" * 16, b"l" * 16, "evt_" + "0" * 26, "a", b"x" * size, 1, 1)
    made.due_ms, made.schedule_step = due_ms, step
    return made


def gathering(settings: BatchSettings, ripe: Callable[[], object] = lambda: None) -> Gathering:
    return Gathering(settings, Still(), ripe)


def cut(line: Gathering) -> list[int]:
    first = line.popleft()
    return [int.from_bytes(one.delivery_id, "big") for one in (first, *first.along)]


async def test_it_may_go_when_it_is_full() -> None:
    """Not before; and then so many at a time, first come first served."""
    line = gathering(BatchSettings(max_events=3, max_wait_s=60))
    for number in range(2):
        line.append(claim(number))
        assert not line
    for number in range(2, 7):
        line.append(claim(number))
    assert (bool(line), len(line)) == (True, 7)
    assert [cut(line), cut(line)] == [[0, 1, 2], [3, 4, 5]]
    assert (bool(line), len(line)) == (False, 1)
    line.clear()


async def test_it_may_go_when_the_first_has_waited() -> None:
    """Whoever asked is told; all that came until then go together, though each came alone."""
    ripe = asyncio.Event()
    line = gathering(BatchSettings(max_events=100, max_wait_s=1), ripe.set)
    for number in range(5):
        line.append(claim(number, due_ms=NOW - 5_000))
        assert not line
    await ripe.wait()
    assert cut(line) == [0, 1, 2, 3, 4]
    assert not line


async def test_what_is_left_waits_for_its_own_time() -> None:
    """What was overdue when the batch was cut may go at once; what came later has its time before it."""
    ripe = asyncio.Event()
    line = gathering(BatchSettings(max_events=2, max_wait_s=60), ripe.set)
    for number, due_ms in enumerate((NOW - 90_000, NOW - 90_000, NOW - 90_000, NOW)):
        line.append(claim(number, due_ms=due_ms))
    line.append(claim(4))
    assert [cut(line), cut(line)] == [[0, 1], [2, 3]]
    assert not line
    assert len(line) == 1
    line.clear()


@pytest.mark.parametrize("format", ["array", "cloudevents"])
async def test_a_batch_keeps_to_its_bytes(format: str) -> None:
    """Together they are no larger than the body may be; one that is too large alone goes alone."""
    settings = BatchSettings(max_events=100, max_wait_s=60, max_bytes=2_000, format=format)  # type: ignore[arg-type]
    line = gathering(settings)
    sizes = [400, 400, 400, 5_000, 400, 400, 400, 400, 400, 400]
    claims = [claim(number, size=size) for number, size in enumerate(sizes)]
    for one in claims:
        line.append(one)
    batches = []
    while line:
        batches.append(cut(line))
    assert [3] in batches
    for batch in batches:
        assert sum(size_of(claims[number], settings) for number in batch) + 1 <= 2_000 or len(batch) == 1
    line.clear()


async def test_waiting_for_others_is_not_being_late() -> None:
    """What is told of the lag begins where the time ends for which it may wait."""
    line = gathering(BatchSettings(max_events=4, max_wait_s=60))
    assert line.since_ms is None
    line.append(claim(0, due_ms=NOW - 50_000))
    assert line.since_ms == NOW + 10_000
    whole = claim(1, due_ms=NOW - 30_000)
    whole.batch_id = b"b" * 16
    line.append(whole)
    assert line.since_ms == NOW - 30_000
    line.clear()


async def test_steps_of_the_schedule_are_not_mixed() -> None:
    """Each delivery has its whole schedule: those that are further on go apart."""
    line = gathering(BatchSettings(max_events=4, max_wait_s=60))
    for number, step in enumerate((0, 0, 2, 2)):
        line.append(claim(number, step=step))
    assert cut(line) == [0, 1]
    line.clear()


async def test_what_was_a_batch_goes_first_and_as_it_is() -> None:
    """At once, however few they are."""
    line = gathering(BatchSettings(max_events=4, max_wait_s=60))
    line.append(claim(0))
    whole = claim(1)
    whole.along, whole.batch_id = (claim(2),), b"b" * 16
    line.append(whole)
    assert (bool(line), len(line)) == (True, 3)
    assert cut(line) == [1, 2]
    assert not line
    line.clear()


def test_the_id_of_a_batch_is_what_is_in_it() -> None:
    """In whatever order; one more or less is another batch."""
    claims = [claim(number) for number in range(3)]
    assert batch_id_of(claims) == batch_id_of(claims[::-1])
    assert len({batch_id_of(claims), batch_id_of(claims[:2]), batch_id_of(claims[1:])}) == 3
