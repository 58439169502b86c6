"""Turns: the slots of a process, shared by tenants, without lanes' other limits."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tellwire.deliver.turns import Share, Turns


class Standing:
    """A lane that always has something to send."""

    def __init__(self, turns: "Turns[Standing]", tenant: str) -> None:
        self.queued = False
        self.tenant = tenant
        self.share: Share[Standing] = turns.share_of(tenant)


def use(turns: "Turns[Standing]", lane: Standing) -> bool:
    """Take a slot, as ``Lanes`` does."""
    if not turns.has_slot(lane):
        return False
    turns.begin(lane)
    return True


def test_no_tenant_has_more_than_its_part() -> None:
    """What hangs at one tenant's endpoints leaves slots for the others, at once."""
    turns: Turns[Standing] = Turns(8, 6)
    greedy = [Standing(turns, "a") for _ in range(10)]
    assert [use(turns, lane) for lane in greedy] == [True] * 6 + [False] * 4
    other = Standing(turns, "b")
    assert use(turns, other)
    assert use(turns, other)
    assert not use(turns, other), "now they are all taken"


def test_a_slot_that_comes_free_goes_to_the_lane_that_has_waited_longest() -> None:
    """Within the tenant's part, those that wait come in turn."""
    turns: Turns[Standing] = Turns(8, 2)
    first, second, third = (Standing(turns, "a") for _ in range(3))
    assert use(turns, first)
    assert use(turns, first)
    assert not use(turns, second)
    assert not use(turns, third)
    turns.end(first)
    assert turns.next() is second
    assert turns.next() is None


def test_who_does_not_use_its_turn_gives_it_to_another_of_its_tenant() -> None:
    """A lane that comes to the front and cannot send must not keep those behind it waiting for ever."""
    turns: Turns[Standing] = Turns(8, 1)
    first, second, third = (Standing(turns, "a") for _ in range(3))
    assert use(turns, first)
    assert not use(turns, second)
    assert not use(turns, third)
    turns.end(first)
    assert turns.next() is second
    turns.passed(second)
    assert turns.next() is third


@given(
    st.integers(1, 6),
    st.integers(1, 6),
    st.lists(st.sampled_from("aab"), min_size=1, max_size=8),
    st.lists(st.integers(0, 1000), max_size=120),
)
def test_slots_are_used_while_somebody_may(
    per_process: int, per_tenant: int, tenants: list[str], picks: list[int]
) -> None:
    """Whatever lands and wants: bounds hold, and no slot stays free that somebody in line may have."""
    turns: Turns[Standing] = Turns(per_process, per_tenant)
    lanes = [Standing(turns, tenant) for tenant in tenants]
    in_air: list[Standing] = []
    wanting: set[int] = set()  # lanes with something to send, by index

    def fill(lane: Standing) -> bool:
        index = lanes.index(lane)
        if index in wanting and use(turns, lane):
            wanting.discard(index)
            in_air.append(lane)
            return True
        return False

    for pick in picks:
        if pick % 2 and in_air:
            turns.end(in_air.pop(pick % len(in_air)))
            while (lane := turns.next()) is not None:
                if not fill(lane):
                    turns.passed(lane)
        else:
            wanting.add(pick % len(lanes))
            fill(lanes[pick % len(lanes)])
        held = Counter(lane.tenant for lane in in_air)
        assert turns.in_flight == len(in_air) <= per_process
        assert max(held.values(), default=0) <= per_tenant
        for index in wanting:
            assert len(in_air) == per_process or held[lanes[index].tenant] == per_tenant


def test_what_no_tenant_uses_is_forgotten() -> None:
    """Memory follows the work; a share that is in use stays the same."""
    turns: Turns[Standing] = Turns(8, 6)
    lane = Standing(turns, "a")
    assert use(turns, lane)
    turns.forget(set())
    assert turns.share_of("a") is lane.share
    turns.end(lane)
    turns.forget(set())
    assert turns.share_of("a") is not lane.share
