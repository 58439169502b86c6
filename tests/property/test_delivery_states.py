"""The state machine of a delivery keeps its promises whatever happens in whatever order."""

from hypothesis import given
from hypothesis import strategies as st

from tellwire.model.delivery import TRANSITIONS, Move, State, states_that_allow

MOVES = st.lists(st.sampled_from(list(Move)), max_size=60)


def walk(moves: list[Move]) -> list[tuple[State, Move, State]]:
    state, steps = State.PENDING, []
    for move in moves:
        after = TRANSITIONS.get((state, move))
        if after is not None:
            steps.append((state, move, after))
            state = after
    return steps


@given(MOVES)
def test_an_attempt_is_only_judged_while_pending(moves: list[Move]) -> None:
    """Success, retry and exhaustion happen to pending deliveries only."""
    for before, move, _ in walk(moves):
        if move not in (Move.RETRY_BY_HAND, Move.REPLAY, Move.CANCEL):
            assert before is State.PENDING


@given(MOVES)
def test_a_delivery_leaves_an_end_only_by_hand(moves: list[Move]) -> None:
    """A finished delivery becomes pending by a retry by hand or a replay, and by nothing else; one that is exhausted
    may be given up by hand, too."""
    for before, move, after in walk(moves):
        if before is State.EXHAUSTED and move is Move.CANCEL:
            assert after is State.CANCELLED
        elif before is not State.PENDING:
            assert move in (Move.RETRY_BY_HAND, Move.REPLAY)
            assert after is State.PENDING


@given(MOVES)
def test_cancelled_is_final_but_for_a_replay(moves: list[Move]) -> None:
    """Nothing happens to a cancelled delivery any more, unless a replay asks for it."""
    steps = walk(moves)
    assert all(move is Move.REPLAY for before, move, _ in steps if before is State.CANCELLED)


@given(MOVES)
def test_a_replay_is_of_what_has_ended(moves: list[Move]) -> None:
    """A pending delivery is not replayed: its schedule goes on."""
    assert all(before is not State.PENDING for before, move, _ in walk(moves) if move is Move.REPLAY)


@given(MOVES)
def test_each_end_is_reached_by_its_own_move(moves: list[Move]) -> None:
    """Succeeded, exhausted and cancelled tell what happened."""
    ends = {
        State.SUCCEEDED: Move.SUCCEED,
        State.EXHAUSTED: Move.EXHAUST,
        State.CANCELLED: Move.CANCEL,
    }
    for _, move, after in walk(moves):
        assert after is State.PENDING or ends[after] is move


@given(st.sampled_from(list(Move)), st.sampled_from(list(State)))
def test_states_that_allow_agrees_with_the_table(move: Move, state: State) -> None:
    """A statement guarded by `states_that_allow` accepts exactly what the table has."""
    assert (state in states_that_allow(move)) is ((state, move) in TRANSITIONS)
