"""Which envelope an event has at an endpoint: that of the first subscription that wants it.

Asked by the executor for each attempt, and only where some subscription has another envelope than the usual one: the
roster has none of this for all other endpoints.
"""

from collections.abc import Sequence

import msgspec

from ..model.subscription import Envelope, Subscription
from .filtering import Filter, any_matches, compile_filter, event_of
from .matching import Matcher, compile_patterns


class Shapes(msgspec.Struct, frozen=True, eq=False):
    """Compiled subscriptions with their envelopes, in their order; made by `compile_shapes`."""

    choices: tuple[tuple[Matcher, Filter | None, Envelope], ...]

    def envelope(self, type: str, tenant: str, data: bytes) -> Envelope:
        """The envelope of an event.

        Where no subscription wants it (an example event, one that is sent again, or the subscriptions were changed
        since), it is that of the first one. ``data`` is parsed only where a filter has to be asked.
        """
        event = None
        for matcher, filter, envelope in self.choices:
            if not matcher.matches(type):
                continue
            if filter is None:
                return envelope
            if event is None:
                event = event_of(type, tenant, data)
            if any_matches((filter,), event):
                return envelope
        return self.choices[0][2]


def compile_shapes(subscriptions: Sequence[Subscription]) -> Shapes | None:
    """Compile the subscriptions of one endpoint; None where all of them have the standard envelope.

    Raises:
        InvalidInputError: a pattern or filter is malformed.
    """
    if all(one.envelope is Envelope.STANDARD for one in subscriptions):
        return None
    return Shapes(
        tuple(
            (
                compile_patterns(one.events),
                None if one.filter is None else compile_filter(one.filter),
                one.envelope,
            )
            for one in subscriptions
        )
    )
