"""The secrets that an endpoint's deliveries are signed with: those in force, by the schemes that it asks for."""

from collections.abc import Sequence

import msgspec

from tellwire.model.signing_choice import SigningChoice
from tellwire.signing.scheme import V1A
from tellwire.signing.secret import SigningSecret
from tellwire.signing.server_key import server_secrets
from tellwire.signing.vault import Vault


class LiveSecret(msgspec.Struct, frozen=True):
    """A signing secret in use; ``expires_ms`` is the end of its overlap after a rotation, or None."""

    secret: SigningSecret
    expires_ms: int | None


def signers(
    found: Sequence[LiveSecret], choice: SigningChoice | None, vault: Vault
) -> tuple[LiveSecret, ...]:
    """What to sign with, of the secrets that were ``found`` (the current one first), and the server's if need be."""
    if choice is None or not choice.schemes:
        return tuple(found)
    chosen = [live for live in found if live.secret.scheme.identifier in choice.schemes]
    if V1A.identifier in choice.schemes and not (found and found[0].secret.scheme == V1A):
        chosen += [LiveSecret(secret, None) for secret in server_secrets(vault)]
    return tuple(chosen or found)
