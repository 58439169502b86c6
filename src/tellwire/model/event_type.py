"""Event type: a name such as ``order.paid``, described in the catalogue: schema, version, examples.

The catalogue belongs to the whole server. Types need not stand in it: publishing takes any name.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

MAX_VERSION_CHARS: Final = 64
MAX_EXAMPLES: Final = 20


class EventType(msgspec.Struct, frozen=True):
    """What the catalogue says of one event type.

    Attributes:
        name: such as ``order.paid``.
        description: for people.
        schema: of the data of its events: JSON Schema 2020-12, an object; None where nothing is promised.
        version: of the schema, your own count or name.
        examples: of the data; each fits the schema. The first is what a test of an endpoint sends.
        deprecated: whether subscribers are to leave it.
        validate: whether events of the type whose data does not fit the schema are refused when they are published.
    """

    name: str
    description: str
    schema: Mapping[str, Any] | None
    version: str
    examples: tuple[Mapping[str, Any], ...]
    deprecated: bool
    validate: bool
    created_at: datetime
    updated_at: datetime
