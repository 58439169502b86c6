"""Filters and subscriptions tried out. Nothing is stored or sent."""

from .caller import Who, own_or
from .hub import Hub
from .shapes.filters import FilterTestBody, FilterTestOutput, PreviewBody, PreviewOutput


async def test_filter(tellwire: Hub, caller: Who, asked: FilterTestBody) -> FilterTestOutput:
    """Test a filter on an event

    Whether it matches, and which of its conditions are fulfilled. The event is a stored one, or described here.
    """
    given = dict(asked)
    if asked.event is None:
        given["tenant"] = own_or(caller, asked.tenant)
    else:
        await tellwire.check_owner(caller, "event", asked.event)
    return FilterTestOutput.of(await tellwire.filters.test(**given))


async def preview_subscriptions(tellwire: Hub, caller: Who, asked: PreviewBody) -> PreviewOutput:
    """Preview subscriptions on the last events

    Which of a tenant's last events an endpoint would have received with its subscriptions, or with others: newest
    first, and why or why not. Whether an endpoint was disabled does not count. With `bodies`, also what it would have
    been sent, in the shape that the subscriptions ask for.
    """
    subscriptions, tenant = asked.subscriptions, asked.tenant
    if asked.endpoint is None:
        tenant = own_or(caller, tenant)
    else:
        await tellwire.check_owner(caller, "endpoint", asked.endpoint)
    return PreviewOutput.of_events(
        await tellwire.filters.preview(
            endpoint=asked.endpoint,
            tenant=tenant,
            events=asked.events,
            subscriptions=None if subscriptions is None else [one.subscription() for one in subscriptions],
            limit=100 if asked.limit is None else asked.limit,
            bodies=asked.bodies,
        )
    )
