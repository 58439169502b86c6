"""The column of an endpoint's settings: a sealed JSON object, or NULL where all are as for everybody."""

import msgspec

from tellwire.model.endpoint_settings import DEFAULT_SETTINGS, EndpointSettings
from tellwire.signing.vault import Vault


def sealed_settings(vault: Vault, id: bytes, settings: EndpointSettings) -> bytes | None:
    """What is stored for the endpoint with this raw id."""
    return None if settings == DEFAULT_SETTINGS else vault.seal(msgspec.json.encode(settings), place(id))


def opened_settings(vault: Vault, id: bytes, sealed: bytes | None) -> EndpointSettings:
    """What ``sealed_settings`` made, opened."""
    if sealed is None:
        return DEFAULT_SETTINGS
    return msgspec.json.decode(vault.open(sealed, place(id)), type=EndpointSettings)


def place(id: bytes) -> bytes:
    """Bound to the endpoint and to this column: no other sealed text can be put in its place."""
    return id + b"settings"
