"""Proves, when a database is opened, that the secret key at hand is the one its secrets were sealed with."""

from sqlalchemy import Connection, insert, select

from tellwire.signing.vault import Vault

from .tables import facts

NAME = "key_check"


def check_key(connection: Connection, vault: Vault) -> None:
    """Compare the key with the database, or note it in a new one.

    Raises:
        SettingsError: the database was made with another key; nothing of it could be read with this one.
    """
    sealed = connection.execute(select(facts.c.value).where(facts.c.name == NAME)).scalar_one_or_none()
    if sealed is None:
        connection.execute(insert(facts).values(name=NAME, value=vault.seal(b"tellwire", NAME.encode())))
    else:
        vault.open(sealed, NAME.encode())
