"""Order: in which sequence a delivery stands, and so what it has to wait for.

At an endpoint with the setting ``order`` each delivery stands in a sequence: that of the whole endpoint, or that of its
event's ordering key. Of a sequence, only the first pending delivery may be sent (``deliver.sequences``).
"""

from typing import Final, Literal

Order = Literal["none", "endpoint", "key"]
"""The setting: no order, one sequence for all, or one for each ordering key."""
OnExhausted = Literal["continue", "block"]
"""The setting: what a delivery that is exhausted does to those after it."""

MAX_ORDERING_KEY_CHARS: Final = 128
WHOLE: Final = "*"
"""The sequence of a whole endpoint."""
KEYED: Final = "="
"""What the sequences of ordering keys begin with: no key makes that of a whole endpoint."""


def sequence_of(order: str | None, ordering_key: str | None) -> str | None:
    """The sequence of a delivery at an endpoint with this order; None where it waits for nobody."""
    if order == "endpoint":
        return WHOLE
    return None if order != "key" or ordering_key is None else KEYED + ordering_key
