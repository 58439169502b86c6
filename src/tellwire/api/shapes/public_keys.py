"""The server's public keys, as JSON Web Keys."""

from typing import Literal

from pydantic import Field

from .shown import Output


class PublicKeyOutput(Output):
    """An Ed25519 key as a JSON Web Key (RFC 8037)."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    x: str = Field(description="The public key, in base64url.")
    kid: str = Field(description="Its thumbprint (RFC 7638).")
    use: Literal["sig"]
    alg: Literal["EdDSA"]
    whpk: str = Field(description="The same key as libraries for Standard Webhooks take it.")


class PublicKeysOutput(Output):
    """A JSON Web Key Set (RFC 7517)."""

    keys: list[PublicKeyOutput]
