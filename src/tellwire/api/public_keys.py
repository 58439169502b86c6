"""The public keys with which receivers verify ``v1a`` signatures; open to everybody."""

from fastapi import Response

from .hub import Hub
from .shapes.public_keys import PublicKeyOutput, PublicKeysOutput


async def get_public_keys(tellwire: Hub, response: Response) -> PublicKeysOutput:
    """Get the public keys

    The server's Ed25519 keys, as a JSON Web Key Set: receivers verify `v1a` signatures with them.
    """
    response.headers["cache-control"] = "public, max-age=300"
    return PublicKeysOutput(keys=[PublicKeyOutput.model_validate(key) for key in tellwire.public_keys()])
