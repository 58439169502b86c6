"""Idempotency keys of the control plane: a POST that comes twice under one key is done once, and answered twice.

The key is taken in a transaction before the request is done, so that of two that come at once, through whichever
process, one is told to wait. The answer is kept for a day, sealed, since it may hold a secret that is shown only once.
A request that failed has changed nothing: its key is free again. One whose process died in the middle keeps its key:
nobody knows what came of it, and to do it again is what the key is to prevent.
"""

import hashlib
from collections.abc import Callable
from typing import Final

import msgspec

from tellwire.clock import Clock
from tellwire.errors import ConflictError
from tellwire.signing.vault import Vault
from tellwire.store import answers
from tellwire.store.answers import KeptAnswer
from tellwire.store.store import Store

_UNDER_WAY_MS: Final = 60_000


class Answer(msgspec.Struct, frozen=True):
    """What was answered to a request."""

    status: int
    body: bytes


class Answers:
    """Keeps answers by key."""

    def __init__(self, store: Store, clock: Clock, vault: Vault) -> None:
        self._store = store
        self._now_ms: Callable[[], int] = clock.now_ms
        self._vault = vault.derived(b"answers")

    async def begin(self, id: bytes, fingerprint: bytes) -> Answer | None:
        """Take a key; or give what was answered to the same request before.

        Raises ConflictError: the key was used with another request, or the first one is under way, or never ended.
        """
        now_ms = self._now_ms()
        known = await self._store.write(
            lambda connection: answers.begin(connection, id, fingerprint, now_ms=now_ms)
        )
        return None if known is None else self._again(id, fingerprint, known, now_ms)

    async def finish(self, id: bytes, answer: Answer) -> None:
        """Keep what was answered. Raises StoreError."""
        sealed = self._vault.seal(answer.body, id)
        await self._store.write(lambda connection: answers.finish(connection, id, answer.status, sealed))

    async def release(self, id: bytes) -> None:
        """Give a key back whose request has changed nothing. Raises StoreError."""
        await self._store.write(lambda connection: answers.release(connection, id))

    def _again(self, id: bytes, fingerprint: bytes, known: KeptAnswer, now_ms: int) -> Answer:
        if known.fingerprint != fingerprint:
            raise ConflictError("the idempotency key was used before, with another request")
        if known.status is not None and known.sealed is not None:
            return Answer(known.status, self._vault.open(known.sealed, id))
        if now_ms - known.started_ms < _UNDER_WAY_MS:
            raise ConflictError("a request with this idempotency key is under way: ask again in a moment")
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
