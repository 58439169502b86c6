"""What an endpoint can take: settings that hold across all processes of a server, so that one of them owns its lane."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class RateLimit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """So many requests a second or a minute, and how many of them may come at once after a pause."""

    limit: Annotated[int, Meta(ge=1, le=100_000, description="How many requests, retries included.")]
    per: Annotated[Literal["second", "minute"], Meta(description="In how long.")] = "second"
    burst: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=100_000,
                description="How many may come at once after a pause; what fits into a tenth of a second if not given, "
                "at least one.",
            ),
        ]
        | None
    ) = None

    @property
    def per_ms(self) -> float:
        """Requests a millisecond."""
        return self.limit / (1_000 if self.per == "second" else 60_000)

    @property
    def at_once(self) -> int:
        """The burst in force."""
        return self.burst or max(1, int(self.per_ms * 100))


class CircuitSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When an endpoint that keeps failing is left alone, and how it is tried again."""

    failures: Annotated[
        int, Meta(ge=1, le=1_000, description="It opens after so many failures in a row.")
    ] = 10
    ratio: (
        Annotated[float, Meta(gt=0, le=1, description="Or when this share of the `last` attempts failed.")]
        | None
    ) = None
    last: Annotated[int, Meta(ge=2, le=1_000, description="How many attempts `ratio` looks at.")] = 50
    probe_after_s: Annotated[
        float, Meta(ge=0.1, le=3_600, description="So long after it opened, one attempt is made.")
    ] = 30
    longest_s: Annotated[
        float,
        Meta(
            ge=0.1,
            le=86_400,
            description="After each probe that fails the pause is twice as long, but never longer than this.",
        ),
    ] = 600
