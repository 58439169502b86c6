"""Which events an endpoint wants."""

import pytest

from tellwire.errors import InvalidInputError
from tellwire.model.subscription import Subscription
from tellwire.policy.subscribing import compile_subscriptions

SMALL, LARGE = {"data": {"n": {"$lt": 10}}}, {"data": {"n": {"$gt": 90}}}


@pytest.mark.parametrize(
    ("type", "filters"), [("order.paid", 0), ("user.created", 2), ("user.gone", 1), ("cart.emptied", None)]
)
def test_filters_are_asked_only_where_they_decide(type: str, filters: int | None) -> None:
    """A type that is wanted anyway needs no filter; otherwise those whose patterns match, or none wants it at all."""
    wants = compile_subscriptions(
        [
            Subscription(("order.*",)),
            Subscription(("order.paid", "user.*"), SMALL),
            Subscription(("user.created",), LARGE),
        ]
    )
    found = wants.filters_for(type)
    assert (None if found is None else len(found)) == filters


def test_an_endpoint_without_subscriptions_wants_nothing() -> None:
    """No subscription, no event."""
    assert compile_subscriptions([]).filters_for("order.paid") is None


def test_malformed_subscriptions_do_not_compile() -> None:
    """A pattern or filter that is none is refused here too."""
    for subscription in (Subscription(("-",)), Subscription(("a",), {"amount": 1})):
        with pytest.raises(InvalidInputError):
            compile_subscriptions([subscription])
