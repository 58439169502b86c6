"""API keys: shown once when they are made, listed without their text, revoked."""

from typing import Annotated

from fastapi import Query

from tellwire.model.key import Scope

from .hub import Hub
from .inputs import KeyBody, PageQuery
from .outputs import KeyOutput, ListOutput, NewKeyOutput


async def create_key(tellwire: Hub, asked: KeyBody) -> NewKeyOutput:
    """Create an API key

    The answer holds the key itself, this once: only its hash is stored.
    """
    scopes = list(Scope) if asked.scopes is None else asked.scopes
    key, text = await tellwire.keys.create(asked.name, scopes=scopes, expires_at=asked.expires_at)
    return NewKeyOutput(**dict(KeyOutput.of(key)), key=text)


async def list_keys(tellwire: Hub, asked: Annotated[PageQuery, Query()]) -> ListOutput[KeyOutput]:
    """List API keys

    Newest first, the revoked ones included; never the keys themselves.
    """
    return ListOutput[KeyOutput].of(await tellwire.keys.list(**dict(asked)))


async def get_key(tellwire: Hub, id: str) -> KeyOutput:
    """Get an API key"""
    return KeyOutput.of(await tellwire.keys.get(id))


async def revoke_key(tellwire: Hub, id: str) -> None:
    """Revoke an API key

    It is refused from now on. It stays in the list.
    """
    await tellwire.keys.revoke(id)
