"""Which events an endpoint wants: the patterns and filters of all its subscriptions, compiled.

Asked at fan-out. The answer for a type is remembered there (``store.roster``); only where it depends on filters is the
event itself looked at.
"""

from collections.abc import Iterable

import msgspec

from ..model.subscription import Subscription
from .filtering import Filter, compile_filter
from .matching import Matcher, compile_patterns


class Wants(msgspec.Struct, frozen=True, eq=False):
    """Compiled subscriptions; made by `compile_subscriptions`.

    ``matcher`` has the patterns of those without a filter, ``filtered`` each of the others.
    """

    matcher: Matcher
    filtered: tuple[tuple[Matcher, Filter], ...] = ()

    def filters_for(self, type: str) -> tuple[Filter, ...] | None:
        """The filters of which an event of this type must pass one.

        Empty where every event of the type is wanted, None where none is.
        """
        if self.matcher.matches(type):
            return ()
        return tuple(filter for matcher, filter in self.filtered if matcher.matches(type)) or None


def compile_subscriptions(subscriptions: Iterable[Subscription]) -> Wants:
    """Compile the subscriptions of one endpoint.

    Raises:
        InvalidInputError: a pattern or filter is malformed.
    """
    patterns: list[str] = []
    filtered: list[tuple[Matcher, Filter]] = []
    for one in subscriptions:
        if one.filter is None:
            patterns += one.events
        else:
            filtered.append((compile_patterns(one.events), compile_filter(one.filter)))
    return Wants(compile_patterns(patterns), tuple(filtered))
