"""The request of an attempt: the event's body, signed for this very moment, with the endpoint's own headers."""

from tellwire.model.claim import Claim
from tellwire.signing import standard
from tellwire.signing.legacy import legacy_headers
from tellwire.store.roster import LiveEndpoint

from .shaping import JSON, Shaped


def request_for(
    claim: Claim, endpoint: LiveEndpoint, now_ms: int, shaped: Shaped | None = None
) -> tuple[dict[str, str], bytes]:
    """Headers and body of an attempt at ``now_ms``: Standard Webhooks, signed with every secret that is in force.

    ``shaped`` is the body where it is not the usual one.
    """
    body = claim.body
    if shaped is None:
        headers = {**endpoint.headers, "content-type": JSON}
    else:
        body, own = shaped
        headers = with_own(endpoint, own)
    sign(headers, endpoint, claim.event_text_id, now_ms, body)
    if endpoint.settings.trace and claim.traceparent is not None:
        headers["traceparent"] = claim.traceparent
    return headers, body


def with_own(endpoint: LiveEndpoint, own: dict[str, str]) -> dict[str, str]:
    """The endpoint's headers, and those that say what the body is; the latter win."""
    return {name: value for name, value in endpoint.headers.items() if name.lower() not in own} | own


def sign(headers: dict[str, str], endpoint: LiveEndpoint, message_id: str, now_ms: int, body: bytes) -> None:
    """Add the headers that prove the request, and name who sends it."""
    headers |= standard.headers(endpoint.signing_secrets(now_ms), message_id, now_ms // 1000, body)
    signing = endpoint.settings.signing
    if signing is not None:
        headers |= legacy_headers(
            signing.legacy, message_id=message_id, timestamp_s=now_ms // 1000, url=endpoint.url, body=body
        )  # fmt: skip
    if endpoint.settings.user_agent is not None:
        headers["user-agent"] = endpoint.settings.user_agent
