"""How Tellwire proves itself to an endpoint besides signatures: a tagged union, told apart by ``type``.

Each has fields that are secret. They are stored sealed with the other settings, and never shown again: not in
answers, not in the audit log, not in a repr.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from .header import HEADER_VALUE_FORM, HeaderName

MASK: Final = "***"
"""Stands for a secret wherever one would be shown."""

SECRET_FIELDS: Final = frozenset({"password", "token", "key", "client_secret", "secret"})
"""Fields of these names are secret, inside of the settings that `hidden` is asked about."""

BEARER_FORM: Final = r"^(?:[A-Za-z0-9._~+/-]+=*|\*{3})$"
"""RFC 6750 section 2.1, b64token; or the mask, with which a patch leaves it as it is."""

_PEM: Final = "in PEM"

Secret = Annotated[
    str, Meta(min_length=1, max_length=4096, description="Secret: shown as `***` once it is set.")
]


def hidden(value: Any) -> Any:
    """Plain data of ``authentication`` or ``signing`` with its secrets masked."""
    if isinstance(value, Mapping):
        return {
            name: MASK if name in SECRET_FIELDS and isinstance(inner, str) else hidden(inner)
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [hidden(one) for one in value]
    return value


def without_values(headers: Mapping[str, str]) -> dict[str, str]:
    """An endpoint's own headers as everybody may see them: names, and masks for values, for keys are among them."""
    return dict.fromkeys(headers, MASK)


def hidden_repr(thing: msgspec.Struct) -> str:
    """A repr without secrets, since reprs end up in logs."""
    shown = hidden(msgspec.structs.asdict(thing))
    return f"{type(thing).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


class BasicAuthentication(msgspec.Struct, frozen=True, tag="basic", forbid_unknown_fields=True):
    """A user name and a password (RFC 7617)."""

    username: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=256,
            extra_json_schema={"pattern": "^[^:]+$"},
            description="Without a colon.",
        ),
    ]
    password: Secret

    __repr__ = hidden_repr


class BearerAuthentication(msgspec.Struct, frozen=True, tag="bearer", forbid_unknown_fields=True):
    """A token that never changes (RFC 6750)."""

    token: Annotated[Secret, Meta(extra_json_schema={"pattern": BEARER_FORM})]

    __repr__ = hidden_repr


class ApiKeyAuthentication(msgspec.Struct, frozen=True, tag="api_key", forbid_unknown_fields=True):
    """A key in a header of the receiver's choice."""

    key: Annotated[Secret, Meta(extra_json_schema={"pattern": HEADER_VALUE_FORM})]
    header: Annotated[
        HeaderName,
        Meta(description="The header that carries the key."),
    ] = "X-API-Key"

    __repr__ = hidden_repr


class OAuth2Authentication(
    msgspec.Struct, frozen=True, tag="oauth2", forbid_unknown_fields=True, omit_defaults=True
):
    """A token that is had from a token server by client credentials (RFC 6749 section 4.4)."""

    token_url: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=2048,
            extra_json_schema={"format": "uri"},
            description="Where tokens are had; the egress guard applies.",
        ),
    ]
    client_id: Annotated[str, Meta(min_length=1, max_length=512)]
    client_secret: Secret
    scope: Annotated[str, Meta(max_length=1024, description="Scopes to ask for, with spaces between.")] = ""
    audience: Annotated[
        str, Meta(max_length=1024, description="Sent as `audience`, which some servers want.")
    ] = ""
    client_authentication: Annotated[
        Literal["basic", "body"],
        Meta(description="Whether id and secret go in the header `Authorization` or in the body."),
    ] = "basic"

    __repr__ = hidden_repr


class MutualTls(msgspec.Struct, frozen=True, tag="mtls", forbid_unknown_fields=True, omit_defaults=True):
    """A client certificate, shown when the connection is made."""

    certificate: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=16_384,
            description=f"The client certificate, and others up to its root, {_PEM}.",
        ),
    ]
    key: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=8_192,
            description=f"Its private key {_PEM}, without a passphrase. Secret: shown as `***` once it is set.",
        ),
    ]
    ca: Annotated[
        str,
        Meta(
            max_length=16_384,
            description=f"Authorities, {_PEM}, that the receiver's own certificate may come from besides public ones.",
        ),
    ] = ""

    __repr__ = hidden_repr


Authentication = (
    BasicAuthentication | BearerAuthentication | ApiKeyAuthentication | OAuth2Authentication | MutualTls
)
