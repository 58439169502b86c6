"""Where events stand at their endpoints: in a line, where these have an order, or in batches."""

from collections.abc import Mapping, Sequence

from .members import members
from .processes import Received
from .publishers import Book, Entry


def out_of_order(requests: Sequence[Received], book: Book, ordered: Mapping[str, str]) -> int:
    """How many events were received, for the first time, after one that stands behind them in their line.

    ``ordered`` has the order of each target that has one. Behind an event stands whatever somebody began to publish
    after it was acknowledged, and what comes after it in its batch.
    """
    entries = {entry.id: entry for entry in book.acknowledged}
    latest: dict[tuple[str, str], tuple[int, int]] = {}
    seen: set[tuple[str, str]] = set()
    late = 0
    for request in requests:
        if request.status != 200 or request.target not in ordered:
            continue
        for one in members(request):
            entry = entries.get(one.id)
            line = None if entry is None else _line(entry, ordered[request.target])
            if entry is None or line is None or (request.target, one.id) in seen:
                continue
            seen.add((request.target, one.id))
            began, number = latest.get((request.target, line), (0, 0))
            late += entry.told < began or (entry.began == began and entry.number < number)
            latest[request.target, line] = max((began, number), (entry.began, entry.number))
    return late


def _line(entry: Entry, order: str) -> str | None:
    return "*" if order == "endpoint" else entry.ordering_key


def batches_are_whole(requests: Sequence[Received]) -> None:
    """The same ``webhook-id`` is the same events to the last byte, whoever sends them again."""
    bodies: dict[tuple[str, str], bytes] = {}
    for request in requests:
        if request.body.startswith(b"["):
            before = bodies.setdefault((request.target, request.id), request.body)
            assert before == request.body, f"two batches are called {request.id}"
