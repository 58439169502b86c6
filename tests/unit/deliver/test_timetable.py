"""The timetable gives lanes when their time has come, whatever was expected in between."""

from hypothesis import given
from hypothesis import strategies as st

from tellwire.deliver.timetable import Timetable

lanes = st.sampled_from([b"a", b"b", b"c", b"d"])
steps = st.lists(st.tuples(lanes, st.integers(0, 50)) | st.integers(0, 60), max_size=40)


def test_lanes_come_in_the_order_of_their_time() -> None:
    """Due lanes are given once, the earliest first, no more than asked for; the others stay."""
    timetable = Timetable()
    for lane, ready_ms in ((b"a", 30), (b"b", 10), (b"c", 20), (b"d", 90)):
        timetable.expect(lane, ready_ms)
    assert timetable.next_ms == 10
    assert timetable.take_due(50, 2) == [b"b", b"c"]
    assert timetable.take_due(50, 2) == [b"a"]
    assert timetable.take_due(50, 2) == []
    assert timetable.next_ms == 90


@given(steps)
def test_it_knows_the_earliest_of_each_lane(steps: list[tuple[bytes, int] | int]) -> None:
    """After any expectations and takings: what is given is what a plain dictionary of minima would give."""
    timetable, model = Timetable(), dict[bytes, int]()
    for step in steps:
        if isinstance(step, tuple):
            lane, ready_ms = step
            timetable.expect(lane, ready_ms)
            model[lane] = min(ready_ms, model.get(lane, ready_ms))
        else:
            due = sorted((ready_ms, lane) for lane, ready_ms in model.items() if ready_ms <= step)[:2]
            assert timetable.take_due(step, 2) == [lane for _, lane in due]
            for _, lane in due:
                del model[lane]
        assert timetable.next_ms == min(model.values(), default=None)
