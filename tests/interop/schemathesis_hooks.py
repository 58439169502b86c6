"""What Schemathesis is told besides the OpenAPI document: how requests are made, and what no schema can foretell.

It runs in a process of its own and loads this file by its path (``test_schemathesis``).
"""

import re
from typing import Any

import schemathesis
from schemathesis.openapi.checks import RejectedPositiveData, UseAfterFree

_ANY = r".*"
CANNOT_BE_SAID = (
    # What is there already, and which cursors have been given out, no document knows.
    (r"GET /v1/[a-z-]+", r"cursor: is not a cursor that a list has given out"),
    (_ANY, r"tenant: there is no tenant '.*'"),
    # No keyword is about instants: the years that they lie in, whether they lie ahead, what lies between two of them.
    (_ANY, r"\w+: is outside the years 1970 to 9999"),
    (_ANY, r"\w+: is a leap second, .*"),
    (r"POST /v1/keys.*", r"expires_at: lies in the past"),
    (r"POST /v1/events.*", r"expires_at: is (not after deliver_at|in the past): .*"),
    (r"POST /v1/events.*", r"deliver_at: .*30 days.*"),
    (r"GET /v1/(endpoints/{id}/)?stats", r"since: (the range has|must lie before) .*"),
    (r"POST /v1/endpoints/{id}/replay", r"since: (the range is longer|must lie before) .*"),
    # A merge patch makes sense, or none, together with what is there.
    (r"PATCH .*", r"(defaults\.)?retry(\.\w+)?: (says nothing|goes with).*"),
    (r"PATCH /v1/endpoints/{id}", r"batch: goes without .*"),
    # Languages of their own: JMESPath, filters, JSON Schema, PEM; and what an egress guard thinks of a URL.
    (_ANY, r"(subscriptions\.)?transform: .*"),
    (_ANY, r"(subscriptions\.)?filter(\..+: .*|: (nested too deeply|the filter has) .*)"),
    (r"PUT /v1/event-types/{name}", r"(schema|examples)(\..*)?: .*"),
    (_ANY, r"authentication\.(certificate|ca|key): .* (PEM|certificate) .*"),
    (_ANY, r"(url|authentication\.token_url): (endpoint|token) URL .*"),
    (_ANY, r"secret: .* base64.*"),
    # Which characters can be printed says Unicode, and no regular expression that everybody's library knows.
    (_ANY, r".*: (must have printable|must not contain control|holds a control or other unprintable) .*"),
    # A mask stands for a secret that is there already.
    (_ANY, r"(authentication|signing)\..*: \*{3} only stands for a secret; .*"),
    # Names of headers are the same in upper and lower case.
    (_ANY, r"(headers|signing\.legacy)(\..*)?: .*(is given twice|is set by Tellwire or by the connection)"),
    # One number is not to be less than another.
    (_ANY, r"(.*\.)?cap_s: is .*: no wait can be shorter than first_s, .*"),
)
"""Operations, and faults for which they refuse what their schemas allow; numbers of items are left out."""

_FILLER = "0"
"""What it writes into every header that may be there, while it tries something else."""


@schemathesis.hook
def before_load_schema(context: Any, raw_schema: dict[str, Any]) -> None:
    """Patches go by two media types, behind which is the same: one of them is enough."""
    for item in raw_schema["paths"].values():
        item.get("patch", {}).get("requestBody", {}).get("content", {}).pop(
            "application/merge-patch+json", None
        )


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Headers that would hide what the rest of a request is about."""
    headers = case.headers
    if headers.get("Idempotency-Key") == _FILLER or _has_key(case.body):
        # Under one key there is one answer to all that is tried, and one in the body is to be the same.
        headers.pop("Idempotency-Key", None)
    for name in ("If-Match", "If-None-Match"):
        if headers.get(name) == _FILLER:  # which their pattern does not allow
            headers[name] = "*" if name == "If-Match" else '"0"'


@schemathesis.hook
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """Whether a failure is one: not where all that was wrong cannot be said in a schema.

    Nor where a tenant that was deleted is still looked at: it is there as ``deleting`` until nothing of it is left.
    """
    if isinstance(failure, UseAfterFree):
        return bool(response.json().get("state") != "deleting")
    if not isinstance(failure, RejectedPositiveData) or response.status_code != 422:
        return True
    faults = [_written(one["loc"], one["msg"]) for one in response.json()["errors"]]
    return not all(_cannot_be_said(case.operation.label, fault) for fault in faults)


def _written(loc: list[str | int], msg: str) -> str:
    steps = [step for step in loc if isinstance(step, str) and step != "events"]
    return f"{'.'.join(steps)}: {msg}"


def _has_key(body: object) -> bool:
    return isinstance(body, dict) and body.get("idempotency_key") is not None


def _cannot_be_said(operation: str, fault: str) -> bool:
    return any(
        re.fullmatch(operations, operation) and re.fullmatch(known, fault, re.DOTALL)
        for operations, known in CANNOT_BE_SAID
    )
