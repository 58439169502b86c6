"""Which envelope an event has."""

import pytest

from tellwire.model.subscription import Envelope, Subscription
from tellwire.policy.shaping import compile_shapes

LARGE = {"data": {"n": {"$gt": 90}}}


def test_endpoints_of_the_usual_shape_have_none() -> None:
    """Sending does not even look at what the subscriptions say."""
    assert compile_shapes([]) is None
    assert compile_shapes([Subscription(("*",)), Subscription(("a",), LARGE)]) is None


@pytest.mark.parametrize(
    ("type", "data", "expected"),
    [
        ("order.paid", b'{"n":91}', Envelope.RAW),
        ("order.paid", b'{"n":9}', Envelope.CLOUDEVENTS),
        ("order.paid", b"{}", Envelope.CLOUDEVENTS),
        ("user.created", b'{"n":91}', Envelope.STANDARD),
        ("cart.emptied", b'{"n":91}', Envelope.RAW),
        ("order.paid", b'{"n":1e999999999999999999999}', Envelope.RAW),
    ],
)
def test_the_first_subscription_that_wants_an_event_decides(
    type: str, data: bytes, expected: Envelope
) -> None:
    """Filters included; what none of them wants is sent as the first one says."""
    shapes = compile_shapes(
        [
            Subscription(("order.*",), LARGE, Envelope.RAW),
            Subscription(("order.*",), None, Envelope.CLOUDEVENTS),
            Subscription(("user.*",)),
            Subscription(("user.created",), None, Envelope.RAW),
        ]
    )
    assert shapes is not None
    assert shapes.shape(type, "default", data).envelope is expected
