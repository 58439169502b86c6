"""The receivers of a simulation: they answer by chance, each in its mood, and remember what they got."""

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from tellwire import unpack
from tellwire.deliver.transport import USUAL, Manner
from tellwire.model.attempt import AttemptError, Evidence

from .clocks import MeasuredClock
from .virtual import Timeline


class Sent(NamedTuple):
    """One event of a request as its receiver saw it; nearly all requests have one."""

    order: int
    at_ms: int
    sender: str
    doubt_ms: float
    """How far off the sender's clock might be."""
    url: str
    event_id: str
    answer: str
    answered_s: float
    headers: Mapping[str, str]
    body: bytes
    asked_s: float
    """For how long it was asked to stay away (``Retry-After``)."""


class Moods(msgspec.Struct, frozen=True):
    """How likely each answer of a receiver is; what is left of 1 is 200."""

    fails: float = 0.2
    hangs: float = 0.03
    refuses: float = 0.05
    overloaded: float = 0.05
    gone: float = 0.0
    slow: float = 0.1


class SimulatedTransport:
    """How one process reaches the receivers."""

    def __init__(
        self,
        sender: str,
        timeline: Timeline,
        measured: MeasuredClock,
        next_order: Callable[[], int],
        chance: random.Random,
        log: list[Sent],
        moods: Mapping[str, Moods],
    ) -> None:
        self._sender = sender
        self._timeline = timeline
        self._measured = measured
        self._next_order = next_order
        self._chance = chance
        self._log = log
        self._moods = moods

    async def send(
        self, url: str, headers: Mapping[str, str], body: bytes, manner: Manner = USUAL
    ) -> Evidence:
        """An answer after a while, by the mood of the receiver."""
        evidence, after_s = self._answer(url)
        answer = str(evidence.error or evidence.status_code)
        asked = [
            value for name, value in evidence.response_headers if name == "retry-after" and value.isdigit()
        ]
        started_s = self._timeline.now_s
        # The receiver has the request as soon as it is sent, whether or not we live to see the answer.
        for event_id in _events(headers, body):
            self._log.append(
                Sent(
                    self._next_order(), self._timeline.now_ms(), self._sender, self._measured.doubt_ms, url,
                    event_id, answer, started_s + after_s, headers, body, float(asked[0]) if asked else 0.0,
                )
            )  # fmt: skip
        await asyncio.sleep(after_s)
        duration_ms = round((self._timeline.now_s - started_s) * 1000)
        return msgspec.structs.replace(evidence, duration_ms=duration_ms)

    async def aclose(self) -> None:
        """Nothing to close."""

    def _answer(self, url: str) -> tuple[Evidence, float]:
        chance, moods = self._chance, self._moods[url]
        quick_s, roll = chance.uniform(0.001, 0.4), chance.random()
        for likely, answer in (
            (moods.fails, (Evidence(chance.choice([500, 404, 301])), quick_s)),
            (moods.hangs, (Evidence(error=AttemptError.TIMEOUT, detail="no answer within 15 s"), 15.0)),
            (moods.refuses, (Evidence(error=AttemptError.CONNECT, detail="refused"), quick_s)),
            (moods.overloaded, (self._overloaded(), quick_s)),
            (moods.gone, (Evidence(410), quick_s)),
        ):
            if roll < likely:
                return answer
            roll -= likely
        return Evidence(200), chance.uniform(1, 14) if chance.random() < moods.slow else quick_s

    def _overloaded(self) -> Evidence:
        after = self._chance.choice(["20", "120", "soon", "0"])
        return Evidence(self._chance.choice([429, 503]), response_headers=(("retry-after", after),))


def _events(headers: Mapping[str, str], body: bytes) -> list[str]:
    """The events of a request: its own, or those of a batch."""
    if not body.startswith(b"["):
        return [headers["webhook-id"]]
    return [event.id for event in unpack(headers, body)]
