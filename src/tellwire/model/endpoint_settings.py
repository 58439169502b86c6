"""An endpoint's settings: how deliveries are made to it. Where none is given, it is as for everybody.

Each setting is one field here, with a default that changes nothing. Clients see it as a field of the endpoint itself,
next to ``url``; the database keeps all of them as one sealed JSON object, because some are secret.
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta


class EndpointSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """How deliveries are made to one endpoint. Bounds stand in the types; what they cannot say is checked apart."""

    user_agent: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=256,
                description="The `User-Agent` of its requests; `Tellwire/` and the version if not given.",
                examples=["acme-events/1.0"],
            ),
        ]
        | None
    ) = None


DEFAULT_SETTINGS: Final = EndpointSettings()

SETTING_NAMES: Final = frozenset(EndpointSettings.__struct_fields__)
"""Fields of an endpoint that are its settings."""
