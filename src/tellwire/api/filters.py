"""Filters and subscriptions tried out. Nothing is stored or sent."""

from .hub import Hub
from .inputs import FilterTestBody, PreviewBody
from .outputs import FilterTestOutput, PreviewOutput


async def test_filter(tellwire: Hub, asked: FilterTestBody) -> FilterTestOutput:
    """Test a filter on an event

    Whether it matches, and which of its conditions are fulfilled. The event is a stored one, or described here.
    """
    return FilterTestOutput.of(await tellwire.filters.test(**dict(asked)))


async def preview_subscriptions(tellwire: Hub, asked: PreviewBody) -> PreviewOutput:
    """Preview subscriptions on the last events

    Which of a tenant's last events an endpoint would have received with its subscriptions, or with others: newest
    first, and why or why not. Whether an endpoint was disabled does not count.
    """
    subscriptions = asked.subscriptions
    return PreviewOutput.of_events(
        await tellwire.filters.preview(
            endpoint=asked.endpoint,
            tenant=asked.tenant,
            events=asked.events,
            subscriptions=None if subscriptions is None else [one.subscription() for one in subscriptions],
            limit=100 if asked.limit is None else asked.limit,
        )
    )
