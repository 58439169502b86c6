"""What filters cost: parsing an event for them, and asking one. ``python -m benchmarks.filters``."""

import json
from collections.abc import Callable
from timeit import Timer
from typing import Any

from tellwire.policy.filtering import STEPS, allowance, compile_filter, event_of

FILTERS: dict[str, dict[str, Any]] = {
    "one field is equal": {"data": {"currency": "CHF"}},
    "a number is in a range": {"data": {"amount": {"$gte": 1000, "$lt": 5000}}},
    "five conditions, nested": {
        "type": {"$startsWith": "order."},
        "data": {"currency": {"$in": ["CHF", "EUR"]}, "customer": {"country": "CH", "vip": {"$not": True}},
                 "amount": {"$gt": 1000}},
    },
    "one of 20 items": {"data": {"items": {"sku": "sku-19", "qty": {"$gt": 1}}}},
}  # fmt: skip
ITEMS = [{"sku": f"sku-{n}", "qty": n, "price": n + 0.25} for n in range(20)]
ORDER = {
    "order_id": "o_1",
    "currency": "CHF",
    "amount": 4200,
    "customer": {"country": "CH", "name": "x" * 60},
}
EVENTS = {"200 bytes": ORDER, "1 KB with 20 items": ORDER | {"items": ITEMS}}
HOSTILE = {"data": {"x": {"a": 1, "b": {"$contains": "zzz"}, "c": {"$in": ["x", "y"]}}}}


def microseconds(work: Callable[[], object]) -> float:
    """The best of several runs."""
    timer = Timer(work)
    count, took = timer.autorange()
    return min([took, *timer.repeat(4, count)]) / count * 1e6


def main() -> None:
    """Print the numbers."""
    for name, data in EVENTS.items():
        text = json.dumps(data, separators=(",", ":")).encode()
        us = microseconds(lambda text=text: event_of("order.paid", "default", text))  # type: ignore[misc]
        print(f"parse an event of {name:20} {us:8.2f} us")
    event = event_of("order.paid", "default", json.dumps(EVENTS["1 KB with 20 items"]).encode())
    for name, filter in FILTERS.items():
        compiled = compile_filter(filter)
        us = microseconds(lambda one=compiled: one.matches(event, allowance()))  # type: ignore[misc]
        print(f"ask: {name:33} {us:8.2f} us")
    us = microseconds(lambda: compile_filter(FILTERS["five conditions, nested"]))
    print(f"{'compile five conditions':38} {us:8.2f} us")
    worst = event_of("a", "b", json.dumps({"x": [{"a": 1, "b": "y" * 60, "c": "z"}] * STEPS}).encode())
    compiled = compile_filter(HOSTILE)
    us = microseconds(lambda: compiled.matches(worst, allowance()))
    print(f"{'use up the allowance':38} {us:8.0f} us")


if __name__ == "__main__":
    main()
