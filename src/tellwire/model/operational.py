"""Operational events: what happens in Tellwire itself, as ordinary events of a tenant of its own.

Here stand their types and what is in them; the schemas come from these classes. ``store.announcer`` makes the events,
in the transaction of what happened. Nothing secret is in any: no header, no secret, no query of a URL.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta

_ENDPOINT_ID = "ep_01jhmq4k8sfx3rkd2n8yxe1mwd"

EndpointId = Annotated[str, Meta(description="The endpoint.")]
Owner = Annotated[str, Meta(description="The tenant that it belongs to.")]
Url = Annotated[str, Meta(description="Its URL; a query is masked, because tokens live there.")]
Actor = Annotated[
    str,
    Meta(
        description="Who did it: the id of an API key, `jwt:` or `portal:` and a subject, `admin` for the key of the "
        "settings, `local` for the command line or the embedding application, `tellwire` for Tellwire itself."
    ),
]
Changed = Annotated[
    tuple[str, ...], Meta(description="The names of the fields that changed; empty for new and gone things.")
]


class EndpointChanged(msgspec.Struct, frozen=True):
    """An endpoint was made, changed, switched or removed."""

    endpoint_id: EndpointId
    tenant: Owner
    url: Url
    state: Annotated[
        Literal["enabled", "paused", "disabled", "unverified"], Meta(description="Its state after that.")
    ]
    reason: Annotated[str | None, Meta(description="Why it is in this state, where there is more to say.")]
    changed: Changed
    actor: Actor


class EndpointFails(msgspec.Struct, frozen=True):
    """A warning: every attempt at an endpoint has failed for long."""

    endpoint_id: EndpointId
    tenant: Owner
    url: Url
    failing_for_s: Annotated[
        int, Meta(ge=0, description="From the first failure to the last one, in seconds.")
    ]
    disabled_in_s: Annotated[int, Meta(ge=0, description="When it is disabled if that goes on, in seconds.")]


class EndpointRecovers(msgspec.Struct, frozen=True):
    """An endpoint that had been warned of answers again."""

    endpoint_id: EndpointId
    tenant: Owner
    url: Url
    failing_since: Annotated[str, Meta(description="When the first of its failures was (RFC 3339).")]


class DeliveryExhausted(msgspec.Struct, frozen=True):
    """A delivery ended without success: nothing more is tried."""

    delivery_id: Annotated[str, Meta(description="The delivery; it can be retried by hand.")]
    event_id: Annotated[str, Meta(description="The event that did not arrive.")]
    endpoint_id: EndpointId
    tenant: Owner
    type: Annotated[str, Meta(description="The type of the event that did not arrive.")]
    attempts: Annotated[int, Meta(ge=0, description="How many attempts were made.")]
    last_status_code: Annotated[
        int | None, Meta(description="What the last attempt was answered, if it was.")
    ]
    last_error: Annotated[
        str | None,
        Meta(
            description="Why the last attempt got no answer, or `expired`: the event was not worth more attempts."
        ),
    ]


class LaneOpens(msgspec.Struct, frozen=True):
    """The circuit breaker of an endpoint opened: nothing is sent to it but a probe now and then."""

    endpoint_id: EndpointId
    tenant: Owner
    url: Url
    probe_in_s: Annotated[float, Meta(ge=0, description="When the first probe is sent, in seconds.")]


class LaneCloses(msgspec.Struct, frozen=True):
    """The circuit breaker of an endpoint closed: a probe succeeded."""

    endpoint_id: EndpointId
    tenant: Owner
    url: Url
    open_for_s: Annotated[float, Meta(ge=0, description="How long it was open, in seconds.")]


class TenantChanged(msgspec.Struct, frozen=True):
    """A tenant was made, changed, or is being removed."""

    tenant: Annotated[str, Meta(description="Its id.")]
    name: Annotated[str, Meta(description="Its name.")]
    changed: Changed
    actor: Actor


class KeyChanged(msgspec.Struct, frozen=True):
    """An API key was made, rotated or revoked. The key itself is in no event."""

    key_id: Annotated[str, Meta(description="The id of the key.")]
    name: Annotated[str, Meta(description="Its name.")]
    scopes: Annotated[tuple[str, ...], Meta(description="What it may do.")]
    tenant: Annotated[str | None, Meta(description="The tenant that it is bound to, if any.")]
    expires_at: Annotated[str | None, Meta(description="When it ends, if it does (RFC 3339).")]
    actor: Actor


Payload = (
    EndpointChanged
    | EndpointFails
    | EndpointRecovers
    | DeliveryExhausted
    | LaneOpens
    | LaneCloses
    | TenantChanged
    | KeyChanged
)


class Happening(NamedTuple):
    """Something that happened in Tellwire: the type of its event, and what is in it."""

    type: str
    data: Payload


class OperationalType(NamedTuple):
    """What there is to know of one type of operational events."""

    description: str
    example: Payload

    @property
    def schema(self) -> dict[str, Any]:
        """Of its data, JSON Schema 2020-12."""
        return msgspec.json.schema(type(self.example))


_NEW = EndpointChanged(
    _ENDPOINT_ID, "acme", "https://example.com/hook", "enabled", None, (), "key_01jhmq3w5eep8btfbgzs4v5n7y"
)
_DELIVERY = DeliveryExhausted(
    "dlv_01jhmq6cxbf4z9yf5gtv9v9m1d",
    "evt_01jhmq6cxaf7r8d9c2jfwx8y3q",
    _ENDPOINT_ID,
    "acme",
    "order.paid",
    10,
    503,
    None,
)
_TENANT = TenantChanged("acme", "Acme Ltd.", (), "admin")
_KEY = KeyChanged("key_01jhmq3w5eep8btfbgzs4v5n7y", "backend", ("publish", "read"), "acme", None, "admin")


def _switched(state: Literal["enabled", "paused", "disabled"], reason: str | None) -> EndpointChanged:
    changed = ("state",) if reason is None else ("state", "state_reason")
    return msgspec.structs.replace(_NEW, state=state, reason=reason, changed=changed)


OPERATIONAL_TYPES: Final[Mapping[str, OperationalType]] = {
    "endpoint.created": OperationalType("An endpoint was created.", _NEW),
    "endpoint.updated": OperationalType(
        "Fields of an endpoint were changed.", msgspec.structs.replace(_NEW, changed=("url", "subscriptions"))
    ),
    "endpoint.deleted": OperationalType(
        "An endpoint was deleted; what was pending for it is cancelled. Endpoints that go with their tenant are not "
        "told one by one.",
        _NEW,
    ),
    "endpoint.enabled": OperationalType("An endpoint was enabled.", _switched("enabled", None)),
    "endpoint.disabled": OperationalType(
        "An endpoint was disabled: by somebody, by its own answer 410 Gone, or because every attempt had failed for "
        "days. The reason says which.",
        msgspec.structs.replace(
            _switched("disabled", "every attempt has failed for 5 days"), actor="tellwire"
        ),
    ),
    "endpoint.paused": OperationalType("An endpoint was paused.", _switched("paused", "paused by hand")),
    "endpoint.resumed": OperationalType("A pause ended.", _switched("enabled", None)),
    "endpoint.verified": OperationalType(
        "The receiver of an endpoint proved that it wants deliveries.", _switched("enabled", None)
    ),
    "endpoint.not_verified": OperationalType(
        "The receiver of an endpoint did not prove that it wants deliveries.",
        msgspec.structs.replace(
            _NEW, state="unverified", reason="not verified: status 404", changed=("state_reason",)
        ),
    ),
    "endpoint.secret_rotated": OperationalType("An endpoint has a new signing secret.", _NEW),
    "endpoint.failing": OperationalType(
        "A warning: every attempt at an endpoint has failed for long, and it is disabled if that goes on.",
        EndpointFails(_ENDPOINT_ID, "acme", "https://example.com/hook", 108_000, 324_000),
    ),
    "endpoint.recovered": OperationalType(
        "An attempt at an endpoint succeeded, for the first time after a warning.",
        EndpointRecovers(_ENDPOINT_ID, "acme", "https://example.com/hook", "2027-01-14T09:30:00.000Z"),
    ),
    "delivery.exhausted": OperationalType(
        "A delivery ended without success: its attempts are used up, its event has expired, or its endpoint said that "
        "it is gone.",
        _DELIVERY,
    ),
    "lane.opened": OperationalType(
        "The circuit breaker of an endpoint opened: nothing is sent to it but a probe now and then.",
        LaneOpens(_ENDPOINT_ID, "acme", "https://example.com/hook", 30.0),
    ),
    "lane.closed": OperationalType(
        "The circuit breaker of an endpoint closed: a probe succeeded.",
        LaneCloses(_ENDPOINT_ID, "acme", "https://example.com/hook", 92.5),
    ),
    "tenant.created": OperationalType("A tenant was created.", _TENANT),
    "tenant.updated": OperationalType(
        "Fields of a tenant were changed.", msgspec.structs.replace(_TENANT, changed=("limits",))
    ),
    "tenant.deleted": OperationalType(
        "A tenant is being removed, with everything of its own.",
        msgspec.structs.replace(_TENANT, changed=("state",)),
    ),
    "key.created": OperationalType("An API key was made.", _KEY),
    "key.rotated": OperationalType("An API key was rotated: a new one is there, and the old one ends.", _KEY),
    "key.revoked": OperationalType("An API key was revoked.", _KEY),
}
"""Every type of operational events, by name. Those of endpoints, tenants and keys are named like the actions of the
audit log."""
