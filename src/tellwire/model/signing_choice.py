"""How an endpoint's deliveries are signed: with which schemes, and in which older forms besides."""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from .authentication import hidden_repr
from .header import HEADER_NAME_FORM, HeaderName

MAX_LEGACY: Final = 4
PREFIX_FORM: Final = r"^(?:[!-z|~][ -z|~]*)?(?:\{(?:timestamp|id)\}[ -z|~]*)*$"
_AROUND: Final = r"(?:[^{}]*\{(?:timestamp|id|url)\})*[^{}]*"
TEMPLATE_FORM: Final = rf"^{_AROUND}\{{body\}}{_AROUND}$"


class LegacySignature(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A header that is signed as another system did it, for consumers who need not change then."""

    header: Annotated[
        HeaderName,
        Meta(description="Such as `X-Hub-Signature-256`."),
    ]
    secret: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=256,
            description="The key of the HMAC, as the text that the consumer has. Secret: shown as `***`.",
        ),
    ]
    algorithm: Annotated[Literal["sha256", "sha1", "sha512"], Meta(description="The hash of the HMAC.")] = (
        "sha256"
    )
    encoding: Literal["hex", "base64"] = "hex"
    prefix: Annotated[
        str,
        Meta(
            max_length=128,
            extra_json_schema={"pattern": PREFIX_FORM},
            description="What stands before the signature, such as `sha256=`; may have `{timestamp}` and `{id}`.",
        ),
    ] = ""
    template: Annotated[
        str,
        Meta(
            max_length=256,
            extra_json_schema={"pattern": TEMPLATE_FORM},
            description="What is signed: text with `{body}` once, and `{timestamp}` (in seconds), `{id}`, `{url}`.",
        ),
    ] = "{body}"
    timestamp_header: Annotated[
        str,
        Meta(
            max_length=128,
            extra_json_schema={"pattern": f"^$|{HEADER_NAME_FORM}"},
            description="A header that carries the timestamp by itself, if any.",
        ),
    ] = ""

    __repr__ = hidden_repr


class SigningChoice(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which signatures a request has."""

    schemes: Annotated[
        tuple[Literal["v1", "v1a"], ...],
        Meta(
            max_length=2,
            extra_json_schema={"uniqueItems": True},
            description="Of Standard Webhooks: `v1` (HMAC, with the endpoint's `whsec_` secret), `v1a` (Ed25519, with "
            "its `whsk_` secret, else with the server's key) or both; by the kind of its secret if not given.",
        ),
    ] = ()
    legacy: Annotated[
        tuple[LegacySignature, ...],
        Meta(
            max_length=MAX_LEGACY, description="Other headers that are signed besides, for those who migrate."
        ),
    ] = ()
