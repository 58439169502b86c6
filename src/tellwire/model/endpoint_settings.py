"""An endpoint's settings: how deliveries are made to it. Where none is given, it is as for everybody.

Each setting is one field here, with a default that changes nothing. Clients see it as a field of the endpoint itself,
next to ``url``; the database keeps all of them as one sealed JSON object, because some are secret.
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from .authentication import Authentication, hidden
from .batching import BatchSettings
from .header import HEADER_VALUE_FORM
from .lane_settings import CircuitSettings, RateLimit
from .order import OnExhausted, Order
from .retry import RETRY_RULES, RetryPolicy, TypedRetryPolicy
from .rules import together
from .signing_choice import SigningChoice


class EndpointSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """How deliveries are made to one endpoint. Bounds stand in the types; what they cannot say is checked apart."""

    user_agent: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=256,
                extra_json_schema={"pattern": HEADER_VALUE_FORM},
                description="The `User-Agent` of its requests; `Tellwire/` and the version if not given.",
                examples=["acme-events/1.0"],
            ),
        ]
        | None
    ) = None
    method: Annotated[
        Literal["POST", "PUT"], Meta(description="The HTTP method of its requests.", examples=["PUT"])
    ] = "POST"
    authentication: (
        Annotated[
            Authentication,
            Meta(
                description="How Tellwire proves itself to the receiver besides signatures.",
                examples=[{"type": "bearer", "token": "***"}],
            ),
        ]
        | None
    ) = None
    signing: (
        Annotated[
            SigningChoice,
            Meta(
                description="How requests are signed: schemes of Standard Webhooks, and older forms besides.",
                examples=[{"schemes": ["v1", "v1a"]}],
            ),
        ]
        | None
    ) = None
    max_in_flight: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=1_024,
                description="How many requests may be in the air at once, of all processes together; if not given, "
                "so many as the server allows, in each of them.",
                examples=[4],
            ),
        ]
        | None
    ) = None
    rate_limit: (
        Annotated[
            RateLimit,
            Meta(
                description="How many requests it takes in a second or a minute, of all processes together.",
                examples=[{"limit": 50, "per": "second"}],
            ),
        ]
        | None
    ) = None
    circuit: (
        Annotated[
            CircuitSettings,
            Meta(
                description="When it keeps failing, it is left alone and tried now and then; `{}` takes all defaults. "
                "If not given, a light one in each process: it opens after 50 failures in a row and probes every few "
                "seconds.",
                examples=[{"failures": 10, "probe_after_s": 30}],
            ),
        ]
        | None
    ) = None
    retry: (
        Annotated[
            RetryPolicy,
            Meta(
                description="When a failed attempt is followed by another; as the server says if not given.",
                examples=[{"delays_s": [5, 300, 3600], "max_age_s": 86_400}],
            ),
        ]
        | None
    ) = None
    retry_by_type: Annotated[
        tuple[TypedRetryPolicy, ...],
        Meta(
            max_length=20,
            description="The same for some types of events; the first one that fits holds, and what it leaves out is "
            "as `retry` says.",
            examples=[[{"events": ["order.*"], "first_s": 10, "factor": 3, "cap_s": 3600, "attempts": 20}]],
        ),
    ] = ()
    batch: (
        Annotated[
            BatchSettings,
            Meta(
                description="Several events in one request; `{}` takes all defaults. One event in each if not given.",
                examples=[{"max_events": 100, "max_wait_s": 2, "format": "array"}],
            ),
        ]
        | None
    ) = None
    order: Annotated[
        Order,
        Meta(
            description="Whether deliveries wait for those before them: `endpoint` for all of them, `key` for those "
            "whose events have the same `ordering_key`, `none` for nobody.",
            examples=["key"],
        ),
    ] = "none"
    on_exhausted: Annotated[
        OnExhausted,
        Meta(
            description="Where there is an order: whether what comes after a delivery that is exhausted goes on, or is "
            "blocked until that is retried or cancelled.",
            examples=["block"],
        ),
    ] = "continue"
    trace: Annotated[
        bool,
        Meta(
            description="Whether requests carry the `traceparent` of their event, where it has one.",
            examples=[True],
        ),
    ] = False

    @property
    def exclusive(self) -> bool:
        """Whether something must hold across processes, so that only one of them may send to the endpoint."""
        limited = self.max_in_flight is not None or self.rate_limit is not None
        return limited or self.circuit is not None or self.batch is not None


SETTING_RULES: Final = {"RetryPolicy": RETRY_RULES, "TypedRetryPolicy": RETRY_RULES}
"""What goes together inside of settings, by the names of their types: msgspec cannot say it of a type."""

WHOLE_RULES: Final = (
    together("batch", trace={"const": True}),
    together("batch", retry_by_type={"minItems": 1}),
)
"""What goes together among the settings of an endpoint that is made; in a merge patch, some may be there already."""

DEFAULT_SETTINGS: Final = EndpointSettings()

SETTING_NAMES: Final = frozenset(EndpointSettings.__struct_fields__)
"""Fields of an endpoint that are its settings."""

HIDDEN_SETTINGS: Final = ("authentication", "signing")
"""Settings with secrets inside."""


def shown_settings(settings: EndpointSettings) -> dict[str, Any]:
    """The settings as plain data, as everybody may see them."""
    names = EndpointSettings.__struct_fields__
    return without_secrets({name: msgspec.to_builtins(getattr(settings, name)) for name in names})


def without_secrets(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields of an endpoint as plain data, with the secrets inside of its settings masked."""
    return fields | {name: hidden(fields[name]) for name in HIDDEN_SETTINGS if fields.get(name)}
