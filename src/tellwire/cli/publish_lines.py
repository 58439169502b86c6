"""``tellwire publish -``: events from standard input, in batches; a bad one is told with its number, others go on.

They come one a line, or as one JSON array; either way no more of them is in memory than goes into a batch.
"""

import asyncio
import os
import stat
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import BinaryIO, Final, NamedTuple, Self, cast

import msgspec
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ..client import Client
from ..doctor.finding import counted
from ..errors import (
    ConflictError,
    FieldError,
    ForbiddenError,
    InvalidInputError,
    RemoteError,
    StoreUnavailableError,
    TellwireError,
    UnauthorizedError,
)
from ..hub import Tellwire
from ..model.event import NewEvent, Receipt
from ..publish.validation import ENVELOPE_BYTES, parse_event
from .arrays import read_items
from .failures import Code, RefusalError, code_of, complain
from .ndjson import CHUNK_BYTES, Line, read_lines
from .nouns import receipt_fields
from .show import console, write_json

_STOPPING: Final = (StoreUnavailableError, RemoteError, UnauthorizedError, ForbiddenError)
"""What is wrong with more than one line."""


class _Parsed(NamedTuple):
    line: Line
    event: NewEvent


def publish_lines(tellwire: Tellwire | Client, stream: BinaryIO, *, as_json: bool) -> Code:
    """Publish every good event of ``stream``; with ``as_json``, a receipt for each goes to standard output.

    Raises:
        StoreError: the database cannot be opened.
        RefusalError: it, or the server, stopped taking events; how far it came is told.
        KeyboardInterrupt: Ctrl-C; how far it came is told.
    """
    with asyncio.Runner() as runner, _Progress(stream) as progress:
        # Reading blocks, and does so outside of the loop: then Ctrl-C works while nobody writes.
        runner.run(tellwire.open())
        ahead = _Ahead(stream)
        lines = _Lines(tellwire, "event" if ahead.is_array else "line", as_json=as_json)
        try:
            read_all = read_items if ahead.is_array else read_lines
            for read in read_all(cast("BinaryIO", ahead), tellwire.limits.payload_bytes + ENVELOPE_BYTES):
                runner.run(lines.publish(read))
                progress.show(lines, sum(len(line.text or b"") + 1 for line in read))
        finally:
            progress.stop()
            lines.tell()
            runner.run(tellwire.close())
    return Code.REFUSED if lines.refused else Code.OK


class _Ahead:
    """A stream whose beginning has been looked at."""

    def __init__(self, stream: BinaryIO) -> None:
        self._read = getattr(stream, "read1", stream.read)
        self._begun = b""
        while len(self._begun) <= CHUNK_BYTES:
            chunk = self._read(CHUNK_BYTES)
            self._begun += chunk
            if not chunk or chunk.strip():
                break
        self.is_array = self._begun.lstrip()[:1] == b"["

    def read1(self, size: int) -> bytes:
        begun, self._begun = self._begun, b""
        read: bytes = begun or self._read(size)
        return read

    read = read1


class _Lines:
    """Publishes lines and counts; ``called`` is what each of them is."""

    def __init__(self, tellwire: Tellwire | Client, called: str, *, as_json: bool) -> None:
        self._called = called
        self.accepted = 0
        self.duplicates = 0
        self.refused = 0
        self._tellwire = tellwire
        self._here = isinstance(tellwire, Tellwire)
        self._as_json = as_json

    async def publish(self, lines: Sequence[Line]) -> None:
        limits = self._tellwire.limits
        batch: list[_Parsed] = []
        size_bytes = 0
        for line in lines:
            event = self._parsed(line)
            if event is None:
                continue
            length = len(line.text or b"")
            if batch and (len(batch) >= limits.batch_events or size_bytes + length > limits.batch_bytes):
                await self._accept(batch)
                batch, size_bytes = [], 0
            batch.append(_Parsed(line, event))
            size_bytes += length
        if batch:
            await self._accept(batch)

    def tell(self) -> None:
        """Write the count, to standard output or, where that carries JSON, to standard error."""
        words = [f"{counted(self.accepted, 'event')} accepted"]
        if self.duplicates:
            words.append(f"{counted(self.duplicates, 'duplicate')} among them")
        if self.refused:
            words.append(f"{counted(self.refused, self._called)} refused")
        (sys.stderr if self._as_json else sys.stdout).write(", ".join(words) + "\n")

    def _parsed(self, line: Line) -> NewEvent | None:
        limits = self._tellwire.limits
        try:
            if line.fault is not None:
                raise InvalidInputError.at(msg=line.fault)
            if line.text is None:
                raise InvalidInputError.at(
                    msg=f"is longer than an event with {limits.payload_bytes} bytes of data"
                )
            event = parse_event(line.text, limits)
            # A server knows better than we whose an event is that names no tenant: that of the key, if it has one.
            named = self._here or b"tenant" in line.text or b"\\u" in line.text
            return event if named else msgspec.structs.replace(event, tenant="")
        except InvalidInputError as error:
            self._refuse(line, error)
            return None

    async def _accept(self, batch: Sequence[_Parsed]) -> None:
        accept = self._tellwire.accept
        try:
            self._count(await accept([parsed.event for parsed in batch], listed=True))
            return
        except (InvalidInputError, ConflictError):
            pass  # all or none: so each by itself, and they share a commit nevertheless
        except _STOPPING as error:
            raise self._stopped(error, batch[0].line) from error
        alone = [accept([parsed.event], listed=False) for parsed in batch]
        failed: RefusalError | None = None
        for parsed, outcome in zip(batch, await asyncio.gather(*alone, return_exceptions=True), strict=True):
            match outcome:
                case list():
                    self._count(outcome)
                case TellwireError() if isinstance(outcome, _STOPPING):
                    failed = failed or self._stopped(outcome, parsed.line)
                case TellwireError():
                    self._refuse(parsed.line, outcome)
                case _:
                    raise outcome
        if failed is not None:
            raise failed

    def _count(self, receipts: Sequence[Receipt]) -> None:
        self.accepted += len(receipts)
        self.duplicates += sum(receipt.duplicate for receipt in receipts)
        if self._as_json:
            for receipt in receipts:
                write_json(receipt_fields(receipt))

    def _refuse(self, line: Line, error: TellwireError) -> None:
        self.refused += 1
        faults = error.errors if isinstance(error, InvalidInputError) else (FieldError((), str(error)),)
        complain("; ".join(map(str, faults)), f"{self._called} {line.number}")

    def _stopped(self, error: TellwireError, line: Line) -> RefusalError:
        return RefusalError(
            f"stopped before {self._called} {line.number}: {error}; publish from there on again",
            code_of(error),
        )


class _Progress:
    """A bar on standard error where that is a terminal and standard input is not."""

    def __init__(self, stream: BinaryIO) -> None:
        self._shown = sys.stderr.isatty() and not stream.isatty()
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=console(stderr=True), transient=True, disable=not self._shown)
        self._task = self._bar.add_task("publishing", total=_size_bytes(stream))

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def show(self, lines: _Lines, more_bytes: int) -> None:
        if self._shown:
            description = f"{counted(lines.accepted, 'event')} accepted"
            self._bar.update(self._task, advance=more_bytes, description=description)

    def stop(self) -> None:
        self._bar.stop()


def _size_bytes(stream: BinaryIO) -> int | None:
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None
