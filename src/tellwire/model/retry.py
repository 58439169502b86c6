"""Retry policy: when what failed is sent again, as an endpoint's settings say it. `policy.retry` works by it."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from .rules import none_of, refused, together, without
from .subscription import PATTERN_SCHEMA

_DAY_S: Final = 86_400
MAX_DELAY_S: Final = 30 * _DAY_S
MAX_AGE_S: Final = 60 * _DAY_S
MAX_ATTEMPTS: Final = 100
DEFAULT_ATTEMPTS: Final = 10
DEFAULT_FACTOR: Final = 2.0
DEFAULT_CAP_S: Final = _DAY_S

RETRY_RULES: Final = refused(
    none_of("delays_s", "first_s", "max_age_s"),
    together("delays_s", "first_s"),
    *(without("first_s", name) for name in ("factor", "cap_s", "attempts")),
)
"""Of a policy that is whole: in a merge patch, the rest of it may be there already."""

Delay = Annotated[float, Meta(ge=0, le=MAX_DELAY_S)]


class RetryPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Either a list of delays, or delays that grow from one to the next; and how old a delivery may get.

    What is left out is as it would be without this policy; numbers that go with ``first_s`` have defaults of their own.
    """

    delays_s: (
        Annotated[
            tuple[Delay, ...],
            Meta(
                max_length=MAX_ATTEMPTS - 1,
                description="The wait after each failed attempt, in seconds; with an empty list there is one attempt.",
                examples=[[5, 300, 3600]],
            ),
        ]
        | None
    ) = None
    first_s: (
        Annotated[
            float,
            Meta(
                gt=0,
                le=MAX_DELAY_S,
                description="Instead of `delays_s`: the wait after the first failed attempt, in seconds.",
                examples=[10],
            ),
        ]
        | None
    ) = None
    factor: (
        Annotated[
            float,
            Meta(
                ge=1, le=100, description="How much longer each wait is than the one before; 2 if not given."
            ),
        ]
        | None
    ) = None
    cap_s: (
        Annotated[
            float,
            Meta(gt=0, le=MAX_DELAY_S, description="No wait is longer; 86400 (a day) if not given."),
        ]
        | None
    ) = None
    attempts: (
        Annotated[
            int,
            Meta(ge=1, le=MAX_ATTEMPTS, description="How many in all, the first one too; 10 if not given."),
        ]
        | None
    ) = None
    max_age_s: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=MAX_AGE_S,
                description="No retry begins when more seconds than this have passed since the first attempt was "
                "due; a retry by hand or a replay begins anew.",
                examples=[_DAY_S],
            ),
        ]
        | None
    ) = None


class TypedRetryPolicy(
    RetryPolicy, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True
):
    """A retry policy for some types of events."""

    events: Annotated[
        tuple[Annotated[str, Meta(extra_json_schema=PATTERN_SCHEMA)], ...],
        Meta(
            min_length=1,
            max_length=100,
            description="Event types and patterns that it is for.",
            examples=[["order.*"]],
        ),
    ]
