"""What an endpoint is sent of an event: as the first subscription says that wants it.

Asked by the executor for each attempt, and only where some subscription shapes what it sends: the roster has none of
this for all other endpoints.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import quote

import msgspec

from ..model.event import envelope
from ..model.subscription import Envelope, Subscription
from .filtering import Filter, any_matches, compile_filter, event_of
from .matching import Matcher, compile_patterns
from .selecting import Tree, compile_fields, select
from .transforming import STEPS, Transform, compile_transform

JSON: Final = "application/json"
CLOUDEVENT: Final = "application/cloudevents+json"


class Shaped(NamedTuple):
    """A body, and the headers that say what it is; their names are in lower case."""

    body: bytes
    headers: dict[str, str]


class Happened(NamedTuple):
    """An event as it is to be shaped; ``timestamp`` is when it happened, as it is written on the wire."""

    id: str
    type: str
    tenant: str
    timestamp: str
    data: bytes


class Shape(msgspec.Struct, frozen=True, eq=False):
    """How one subscription sends events."""

    envelope: Envelope = Envelope.STANDARD
    fields: Tree | None = None
    transform: Transform | None = None

    @property
    def looks_inside(self) -> bool:
        """Whether the data itself has to be looked at."""
        return self.fields is not None or self.transform is not None

    def apply(self, event: Happened, steps: int = STEPS) -> Shaped:
        """The body of a request, made in at most so many ``steps``. Raises TransformError."""
        data = event.data
        if self.fields is not None:
            data = select(self.fields, data)
        elif self.transform is not None:
            data = self.transform.apply(*event, steps=steps)
        match self.envelope:
            case Envelope.RAW:
                return Shaped(data, {"content-type": JSON})
            case Envelope.CLOUDEVENTS:
                return Shaped(structured(event, data), {"content-type": CLOUDEVENT})
            case Envelope.CLOUDEVENTS_BINARY:
                named = _attributes(event).items()
                return Shaped(data, {"content-type": JSON} | {f"ce-{name}": value for name, value in named})
            case Envelope.STANDARD:
                return Shaped(envelope(event.type, event.timestamp, data), {"content-type": JSON})


class Shapes(msgspec.Struct, frozen=True, eq=False):
    """Compiled subscriptions with their shapes, in their order; made by `compile_shapes`.

    ``looks_inside`` tells whether the data of events may have to be parsed.
    """

    choices: tuple[tuple[Matcher, Filter | None, Shape], ...]
    looks_inside: bool
    filters: tuple[Filter, ...]

    def shape(self, type: str, tenant: str, data: bytes) -> Shape:
        """The shape of an event.

        Where no subscription wants it (an example event, one that is sent again, or the subscriptions were changed
        since), it is that of the first one. ``data`` is parsed only where a filter has to be asked.
        """
        event = None
        for matcher, filter, shape in self.choices:
            if not matcher.matches(type):
                continue
            if filter is None:
                return shape
            if event is None:
                event = event_of(type, tenant, data, self.filters)
            if any_matches((filter,), event):
                return shape
        return self.choices[0][2]


def compile_shapes(subscriptions: Sequence[Subscription], *, always: bool = False) -> Shapes | None:
    """Compile the subscriptions of one endpoint; None where all of them send the usual body, unless ``always``.

    Raises:
        InvalidInputError: a pattern, filter or transform is malformed.
    """
    if all(one.is_plain for one in subscriptions) and not (always and subscriptions):
        return None
    choices = tuple(
        (
            compile_patterns(one.events),
            None if one.filter is None else compile_filter(one.filter),
            Shape(
                one.envelope or Envelope.STANDARD,
                None if one.fields is None else compile_fields(one.fields),
                None if one.transform is None else compile_transform(one.transform),
            ),
        )
        for one in subscriptions
    )
    looks_inside = any(filter is not None or shape.looks_inside for _, filter, shape in choices)
    filters = tuple(filter for _, filter, _ in choices if filter is not None)
    return Shapes(choices, looks_inside, filters)


def structured(event: Happened, data: bytes) -> bytes:
    """An event in the JSON format of CloudEvents 1.0 (section 3)."""
    head = msgspec.json.encode(_attributes(event) | {"datacontenttype": JSON})
    return b'%b,"data":%b}' % (head[:-1], data)


def _attributes(event: Happened) -> dict[str, str]:
    """The context attributes (CloudEvents 1.0, "Context Attributes"); all are printable ASCII without spaces."""
    return {
        "specversion": "1.0",
        "id": event.id,
        "source": f"/tenants/{quote(event.tenant, safe='')}",
        "type": event.type,
        "time": event.timestamp,
    }
