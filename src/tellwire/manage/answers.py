"""Idempotency keys of the control plane: a POST that comes twice under one key is done once, and answered twice.

The key is taken in a transaction before the request is done, so that of two that come at once, through whichever
process, one is told to wait. The answer is kept for a day, sealed, since it may hold a secret that is shown only once.
A request that failed has changed nothing: its key is free again. One whose process died in the middle holds its key for
a minute; then the same request may be done after all. Where the process lives, and yet nobody knows what came of it (a
COMMIT without an answer, a fault of ours), the key stays taken: to do it again is what it is to prevent.
"""

import hashlib
from collections.abc import Callable
from typing import Final

import msgspec

from tellwire.clock import Clock
from tellwire.errors import ConflictError
from tellwire.signing.vault import Vault
from tellwire.store import answers
from tellwire.store.answers import IN_DOUBT, KeptAnswer
from tellwire.store.store import Store

_AGAIN_AFTER_S: Final = 1


class Answer(msgspec.Struct, frozen=True):
    """What was answered to a request."""

    status: int
    body: bytes


class Taken(msgspec.Struct, frozen=True):
    """A key that a request has taken, and when."""

    id: bytes
    started_ms: int


class Answers:
    """Keeps answers by key."""

    def __init__(self, store: Store, clock: Clock, vault: Vault) -> None:
        self._store = store
        self._now_ms: Callable[[], int] = clock.now_ms
        self._vault = vault.derived(answers.SEALED_FOR)

    async def begin(self, id: bytes, fingerprint: bytes) -> Answer | Taken:
        """Take a key; or give what was answered to the same request before.

        Raises ConflictError: the key was used with another request, or the first one is under way, or in doubt.
        """
        now_ms = self._now_ms()
        known = await self._store.write(
            lambda connection: answers.begin(connection, id, fingerprint, now_ms=now_ms)
        )
        return Taken(id, now_ms) if known is None else self._again(id, fingerprint, known)

    async def finish(self, taken: Taken, answer: Answer) -> None:
        """Keep what was answered. Raises StoreError."""
        sealed = self._vault.seal(answer.body, taken.id)
        await self._finish(taken, answer.status, sealed)

    async def doubt(self, taken: Taken) -> None:
        """Keep that nobody knows what came of the request. Raises StoreError."""
        await self._finish(taken, IN_DOUBT, None)

    async def release(self, taken: Taken) -> None:
        """Give a key back whose request has changed nothing. Raises StoreError."""
        await self._store.write(lambda connection: answers.release(connection, taken.id, taken.started_ms))

    async def _finish(self, taken: Taken, status: int, sealed: bytes | None) -> None:
        await self._store.write(
            lambda connection: answers.finish(connection, taken.id, taken.started_ms, status, sealed)
        )

    def _again(self, id: bytes, fingerprint: bytes, known: KeptAnswer) -> Answer:
        if known.fingerprint != fingerprint:
            raise ConflictError("the idempotency key was used before, with another request")
        if known.status is not None and known.sealed is not None:
            return Answer(known.status, self._vault.open(known.sealed, id))
        if known.status is None:
            raise ConflictError(
                "a request with this idempotency key is under way: ask again in a moment",
                retry_after_s=_AGAIN_AFTER_S,
            )
        raise ConflictError(
            "the first request with this idempotency key did not end, and what came of it is not known: "
            "look at what is there, and use another key"
        )


def id_of(caller: str, key: str) -> bytes:
    """Under what an answer is kept: a key is the caller's own."""
    return hashlib.sha256(f"{caller}\n{key}".encode()).digest()


def fingerprint_of(method: str, path: str, query: bytes, body: bytes) -> bytes:
    """What makes two requests the same: where they go, and every byte of what they bring."""
    digest = hashlib.sha256(f"{method} {path}".encode())
    for part in (query, body):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()
