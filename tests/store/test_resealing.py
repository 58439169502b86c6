"""What is sealed at rest is found everywhere, and sealed anew with another key."""

from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select, update

from tellwire.errors import SettingsError
from tellwire.manage.sealing import Sealed, Sealing
from tellwire.model.endpoint_settings import EndpointSettings
from tellwire.signing.vault import Vault
from tellwire.store import resealing
from tellwire.store.answers import SEALED_FOR
from tellwire.store.store import Store
from tellwire.store.tables import endpoints, facts, kept_answers, metadata, secrets

from .backends import KEY, OTHER_KEY, Backend
from .rows import NOW, add_endpoint, raw

SETTINGS = EndpointSettings(user_agent="Example/1")


def test_every_sealed_column_is_known() -> None:
    """A new one that is forgotten would keep the old key needed for ever."""
    told = {
        column
        for table in metadata.tables.values()
        for column in table.columns
        if column.name == "sealed" or "sealed" in (column.comment or "")
    }
    assert told == {place.column for place in resealing.PLACES} - {facts.c.value}
    assert len(told) == 4


async def fill(store: Store, vault: Vault, *numbers: int) -> None:
    """Endpoints with settings, each of which makes three sealed values, and one answer that is kept."""
    for number in numbers:
        await add_endpoint(store, vault, number, settings=SETTINGS)
    row = {"id": bytes(32), "fingerprint": bytes(32), "started_ms": NOW, "status": 200}
    row["sealed"] = vault.derived(SEALED_FOR).seal(b"{}", bytes(32))
    await store.write(lambda connection: connection.execute(insert(kept_answers).values(row)))


async def test_a_key_is_given_up_for_another(
    backend: Backend, store: Store, vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything is sealed anew, page by page; then the new key opens the database alone, and the old one does not."""
    monkeypatch.setattr(resealing, "PER_PAGE", 2)
    await fill(store, vault, 1, 2, 3)
    both = Vault(OTHER_KEY, KEY)
    sealing = Sealing(store, both)
    everything = Sealed(values=3 * 3 + 1 + 1, older=3 * 3 + 1 + 1)
    assert await sealing.count() == everything
    assert await sealing.count() == everything, "counting has changed something"
    assert await sealing.reseal() == everything
    assert await sealing.reseal() == await sealing.count() == Sealed(everything.values, 0)
    await store.close()
    with pytest.raises(SettingsError, match="does not fit"):
        await backend.make(tmp_path, vault).open()
    anew = backend.make(tmp_path, Vault(OTHER_KEY))
    await anew.open()
    endpoint = anew.roster.endpoints[raw(2)]
    assert endpoint.settings.user_agent == SETTINGS.user_agent
    assert endpoint.secrets
    await anew.close()


async def test_nothing_is_lost_half_way(store: Store, vault: Vault) -> None:
    """A value that no key opens is an error; what was sealed anew before it opens with both keys."""
    await fill(store, vault, 1)

    def damage(connection: Connection) -> None:
        connection.execute(update(endpoints).values(headers=Vault(bytes([7] * 32)).seal(b"{}", raw(1))))

    await store.write(damage)
    both = Vault(OTHER_KEY, KEY)
    with pytest.raises(SettingsError, match="cannot be decrypted"):
        await Sealing(store, both).reseal()
    sealed = await store.read(lambda connection: connection.execute(select(secrets.c.sealed)).scalar_one())
    assert both.open(sealed, raw(1)) == Vault(OTHER_KEY).open(sealed, raw(1))
