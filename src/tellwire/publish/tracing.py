"""Tracing at the front door: who traces gives each event the trace context of a span of its own.

The protocol stands here so that publishing knows of no tracing library (``observe.traces`` knows one). Without a
tracer, an event keeps the context that came with it, and nothing here costs more than to see that there is none.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from tellwire.model.event import NewEvent, Receipt

Ended = Callable[[Sequence[Receipt] | None, BaseException | None], None]
"""To be called once: with the receipts, or with the error."""


class Answer(Protocol):
    """Where the outcome of a publish goes: a future, or whatever else can be told."""

    def done(self) -> bool:
        """Whether nobody waits for the outcome any more."""

    def set_result(self, receipts: list[Receipt], /) -> None:
        """The events are durable."""

    def set_exception(self, error: Exception, /) -> None:
        """They were refused, or could not be stored."""


class Tracing(Protocol):
    """Begins the spans of events that are being published."""

    def begin(self, events: Sequence[NewEvent]) -> tuple[Sequence[NewEvent], Ended]:
        """The events with the context of their spans, and what to call when they are durable or refused."""


@dataclass
class Publishing:
    """Events that are being published, and their receipts once there are any."""

    events: Sequence[NewEvent]
    receipts: list[Receipt] = field(default_factory=list)


class Traced:
    """Whoever traces the publishing of one Tellwire, if anybody does."""

    tracing: Tracing | None = None

    def submitted(self, events: Sequence[NewEvent], answer: Answer) -> tuple[Sequence[NewEvent], Answer]:
        """The events with their spans, and an answer that ends these."""
        if self.tracing is None:
            return events, answer
        events, ended = self.tracing.begin(events)
        return events, _TracedAnswer(answer, ended)

    @contextmanager
    def begun(self, events: Sequence[NewEvent]) -> Iterator[Publishing]:
        """The events with their spans, which end with the block."""
        if self.tracing is None:
            yield Publishing(events)
            return
        events, ended = self.tracing.begin(events)
        publishing = Publishing(events)
        try:
            yield publishing
        except BaseException as error:
            ended(None, error)
            raise
        ended(publishing.receipts, None)


class _TracedAnswer:
    """An answer whose spans end when it is told, also where nobody waits for it any more."""

    def __init__(self, answer: Answer, ended: Ended) -> None:
        self._answer = answer
        self._ended = ended

    def done(self) -> bool:
        return False

    def set_result(self, receipts: list[Receipt], /) -> None:
        self._ended(receipts, None)
        if not self._answer.done():
            self._answer.set_result(receipts)

    def set_exception(self, error: Exception, /) -> None:
        self._ended(None, error)
        if not self._answer.done():
            self._answer.set_exception(error)
