"""API keys: shown once when they are made, listed without their text, rotated, revoked."""

from typing import Annotated

from fastapi import Query

from tellwire.model.key import ApiKey, Scope

from .caller import Who, own_or
from .hub import Hub
from .shapes.given import PageQuery
from .shapes.keys import KeyBody, KeyOutput, KeyRotateBody, NewKeyOutput
from .shapes.shown import ListOutput
from .versions import Tag


async def create_key(tellwire: Hub, caller: Who, asked: KeyBody) -> NewKeyOutput:
    """Create an API key

    The answer holds the key itself, this once: only its hash is stored. A key that is bound to a tenant makes keys of
    the same tenant.
    """
    return _shown_once(
        *await tellwire.keys.create(
            asked.name,
            scopes=list(Scope) if asked.scopes is None else asked.scopes,
            tenant=own_or(caller, asked.tenant),
            expires_at=asked.expires_at,
        )
    )


async def list_keys(
    tellwire: Hub, caller: Who, asked: Annotated[PageQuery, Query()]
) -> ListOutput[KeyOutput]:
    """List API keys

    Newest first, the revoked ones included; never the keys themselves.
    """
    return ListOutput[KeyOutput].of(await tellwire.keys.list(**dict(asked), tenant=caller.tenant))


async def get_key(tellwire: Hub, tag: Tag, id: str) -> KeyOutput:
    """Get an API key"""
    return KeyOutput.of(tag(await tellwire.keys.get(id)))


async def rotate_key(tellwire: Hub, id: str, asked: KeyRotateBody | None = None) -> NewKeyOutput:
    """Rotate an API key

    The answer is a new key with the same name, scopes and tenant, shown this once. The old one stays good for
    `overlap_s` seconds more.
    """
    asked = asked or KeyRotateBody()
    return _shown_once(
        *await tellwire.keys.rotate(id, overlap_s=asked.overlap_s, expires_at=asked.expires_at)
    )


async def revoke_key(tellwire: Hub, id: str) -> None:
    """Revoke an API key

    It is refused from now on. It stays in the list.
    """
    await tellwire.keys.revoke(id)


def _shown_once(key: ApiKey, text: str) -> NewKeyOutput:
    return NewKeyOutput(**dict(KeyOutput.of(key)), key=text)
