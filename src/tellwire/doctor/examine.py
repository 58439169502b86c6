"""All examinations, in the order in which trouble builds on trouble."""

from typing import Final

from tellwire.errors import SettingsError, StoreError
from tellwire.hub import Tellwire
from tellwire.model.endpoint import EndpointState
from tellwire.model.key import ApiKey
from tellwire.settings import Settings
from tellwire.wiring import tellwire_for

from . import database, setup, traffic, way_out
from .finding import Finding, Level, failure, ok, skipped, warning

_ENDPOINTS_LOOKED_AT: Final = 50
_KEYS_LOOKED_AT: Final = 250
_NEED_DATABASE: Final = (
    "secret key",
    "clock",
    "deliveries",
    "leases",
    "endpoints",
    "circuits",
    "limits",
    "order",
    "failing",
    "keys",
)


async def examine(settings: Settings) -> list[Finding]:
    """Look at everything. Never raises for what is wrong: that is what is found."""
    found = [*setup.examine(settings), database.examine_disk(settings)]
    version = await database.examine_version(settings)
    found.append(version)
    urls: list[str] = []
    if version.level is Level.OK:
        found += await _open_and_examine(settings, urls)
    else:
        found += [skipped(check, "the database has to be mended first") for check in _NEED_DATABASE]
    return found + await way_out.examine(settings, urls)


async def _open_and_examine(settings: Settings, urls: list[str]) -> list[Finding]:
    try:
        async with tellwire_for(settings, deliver=False) as tellwire:
            return await _examine_opened(tellwire, settings, urls)
    except SettingsError as error:
        return [
            failure(
                "secret key",
                str(error),
                "set TELLWIRE_SECRET_KEY to the key that this database was made with, or put its tellwire.key back",
            )
        ]
    except StoreError as error:
        return [
            failure(
                "database", str(error), "look for a full disk, missing rights, or a server that is overloaded"
            )
        ]


async def _examine_opened(tellwire: Tellwire, settings: Settings, urls: list[str]) -> list[Finding]:
    endpoints = (await tellwire.endpoints.list(limit=_ENDPOINTS_LOOKED_AT)).data
    urls += [endpoint.url for endpoint in endpoints if endpoint.state is EndpointState.ENABLED]
    return [
        await _sealing(tellwire),
        await database.examine_latency(tellwire),
        await database.examine_clock(tellwire, settings),
        *await traffic.examine(tellwire, settings),
        await _keys(tellwire, settings),
    ]


async def _sealing(tellwire: Tellwire) -> Finding:
    if tellwire.sealing.has_one_key:
        return ok("secret key", "it is the one that this database was made with")
    sealed = await tellwire.sealing.count()
    if sealed.older:
        return warning(
            "secret key",
            f"{sealed.older} of {sealed.values} secrets in the database are sealed with an older key than the first",
            "when every process has the new list of keys, seal them anew: `tellwire reseal`",
        )
    return ok(
        "secret key",
        f"all {sealed.values} secrets in the database are sealed with the first; the other keys can go from "
        "TELLWIRE_SECRET_KEY once receivers that verify v1a know the first one's public key",
    )


async def _keys(tellwire: Tellwire, settings: Settings) -> Finding:
    keys = (await tellwire.keys.list(limit=_KEYS_LOOKED_AT)).data
    good = [key for key in keys if _is_good(key, tellwire)]
    if settings.admin_key is None and not good:
        return warning(
            "keys",
            "there is no API key: nobody can use the HTTP API, but with the key that `serve --dev` makes",
            "`tellwire keys create NAME`",
        )
    return ok("keys", f"{len(good)} can be used{', and the admin key' if settings.admin_key else ''}")


def _is_good(key: ApiKey, tellwire: Tellwire) -> bool:
    return key.revoked_at is None and (key.expires_at is None or key.expires_at > tellwire.now())
