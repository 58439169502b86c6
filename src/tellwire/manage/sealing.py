"""Sealing: one key that seals secrets at rest is given up for another. Both are known until all is sealed anew."""

import msgspec

from tellwire.signing.vault import Vault
from tellwire.store.resealing import At, look
from tellwire.store.store import Store


class Sealed(msgspec.Struct, frozen=True):
    """How many values are sealed at rest, and how many of them were found sealed with a key other than the first."""

    values: int
    older: int


class Sealing:
    """Counts what is sealed at rest, and seals it anew."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault

    @property
    def has_one_key(self) -> bool:
        """Whether the secret key is one alone, so that nothing can be sealed with another."""
        return self._vault.is_single

    async def count(self) -> Sealed:
        """Look at all values. Raises SettingsError where one opens with none of the keys."""
        return await self._through(reseal=False)

    async def reseal(self) -> Sealed:
        """Seal everything with the first key that is not yet; ``older`` is what was to be done.

        In small transactions, beside running servers; what a process with another first key writes meanwhile is left
        for the next call. Raises SettingsError where a value opens with none of the keys, StoreUnavailableError.
        """
        return await self._through(reseal=True)

    async def _through(self, *, reseal: bool) -> Sealed:
        ask = self._store.write if reseal else self._store.read
        values = older = 0
        at: At | None = At()
        while at is not None:
            here = at
            page = await ask(lambda connection: look(connection, self._vault, here, reseal=reseal))  # noqa: B023
            values, older, at = values + page.values, older + page.older, page.following
        return Sealed(values, older)
