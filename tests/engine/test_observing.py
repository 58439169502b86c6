"""Whoever looks on learns what happened, and nothing that is secret: neither payloads nor keys, headers or answers."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from tellwire import Tellwire
from tellwire.observe.logs import configure, subscribe_logs
from tellwire.observe.metrics import Metrics
from tellwire.observe.page import page
from tellwire.telemetry import Fact

from .conftest import ADMIN_KEY, Receiver, Reply
from .embedded import until

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


async def test_one_wide_line_for_each_attempt_and_no_secrets(tellwire: Tellwire, receiver: Receiver) -> None:
    """Each attempt is one line with all its ids; no line, fact or metric holds what is somebody's secret."""
    out = io.BytesIO()
    configure("json", "debug", out)
    facts: list[Fact] = []
    tellwire.telemetry.subscribe(facts.append)
    subscribe_logs(tellwire.telemetry)
    metrics = Metrics(tellwire)
    receiver.respond = lambda request: Reply(500, b"hunter2-answer", [("x-answer", "hunter2-answered")])
    endpoint, _ = await tellwire.endpoints.create(
        f"{receiver.url}?token=hunter2-query",
        events=["*"],
        headers={"x-api-token": "hunter2-header"},
        secret=SECRET,
    )
    receipt = await tellwire.publish("order.paid", {"card": "hunter2-data"}, idempotency_key="hunter2-key")
    await receiver.met(1)

    async def attempted() -> bool:
        deliveries = (await tellwire.deliveries.list(event=receipt.id)).data
        return all(one.attempt_count for one in deliveries)

    assert await until(attempted)
    await asyncio.sleep(0)  # lines are written at the end of the loop's turn
    (delivery,) = (await tellwire.deliveries.list(event=receipt.id)).data
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    (attempt,) = [line for line in lines if line["event"] == "attempt finished"]
    assert (attempt["event_id"], attempt["endpoint_id"]) == (receipt.id, endpoint.id)
    assert (attempt["delivery_id"], attempt["tenant"], attempt["type"]) == (
        delivery.id,
        "default",
        "order.paid",
    )
    assert (attempt["status_code"], attempt["state"], attempt["number"]) == (500, "pending", 1)
    assert attempt["age_ms"] >= attempt["duration_ms"] >= 0

    told = out.getvalue().decode() + repr(facts) + (await page(metrics))[1].decode()
    for secret in ("hunter2", SECRET.removeprefix("whsec_"), ADMIN_KEY):
        assert secret not in told
