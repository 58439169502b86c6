"""From a database URL to its store, unopened: SQLite for one machine, PostgreSQL for many processes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

from tellwire.clock import Clock, SystemClock
from tellwire.errors import SettingsError
from tellwire.signing.vault import Vault

from .key_file import vault_beside
from .sqlite import SqliteStore
from .sqlite_file import stored_version_in
from .store import Store

_POSTGRES = ("postgresql", "postgres")


class MakeStore(Protocol):
    """Makes the store at a database URL, unopened, and the vault that seals its secrets."""

    def __call__(
        self, url: str, secret_key: str | None, *, clock: Clock | None, on_ready: Callable[[int], None]
    ) -> tuple[Store, Vault, Clock]:
        """See ``store_for``, which is one."""


def is_postgres(url: str) -> bool:
    """Whether ``url`` names a database on PostgreSQL."""
    return url.partition("://")[0] in _POSTGRES


def sqlite_path(url: str) -> Path:
    """The file that an SQLite URL names. Raises SettingsError."""
    scheme, found, path = url.partition(":///")
    if scheme != "sqlite" or not found or not path:
        raise SettingsError(
            f"database URL {url.partition('://')[0]!r}://... cannot be used: it must be sqlite:///relative.db, "
            "sqlite:////absolute.db or postgresql://user:password@host/database"
        )
    return Path(path)


def store_for(
    url: str, secret_key: str | None, *, clock: Clock | None, on_ready: Callable[[int], None]
) -> tuple[Store, Vault, Clock]:
    """The store at ``url``, the vault that seals its secrets, and the clock that rules its leases.

    That is ``clock``, by default the machine's; on PostgreSQL it only counts on from what the server's clock says.
    ``on_ready`` is called when another process has written, with the time from which on something may be claimed.

    Raises:
        SettingsError: the URL or the key cannot be used, or PostgreSQL's driver is not installed.
    """
    if not is_postgres(url):
        path = sqlite_path(url)
        vault = vault_beside(path) if secret_key is None else Vault.from_setting(secret_key)
        store = SqliteStore(path, vault, on_change=partial(on_ready, 0))
        return store, vault, clock or SystemClock()
    if secret_key is None:
        raise SettingsError(
            "a database on PostgreSQL needs a secret key, the same for every process: "
            "set TELLWIRE_SECRET_KEY to 32 random bytes (make one with `openssl rand -base64 32`)"
        )
    vault = Vault.from_setting(secret_key)
    with _driver_needed():
        import greenlet  # noqa: F401 - SQLAlchemy would ask for it later, and in words of its own

        from .postgres import PostgresStore
        from .postgres_clock import ServerClock
    servers = ServerClock(clock)
    return PostgresStore(url, vault, clock=servers, on_ready=on_ready), vault, servers


async def stored_version(url: str) -> str | None:
    """The newest migration that the database at ``url`` has seen, or None where there is none; nothing is changed.

    Raises:
        StoreUnavailableError: it cannot be reached or read.
    """
    if not is_postgres(url):
        return stored_version_in(sqlite_path(url))
    with _driver_needed():
        import greenlet  # noqa: F401 - see above

        from .postgres import stored_version_at
    return await stored_version_at(url)


@contextmanager
def _driver_needed() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"PostgreSQL needs the package {error.name}: install it with `pip install 'tellwire[postgres]'`"
        ) from error
